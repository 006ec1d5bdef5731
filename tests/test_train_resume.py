"""Exact resuming of a training run: by a name, after half-written saves, kills and refusals; the kill is a real one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from training_fixtures import (
    WEIGHTS,
    assert_same_end,
    call,
    corpus,
    files,
    fresh_accelerate,
    metrics,
    train,
    whole,
    write_config,
)

from vocalburst.gen import train as train_command
from vocalburst.gen.run_folder import MetricsLog

__all__ = ["corpus", "fresh_accelerate", "whole"]  # fixtures


def copy_run(whole: Path, target: Path, keep: str = "000000000016") -> Path:
    """The run as it lay there after 16 samples, but for its metrics, which a kill left further on."""
    shutil.copytree(whole, target)
    for path in (target / "checkpoints").iterdir():
        if path.name != keep:
            shutil.rmtree(path)
    shutil.rmtree(target / "model")
    return target


def same_options(tiny_checkpoint) -> dict:
    return {
        "samples": {"validate_every": 16, "snapshots": [8]},
        "validation": {"vocoder": str(tiny_checkpoint / "vocoder")},
    }


@pytest.mark.parametrize("named", [False, True])
def test_resume_is_exact(monkeypatch, corpus, whole, tmp_path, tiny_checkpoint, named):
    """4 steps and 4 more after a resume are 8 steps, to the bit."""
    run = copy_run(whole, tmp_path / "again")
    resume = run / "checkpoints" / "000000000016" if named else "latest"
    train(monkeypatch, corpus, run, "--resume", resume, **same_options(tiny_checkpoint))
    assert_same_end(run, whole)


def test_resume_is_exact_with_worker_processes_and_accumulation(monkeypatch, corpus, tmp_path):
    options = {"batch_size": 2, "gradient_accumulation": 2, "workers": 1}
    first = train(monkeypatch, corpus, tmp_path / "first", **options)
    assert [line["seen"] for line in metrics(first) if "loss" in line] == list(range(4, 33, 4))
    second = copy_run(first, tmp_path / "second")
    train(monkeypatch, corpus, second, "--resume", "latest", **options)
    assert_same_end(second, first)


def test_a_half_written_save_is_passed_over(monkeypatch, corpus, whole, tmp_path, tiny_checkpoint):
    run = copy_run(whole, tmp_path / "cut")
    part = run / "checkpoints" / ".000000000032.part"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"half")
    old_model = run / ".model.part"
    old_model.mkdir()
    (old_model / "leftover").write_bytes(b"x")
    train(monkeypatch, corpus, run, "--resume", "latest", **same_options(tiny_checkpoint))
    assert_same_end(run, whole)
    assert not part.exists() and not (run / "model" / "leftover").exists()


def test_a_kill_in_the_first_save_is_no_dead_end(monkeypatch, corpus, tmp_path):
    (tmp_path / "run" / "checkpoints" / ".000000000016.part").mkdir(parents=True)
    short = {"total": 8, "save_every": 0}
    run = train(monkeypatch, corpus, tmp_path / "run", "--resume", "latest", samples=short)
    assert (run / WEIGHTS).exists()


def test_a_killed_process_loses_nothing_older(monkeypatch, corpus, tmp_path):
    """SIGKILL at a moment nobody chose; the run then ends where an unharmed one ends."""
    options = {"samples": {"save_every": 4, "keep": 2}}
    unharmed = train(monkeypatch, corpus, tmp_path / "unharmed", **options)
    run = tmp_path / "killed"
    config = write_config(corpus, run, **options)
    process = subprocess.Popen(
        [sys.executable, "-m", "vocalburst.gen.train", "--config", config],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    checkpoints, end = run / "checkpoints", time.monotonic() + 200
    while not (checkpoints.is_dir() and any(p.name.isdigit() for p in checkpoints.iterdir())):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.15)  # somewhere in a later step or save
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole_ones = [p for p in checkpoints.iterdir() if p.name.isdigit()]
    assert whole_ones
    for path in whole_ones:
        load_file(path / "model.safetensors")
    train(monkeypatch, corpus, run, "--resume", "latest", **options)
    assert_same_end(run, unharmed)


class Stopped(BaseException):
    """Ends a run as a kill does: nothing of the project catches it."""


@pytest.mark.parametrize("validate_every", [0, 8])
def test_a_stop_after_any_line_of_the_log(monkeypatch, corpus, tmp_path, validate_every):
    """Steps, validations and saves of the last batches, each cut off where its line was just written."""
    options = {
        "gradient_accumulation": 2, "batch_size": 2,
        # 14 samples: three steps of four, and a batch that is left over
        "samples": {"total": 14, "save_every": 4, "validate_every": validate_every},
    }  # fmt: skip
    unharmed = train(monkeypatch, corpus, tmp_path / "unharmed", **options)
    lines = metrics(unharmed, "clips_per_second")
    assert [line["seen"] for line in lines if "loss" in line] == [4, 8, 12]
    written_line = MetricsLog.write
    for last in range(1, len(lines) + 1):
        run, count = tmp_path / f"stopped{last}", iter(range(1, 100))

        def write_and_stop(log, count=count, last=last, **values):
            written_line(log, **values)
            if next(count) == last:
                raise Stopped

        with monkeypatch.context() as patch:
            patch.setattr(MetricsLog, "write", write_and_stop)
            with pytest.raises(Stopped):
                train(monkeypatch, corpus, run, **options)
        train(monkeypatch, corpus, run, "--resume", "latest", **options)
        assert metrics(run, "clips_per_second") == lines, last
        assert (run / WEIGHTS).read_bytes() == (unharmed / WEIGHTS).read_bytes(), last


def test_a_second_start_refuses(monkeypatch, corpus, whole, tmp_path, capsys):
    before = files(whole)
    config = write_config(corpus, tmp_path / "x")
    arguments = ("--config", config, "--set", f"output={whole}")
    assert call(train_command.main, monkeypatch, *arguments) == 3
    assert "already holds a run; pass --resume latest" in capsys.readouterr().err
    assert files(whole) == before


def test_resuming_a_finished_run_changes_nothing(monkeypatch, corpus, whole, tmp_path, tiny_checkpoint):
    run = tmp_path / "done"
    shutil.copytree(whole, run)
    train(monkeypatch, corpus, run, "--resume", "latest", **same_options(tiny_checkpoint))
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert_same_end(run, whole)


def test_resume_from_nowhere(monkeypatch, corpus, tmp_path, capsys):
    train(monkeypatch, corpus, tmp_path / "run", "--resume", tmp_path / "none", expect=3)
    assert "none: no such checkpoint folder" in capsys.readouterr().err
