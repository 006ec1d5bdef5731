"""A trained run and a vocoder become a checkpoint that generates."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build_tiny_checkpoint
from safetensors.torch import load_file

from vocalburst.gen import export as export_command
from vocalburst.gen import load_generator
from vocalburst.gen.checkpoint import WEIGHTS, content_hash
from vocalburst.gen.models.prior import Attributes


@pytest.fixture
def run_folder(tiny_checkpoint, tmp_path) -> Path:
    """What a training run leaves, made of the tiny checkpoint's parts."""
    run = tmp_path / "run"
    for part in ("transformer", "normalizer", "prior"):
        shutil.copytree(tiny_checkpoint / part, run / "model" / part)
    shutil.copytree(run / "model", run / "snapshots" / "000000100")
    return run


def export(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["vocalburst export", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        export_command.main()
    return ended.value.code


def test_export_and_generate(monkeypatch, capsys, run_folder, tiny_checkpoint, tmp_path):
    out = tmp_path / "checkpoints" / "mine"
    out.mkdir(parents=True)
    (out / "README.md").write_text("# Card")
    code = export(
        monkeypatch, "--run", run_folder, "--vocoder", tiny_checkpoint / "vocoder", "--out", out,
        "--guide", run_folder / "snapshots" / "000000100",
        "--settings", '{"steps": 3, "scheduler": "heun", "guidance_by": "guide"}',
    )  # fmt: skip
    assert code == 0
    assert capsys.readouterr().out.strip() == content_hash(out)
    assert (out / "README.md").read_text() == "# Card"
    settings = json.loads((out / "generation.json").read_text())
    assert (settings["steps"], settings["scheduler"], settings["license"]) == (3, "heun", "Apache-2.0")
    for part, origin in (("transformer",) * 2, ("guide", "transformer"), ("vocoder",) * 2):
        exact, half = load_file(tiny_checkpoint / origin / WEIGHTS), load_file(out / part / WEIGHTS)
        assert exact.keys() == half.keys()
        assert {t.dtype for t in half.values()} == {torch.float16}
        for key in exact:
            torch.testing.assert_close(half[key].float(), exact[key], atol=1e-3, rtol=1e-3)
    pipeline = load_generator(out)
    assert type(pipeline.scheduler).__name__ == "FlowMatchHeunDiscreteScheduler"
    assert pipeline.guide is not None
    wave = pipeline("awe", seed=1).audios[0]
    assert np.isfinite(wave).all() and len(wave) > 5000


def test_a_denoiser_is_moved_towards_another(monkeypatch, capsys, run_folder, tiny_checkpoint, tmp_path):
    """A quarter of the way: three parts of the one and one of the other; the whole way is the other."""
    other = build_tiny_checkpoint(tmp_path / "other", seed=1)

    def moved(share: float, name: str) -> dict[str, torch.Tensor]:
        code = export(
            monkeypatch, "--run", run_folder, "--vocoder", tiny_checkpoint / "vocoder", "--out", tmp_path / name,
            "--towards", other, "--share", share,
        )  # fmt: skip
        assert code == 0
        return load_file(tmp_path / name / "transformer" / WEIGHTS)

    one, two = (load_file(folder / "transformer" / WEIGHTS) for folder in (tiny_checkpoint, other))
    quarter, whole = moved(0.25, "quarter"), moved(1.0, "whole")
    for key, weight in one.items():
        expected = 0.75 * weight.float() + 0.25 * two[key].float()
        torch.testing.assert_close(quarter[key], expected.half(), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(whole[key], two[key].half())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--share", "0.5"], "of the way to a checkpoint, or neither, got 0.5 to None"),
        (["--towards", "other"], "of the way to a checkpoint, or neither, got 0.0 to other"),
        (["--share", "1.5", "--towards", "other"], "got 1.5 to"),
        (["--share", "0.5", "--towards", "other"], "expected two networks of the same n_layers"),
    ],
)
def test_a_way_to_nowhere(monkeypatch, capsys, run_folder, tiny_checkpoint, tmp_path, arguments, message):
    build_tiny_checkpoint(tmp_path / "other", n_layers=3)
    monkeypatch.chdir(tmp_path)
    code = export(
        monkeypatch, "--run", run_folder, "--vocoder", tiny_checkpoint / "vocoder", "--out", "out", *arguments
    )
    assert code == 3 and message in capsys.readouterr().err and not Path("out").exists()


def test_quiet_clips_of_the_prior_are_left_out(monkeypatch, capsys, run_folder, tiny_checkpoint, tmp_path):
    rows = load_file(tiny_checkpoint / "prior" / WEIGHTS)["rows"]
    middle = float(rows[:, 4].median())
    arguments = ["--run", run_folder, "--vocoder", tiny_checkpoint / "vocoder", "--out", tmp_path / "out"]
    assert export(monkeypatch, *arguments, "--min-level-db", 1) == 3
    assert "no train clip of the prior reaches 1 dBFS" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert export(monkeypatch, *arguments, f"--min-level-db={middle}") == 0
    louder = load_file(tmp_path / "out" / "prior" / WEIGHTS)["rows"]
    assert 0 < len(louder) < len(rows)
    torch.testing.assert_close(louder, rows[rows[:, 4] >= middle])
    assert {attributes.level_db >= middle for attributes in drawn(tmp_path / "out")} == {True}
    assert {attributes.level_db >= middle for attributes in drawn(tiny_checkpoint)} == {True, False}


def drawn(checkpoint: Path) -> list[Attributes]:
    prior = load_generator(checkpoint).prior
    return [prior.draw({0: 1.0}, None, None, np.random.default_rng(seed)) for seed in range(40)]


def test_a_run_without_a_model(monkeypatch, capsys, tiny_checkpoint, tmp_path):
    code = export(
        monkeypatch,
        "--run",
        tmp_path / "none",
        "--vocoder",
        tiny_checkpoint / "vocoder",
        "--out",
        tmp_path / "o",
    )
    assert code == 4 and "normalizer/config.json: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_an_unknown_setting(monkeypatch, capsys, run_folder, tiny_checkpoint, tmp_path):
    code = export(
        monkeypatch, "--run", run_folder, "--vocoder", tiny_checkpoint / "vocoder", "--out", tmp_path / "o",
        "--settings", '{"step": 3}',
    )  # fmt: skip
    assert code == 3 and "unknown setting 'step'" in capsys.readouterr().err


def test_a_moderation_that_could_not_be_loaded_is_not_written(
    monkeypatch, capsys, run_folder, tiny_checkpoint, tmp_path
):
    code = export(
        monkeypatch, "--run", run_folder, "--vocoder", tiny_checkpoint / "vocoder", "--out", tmp_path / "out",
        "--settings", '{"moderation": {"glee": 0.5}}',
    )  # fmt: skip
    assert code == 4 and "moderates glee, which the denoiser does not know" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_vocoder_of_another_front_end(monkeypatch, capsys, run_folder, tiny_checkpoint, tmp_path):
    vocoder = Path(shutil.copytree(tiny_checkpoint / "vocoder", tmp_path / "vocoder"))
    config = json.loads((vocoder / "config.json").read_text())
    config["mel"]["hop_length"] = 300
    (vocoder / "config.json").write_text(json.dumps(config))
    code = export(monkeypatch, "--run", run_folder, "--vocoder", vocoder, "--out", tmp_path / "o")
    assert code == 4 and "hop_length 300 instead of 256" in capsys.readouterr().err
