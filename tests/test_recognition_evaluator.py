"""A trained recognition model named as an evaluator, a recogniser and a selector."""

from __future__ import annotations

import json

import numpy as np
import pytest
from recognition_fixtures import (
    TinyModel,
    emogator,
    hume,
    run_vocalburst,
    tiny,  # noqa: F401 (a fixture)
    tone,
)

from vocalburst.eval.embed import EmbeddedClips
from vocalburst.eval.evaluators import load_evaluator
from vocalburst.eval.hearing import weights_hash
from vocalburst.eval.recognition.evaluator import RecognitionEvaluator, emotions_of
from vocalburst.eval.recognition.registry import build
from vocalburst.eval.tasks.registry import TASKS
from vocalburst.gen.cli import load_selector
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10, SONATA_25
from vocalburst.gen.data.errors import InputDataError, MissingModelError

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return emogator(tmp_path_factory.mktemp("emogator"))


def waves(count=6):
    return [tone(220 * 1.1**k, k, seconds=0.1 + 0.03 * k) for k in range(count)]


def fitted(task: str, seed: int = 0) -> TinyModel:
    model, rng = TinyModel(task, name="tiny", seed=seed), np.random.default_rng(seed)
    columns = TASKS[task].columns
    n = max([4, *(len(column.classes) for column in columns)])
    y = np.stack(
        [np.arange(n) % len(c.classes) if c.classes else rng.uniform(*c.bounds, size=n) for c in columns],
        axis=1,
    )
    return model.fit([tone(200 + 20 * k, k) for k in range(n)], y)


@pytest.mark.parametrize(
    ("task", "emotions"),
    [
        ("emogator-30", EMOGATOR_30),
        ("exvo-10", EXVO_10),
        ("sonata-25", SONATA_25),
        ("avb-high", EXVO_10),
        ("exvo-multitask", EXVO_10),
        ("avb-two", None),
        ("avb-culture", None),
        ("avb-type", None),
        ("prosody-share", None),
        ("crema-d", None),
    ],
)
def test_emotions_of_a_task(task, emotions):
    assert emotions_of(TASKS[task]) == emotions


def test_folder_is_an_evaluator(tmp_path):
    model = fitted("emogator-30")
    model.save(tmp_path / "run")
    evaluator = load_evaluator(tmp_path / "run")
    assert isinstance(evaluator, RecognitionEvaluator)
    digest = weights_hash([tmp_path / "run" / "model.safetensors"])
    assert evaluator.id == f"recognition-tiny-{digest}" and len(digest) == 12
    assert (evaluator.dim, evaluator.preprocessing) == (3, "pitch-level")
    assert digest in evaluator.space and "emogator-30" in evaluator.space
    heard, own = evaluator.listen(waves()), model.hear(waves())
    np.testing.assert_array_equal(heard.embeddings, own.embeddings)
    np.testing.assert_array_equal(heard.probabilities, own.probabilities)
    assert load_selector(str(tmp_path / "run")).id == evaluator.id
    assert load_evaluator(f"recognition:{tmp_path / 'run'}").id == evaluator.id


def test_intensities_are_probabilities_and_other_outputs_none(tmp_path):
    model = fitted("exvo-multitask")
    heard = RecognitionEvaluator(model, "0" * 12).listen(waves())
    np.testing.assert_array_equal(heard.probabilities, np.clip(model.predict(waves())[:, :10], 0, 1))
    assert RecognitionEvaluator(fitted("avb-type"), "0" * 12).listen(waves()).probabilities is None


def test_a_clip_alone_and_beside_others_with_a_real_network(tmp_path, monkeypatch):
    monkeypatch.undo()
    settings = {"channels": (4, 6), "mixed": 8, "embedding_dim": 12, "teacher": "none"}
    model = build("wav2small", "emogator-30", 3, **settings)
    model.network_ = model.new_network().eval()
    model.save(tmp_path / "run")
    evaluator = load_evaluator(tmp_path / "run")
    together = evaluator.listen(waves())
    for index, wave in enumerate(waves()):
        alone = evaluator.listen([wave])
        np.testing.assert_allclose(alone.embeddings[0], together.embeddings[index], atol=1e-5)
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[index], atol=1e-6)
    with pytest.raises(InputDataError, match="is digital silence"):
        evaluator.listen([np.zeros(2400, np.float32)])


def test_damage_is_told(tmp_path):
    fitted("emogator-30").save(tmp_path / "run")
    with pytest.raises(MissingModelError, match="recognition ships no weights; expected recognition:FOLDER"):
        load_evaluator("recognition")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps({**config, "model": "other"}))
    with pytest.raises(MissingModelError, match="unknown recognition model 'other'"):
        load_evaluator(tmp_path / "run")


def test_embed_and_recognise_take_it(monkeypatch, tmp_path, manifest, capsys):
    run = tmp_path / "run"
    arguments = ("--model", "tiny", "--task", "emogator-30", "--manifest", manifest, "--out", run)
    assert run_vocalburst(monkeypatch, "recognise", "train", *arguments, "--cache", tmp_path / "waves") == 0
    out = tmp_path / "dev.safetensors"
    arguments = (f"{manifest}:dev", "--evaluator", run, "--out", out, "--cache", tmp_path / "embeddings")
    assert run_vocalburst(monkeypatch, "embed", *arguments) == 0
    embedded = EmbeddedClips.load(out)
    assert embedded.emotions == EMOGATOR_30 and embedded.probabilities.shape == (90, 30)
    asked = np.array([EMOGATOR_30.index(emotion) for emotion in embedded.clips.emotions])
    report = json.loads((run / "config.json").read_text())["training"]["run"]["scores"][0]
    assert np.mean(embedded.probabilities.argmax(axis=1) == asked) == pytest.approx(report["value"])
    capsys.readouterr()
    assert run_vocalburst(monkeypatch, "recognise", f"{manifest}:dev", "--recogniser", run) == 0
    assert "| **mean** | " in capsys.readouterr().out


def test_a_model_that_only_embeds_is_no_recogniser(monkeypatch, tmp_path, capsys):
    place = hume(tmp_path / "hume")
    fitted("avb-type").save(tmp_path / "run")
    assert run_vocalburst(monkeypatch, "recognise", f"{place}:dev", "--recogniser", tmp_path / "run") == 4
    assert "only embeds, expected a recogniser" in capsys.readouterr().err
