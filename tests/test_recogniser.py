"""What holds for the recognisers of every family: padding, batches, silence, files."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recogniser_fixtures import SMALL, tone
from safetensors.torch import load_file

from vocalburst.eval.recogniser import FAMILIES, Recogniser, recogniser_class
from vocalburst.eval.train_recogniser import read_config
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.data.errors import InputDataError, MissingModelError

pytestmark = pytest.mark.parametrize("family", FAMILIES)


def test_embedding_does_not_depend_on_the_batch(family):
    model = SMALL[family]()
    waves = [tone(200, 0.3), tone(400, 1.1, 1), tone(900, 0.77, 2)]
    together = model.embed_waves(waves)
    alone = torch.cat([model.embed_waves([wave]) for wave in waves])
    assert together.shape == (3, model.dim)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_samples_after_the_length_do_not_count(family):
    model = SMALL[family]()
    wave = np.stack([np.pad(tone(300, 0.5), (0, 9000)), tone(500, 0.875, 3)])
    wave[0, 12000:] = np.random.default_rng(4).normal(size=9000)
    embedding = model.embed(torch.from_numpy(wave), lengths=[12000, 21000])
    torch.testing.assert_close(embedding[:1], model.embed_waves([wave[0, :12000]]), atol=1e-5, rtol=1e-4)


def test_silence_around_a_burst_does_not_count(family):
    model = SMALL[family]()
    wave = tone(300, 0.6)
    around = np.pad(wave, (4 * 480, 10_000))  # the energy frames are 480 samples
    torch.testing.assert_close(model.embed_waves([around]), model.embed_waves([wave]), atol=1e-5, rtol=1e-4)


def test_probabilities_are_a_softmax_over_any_batching(family):
    model = SMALL[family]()
    waves = [tone(100 * i, 0.2 + 0.1 * i, i) for i in range(1, 6)]
    probability = model.probabilities(waves, batch_size=2)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_allclose(probability, model.probabilities(waves), atol=1e-6)


def test_silence_is_refused(family):
    with pytest.raises(InputDataError, match="a wave of 5000 samples is silent"):
        SMALL[family]().features(np.zeros(5000, np.float32))


def test_save_and_load(family, tmp_path):
    model = SMALL[family]()
    model.save(tmp_path, "# card\n", {"seed": 1})
    stored = load_file(tmp_path / "model.safetensors")
    matrices = {value.dtype for value in stored.values() if value.ndim > 1}
    vectors = {value.dtype for value in stored.values() if value.ndim == 1}
    assert (matrices, vectors) == ({torch.float16}, {torch.float32})
    assert not any(name.startswith("log_mel") for name in stored)
    again = Recogniser.load(tmp_path)
    assert type(again) is type(model) is recogniser_class(family)
    assert (again.config, again.preprocessing) == (model.config, model.preprocessing)
    assert not again.training
    waves = [tone(300, 0.5), tone(600, 0.9, 1)]
    rounded = model.load_tensors(model.stored_tensors())
    np.testing.assert_array_equal(again.probabilities(waves), rounded.probabilities(waves))
    assert json.loads((tmp_path / "config.json").read_text())["training"] == {"seed": 1}


def test_damaged_folders_are_refused(family, tmp_path):
    good = tmp_path / "good"
    SMALL[family]().save(good, "", {})
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
    refused("not the config", config=[config])
    refused("unknown family of recognisers 'mfcc'; known: emo18, logmel", config={**config, "family": "mfcc"})
    refused("widgets", config={**config, "network": {**config["network"], "widgets": 3}})
    refused("not those", config={**config, "network": {**config["network"], "emotions": ["awe", "fear"]}})
    if family == "logmel":
        refused("mel config", config={**config, "mel": {"n_mels": 100}})


def test_the_checkpoint_that_ships_is_whole_and_small(family):
    folder = Path(__file__).parents[1] / "checkpoints" / "evaluators" / family
    model = Recogniser.load(folder)
    assert model.config.emotions == EMOGATOR_30
    assert (folder / "model.safetensors").stat().st_size < 4e6
    training = json.loads((folder / "config.json").read_text())["training"]
    assert f"**{training['dev_uar']:.3f}**" in (folder / "README.md").read_text()
    probability = model.probabilities([tone(300, 0.8), tone(900, 0.4, 1)])
    assert probability.shape == (2, 30) and np.isfinite(probability).all()


def test_the_documented_numbers_are_those_of_the_card(family):
    root = Path(__file__).parents[1]
    folder = root / "checkpoints" / "evaluators" / family
    training = json.loads((folder / "config.json").read_text())["training"]
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:12]
    low, high = training["dev_uar_interval"]
    row = (
        f"| `{family}` | `{weights}` | {training['config']['epochs']} | {training['cpu_minutes']:.1f} | "
        f"**{training['dev_uar']:.3f}** | {low:.3f} to {high:.3f} |"
    )
    text = (root / "docs" / "recognition.md").read_text(encoding="utf-8")
    assert row in text
    column = 2 if family == "emo18" else 3
    recalls = {
        cells[1].strip(): cells[column].strip()
        for cells in (line.split("|") for line in text.splitlines())
        if len(cells) == 5 and cells[1].strip() in EMOGATOR_30
    }
    assert recalls == {name: f"{100 * recall:.1f}" for name, recall in training["dev_recalls"].items()}


def test_the_config_that_ships_made_the_weights_that_ship(family):
    root = Path(__file__).parents[1]
    config = read_config(root / "configs" / "recogniser" / f"{family}.yaml").model_dump(mode="json")
    stored = json.loads((root / "checkpoints" / "evaluators" / family / "config.json").read_text())
    assert stored["training"]["config"] == {
        name: value for name, value in config.items() if name in stored["training"]["config"]
    }
    assert stored["network"] == config["network"]
