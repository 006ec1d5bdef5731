"""What every evaluator promises, and how names become evaluators."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, synthetic_burst
from recogniser_fixtures import EMOTIONS, SMALL
from test_pretrained import build_pretrained

from vocalburst.eval import evaluators
from vocalburst.eval.evaluators import (
    DEFAULT,
    EVALUATORS,
    Evaluator,
    Heard,
    load_evaluator,
    load_evaluators,
    register_evaluator,
)
from vocalburst.eval.pretrained import KINDS
from vocalburst.gen.data.errors import InputDataError, MissingModelError

SPECS = (*SMALL, *(f"ssl:{kind}" for kind in KINDS))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A small random one of every kind: spec of the test -> folder."""
    root = tmp_path_factory.mktemp("evaluators")
    for family, build in SMALL.items():
        build().save(root / family, "# card\n", {})
    for kind in KINDS:
        build_pretrained(root / kind, kind)
    return {spec: root / spec.removeprefix("ssl:") for spec in SPECS}


def load(spec: str, folder) -> Evaluator:
    return load_evaluator(f"{spec.partition(':')[0]}:{folder}")


@pytest.fixture(scope="module", params=SPECS)
def spec(request):
    return request.param


@pytest.fixture(scope="module")
def evaluator(spec, folders):
    return load(spec, folders[spec])


def bursts() -> list[np.ndarray]:
    return [synthetic_burst(0), synthetic_burst(1, seconds=0.21, pitch=400), synthetic_burst(2, seconds=1.4)]


def test_alone_as_in_a_batch(evaluator):
    together = evaluator.listen(bursts())
    alone = [evaluator.listen([wave]) for wave in bursts()]
    assert together.embeddings.shape == (3, evaluator.dim) and together.embeddings.dtype == np.float32
    assert np.isfinite(together.embeddings).all()
    np.testing.assert_allclose(
        together.embeddings, np.concatenate([one.embeddings for one in alone]), atol=1e-5, rtol=1e-4
    )
    gap = np.abs(together.embeddings[0] - together.embeddings[1]).max()
    assert gap > 1e-3  # or it would not be listening
    if evaluator.emotions is None:
        assert together.probabilities is None and alone[0].probabilities is None
        return
    assert together.probabilities.shape == (3, len(evaluator.emotions))
    assert together.probabilities.dtype == np.float64
    np.testing.assert_allclose(together.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(
        together.probabilities, np.concatenate([one.probabilities for one in alone]), atol=1e-5
    )


def test_zeros_at_the_end_change_nothing(evaluator):
    """The silence that makes a clip as long as its neighbours in a batch."""
    wave = synthetic_burst(3)
    padded = evaluator.listen([np.pad(wave, (0, 7777))]).embeddings
    np.testing.assert_allclose(padded, evaluator.listen([wave]).embeddings, atol=1e-5, rtol=1e-4)


def test_identity_is_that_of_the_weights(spec, evaluator, folders, tmp_path):
    again = load(spec, folders[spec])
    assert (again.id, again.preprocessing, again.dim) == (
        evaluator.id,
        evaluator.preprocessing,
        evaluator.dim,
    )
    weights = hashlib.sha256((folders[spec] / "model.safetensors").read_bytes()).hexdigest()
    assert evaluator.id == f"{spec.removeprefix('ssl:')}-{weights[:12]}"
    assert weights[:12] in evaluator.space and evaluator.space.endswith(".")
    np.testing.assert_array_equal(again.listen(bursts()).embeddings, evaluator.listen(bursts()).embeddings)


@pytest.mark.parametrize(
    ("wave", "match"),
    [
        (np.zeros(9000, np.float32), "the wave: is digital silence, in which there is nothing to hear"),
        (
            np.zeros((2, 9000), np.float32),
            r"the wave: expected mono samples \[L\], got the shape \(2, 9000\)",
        ),
        (np.zeros(0, np.float32), "expected mono samples"),
        (np.full(9000, np.nan, np.float32), "not finite"),
    ],
)
def test_waves_that_cannot_be_heard(evaluator, wave, match):
    with pytest.raises(InputDataError, match=match):
        evaluator.listen([wave])


def test_a_bad_wave_is_named(evaluator):
    with pytest.raises(InputDataError, match="wave 1: is digital silence"):
        evaluator.listen([synthetic_burst(0), np.zeros(9000, np.float32)])
    with pytest.raises(InputDataError, match="at least one wave"):
        evaluator.listen([])


@pytest.mark.parametrize("damage", ["nowhere", "weights", "half", "config", "words"])
def test_damaged_folders(spec, folders, tmp_path, damage):
    folder = tmp_path / "copy"
    if damage != "nowhere":
        shutil.copytree(folders[spec], folder)
    weights = folder / "model.safetensors"
    if damage == "weights":
        weights.unlink()
    elif damage == "half":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif damage == "config":
        (folder / "config.json").unlink()
    elif damage == "words":
        (folder / "config.json").write_text("just words")
    with pytest.raises(MissingModelError, match=str(folder)) as raised:
        load(spec, folder)
    assert "\n" not in str(raised.value)


def test_specs(folders, monkeypatch):
    for family in SMALL:
        by_folder = load_evaluator(folders[family])
        assert by_folder.id == load_evaluator(str(folders[family])).id == load(family, folders[family]).id
    monkeypatch.chdir(folders["logmel"].parent)
    assert load_evaluator("logmel").emotions != EMOTIONS  # the one that ships, whatever lies about
    assert load_evaluator("./logmel").emotions == EMOTIONS


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (
            "mfcc",
            r"^mfcc: is no evaluator; expected emo18, logmel, ssl:FOLDER, recognition:FOLDER, "
            r"or the folder of a recogniser$",
        ),
        ("ssl", "the evaluator ssl ships no weights; expected ssl:FOLDER"),
        ("ssl:", "ssl:: is no evaluator"),
        ("emo18:LOGMEL", "holds a recogniser of the family logmel, expected emo18"),
        ("HUBERT", "config.json: is not the config of a recogniser; a pretrained model is named ssl:FOLDER"),
        ("ssl:LOGMEL", "expected a model_type of wav2vec2, hubert, wavlm, got None"),
    ],
)
def test_specs_that_name_nothing(spec, match, folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = spec.replace("LOGMEL", str(folders["logmel"])).replace("HUBERT", str(folders["ssl:hubert"]))
    with pytest.raises(MissingModelError, match=match):
        load_evaluator(spec)


def test_a_family_without_an_evaluator(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"family": "mfcc"}))
    with pytest.raises(MissingModelError, match="unknown family 'mfcc'; known: emo18, logmel, ssl"):
        load_evaluator(tmp_path)


def test_several(folders):
    paths = [str(folders[family]) for family in DEFAULT]
    assert [one.id.split("-")[0] for one in load_evaluators(paths)] == list(DEFAULT)
    with pytest.raises(InputDataError, match=r"the evaluator logmel-\w{12} is named twice"):
        load_evaluators([paths[1], f"logmel:{paths[1]}"])
    with pytest.raises(InputDataError, match="at least one"):
        load_evaluators([])


def test_default_is_both_that_ship():
    heard = load_evaluators(["default"])
    assert [one.id.split("-")[0] for one in heard] == list(DEFAULT)
    assert all(len(one.emotions) == 30 and one.dim == 256 for one in heard)
    table = (ROOT / "checkpoints" / "README.md").read_text(encoding="utf-8")
    assert all(one.id.split("-")[1] in table for one in heard)


def test_registering(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluators, "EVALUATORS", dict(EVALUATORS))

    class Lengths(Evaluator):
        id, preprocessing, dim, emotions, space = "lengths-000000000000", "none", 1, None, "Lengths."

        @classmethod
        def load(cls, folder):
            return cls()

        def hear(self, waves):
            return Heard(np.array([[len(wave)] for wave in waves], np.float32), None)

    register_evaluator("lengths", Lengths)
    assert load_evaluator(f"lengths:{tmp_path}").listen(bursts()).embeddings[0, 0] == len(bursts()[0])
    for name, kind, match in [
        ("lengths", Lengths, "is Lengths already"),
        ("default", Lengths, "not 'default'"),
        ("a:b", Lengths, "letters, digits"),
        ("other", dict, "subclass of Evaluator"),
    ]:
        with pytest.raises(ValueError, match=match):
            register_evaluator(name, kind)
