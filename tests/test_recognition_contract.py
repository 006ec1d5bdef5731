"""What every row of the recognition models must do, whatever it is made of."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from recognition_rows import TASK, clips, tiny

from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.registry import MODELS, build
from vocalburst.eval.tasks.registry import TASKS
from vocalburst.gen.data.errors import InputDataError, MissingModelError

COUNTRY = len(TASKS[TASK].columns) - 1
CONTINUES_SHORT_CLIPS = ("wav2small",)  # with zeros, as the evaluators do


@pytest.fixture(scope="module", params=list(MODELS))
def row(request, tmp_path_factory):
    """Name, settings and a fitted model of a row."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = tiny(request.param, folder)
    return request.param, settings, fitted(request.param, settings)


def fitted(name: str, settings: dict) -> RecognitionModel:
    model = build(name, TASK, 3, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # solvers that stop at their last iteration
        assert model.fit(*clips()) is model
    return model


def test_contract(row, tmp_path, monkeypatch):
    """One test, so that a row is fitted as seldom as possible."""
    name, settings, model = row
    waves, y = clips()
    monkeypatch.chdir(tmp_path)  # where a loaded model keeps what it computes
    check_answers(model, waves)
    check_labels(model, waves, y)
    again = fitted(name, settings)
    np.testing.assert_array_equal(again.predict(waves), model.predict(waves))
    model.save(tmp_path / "model")
    check_loaded(RecognitionModel.load(tmp_path / "model"), model, waves)
    check_damage(tmp_path / "model")


def check_answers(model: RecognitionModel, waves) -> None:
    heard = model.hear(waves)
    assert heard.values.shape == (len(waves), len(model.columns)) and heard.values.dtype == np.float64
    assert heard.embeddings.shape == (len(waves), model.dim) and heard.embeddings.dtype == np.float32
    assert np.isfinite(heard.embeddings).all()
    for values, column in zip(heard.values.T, model.columns, strict=True):
        low, high = (0, len(column.classes) - 1) if column.classes else column.bounds
        assert (values >= low).all() and (values <= high).all()
    np.testing.assert_allclose(heard.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (heard.probabilities >= 0).all() and heard.probabilities.shape == (len(waves), 4)
    np.testing.assert_array_equal(heard.probabilities.argmax(axis=1), heard.values[:, COUNTRY])
    np.testing.assert_array_equal(model.predict(waves), heard.values)
    np.testing.assert_array_equal(model.predict_proba(waves), heard.probabilities)
    np.testing.assert_array_equal(model.embed(waves), heard.embeddings)
    assert not np.array_equal(heard.embeddings[0], heard.embeddings[1])
    for i in (0, len(waves) - 1):  # the shortest and the longest
        alone = model.hear([waves[i]])
        np.testing.assert_allclose(alone.values[0], heard.values[i], atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(alone.embeddings[0], heard.embeddings[i], atol=1e-3, rtol=1e-3)
    assert model.preprocessing and isinstance(model.preprocessing, str)
    assert model.title and model.source


def check_labels(model: RecognitionModel, waves, y) -> None:
    score = model.score(waves, np.nan_to_num(y, nan=0.5))
    assert score is None or 0 <= score < 3
    for bad, sentence in wrong_labels(y):
        with pytest.raises(InputDataError) as raised:
            model.fit(waves, bad)
        assert str(raised.value) == sentence
    silent = [*waves[:3], np.zeros(12_000, np.float32)]
    with pytest.raises(InputDataError, match=r"silen|burst of 0 ms"):
        model.predict(silent)
    if model.name not in CONTINUES_SHORT_CLIPS:
        with pytest.raises(InputDataError, match="short"):
            model.predict([waves[0][4000:4200]])


def wrong_labels(y: np.ndarray):
    """Labels that no model takes, and what it says."""
    outside, between, negative, lacking, unknown = (y.copy() for _ in range(5))
    outside[2, COUNTRY], between[2, COUNTRY], negative[0, 0] = 4, 1.5, -0.1
    lacking[lacking[:, COUNTRY] == 3, COUNTRY] = 0
    unknown[:, 10] = np.nan
    return (
        (outside, "train, Country: 4 is outside 0 to 3"),
        (between, "train, Country: 1.5 is no place of a class"),
        (negative, "train, Awe: -0.1 is outside 0 to 1"),
        (lacking, "train: no clip of the class venezuela of Country"),
        (unknown, "train: no clip has a label of Age"),
        (y[:, :5], "train: expected labels of the shape (8, 12), got (8, 5)"),
        (y[:3], "train: expected labels of the shape (8, 12), got (3, 12)"),
    )


def check_loaded(loaded: RecognitionModel, model: RecognitionModel, waves) -> None:
    assert type(loaded) is type(model)
    assert (loaded.name, loaded.task_name, loaded.seed) == (model.name, model.task_name, model.seed)
    assert loaded.settings.model_dump(mode="json") == model.settings.model_dump(mode="json")
    assert loaded.dim == model.dim and loaded.preprocessing == model.preprocessing
    assert loaded.training_ == json.loads(json.dumps(model.training_))
    expected, came = model.hear(waves), loaded.hear(waves)
    np.testing.assert_array_equal(came.values, expected.values)
    np.testing.assert_array_equal(came.probabilities, expected.probabilities)
    np.testing.assert_array_equal(came.embeddings, expected.embeddings)


def check_damage(folder) -> None:
    config, tensors = folder / "config.json", folder / "model.safetensors"
    whole, weights = config.read_text(), tensors.read_bytes()
    values = json.loads(whole)

    def refused(match: str) -> None:
        with pytest.raises(MissingModelError, match=match):
            RecognitionModel.load(folder)

    tensors.write_bytes(weights[: len(weights) // 2])
    refused(r"model\.safetensors: is no safetensors file")
    tensors.unlink()
    refused(r"model\.safetensors: cannot be read \(")
    tensors.write_bytes(weights)
    config.write_text(json.dumps(values | {"task": "exvo"}))
    refused(r"config\.json: unknown task 'exvo'; known: exvo-multitask")
    config.write_text(json.dumps(values | {"model": "magic"}))
    refused(r"config\.json: unknown recognition model 'magic'; known: compare-svr")
    config.write_text(json.dumps(values | {"settings": {"colour": 1}}))
    refused(r"config\.json: settings of .*colour")
    config.write_text(json.dumps(values | {"format": "2"}))
    refused(r"config\.json: expected the format vocalburst-recognition-1, got '2'")
    config.write_text(whole[:40])
    refused(r"config\.json: is not the config of a recognition model")
    config.unlink()
    refused(r"config\.json: cannot be read \(No such file or directory\)")


@pytest.mark.parametrize("name", MODELS)
def test_a_new_model_only_knows_its_settings(name):
    model = build(name, TASK, 5)
    assert (model.name, model.task_name, model.seed, model.training_) == (name, TASK, 5, {})
    learned = [key for key in vars(model) if key.endswith("_") and key != "training_"]
    assert not any(vars(model)[key] for key in learned)
    with pytest.raises(InputDataError, match=r"settings of .*: colour: Extra inputs are not permitted"):
        build(name, TASK, colour="red")
    with pytest.raises(InputDataError) as raised:
        build(name, "emogator")
    assert str(raised.value) == f"unknown task 'emogator'; known: {', '.join(TASKS)}"


@pytest.mark.parametrize("name", [name for name in MODELS if not name.endswith("fusion")])
def test_not_fitted(name):
    with pytest.raises((ValueError, RuntimeError), match=r"fit|pretrained"):
        build(name, TASK).predict([clips()[0][0]])


def test_no_probabilities_without_classes():
    with pytest.raises(InputDataError) as raised:
        build("cnnatt", "avb-two").predict_proba(clips()[0])
    assert str(raised.value) == "avb-two has no class column, so there are no probabilities"


def test_labels_of_tensors_that_do_not_fit(tmp_path):
    """Tensors of another model under a config that is whole."""
    small, other = (build("cnnatt", task, **tiny("cnnatt", tmp_path)) for task in ("avb-two", "avb-high"))
    for model in (small, other):
        model.network_ = model.new_network()
    small.save(tmp_path / "model")
    other.save(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(tmp_path / "model" / "model.safetensors")
    with pytest.raises(MissingModelError, match=r"its tensors are not those that config\.json names"):
        RecognitionModel.load(tmp_path / "model")
