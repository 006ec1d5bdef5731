"""Damaged and foreign checkpoints: each is one sentence, and exit code 4 of `generate`."""

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import build_tiny_checkpoint
from safetensors.torch import load_file, save_file

from vocalburst.gen import generate, load_generator
from vocalburst.gen.checkpoint import WEIGHTS, content_hash
from vocalburst.gen.data.errors import MissingModelError


def edit_weights(folder: Path, change: Callable[[dict], object], part: str = "transformer") -> None:
    tensors = load_file(folder / part / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / part / WEIGHTS)


def edit_json(path: Path, change: Callable[[dict], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def poison(tensors: dict) -> None:
    tensors["project.weight"][0, 0] = float("nan")


def poison_vocoder(folder: Path) -> None:
    edit_weights(folder, lambda t: t[min(t)].view(-1)[:1].fill_(float("inf")), "vocoder")


def other_mel(folder: Path) -> None:
    edit_json(folder / "vocoder" / "config.json", lambda c: c["mel"].update(log_floor=1e-5))


def other_bins(folder: Path) -> None:
    edit_json(folder / "transformer" / "config.json", lambda c: c.update(n_mels=50, patch=8))


def other_rate(folder: Path) -> None:
    for part in ("vocoder", "normalizer"):
        edit_json(folder / part / "config.json", lambda c: c["mel"].update(sample_rate=44_100))


def scheduler_entry(value) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "model_index.json", lambda index: index.update(scheduler=value))


def write_pickle(folder: Path) -> None:
    (folder / "transformer" / "optimizer.pt").write_bytes(pickle.dumps({"step": 1}))


def drop(tensors: dict) -> None:
    del tensors["blocks.0.qkv.weight"]


DAMAGES = {
    "no model_index": (lambda f: (f / "model_index.json").unlink(), "with model_index.json, found none"),
    "a part is missing": (lambda f: shutil.rmtree(f / "prior"), "prior/config.json: cannot be read"),
    "weights are missing": (lambda f: (f / "normalizer" / WEIGHTS).unlink(), "no such file"),
    "cut in half": (lambda f: cut(f / "transformer" / WEIGHTS), "damaged or cut short"),
    "vocoder cut in half": (lambda f: cut(f / "vocoder" / WEIGHTS), "damaged or cut short"),
    "empty weights": (lambda f: (f / "prior" / WEIGHTS).write_bytes(b""), "damaged or cut short"),
    "a tensor is missing": (lambda f: edit_weights(f, drop), "does not fit its config.json .*qkv"),
    "a tensor too many": (lambda f: edit_weights(f, lambda t: t.update(x=torch.zeros(1))), 'does not fit.*"x"'),
    "another shape": (
        lambda f: edit_json(f / "transformer" / "config.json", lambda c: c.update(dim=64)), "does not fit",
    ),
    "heads that do not divide": (
        lambda f: edit_json(f / "transformer" / "config.json", lambda c: c.update(n_heads=0)),
        "not a BurstTransformer config",
    ),
    "not a number": (lambda f: edit_weights(f, poison), "project.weight holds values that are not finite"),
    "vocoder not finite": (poison_vocoder, "not finite"),
    "another mel config": (other_mel, "another mel config: log_floor 1e-05 instead of 1e-07"),
    "a mel key missing": (
        lambda f: edit_json(f / "normalizer" / "config.json", lambda c: c["mel"].pop("n_fft")),
        "expected the keys",
    ),
    "other mel bins": (other_bins, "50 mel bins.* 100"),
    "another rate": (other_rate, "made for 44100 Hz, this package works at 24000 Hz"),
    "a pickle": (write_pickle, r"holds a pickle \(optimizer.pt\), which can run code"),
    "config is no JSON": (lambda f: (f / "transformer/config.json").write_text("{"), "cannot be read as JSON"),
    "config is a list": (lambda f: (f / "prior/config.json").write_text("[]"), "expected a JSON object"),
    "config is empty": (lambda f: (f / "prior/config.json").write_text("{}"), "not a ClipPrior config"),
    "settings are no JSON": (lambda f: (f / "generation.json").write_text("?"), "cannot be read as JSON"),
    "unknown scheduler": (scheduler_entry(["diffusers", "Sundial"]), "'Sundial' is not a diffusers scheduler"),
    "a class that is no scheduler": (scheduler_entry(["diffusers", "UNet2DModel"]), "not a diffusers scheduler"),
    "scheduler entry is text": (scheduler_entry("euler"), "is not a diffusers scheduler"),
    "scheduler entry is short": (scheduler_entry(["diffusers"]), "is not a diffusers scheduler"),
    "scheduler settings": (
        lambda f: edit_json(f / "scheduler/scheduler_config.json", lambda c: c.update(shift="much")),
        "scheduler_config.json: not the settings of",
    ),
}  # fmt: skip


@pytest.fixture
def copy(tiny_checkpoint, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "damaged"))


def generate_code(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["generate", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        generate.main()
    return ended.value.code


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_sentence(copy, name):
    damage, sentence = DAMAGES[name]
    damage(copy)
    with pytest.raises(MissingModelError, match=sentence) as caught:
        load_generator(copy)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert str(copy) in str(caught.value)


@pytest.mark.parametrize("name", ["cut in half", "another mel config", "a pickle", "not a number"])
def test_generate_ends_with_4(copy, name, monkeypatch, capfd, tmp_path):
    damage, _ = DAMAGES[name]
    damage(copy)
    arguments = ("--emotion", "awe", "--checkpoint", copy, "--out", tmp_path / "out", "--workers", "1")
    assert generate_code(monkeypatch, *arguments) == 4
    out, error = capfd.readouterr()
    assert (
        out == ""
        and [line for line in error.splitlines() if line.startswith("error: ")] == error.splitlines()
    )
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").rglob("*.wav"))


@pytest.mark.parametrize("missing", ["nowhere", "./a/b", "some-owner/no-such-model"])
def test_no_such_checkpoint(missing, monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    arguments = ("--emotion", "awe", "--checkpoint", missing, "--out", "out", "--workers", "1")
    assert generate_code(monkeypatch, *arguments) == 4
    assert capfd.readouterr().err.count("\n") == 1


def test_a_checkpoint_is_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MissingModelError, match="expected a checkpoint folder"):
        load_generator(tmp_path / "file")


def test_content_hash_covers_weights_and_configs_but_not_the_card(tiny_checkpoint, copy):
    assert content_hash(copy) == content_hash(tiny_checkpoint)
    (copy / "README.md").write_text("# Card")
    assert content_hash(copy) == content_hash(tiny_checkpoint)
    edit_weights(copy, lambda t: t["project.bias"].add_(1e-3))
    assert content_hash(copy) != content_hash(tiny_checkpoint)
    moved = Path(shutil.copytree(tiny_checkpoint, copy.parent / "moved"))
    (moved / "generation.json").rename(moved / "other.json")
    assert content_hash(moved) != content_hash(tiny_checkpoint)


def test_another_seed_another_hash(tmp_path, tiny_checkpoint):
    assert content_hash(build_tiny_checkpoint(tmp_path / "c", seed=1)) != content_hash(tiny_checkpoint)
