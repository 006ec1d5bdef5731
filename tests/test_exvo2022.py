"""The official protocol: the weights' names, the space, the numbers against a slow reference, the warnings."""

import json
import pickle

import numpy as np
import pytest
import scipy.linalg
import soundfile
import torch
from conftest import SHARED
from emo18_reference import reference_embedding, reference_frames
from recogniser_fixtures import random_emo18
from test_exvo2022_statistics import Program

from vocalburst.eval.clips import open_clips
from vocalburst.eval.exvo2022 import load_official, official_name, own_name, pooled, score_exvo2022
from vocalburst.eval.exvo2022_scores import ExvoScores
from vocalburst.eval.exvo2022_statistics import read_official_folder
from vocalburst.eval.frechet import frechet_distance
from vocalburst.gen.data.emotions import EXVO_10
from vocalburst.gen.data.errors import InputDataError, MissingModelError

OFFICIAL = SHARED / "data" / "exvo2022_fid"


def official_state() -> dict[str, torch.Tensor]:
    """Random weights under the names of the organisers' file, written out by hand."""
    ours = random_emo18().network.state_dict()
    state = {}
    for i, layer in enumerate((0, 2, 4)):
        for part in ("weight", "bias"):
            state[f"audio_model.model.network.{layer}.0.{part}"] = ours[f"blocks.{i}.conv.{part}"]
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            state[f"audio_model.model.network.{layer}.1.{part}"] = ours[f"blocks.{i}.norm.{part}"]
    for layer in (0, 1):
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            state[f"rnn.rnn.{part}_l{layer}"] = ours[f"rnn.{part}_l{layer}"]
    return {**state, "linear.weight": torch.zeros(10, 256), "linear.bias": torch.zeros(10)}


def write_weights(path, state=None, **others):
    torch.save({"model_state_dict": official_state() if state is None else state, "epoch": 3, **others}, path)
    return path


def write_statistics(folder, *names, seed=0):
    """Statistics near the embeddings of random weights, which are small."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        x = 0.05 * np.random.default_rng([seed, number]).standard_normal((300, 256))
        (folder / name).write_bytes(pickle.dumps({"mu": x.mean(axis=0), "sigma": np.cov(x, rowvar=False)}))
    return folder


def write_clips(folder, n=4, emotions=("awe", "fear"), rate=16_000, channels=1):
    for e, emotion in enumerate(emotions):
        (folder / emotion).mkdir(parents=True)
        for take in range(n):
            rng = np.random.default_rng([e, take])
            samples = rng.uniform(-0.9, 0.6, (2000 + 777 * take, channels))
            soundfile.write(folder / emotion / f"{take}.wav", samples, rate, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "predictions_model_webm.pt")


@pytest.fixture(scope="module")
def statistics(tmp_path_factory):
    """Both spaces side by side; triumph has none."""
    folder = tmp_path_factory.mktemp("fid")
    write_statistics(folder, "Awe_webm.pkl", "Fear_webm.pkl", "Horror_webm.pkl")
    return write_statistics(folder, "Awe_Val_wav.pkl", seed=9)


def test_official_names_are_read_and_told():
    network = random_emo18().network.state_dict()
    for name in official_state():
        if not name.startswith("linear."):
            assert own_name(name) in network and official_name(own_name(name)) == name
    assert len(network) == len(official_state()) - 2


def test_distance_against_loops_and_a_matrix_root(tmp_path, weights, statistics):
    """Files to number in numpy alone: the reference network, np.cov, scipy's sqrtm."""
    scores = score_exvo2022(open_clips(write_clips(tmp_path / "entry")), weights, statistics)
    state = {name: value.double().numpy() for name, value in load_official(weights).state_dict().items()}
    for emotion in ("awe", "fear"):
        waves = [
            soundfile.read(path, dtype="float32")[0] for path in (tmp_path / "entry" / emotion).iterdir()
        ]
        x = np.array([reference_embedding(reference_frames(wave), state) for wave in waves])
        told = pickle.loads((statistics / f"{emotion.title()}_webm.pkl").read_bytes())
        root = scipy.linalg.sqrtm(np.cov(x, rowvar=False) @ told["sigma"])
        gap = x.mean(axis=0) - told["mu"]
        expected = (
            gap @ gap + np.trace(np.cov(x, rowvar=False)) + np.trace(told["sigma"]) - 2 * np.trace(root.real)
        )
        found = scores.emotions[emotion]
        assert found.fid.value == pytest.approx(expected, rel=1e-4)
        assert found.n == 4 and found.fid.low <= found.fid.value <= found.fid.high
        assert found.fid_infinity is None  # of fewer than eight clips
    assert scores.space == "webm"
    assert scores.mean_fid == pytest.approx(np.mean([one.fid.value for one in scores.emotions.values()]))


def test_the_emotion_blind_column_is_the_mixture_of_the_emotions(statistics):
    told = read_official_folder(statistics, "webm")
    x = np.concatenate(
        [
            np.random.default_rng(k).multivariate_normal(one.mean, one.cov, 20_000)
            for k, one in enumerate(told.values())
        ]
    )
    mixture = pooled(told)
    np.testing.assert_allclose(mixture.mean, x.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(np.trace(mixture.cov), x.var(axis=0).sum(), rtol=0.01)
    alone = {"awe": told["awe"]}
    assert frechet_distance(pooled(alone), told["awe"]) == pytest.approx(0, abs=1e-9)


def test_the_space_is_that_of_the_weights_name(tmp_path, statistics):
    clips = open_clips(write_clips(tmp_path / "entry", emotions=("awe",)))
    found = {}
    for space in ("wav", "webm"):
        path = write_weights(tmp_path / f"predictions_model_{space}.pt")
        found[space] = score_exvo2022(clips, path, statistics)
        assert f"distance in the **{space}** space" in found[space].markdown()
    assert found["wav"].emotions["awe"].fid.value != found["webm"].emotions["awe"].fid.value
    path.rename(tmp_path / "model.pt")
    with pytest.raises(InputDataError, match=r"ends in _wav\.pt or _webm\.pt, which tells the space"):
        score_exvo2022(clips, tmp_path / "model.pt", statistics)
    only_wav = write_statistics(tmp_path / "wav", "Awe_Val_wav.pkl")
    with pytest.raises(InputDataError, match="holds no official statistics of the webm space"):
        score_exvo2022(clips, write_weights(tmp_path / "predictions_model_webm.pt"), only_wav)


def test_everything_that_the_reader_must_know_is_said(tmp_path, weights, statistics):
    folder = write_clips(
        tmp_path / "entry", n=2, emotions=("awe", "elation", "guilt", "triumph"), rate=24_000
    )
    write_clips(tmp_path / "stereo", n=1, emotions=("awe",), channels=2)
    (tmp_path / "stereo" / "awe" / "0.wav").rename(folder / "awe" / "stereo.wav")
    soundfile.write(folder / "awe" / "silent.wav", np.zeros(1600), 16_000)
    scores = score_exvo2022(open_clips(folder), weights, statistics)
    assert list(scores.emotions) == ["awe", "excitement", "triumph"]  # the official order
    assert scores.emotions["awe"].n == 4 and scores.emotions["triumph"].fid is None
    text = scores.markdown()
    for sentence in [
        "These numbers are in the webm space. They do not compare with those of the wav space",
        "A distance says nothing about the emotion heard: real clips of all emotions together",
        "There are no official statistics of excitement, triumph in this space.",
        "Not submitted, and 0 in an S_GEN of the ten emotions: amusement, awkwardness, fear, horror, distress,",
        "The official excitement is answered by clips made as elation.",
        "2 clips are not judged, since ExVo 2022 does not ask for their emotions: guilt.",
        "6 clips at 24000 Hz were brought to 16000 Hz by torchaudio's windowed sinc.",
        "1 clips are stereo: the official code lays the two channels end to end",
        "1 clips are digital silence, which the official code scores like any other clip.",
    ]:
        assert sentence in text
    assert "| triumph    | 2     | –" in text


def test_json_comes_back(tmp_path, weights, statistics):
    clips = open_clips(write_clips(tmp_path / "entry", n=8, emotions=("awe",)))
    scores = score_exvo2022(clips, weights, statistics, progress=lambda items, n: list(items)[:n])
    assert scores.emotions["awe"].fid_infinity < scores.emotions["awe"].fid.value
    assert ExvoScores.model_validate_json(scores.to_json()) == scores
    content = json.loads(scores.to_json())
    assert content["format"] == "vocalburst-exvo2022-1" and content["clips_sha256"] == clips.content_sha256


def test_entries_that_cannot_be_scored(tmp_path, weights, statistics):
    with pytest.raises(InputDataError, match=r"awe: .*at least 2 clips, got 1"):
        score_exvo2022(open_clips(write_clips(tmp_path / "one", n=1)), weights, statistics)
    with pytest.raises(InputDataError, match="holds no clip of an emotion of ExVo 2022 \\(awe, excitement"):
        score_exvo2022(open_clips(write_clips(tmp_path / "guilt", emotions=("guilt",))), weights, statistics)


def test_weights_that_are_refused(tmp_path):
    path = tmp_path / "predictions_model_wav.pt"

    def refused(match):
        with pytest.raises(MissingModelError, match=match) as raised:
            load_official(path)
        assert str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)

    refused("cannot be read")
    marker = tmp_path / "it-ran"
    torch.save({"model_state_dict": official_state(), "config": Program(marker)}, path)
    refused("is refused as weights; expected a PyTorch file of tensors only")
    path.write_bytes(pickle.dumps(Program(marker)))
    refused("is refused as weights")
    assert not marker.exists()
    write_weights(path).write_bytes(path.read_bytes()[:5000])
    refused("is refused as weights")
    torch.save(official_state(), path)
    refused("expected a dict with tensors under model_state_dict")
    write_weights(path, {"rnn.rnn.bias_hh_l0": 3.0})
    refused("expected a dict with tensors")
    state = official_state()
    write_weights(path, {name: value for name, value in state.items() if name != "rnn.rnn.bias_hh_l1"})
    refused("lacks the tensor rnn.rnn.bias_hh_l1")
    write_weights(path, {**state, "audio_model.model.network.2.0.bias": torch.zeros(64)})
    refused(r"audio_model.model.network.2.0.bias has the shape \[64\], expected \[128\]")
    write_weights(path, {**state, "audio_model.model.network.6.0.bias": torch.zeros(64)})
    refused("holds audio_model.model.network.6.0.bias, which is no part of Emo18")


@pytest.mark.skipif(
    not OFFICIAL.is_dir(), reason="the official statistics (CC BY-NC) are not part of the repository"
)
@pytest.mark.parametrize("space", ["wav", "webm"])
def test_with_the_official_statistics(tmp_path, space):
    """The emotion-blind column is near the distances of the clips of all emotions, whose shares are not equal."""
    clips = open_clips(write_clips(tmp_path / "entry", n=2, emotions=EXVO_10))
    path = write_weights(tmp_path / f"predictions_model_{space}.pt")
    scores = score_exvo2022(clips, path, OFFICIAL)
    published = {
        "webm": {"amusement": 2.97, "awe": 3.20, "awkwardness": 0.81, "distress": 1.27, "excitement": 1.91,
                 "fear": 0.83, "horror": 2.11, "sadness": 2.22, "surprise": 2.06},
        "wav": {"amusement": 5.61, "awe": 7.45, "awkwardness": 2.07, "distress": 2.51, "excitement": 3.35,
                "fear": 2.82, "horror": 3.02, "sadness": 3.84, "surprise": 3.79},
    }[space]  # fmt: skip
    for emotion, one in scores.emotions.items():
        assert (one.fid is None) == (emotion == "triumph" and space == "webm")
        if emotion in published:
            assert one.emotion_blind == pytest.approx(published[emotion], rel=0.35)
