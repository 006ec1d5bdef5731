"""HuBERT fine-tuned: masks, frozen parts, the paper's sizes, one run on real clips without the folder afterwards."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import synthetic_burst
from emogator_fixtures import real_clips
from transformers_fixtures import tiny_convnext, tiny_hubert

from vocalburst.eval.recogniser import pad_features
from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.hubert_ft import HubertFt
from vocalburst.eval.recognition.masked_hubert import CHANGES, MaskedHubert, unit_variance
from vocalburst.eval.recognition.network import Network
from vocalburst.eval.recognition.outputs import Outputs
from vocalburst.eval.recognition.pretrained_network import build_network, config_json, read_network
from vocalburst.eval.recognition.registry import build
from vocalburst.gen.data.errors import MissingModelError


@pytest.fixture(scope="module", params=["group", "layer"])
def folder(request, tmp_path_factory):
    return tiny_hubert(tmp_path_factory.mktemp("hubert") / request.param, norm=request.param)


@pytest.fixture
def body(folder):
    return HubertFt(read_network(str(folder), "hubert")[0]).eval()


def clips(*seconds):
    return [unit_variance(torch.from_numpy(synthetic_burst(k, s)[::3].copy())) for k, s in enumerate(seconds)]


def test_padding_changes_nothing(folder, body):
    """Alone without any mask, as a model card shows it, is the reference for a padded batch."""
    from transformers import AutoModel

    network = AutoModel.from_pretrained(folder).eval()
    waves = clips(0.3, 0.9, 0.9, 0.51, 1.2)
    x, lengths = pad_features(waves)
    x[0, len(waves[0]) :] = 3.0  # whatever stands after the end
    with torch.no_grad():
        batch = body(x, lengths)
        alone = torch.stack([network(wave[None]).last_hidden_state[0].mean(dim=0) for wave in waves])
    torch.testing.assert_close(batch, alone, atol=2e-5, rtol=1e-4)
    assert (alone[0] - alone[3]).abs().max() > 0.01  # clips differ by more than that


def test_a_plain_padded_batch_would_not_do(tmp_path):
    """Why base-size convolutions hear clips of one length at a time: their norm sees the padding."""
    network = read_network(str(tiny_hubert(tmp_path, norm="group")), "hubert")[0].eval()
    x, lengths = pad_features(clips(0.3, 1.2))
    with torch.no_grad():
        together = network.feature_extractor(x)[0]
        own = MaskedHubert(network).convolve(x, lengths)[0].T
    steps = own.shape[1] // 5
    assert (together[:, :steps] - own[:, :steps]).abs().max() > 0.05


def test_frozen_parts_get_no_gradient_and_everything_else_does(body):
    model = build("hubert-ft", "emogator-30")
    network = Network(body, Outputs(model.task, body.dim)).train()
    assert not body.hubert.network.feature_extractor.training and body.hubert.network.encoder.training
    x, lengths = pad_features(clips(0.3, 0.5, 0.9, 0.5))
    _, raw = network(x, lengths)
    model.loss(network, raw, torch.arange(4.0)[:, None], None).backward()
    frozen, moved = set(), set()
    for name, parameter in network.named_parameters():
        (frozen if parameter.grad is None else moved).add(name.removeprefix("body.hubert.network."))
        assert parameter.grad is None or parameter.grad.abs().sum() > 0 or name.endswith("k_proj.bias")
    assert {n for n in frozen if not n.startswith(("feature_", "masked_spec_embed"))} == set()
    assert all(n.startswith(("encoder.", "outputs.")) for n in moved) and len(frozen) > 5 and len(moved) > 20
    encoder, head = model.parameter_groups(network)
    assert (encoder["lr"], head["lr"], model.settings.optimizer) == (1e-5, 1e-4, "adam")
    assert len(encoder["params"]) + len(head["params"]) == len(moved)


def test_sizes_of_the_paper():
    """HuBERT large: 315 million parameters and 1024 channels, of which 4.5 s make 224 steps."""
    config = {
        "model_type": "hubert", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True,
    }  # fmt: skip
    with torch.device("meta"):
        body = HubertFt(build_network(config)).eval()
        whole = body.hubert.forward_whole(torch.empty(2, 72_000))
    assert body.dim == 1024 and whole.shape == (2, 224, 1024)
    assert round(sum(p.numel() for p in body.parameters()) / 1e6) in (315, 316)
    assert body.hubert.steps(72_000) == 224
    recipe = build("hubert-ft", "emogator-30").settings
    assert (recipe.rho, recipe.patience, recipe.epochs, recipe.batch_size) == (10, 3, 30, 16)


def test_hears_the_first_four_and_a_half_seconds():
    model = build("hubert-ft", "emogator-30", normalise=True)
    wave = np.concatenate([synthetic_burst(1, 3.0), synthetic_burst(2, 3.0)])
    heard = model.features(wave)
    assert heard.shape == (72_000,)
    torch.testing.assert_close(heard.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(heard.std(), torch.tensor(1.0), atol=1e-3, rtol=0)
    changed = wave.copy()
    changed[120_000:] *= 0.5
    torch.testing.assert_close(model.features(changed), heard)
    assert model.features(wave[:24_000]).shape[0] <= 16_000


def test_what_a_user_gets_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    waves, y = [synthetic_burst(k) for k in range(30)], np.arange(30)
    with pytest.raises(
        MissingModelError, match=r"^hubert-ft starts from a pretrained HuBERT: set `pretrained`"
    ):
        build("hubert-ft", "emogator-30").fit(waves, y)
    with pytest.raises(
        MissingModelError, match=r"^no/such/folder: no such folder of pretrained weights, nor a hub id"
    ):
        build("hubert-ft", "emogator-30", pretrained="no/such/folder").fit(waves, y)
    with pytest.raises(
        MissingModelError, match=r"^made-up/model: no such folder, nor a model of the hub at hand"
    ):
        build("hubert-ft", "emogator-30", pretrained="made-up/model").fit(waves, y)
    other = tiny_convnext(tmp_path / "convnext")
    with pytest.raises(MissingModelError, match=r"expected a model_type of hubert, got 'convnext'$"):
        build("hubert-ft", "emogator-30", pretrained=str(other)).fit(waves, y)
    normed = tiny_hubert(tmp_path / "normed", conv_pos_batch_norm=True)
    with pytest.raises(MissingModelError, match=r"batch norm in its positional convolution"):
        build("hubert-ft", "emogator-30", pretrained=str(normed)).fit(waves, y)


def test_learns_real_clips_and_needs_the_folder_no_more(tmp_path):
    waves, classes = real_clips()
    folder = tiny_hubert(tmp_path / "tiny", hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
    model = build(
        "hubert-ft",
        "emogator-30",
        pretrained=str(folder),
        lr=1e-2,
        lr_pretrained=4e-3,
        epochs=30,
        patience=30,
    )
    model.fit(waves, classes)
    assert (model.predict(waves)[:, 0] == classes).mean() > 0.8
    assert set(model.training_["started_from"]) == {"hubert"}
    model.save(tmp_path / "run")
    shutil.rmtree(folder)
    again = RecognitionModel.load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict_proba(waves[:4]), model.predict_proba(waves[:4]))
    assert again.preprocessing == model.preprocessing == "trailing-40db_16000hz_first-4.5s_unit-variance"
    config = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["hubert_config"]
    assert config["hidden_size"] == 24 and "_name_or_path" not in config
    assert config_json(again.network.body.hubert.network) == {**config, **CHANGES}
