"""Training a recogniser: batches, averaged weights, configs, and the command itself on tones."""

import json
import math
import sys

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from recogniser_fixtures import EMOTIONS, tone

from vocalburst.eval.recogniser import FAMILIES, Recogniser
from vocalburst.eval.train_recogniser import (
    batch_indices,
    build_optimizer,
    cosine_schedule,
    main,
    read_config,
    update_average,
)
from vocalburst.gen.data.audio import encode_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, write_manifest

NETWORKS = {"emo18": {}, "logmel": {"channels": [8, 16], "embedding_dim": 16}}
AUGMENTATIONS = {
    "emo18": {"max_crop": 400, "max_speed": 0.02, "noise_db": [-40, -30], "polarity": True},
    "logmel": {"max_crop": 4, "max_gain_db": 3, "max_time_mask": 4, "time_masks": 1},
}


def test_an_epoch_shows_every_clip_at_most_once_in_batches_of_like_length():
    lengths = np.random.default_rng(0).integers(20, 200, size=203)
    seen = list(batch_indices(lengths, 10, np.random.default_rng(1)))
    assert all(len(part) == 10 for part in seen)
    together = np.concatenate(seen)
    assert len(set(together)) == len(together) == 200
    assert np.mean([np.ptp(lengths[part]) for part in seen]) < 40  # 150 if batches were drawn blindly


def test_average_follows_the_closed_form():
    old, new = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        old.weight.fill_(1.0), new.weight.fill_(3.0), new.running_mean.fill_(8.0)
    for _ in range(4):
        update_average(old, new, 0.5)
    assert old.weight.tolist() == pytest.approx([3 - 2 * 0.5**4] * 2)
    assert old.running_mean.tolist() == pytest.approx([8 - 8 * 0.5**4] * 2)


def test_the_rate_rises_then_follows_half_a_cosine_to_zero():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule, rates = cosine_schedule(optimizer, 105, 5), []
    for _ in range(105):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:6] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])
    assert rates[55] == pytest.approx(1 + math.cos(math.pi * 50 / 101))
    assert rates[-1] == pytest.approx(1 + math.cos(math.pi * 99 / 101))


def test_vectors_are_not_decayed(tmp_path):
    config = read_config(small_config(tmp_path, "emo18"))
    decayed, plain = build_optimizer(config.build(), config).param_groups
    assert {p.ndim for p in decayed["params"]} == {2, 3} and {p.ndim for p in plain["params"]} == {1}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (config.weight_decay, 0)


def small_config(tmp_path, family="logmel", **changes):
    config = {
        "family": family, "seed": 1, "network": {"emotions": list(EMOTIONS), **NETWORKS[family]},
        "batch_size": 8, "epochs": 6, "learning_rate": 5e-3, "weight_decay": 0.01, "warmup": 0.1,
        "label_smoothing": 0.1, "ema_decay": 0.8, "bf16": False,
        "augmentation": AUGMENTATIONS[family],
    }  # fmt: skip
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**config, **changes}))
    return path


def test_config_defaults_to_emogator_and_refuses_what_it_does_not_know(tmp_path):
    config = read_config(small_config(tmp_path, network={"channels": [8, 16]}))
    assert len(config.network.emotions) == 30 and config.network.channels == (8, 16)
    with pytest.raises(InputDataError, match="learning_rat: Extra"):
        read_config(small_config(tmp_path, learning_rat=1))
    with pytest.raises(InputDataError, match="max_tilt: Extra"):  # waves have one, mels do not
        read_config(small_config(tmp_path, augmentation={"max_tilt": 0.1}))
    with pytest.raises(InputDataError, match="channels: Extra"):
        read_config(small_config(tmp_path, "emo18", network={"channels": [8, 16]}))
    unknown = small_config(tmp_path)
    unknown.write_text(unknown.read_text().replace("family: logmel", "family: mfcc"))
    with pytest.raises(InputDataError, match="unknown family of recognisers 'mfcc'; known: emo18, logmel"):
        read_config(unknown)
    unknown.write_text("just words")
    with pytest.raises(InputDataError, match="a family, a network and an augmentation"):
        read_config(unknown)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_configs_that_ship_are_whole(family):
    config = read_config(ROOT / "configs" / "recogniser" / f"{family}.yaml")
    assert config.family == family == config.build().family
    resolved = config.model_dump(mode="json")
    assert resolved["augmentation"]["mixup_alpha"] > 0 and len(resolved["network"]["emotions"]) == 30


@pytest.mark.parametrize("family", FAMILIES)
def test_training_from_the_command_line_hears_the_difference(tmp_path, monkeypatch, capsys, family):
    generator = np.random.default_rng(0)
    clips = []
    for speaker in range(10):
        for e, emotion in enumerate(EMOTIONS):
            for take in range(3):
                seconds = float(generator.uniform(0.25, 0.6))
                wave = tone(
                    (200, 700, 2000)[e] * generator.uniform(0.9, 1.1), seconds, speaker * 9 + e * 3 + take
                )
                name = f"{speaker}-{emotion}-{take}.wav"
                (tmp_path / name).write_bytes(encode_wave(wave))
                clips.append(
                    Clip(
                        id=name, path=name, corpus="tones", split="dev" if speaker >= 7 else "train",
                        speaker=str(speaker), labelled=EMOTIONS, emotions={emotion: 1.0}, seconds=seconds,
                        active_seconds=seconds, level_db=-13, peak_db=-10,
                    )
                )  # fmt: skip
    write_manifest(tmp_path / "manifest.jsonl", clips)
    arguments = ["--config", small_config(tmp_path, family), "--manifest", tmp_path / "manifest.jsonl"]
    arguments += ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    monkeypatch.setattr(sys, "argv", ["train_recogniser", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    training = json.loads((tmp_path / "out" / "config.json").read_text())["training"]
    assert (training["train_clips"], training["dev_clips"], training["dev_speakers"]) == (63, 27, 3)
    assert training["dev_uar"] > 0.8
    low, high = training["dev_uar_interval"]
    assert low <= training["dev_uar"] <= high
    assert len(training["history"]) == 6
    assert training["history"][-1]["train_loss"] < training["history"][0]["train_loss"]
    assert set(training["dev_recalls"]) == set(EMOTIONS)
    assert np.mean(list(training["dev_recalls"].values())) == pytest.approx(training["dev_uar"], abs=1e-4)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| awe | {100 * training['dev_recalls']['awe']:.1f} |" in card
    assert str(tmp_path) not in card
    model = Recogniser.load(tmp_path / "out")
    heard = model.probabilities([tone(200, 0.5, 91), tone(700, 0.4, 92), tone(2000, 0.3, 93)]).argmax(axis=1)
    assert heard.tolist() == [0, 1, 2]
    assert "dev UAR" in capsys.readouterr().out
