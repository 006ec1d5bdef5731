"""The package list, the commands and the version: what an editable install would not show to be broken."""

import importlib
import re
import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest
from conftest import ROOT
from setuptools import find_packages

from vocalburst.gen import __version__
from vocalburst.gen.cli import COMMANDS

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = {
    **{f"vocalburst {name}": module for name, (module, _) in COMMANDS.items()},
    **{name: target.split(":")[0] for name, target in PROJECT["project"]["scripts"].items()},
}


def test_every_package_is_listed():
    """One that is not listed works here and is missing from the wheel."""
    found = find_packages(str(ROOT), include=["gen", "gen.*", "eval", "eval.*"])
    expected = {f"vocalburst.{name}" for name in found} | {"vocalburst.checkpoints"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == expected
    for name, folder in PROJECT["tool"]["setuptools"]["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file(), name


def test_every_folder_with_code_is_a_package():
    for top in ("gen", "eval"):
        for path in (ROOT / top).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_typing_marker_templates_and_weights_travel():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    templates = {path.name for path in (ROOT / "eval" / "templates").iterdir()}
    listed = {path.name for pattern in data["vocalburst.eval"] for path in (ROOT / "eval").glob(pattern)}
    assert templates and templates <= listed
    for top in ("gen", "eval"):
        assert (ROOT / top / "py.typed").is_file() and "py.typed" in data[f"vocalburst.{top}"]
    assert {"**/*.json", "**/*.safetensors", "**/*.md"} <= set(data["vocalburst.checkpoints"])


@pytest.mark.parametrize("name", MODULES)
def test_help_comes_at_once(name):
    """No command loads torch before it knows what it is asked for."""
    probe = f"""
import importlib, sys
sys.argv = [{name!r}, "--help"]
try:
    importlib.import_module({MODULES[name]!r}).main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.lower().startswith("usage") and done.stderr == "False\n"


def test_console_scripts_point_at_functions():
    for name, target in PROJECT["project"]["scripts"].items():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function)), name
    installed = {point.name: point.value for point in entry_points(group="console_scripts")}
    assert PROJECT["project"]["scripts"].items() <= installed.items()


def vocalburst(monkeypatch, *arguments: str) -> int:
    from vocalburst.gen import cli

    monkeypatch.setattr(sys, "argv", ["vocalburst", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_usage_lists_every_command(monkeypatch, capsys):
    assert vocalburst(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    for name, (_, text) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", out, re.MULTILINE)


def test_version(monkeypatch, capsys):
    assert vocalburst(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"vocalburst {PROJECT['project']['version']}\n"
    assert __version__ == version("vocalburst") == PROJECT["project"]["version"]


def test_wrong_usage(monkeypatch, capsys):
    assert vocalburst(monkeypatch) == 2
    assert vocalburst(monkeypatch, "genrate") == 2
    assert "unknown command 'genrate'; known: prepare, generate" in capsys.readouterr().err
