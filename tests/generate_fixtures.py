"""What runs `generate` in this process on a tiny random checkpoint, and what it left in a folder."""

import sys
from pathlib import Path

import pytest

from vocalburst.gen import generate
from vocalburst.gen.data.audio import FORMATS

FAST = ("--steps", "2", "--workers", "1", "--device", "cpu")


@pytest.fixture(name="command")
def generate_command(tmp_path, tiny_checkpoint, monkeypatch, capsys):
    """Runs `generate ...` in this process, in a fresh working folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")

    def call(*arguments, checkpoint=tiny_checkpoint):
        monkeypatch.setattr(sys, "argv", ["generate", *map(str, arguments), "--checkpoint", str(checkpoint)])
        with pytest.raises(SystemExit) as end:
            generate.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def sounds(folder: Path) -> dict[str, bytes]:
    suffixes = {suffix for suffix, _, _ in FORMATS.values()}
    return {name: data for name, data in contents(folder).items() if Path(name).suffix in suffixes}
