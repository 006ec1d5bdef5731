"""Training with outlines: what a run keeps of them, exact resuming, starting from checkpoints with and without."""

import shutil

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from training_fixtures import WEIGHTS, assert_same_end, corpus, fresh_accelerate, metrics, train, write_config

from vocalburst.gen.config import load_config
from vocalburst.gen.data.manifest import manifest_root, read_manifest
from vocalburst.gen.data.mel import LogMel
from vocalburst.gen.dataset import active_frames, active_part, normalise_level
from vocalburst.gen.export import export
from vocalburst.gen.models.outline import OutlineEncoder
from vocalburst.gen.models.prior import ClipPrior
from vocalburst.gen.train_config import TrainConfig
from vocalburst.gen.training_data import load_training_data

__all__ = ["corpus", "fresh_accelerate"]  # fixtures

OUTLINE = {"size": 4, "jitter": 0.2}


@pytest.fixture
def outlined(monkeypatch, corpus, tmp_path):
    return train(monkeypatch, corpus, tmp_path / "outlined", outline=OUTLINE)


def test_a_run_keeps_its_outlines(outlined, corpus, monkeypatch, tmp_path):
    model = outlined / "model"
    encoder, prior = (
        OutlineEncoder.from_pretrained(model / "outline"),
        ClipPrior.from_pretrained(model / "prior"),
    )
    assert (encoder.config.size, encoder.config.jitter) == (4, 0.2)
    manifest = corpus / "manifest" / "manifest.jsonl"
    clips = [clip for clip in read_manifest(manifest) if clip.split == "train"]
    assert prior.outlines.shape == (len(clips), 4)
    torch.testing.assert_close(prior.outlines.mean(dim=0), torch.zeros(4), atol=1e-3, rtol=0)
    for row, clip in enumerate(clips):
        wave = soundfile.read(manifest_root(manifest) / clip.path, dtype="float32")[0]
        loud, seconds, _ = normalise_level(wave)
        span = active_frames(loud, LogMel().config)
        outline = encoder(active_part(LogMel()(torch.from_numpy(loud)), span))
        np.testing.assert_allclose(prior.outlines[row], outline, atol=0.02)  # the cache holds 16 bits
        assert float(prior.rows[row, 3]) == pytest.approx(seconds, abs=0.021)
    # Interrupted in the middle and continued, it ends the same.
    part = tmp_path / "part"
    shutil.copytree(outlined, part)
    for folder in (part / "checkpoints").iterdir():
        if folder.name != "000000000016":
            shutil.rmtree(folder)
    shutil.rmtree(part / "model")
    train(monkeypatch, corpus, part, "--resume", "latest", outline=OUTLINE)
    assert_same_end(outlined, part)


def test_loader_processes_change_nothing_of_what_is_fitted(corpus, tmp_path):
    """Normaliser, axes of outlines and prior of clips that two processes read are those of one."""
    path = write_config(corpus, tmp_path / "run", outline=OUTLINE)
    one, two = [
        load_training_data(load_config(path, TrainConfig, [f"workers={n}"]), show=False) for n in (0, 2)
    ]
    for part in ("normalizer", "outline", "prior"):
        first, second = getattr(one, part).state_dict(), getattr(two, part).state_dict()
        assert first.keys() == second.keys() and len(first) >= 2
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_learns_to_hear_outlines(
    monkeypatch, corpus, tmp_path, tiny_checkpoint, outlined, capsys
):
    """What is new starts at zero, so at next to no rate of learning the loss is that of the checkpoint."""
    deaf = train(monkeypatch, corpus, tmp_path / "deaf", samples={"total": 8, "save_every": 0})
    start = tmp_path / "start"
    export(deaf, tiny_checkpoint / "vocoder", start)
    still = {"optimizer": {"lr": 1e-9, "lr_matrices": 1e-9}, "samples": {"total": 4, "save_every": 0}}
    heard = train(monkeypatch, corpus, tmp_path / "heard", init=str(start), outline=OUTLINE, **still)
    same = train(monkeypatch, corpus, tmp_path / "same", init=str(start), **still)
    losses = [
        [line["validation_loss"] for line in metrics(run) if "validation_loss" in line]
        for run in (heard, same)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    capsys.readouterr()
    # One that hears them hands on its own axes, and is no start for a run that hears others.
    again = tmp_path / "hears"
    export(outlined, tiny_checkpoint / "vocoder", again)
    run = train(monkeypatch, corpus, tmp_path / "again", init=str(again), outline=OUTLINE, **still)
    axes = "model/outline/diffusion_pytorch_model.safetensors"
    assert torch.equal(load_file(run / axes)["axes"], load_file(outlined / axes)["axes"])
    assert any(name.startswith("track.") for name in load_file(run / WEIGHTS))
    for outline, sentence in (
        ({"size": 5}, "its outlines have 4 numbers, this run needs 5"),
        ({"size": 0}, "hears outlines of 4 numbers, this run has 0"),
    ):
        train(
            monkeypatch, corpus, tmp_path / f"x{outline['size']}", init=str(again), outline=outline, expect=3
        )
        assert sentence in capsys.readouterr().err
