"""Pretrained speech networks from a folder: tiny random ones, built on the spot."""

import json
import socket

import numpy as np
import pytest
import torch
from conftest import synthetic_burst
from safetensors.torch import load_file, save_file

from vocalburst.eval.pretrained import KINDS, PretrainedEvaluator, receptive_field
from vocalburst.gen.data.errors import InputDataError, MissingModelError


def build_pretrained(folder, kind, *, normalise=True, norm="group"):
    """A random network of a kind, as `save_pretrained` writes it."""
    import transformers

    name = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}[kind]
    config = getattr(transformers, f"{name}Config")(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(16, 16, 16), conv_kernel=(10, 8, 4), conv_stride=(5, 8, 8), feat_extract_norm=norm,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, num_feat_extract_layers=3,
        max_bucket_distance=80, num_buckets=16,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(KINDS.index(kind))
        getattr(transformers, f"{name}Model")(config).save_pretrained(folder)
    settings = {"sampling_rate": 16_000, "do_normalize": normalise, "return_attention_mask": norm == "layer"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module", params=["group", "layer"])
def hubert(request, tmp_path_factory):
    return build_pretrained(tmp_path_factory.mktemp("hubert"), "hubert", norm=request.param)


def test_embedding_against_the_transformers_way(hubert):
    """Feature extractor, network, mean: written as the model cards show it."""
    import soxr
    from transformers import AutoModel, Wav2Vec2FeatureExtractor

    wave = synthetic_burst(1)
    evaluator = PretrainedEvaluator.load(hubert)
    rms = np.sqrt(np.square(wave.reshape(-1, 480)).mean(axis=1))
    active = np.flatnonzero(rms > rms.max() * 10**-2)  # -40 dB
    part = soxr.resample(wave[active[0] * 480 : (active[-1] + 1) * 480], 24_000, 16_000)
    values = Wav2Vec2FeatureExtractor.from_pretrained(hubert)(
        part, sampling_rate=16_000, return_tensors="pt"
    ).input_values
    with torch.no_grad():
        expected = AutoModel.from_pretrained(hubert).eval()(values).last_hidden_state.mean(dim=1)[0]
    np.testing.assert_allclose(evaluator.embed(wave), expected, atol=1e-5)


def test_level_counts_only_where_the_network_knew_it(tmp_path):
    wave = synthetic_burst(2)
    for normalise in (True, False):
        evaluator = PretrainedEvaluator.load(
            build_pretrained(tmp_path / str(normalise), "wavlm", normalise=normalise, norm="layer")
        )
        gap = np.abs(evaluator.embed(wave) - evaluator.embed(0.2 * wave)).max()
        assert (gap < 1e-4) == normalise
        assert ("unit-variance" if normalise else "own-level") in evaluator.preprocessing


def test_nothing_is_downloaded(hubert, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    PretrainedEvaluator.load(hubert).listen([synthetic_burst(0)])
    with pytest.raises(MissingModelError, match=r"no-such-model/config.json: cannot be read \(No such file"):
        PretrainedEvaluator.load(hubert / "no-such-model")


def test_receptive_field_is_the_shortest_wave_there_is():
    kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
    assert receptive_field(kernels, strides) == 400  # of the published networks: 25 ms
    x = torch.zeros(1, 1, 400)
    for kernel, stride in zip(kernels, strides, strict=True):
        x = torch.nn.functional.conv1d(x, torch.zeros(1, 1, kernel), stride=stride)
    assert x.shape[-1] == 1


def test_a_click_is_too_short(hubert):
    click = np.zeros(4800, np.float32)
    click[100] = 0.5
    with pytest.raises(
        InputDataError, match=r"a burst of 4 ms is shorter than one step of hubert-\w+, 10 ms"
    ):
        PretrainedEvaluator.load(hubert).embed(click[:101])
    assert np.isfinite(PretrainedEvaluator.load(hubert).embed(click)).all()  # one active frame of 20 ms


def test_weights_of_a_network_with_outputs_are_read_past_its_prefix(hubert, tmp_path):
    from transformers import AutoConfig, HubertForCTC

    config = AutoConfig.from_pretrained(hubert, vocab_size=7)
    network = HubertForCTC(config)
    network.hubert.load_state_dict(load_file(hubert / "model.safetensors"), strict=False)
    network.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((hubert / "preprocessor_config.json").read_bytes())
    wave = synthetic_burst(4)
    bare, with_outputs = PretrainedEvaluator.load(hubert), PretrainedEvaluator.load(tmp_path)
    np.testing.assert_allclose(with_outputs.embed(wave), bare.embed(wave), atol=1e-6)
    assert with_outputs.id != bare.id


def test_folders_that_lack_something(hubert, tmp_path):
    def refused(match, without=(), **changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for path in hubert.iterdir():
            if path.name not in without:
                (folder / path.name).write_bytes(path.read_bytes())
        for name, content in changes.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        if "tensors" in without:
            tensors = load_file(folder / "model.safetensors")
            del tensors["encoder.layers.1.final_layer_norm.weight"]
            save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(MissingModelError, match=match):
            PretrainedEvaluator.load(folder)

    refused("preprocessor_config.json: cannot be read", without=("preprocessor_config.json",))
    refused("expected sampling_rate 16000 and do_normalize, got 8000 and True",
            preprocessor_config={"sampling_rate": 8000, "do_normalize": True})  # fmt: skip
    refused("got 16000 and None", preprocessor_config={"sampling_rate": 16_000})
    refused("preprocessor_config.json: expected a mapping", preprocessor_config=[1])
    refused("got 'whisper'", config={"model_type": "whisper"})
    refused("holds no weights", without=("model.safetensors",))
    refused("its weights lack 1 tensors, the first is .*final_layer_norm.weight", without=("tensors",))
