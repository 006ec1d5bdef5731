"""The recogniser's network, its files and its training."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from vocalburst.eval.augmentation import Augmentation, augment, mixed_batch
from vocalburst.eval.recogniser import NetworkConfig, Recogniser, attentive_statistics, pad_mels
from vocalburst.eval.train_recogniser import batch_indices, main, read_config, update_average
from vocalburst.gen.data.audio import SAMPLE_RATE, encode_wave
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.data.manifest import Clip, write_manifest

EMOTIONS = ("anger", "awe", "fear")


def small_recogniser(**changes) -> Recogniser:
    """Random weights, and batch norms whose shift would leak into padding if nothing masked it."""
    torch.manual_seed(0)
    model = Recogniser(NetworkConfig(emotions=EMOTIONS, channels=(4, 8, 8), embedding_dim=16, **changes))
    for name, value in model.state_dict().items():
        if name.endswith(("running_mean", "norm.bias")):
            value.normal_(std=0.5)
    model.mel_mean.fill_(-6.0)
    return model.eval()


def tone(hz: float, seconds: float, seed: int = 0, amplitude: float = 0.3) -> np.ndarray:
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(seed).normal(size=len(times))
    return (amplitude * (np.sin(2 * np.pi * hz * times) + 0.05 * noise)).astype(np.float32)


def test_embedding_does_not_depend_on_the_batch():
    model = small_recogniser()
    waves = [tone(200, 0.3), tone(400, 1.1, 1), tone(900, 0.77, 2)]
    together = model.embed_waves(waves)
    alone = torch.cat([model.embed_waves([wave]) for wave in waves])
    assert together.shape == (3, 16)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_samples_after_the_length_do_not_count():
    model = small_recogniser()
    wave = np.stack([np.pad(tone(300, 0.5), (0, 9000)), tone(500, 0.875, 3)])
    wave[0, 12000:] = np.random.default_rng(4).normal(size=9000)
    embedding = model.embed(torch.from_numpy(wave), lengths=[12000, 21000])
    torch.testing.assert_close(embedding[:1], model.embed_waves([wave[0, :12000]]), atol=1e-5, rtol=1e-4)


def test_frames_after_the_length_do_not_count():
    model = small_recogniser()
    mel, lengths = pad_mels([torch.randn(100, 37) - 6, torch.randn(100, 80) - 6])
    assert lengths.tolist() == [37, 80]
    garbage = mel.clone()
    garbage[0, :, 37:] = 99.0
    with torch.no_grad():
        torch.testing.assert_close(model.embed_mel(garbage, lengths), model.embed_mel(mel, lengths))


@pytest.mark.parametrize("normalised", [True, False])
def test_level_counts_only_without_normalisation(normalised):
    model = small_recogniser(level_normalised=normalised)
    loud, quiet = model.embed_waves([tone(300, 0.6), tone(300, 0.6) * 0.01])
    assert torch.allclose(loud, quiet, atol=1e-3) == normalised


def test_silence_around_a_burst_does_not_count():
    model = small_recogniser()
    wave = tone(300, 0.6)
    around = np.pad(wave, (4 * 480, 10_000))  # the energy frames are 480 samples
    torch.testing.assert_close(model.embed_waves([around]), model.embed_waves([wave]), atol=1e-5, rtol=1e-4)


def test_features_floor_and_edges():
    model = small_recogniser(dynamic_range_db=40.0)
    mel = model.features(tone(300, 0.6))
    assert float(mel.max() - mel.min()) == pytest.approx(40 * math.log(10) / 20, rel=1e-5)
    assert model.features(tone(300, 0.01)).shape == (100, 2048 // 256 + 1)
    with pytest.raises(InputDataError, match="silent"):
        model.features(np.zeros(5000, np.float32))


def test_probabilities_are_a_softmax_over_any_batching():
    model = small_recogniser()
    waves = [tone(100 * i, 0.2 + 0.1 * i, i) for i in range(1, 6)]
    probability = model.probabilities(waves, batch_size=2)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_allclose(probability, model.probabilities(waves), atol=1e-6)


def test_attentive_statistics_against_a_loop():
    x, scores = torch.randn(2, 3, 7), torch.randn(2, 1, 7)
    pooled = attentive_statistics(x, scores, torch.tensor([7, 4]))
    for b, length in enumerate([7, 4]):
        weights = [math.exp(float(scores[b, 0, t])) for t in range(length)]
        for c in range(3):
            values = [float(x[b, c, t]) for t in range(length)]
            mean = np.average(values, weights=weights)
            deviation = math.sqrt(np.average((np.array(values) - mean) ** 2, weights=weights))
            assert float(pooled[b, c]) == pytest.approx(mean, abs=1e-5)
            assert float(pooled[b, 3 + c]) == pytest.approx(deviation, rel=1e-4)


def test_save_and_load(tmp_path):
    model = small_recogniser()
    model.save(tmp_path, "# card\n", {"seed": 1})
    stored = load_file(tmp_path / "model.safetensors")
    assert stored["stem.weight"].dtype == torch.float16
    assert stored["stem_norm.running_var"].dtype == torch.float32
    assert not any(name.startswith("log_mel") for name in stored)
    again = Recogniser.load(tmp_path)
    assert again.config == model.config
    assert not again.training
    waves = [tone(300, 0.5), tone(600, 0.9, 1)]
    rounded = model.load_tensors(model.stored_tensors())
    np.testing.assert_array_equal(again.probabilities(waves), rounded.probabilities(waves))
    assert json.loads((tmp_path / "config.json").read_text())["training"] == {"seed": 1}


def test_damaged_folders_are_refused(tmp_path):
    good = tmp_path / "good"
    small_recogniser().save(good, "", {})
    weights, config = (
        (good / "model.safetensors").read_bytes(),
        json.loads((good / "config.json").read_text()),
    )

    def refused(match, weights=weights, config=config):
        (good / "model.safetensors").write_bytes(weights)
        (good / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        with pytest.raises(MissingModelError, match=match):
            Recogniser.load(good)

    with pytest.raises(MissingModelError, match="cannot be read"):
        Recogniser.load(tmp_path / "nowhere")
    refused("cannot be read", weights=weights[: len(weights) // 2])
    refused("cannot be read", weights=b"\x80\x04pickle" + bytes(64))
    refused("not the config", config="{")
    refused("not the config", config={"network": config["network"]})
    refused("widgets", config={**config, "network": {**config["network"], "widgets": 3}})
    refused("not those", config={**config, "network": {**config["network"], "embedding_dim": 17}})
    refused("mel config", config={**config, "mel": {"n_mels": 100}})


def test_augment_does_nothing_when_nothing_is_asked():
    mel = torch.randn(100, 60)
    torch.testing.assert_close(augment(mel, Augmentation(), np.random.default_rng(0)), mel)


def test_augment_stays_within_its_limits():
    config = Augmentation(
        max_crop=10, max_gain_db=3, max_bin_shift=3, time_masks=2, max_time_mask=8, frequency_masks=1,
        max_frequency_mask=9,
    )  # fmt: skip
    mel = torch.randn(100, 60)
    original = mel.clone()
    generator = np.random.default_rng(1)
    lengths = {augment(mel, config, generator).shape[1] for _ in range(200)}
    assert min(lengths) == 40 and max(lengths) == 60
    assert augment(mel[:, :5], config, generator).shape == (100, 5)
    torch.testing.assert_close(mel, original)


def test_gain_and_bin_shift_move_the_spectrogram():
    mel = torch.arange(100.0)[:, None].expand(100, 20).contiguous()
    generator = np.random.default_rng(2)
    louder = augment(mel, Augmentation(max_gain_db=6), generator) - mel
    assert float(louder.std()) < 1e-5
    assert 0 < abs(float(louder.mean())) <= 6 * math.log(10) / 20
    shifts = {
        round(float((augment(mel, Augmentation(max_bin_shift=2), generator) - mel)[50, 0])) for _ in range(50)
    }
    assert shifts == {-2, -1, 0, 1, 2}


def test_mixup_keeps_targets_a_distribution_and_the_shorter_length():
    mels = [torch.full((100, 30), -3.0), torch.full((100, 50), -5.0)]
    labels = torch.tensor([0, 2])
    mel, lengths, targets = mixed_batch(mels, labels, 3, 0.0, np.random.default_rng(0))
    assert targets.tolist() == [[1, 0, 0], [0, 0, 1]] and lengths.tolist() == [30, 50]
    for seed in range(8):
        mel, lengths, targets = mixed_batch(mels, labels, 3, 0.5, np.random.default_rng(seed))
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(2))
        if lengths.tolist() == [30, 30]:  # the other was drawn
            torch.testing.assert_close(mel[:, 0, 0], -3 * targets[:, 0] - 5 * targets[:, 2])
            break
    else:
        pytest.fail("no draw mixed the two clips")


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


def small_config(tmp_path, **changes):
    config = {
        "seed": 1, "network": {"emotions": list(EMOTIONS), "channels": [8, 16], "embedding_dim": 16},
        "batch_size": 8, "epochs": 6, "learning_rate": 5e-3, "weight_decay": 0.01, "warmup": 0.1,
        "label_smoothing": 0.1, "ema_decay": 0.8, "bf16": False,
        "augmentation": {"max_crop": 4, "max_gain_db": 3, "max_time_mask": 4, "time_masks": 1},
    }  # fmt: skip
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**config, **changes}))
    return path


def test_config_defaults_to_emogator_and_refuses_unknown_keys(tmp_path):
    config = read_config(small_config(tmp_path, network={"channels": [8, 16]}))
    assert len(config.network.emotions) == 30
    with pytest.raises(InputDataError, match="learning_rat: Extra"):
        read_config(small_config(tmp_path, learning_rat=1))
    (tmp_path / "config.yaml").write_text("just words")
    with pytest.raises(InputDataError, match="network section"):
        read_config(tmp_path / "config.yaml")


def test_training_from_the_command_line_hears_the_difference(tmp_path, monkeypatch, capsys):
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
    arguments = ["--config", small_config(tmp_path), "--manifest", tmp_path / "manifest.jsonl"]
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


def test_the_checkpoint_that_ships_is_whole_and_small():
    folder = Path(__file__).parents[1] / "checkpoints" / "evaluators" / "logmel"
    model = Recogniser.load(folder)
    assert model.config.emotions == EMOGATOR_30
    assert (folder / "model.safetensors").stat().st_size < 4e6
    training = json.loads((folder / "config.json").read_text())["training"]
    assert f"**{training['dev_uar']:.3f}**" in (folder / "README.md").read_text()
    probability = model.probabilities([tone(300, 0.8), tone(900, 0.4, 1)])
    assert probability.shape == (2, 30) and np.isfinite(probability).all()
