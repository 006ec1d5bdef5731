"""A corpus of twelve clips, a finished run on it, and what compares two runs."""

import json
import sys
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from conftest import RATE, synthetic_burst
from safetensors.torch import load_file

from vocalburst.gen import train as train_command
from vocalburst.gen.data import prepare_command
from vocalburst.gen.data.manifest import Clip, write_manifest

PITCHES = {"amusement": 300.0, "awe": 150.0, "fear": 500.0}
WEIGHTS = "model/transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Each run in this process starts as in a new one; one thread, so that bytes can be compared."""
    from accelerate.state import AcceleratorState, GradientState

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


def call(main, monkeypatch, *arguments) -> int:
    """A command's exit code, its `main` called in this process."""
    monkeypatch.setattr(sys, "argv", ["vocalburst", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Twelve clips of three emotions in a folder, prepared by the command: the folder of the manifest."""
    root = tmp_path_factory.mktemp("corpus")
    for split, count in (("train", 3), ("dev", 1)):
        for e, (emotion, pitch) in enumerate(PITCHES.items()):
            folder = root / "clips" / split / emotion
            folder.mkdir(parents=True)
            for k in range(count):
                wave = synthetic_burst(
                    50 * (split == "dev") + 10 * e + k, 0.3 + 0.05 * k, pitch * (1 + 0.1 * k)
                )
                soundfile.write(folder / f"{split}{k}_{emotion}.wav", wave, RATE)
    with pytest.MonkeyPatch.context() as patch:
        code = call(
            prepare_command.main, patch, "folder", root / "clips", "--corpus", "toy",
            "--speaker-pattern", r"/(?P<speaker>[a-z]+\d)_", "--out", root / "manifest",
        )  # fmt: skip
    assert code == 0
    return root


@pytest.fixture(scope="module")
def hume(corpus) -> Path:
    """A second corpus: soft intensities of ten emotions, country and age; no clip names its speaker."""
    folder = corpus / "hume"
    folder.mkdir()
    clips = []
    for k in range(4):
        wave = synthetic_burst(100 + k, 0.4, 250 + 30 * k)
        soundfile.write(folder / f"{k}.wav", wave, RATE)
        record = {
            "id": f"hume-{k}", "path": f"{k}.wav", "corpus": "hume", "split": "train" if k < 3 else "dev",
            "labelled": "exvo-10", "emotions": {"awe": 0.25, "horror": 1.0, "fear": 0.6}, "age": 25.0 + k,
            "country": ("china", "venezuela")[k % 2], "seconds": 0.4, "active_seconds": 0.3,
            "level_db": -20.0, "peak_db": -6.0,
        }  # fmt: skip
        clips.append(Clip(**record))
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


def settings(corpus: Path, output: Path, **changes) -> dict:
    """A run of 8 steps of 4 clips; `changes` replace whole sections or keys."""
    values = {
        "output": str(output),
        "batch_size": 4,
        "data": {
            "manifests": [{"path": str(corpus / "manifest" / "manifest.jsonl")}],
            "cache": str(corpus / "cache"), "p_pitch": 0.3, "p_crop": 0.3,
        },
        "model": {"patch": 4, "dim": 32, "n_layers": 2, "n_heads": 2, "bottleneck": 16, "dropout": 0.1},
        "optimizer": {"lr": 0.003, "lr_matrices": 0.003},
        "ema": {"decay": 0.9},
        "samples": {"total": 32, "warmup": 8, "decay": 16, "log_every": 4, "save_every": 16, "keep": 3},
        "validation": {"clips": 3, "emotions": ["awe", "fear"], "steps": 2},
    }  # fmt: skip
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(values.get(key), dict) else value
    return values


def write_config(corpus: Path, output: Path, **changes) -> Path:
    output.parent.mkdir(parents=True, exist_ok=True)
    path = output.parent / f"{output.name}.yaml"
    path.write_text(yaml.safe_dump(settings(corpus, output, **changes)))
    return path


def train(monkeypatch, corpus: Path, output: Path, *arguments, expect: int = 0, **changes) -> Path:
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    config = write_config(corpus, output, **changes)
    assert call(train_command.main, monkeypatch, "--config", config, *arguments) == expect
    return output


def metrics(run: Path, *without: str) -> list[dict]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in without} for line in lines]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_same_tensors(first, second, where: str = "") -> None:
    """Equality to the bit of two structures of tensors and numbers."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same_tensors(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for place, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same_tensors(a, b, f"{where}/{place}")
    else:
        assert first == second, where


def assert_same_end(run: Path, other: Path) -> None:
    """Weights, averages, optimisers and metrics of two finished runs agree to the bit."""
    last = "checkpoints/000000000032"
    assert_same_tensors(
        load_file(run / last / "model.safetensors"), load_file(other / last / "model.safetensors")
    )
    states = ["custom_checkpoint_0.pkl", *sorted(path.name for path in (run / last).glob("*.bin"))]
    assert len(states) >= 3  # two optimisers and the averages
    for name in states:
        first, second = (torch.load(r / last / name, weights_only=False) for r in (run, other))
        assert_same_tensors(first, second, name)
    assert (run / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
    assert metrics(run, "clips_per_second") == metrics(other, "clips_per_second")


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory, tiny_checkpoint) -> Path:
    """An uninterrupted run of 8 steps that writes everything a run can write."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.set_num_threads(1)
        return train(
            patch, corpus, tmp_path_factory.mktemp("runs") / "whole",
            samples={"validate_every": 16, "snapshots": [8]},
            validation={"vocoder": str(tiny_checkpoint / "vocoder")},
        )  # fmt: skip
