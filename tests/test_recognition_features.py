"""openSMILE functionals and self-supervised embeddings under a head: what is computed, kept, saved and refused."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from conftest import synthetic_burst
from test_pretrained import build_pretrained

from vocalburst.eval.pretrained import PretrainedEvaluator
from vocalburst.eval.recognition import feature_cache
from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.feature_cache import content_key
from vocalburst.eval.recognition.functionals import FunctionalsModel
from vocalburst.eval.recognition.opensmile_features import PEAK, OpenSmile
from vocalburst.eval.recognition.pretrained_network import pretrained_folder
from vocalburst.eval.recognition.registry import build
from vocalburst.gen.data.errors import InputDataError, MissingModelError

opensmile = pytest.importorskip("opensmile")
BURSTS = [synthetic_burst(k, seconds=0.3 + 0.02 * k, pitch=150 + 40 * k) for k in range(12)]
AFFECT = np.stack([np.linspace(0.1, 0.9, 12), np.linspace(0.8, 0.2, 12)], axis=1)
EGEMAPS = {"feature_set": "egemaps", "head": "lr", "cache": None}


@pytest.fixture(scope="module")
def egemaps():
    return OpenSmile("egemaps")


@pytest.fixture(scope="module")
def fitted():
    model = build("egemaps-lr", "avb-two", cache=None, c_grid=(0.01, 1.0))
    return model.fit(BURSTS[:8], AFFECT[:8], (BURSTS[8:], AFFECT[8:]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_pretrained(tmp_path_factory.mktemp("ssl") / "tiny", "wav2vec2")


def ssl(folder, **settings):
    return build("wav2vec2", "avb-two", pretrained=str(folder), **{"cache": None, **settings})


@pytest.mark.parametrize("feature_set", ["compare", "egemaps"])
def test_features_against_opensmile_of_a_file(feature_set, tmp_path):
    """Written as 16-bit WAV with its peak at -3 dBFS, as the competitions handed clips out."""
    import soundfile
    import soxr

    signal = soxr.resample(BURSTS[3], 24_000, 16_000)
    soundfile.write(tmp_path / "a.wav", signal * PEAK / np.abs(signal).max(), 16_000, "PCM_16")
    own = OpenSmile(feature_set)
    name = {"compare": opensmile.FeatureSet.ComParE_2016, "egemaps": opensmile.FeatureSet.eGeMAPSv02}[
        feature_set
    ]
    expected = opensmile.Smile(name).process_file(tmp_path / "a.wav")
    assert own.names == tuple(expected.columns) and own.dim == {"compare": 6373, "egemaps": 88}[feature_set]
    gap = np.abs(own.compute(BURSTS[3]) - expected.to_numpy()[0]) / (1 + np.abs(expected.to_numpy()[0]))
    assert np.mean(gap < 0.05) > 0.95  # the file's samples are rounded otherwise


def test_level_means_nothing_and_silence_at_the_edges_something(egemaps):
    wave = BURSTS[1]
    np.testing.assert_allclose(egemaps.compute(0.25 * wave), egemaps.compute(wave), rtol=0.02, atol=0.05)
    padded = np.pad(wave, (4800, 9600))
    gap = np.abs(egemaps.compute(padded) - egemaps.compute(wave))
    assert gap.max() > 1
    active = OpenSmile("egemaps", "active")
    np.testing.assert_allclose(active.compute(padded), active.compute(wave), rtol=1e-4, atol=1e-4)
    assert active.preprocessing != egemaps.preprocessing


@pytest.mark.parametrize(
    ("wave", "match"),
    [
        (BURSTS[0][3000:3900], r"wave 1: a clip of 38 ms is shorter than a frame of openSMILE's eGeMAPSv02"),
        (
            np.zeros(9000, np.float32),
            "wave 1: a clip is digital silence, of which openSMILE has nothing to say",
        ),
    ],
)
def test_clips_without_features(fitted, wave, match):
    with pytest.raises(InputDataError, match=match):
        fitted.predict([BURSTS[0], wave])


def test_without_the_package(monkeypatch, fitted, tmp_path):
    fitted.save(tmp_path)
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(
        MissingModelError, match="free for private, research and educational use only"
    ) as refused:
        build("egemaps-lr", "avb-two").fit(BURSTS, AFFECT)
    assert "pip install 'vocalburst[opensmile]'" in str(refused.value)
    with pytest.raises(MissingModelError, match="pip install"):
        RecognitionModel.load(tmp_path)


def test_cache_by_content(monkeypatch, tmp_path, egemaps):
    monkeypatch.setattr(feature_cache, "WORTH_KEEPING", 3)
    monkeypatch.setattr(feature_cache, "CHUNK", 2)
    calls = []
    monkeypatch.setattr(
        OpenSmile, "compute", lambda self, wave: calls.append(1) or np.full(self.dim, wave.sum(), np.float32)
    )
    waves = [*BURSTS[:4], BURSTS[0].copy()]
    kept = OpenSmile("egemaps", cache=tmp_path)
    first = kept.extract(waves)
    assert len(calls) == 4 and len(list(tmp_path.glob("*/*.safetensors"))) == 2
    np.testing.assert_array_equal(first[:, 5], [np.float32(wave.sum()) for wave in waves])
    later = OpenSmile("egemaps", cache=tmp_path)
    np.testing.assert_array_equal(later.extract([waves[2], BURSTS[7], waves[0]])[[0, 2]], first[[2, 0]])
    assert len(calls) == 5
    OpenSmile("egemaps", "active", cache=tmp_path).extract(waves)
    assert len(calls) == 9  # another preprocessing never meets what was kept
    later.extract(waves[:2])
    assert len(calls) == 11 and content_key(waves[0]) == content_key(waves[4])  # too few to be looked for


def test_interrupted_extraction_goes_on(monkeypatch, tmp_path):
    monkeypatch.setattr(feature_cache, "WORTH_KEEPING", 3)
    monkeypatch.setattr(feature_cache, "CHUNK", 2)
    waves = [*BURSTS[:4], BURSTS[4][:500]]
    with pytest.raises(InputDataError, match="wave 4: a clip of 21 ms"):
        OpenSmile("egemaps", cache=tmp_path).extract(waves)
    monkeypatch.setattr(OpenSmile, "compute", lambda *_: pytest.fail("computed again"))
    assert OpenSmile("egemaps", cache=tmp_path).extract(waves[:4]).shape == (4, 88)


def test_two_processes_give_the_same(egemaps):
    expected = egemaps.extract(BURSTS[:4])
    np.testing.assert_array_equal(OpenSmile("egemaps", workers=2).extract(BURSTS[:4]), expected)


def test_functionals_round_trip(fitted, tmp_path):
    fitted.save(tmp_path)
    loaded = RecognitionModel.load(tmp_path)
    assert type(loaded) is FunctionalsModel and loaded.training_ == fitted.training_
    np.testing.assert_array_equal(loaded.predict(BURSTS), fitted.predict(BURSTS))
    assert fitted.embed(BURSTS[:2]).shape == (2, 88) and loaded.dim == 88
    assert loaded.preprocessing == "whole_16000hz_peak-3db_eGeMAPSv02"
    settings = json.loads((tmp_path / "config.json").read_text())["settings"]
    assert settings["feature_set"] == "egemaps" and not {"cache", "workers"} & set(settings)


def test_features_of_another_set_are_refused(fitted, tmp_path, monkeypatch):
    fitted.save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"feature_set": "egemaps"', '"feature_set": "compare"'))
    with pytest.raises(
        MissingModelError,
        match=r"^egemaps-lr: expected the 88 features of openSMILE's eGeMAPSv02 that the model was trained on, got "
        r"the 6373 of openSMILE's ComParE_2016$",
    ):
        RecognitionModel.load(tmp_path)
    fitted.save(tmp_path)
    names = list(OpenSmile("egemaps").names)
    names[7] = "jitter"
    space = {"what": "openSMILE's eGeMAPSv02", "names": names}
    monkeypatch.setattr(FunctionalsModel, "space", lambda _: space)
    with pytest.raises(
        MissingModelError, match=r"feature 7 of openSMILE's eGeMAPSv02 is jitter, expected F0semi"
    ):
        RecognitionModel.load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"feature_set": "gemaps"}, "settings of compare-svr: feature_set"),
        ({"c_grid": ()}, "settings of compare-svr: c_grid"),
        ({"colour": "red"}, "settings of compare-svr: colour"),
    ],
)
def test_settings_that_are_none(settings, match):
    with pytest.raises(InputDataError, match=match):
        build("compare-svr", "avb-two", **settings)


def test_embedding_is_the_mean_that_the_evaluator_hears(folder):
    model = ssl(folder)
    model.fit(BURSTS[:8], AFFECT[:8], (BURSTS[8:], AFFECT[8:]))
    expected = np.stack([PretrainedEvaluator.load(folder).embed(wave) for wave in BURSTS[:3]])
    np.testing.assert_array_equal(model.features(BURSTS[:3]), expected)
    assert list(model.training_["chosen"][0]["dev"]) == ["0.001", "0.01", "0.1", "1"]
    assert model.training_["refitted_on_dev"]
    assert (
        not ssl(folder, refit_on_dev=False).fit(BURSTS, AFFECT, (BURSTS, AFFECT)).training_["refitted_on_dev"]
    )


def test_embeddings_are_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "WORTH_KEEPING", 2)
    expected = ssl(folder, cache=str(tmp_path)).features(BURSTS[:3])
    monkeypatch.setattr(PretrainedEvaluator, "embed", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(ssl(folder, cache=str(tmp_path)).features(BURSTS[:3]), expected)


@pytest.mark.parametrize("head", ["lr", "svr"])
def test_self_supervised_round_trip(folder, head, tmp_path):
    model = ssl(folder, head=head, c_grid=(0.1,)).fit(BURSTS, AFFECT)
    model.save(tmp_path / "model")
    loaded = RecognitionModel.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(BURSTS[:4]), model.predict(BURSTS[:4]))
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 5000  # the head, not the network


def test_other_weights_or_none_are_refused(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    ssl(copy, c_grid=(0.1,)).fit(BURSTS, AFFECT).save(tmp_path / "model")
    weights = PretrainedEvaluator.load(copy).id
    shutil.rmtree(copy)
    with pytest.raises(
        MissingModelError, match=f"^{copy}: no such folder of pretrained weights, nor a hub id"
    ):
        RecognitionModel.load(tmp_path / "model")
    build_pretrained(copy, "wav2vec2", norm="layer")
    other = PretrainedEvaluator.load(copy).id
    with pytest.raises(MissingModelError) as refused:
        RecognitionModel.load(tmp_path / "model")
    assert str(refused.value) == (
        f"wav2vec2: expected the 24 features of the weights {weights} in {copy} that the model was trained on, got "
        f"the 24 of the weights {other} in {copy}"
    )


def test_kinds(folder, tmp_path):
    voc2vec = build("voc2vec", "avb-two", pretrained=str(folder), cache=None)
    assert voc2vec.fit(BURSTS, AFFECT).dim == 24  # a wav2vec 2.0 network
    with pytest.raises(MissingModelError, match="hubert needs a model_type of hubert, got wav2vec2"):
        build("hubert", "avb-two", pretrained=str(folder), cache=None).fit(BURSTS, AFFECT)
    with pytest.raises(
        MissingModelError, match=r"wavlm needs the setting pretrained: a folder with config\.json"
    ):
        build("wavlm", "avb-two", cache=None).fit(BURSTS, AFFECT)
    with pytest.raises(InputDataError, match="settings of hubert: head"):
        build("hubert", "avb-two", head="mlp")


def test_nothing_is_downloaded_offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        MissingModelError,
        match=r"^nobody/nothing: no such folder, nor a model of the hub at hand \(and nothing is",
    ):
        ssl("nobody/nothing").fit(BURSTS, AFFECT)


def test_a_model_of_the_hub_is_asked_for_by_its_files(monkeypatch, folder, capsys):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert pretrained_folder("facebook/wav2vec2-base") == folder
    needed = ["config.json", "preprocessor_config.json", "*.index.json"]
    assert asked == [("facebook/wav2vec2-base", [*needed, "model*.safetensors"])]
    assert capsys.readouterr().err == "facebook/wav2vec2-base: no such folder; looking for it on the hub\n"


def test_a_clip_shorter_than_a_step(folder):
    model = ssl(folder, c_grid=(0.1,)).fit(BURSTS, AFFECT)
    with pytest.raises(
        InputDataError, match=r"wave 1: a burst of 4 ms is shorter than one step of wav2vec2-\w{12}"
    ):
        model.predict([BURSTS[0], BURSTS[0][5000:5100]])
