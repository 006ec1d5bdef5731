"""`vocalburst recognise benchmark`: numbers against slow references, folds, resumption, and every refusal."""

from __future__ import annotations

import json

import numpy as np
import pytest
from recognition_fixtures import (
    TinyModel,
    emogator,
    run_vocalburst,
    sounds_of,
    tiny,  # noqa: F401 (a fixture)
)
from task_fixtures import avb_high

from vocalburst.eval.evaluators import Evaluator, Heard
from vocalburst.eval.recognition import benchmark_rows, contestants
from vocalburst.eval.recognition.benchmark import untaught
from vocalburst.eval.recognition.benchmark_rows import exvo_score
from vocalburst.eval.recognition.contestants import Contestant, EvaluatorContestant
from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.labelled_clips import ClipSource, load_split
from vocalburst.eval.recognition.registry import MODELS, Row
from vocalburst.eval.recognition.speaker_folds import speaker_folds
from vocalburst.eval.tasks.registry import TASKS
from vocalburst.eval.tasks.scoring import score
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10

pytestmark = pytest.mark.usefixtures("tiny")
COUNTS_AS = {"elation": "excitement", "embarrassment": "awkwardness"}
COUNTS_AS |= {"surprise_positive": "surprise", "surprise_negative": "surprise"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return emogator(tmp_path_factory.mktemp("emogator"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def benchmark(monkeypatch, manifest, cache):
    def call(out, *arguments, labels=("--manifest", manifest), task="emogator-30"):
        common = ("--task", task, "--cache", cache, "--out", out, *labels)
        return run_vocalburst(monkeypatch, "recognise", "benchmark", *common, *arguments)

    return call


@pytest.fixture
def dev(manifest, cache):
    return load_split(TASKS["emogator-30"], ClipSource(manifest, cache=cache), "dev")


def report_of(out):
    return json.loads((out / "benchmark.json").read_text())


def slow_exvo_uar(asked, probabilities):
    """Clip by clip: add up what counts as one of the ten, take the largest, mean over the emotions that have clips."""
    hits: dict[str, list[bool]] = {}
    for emotion, row in zip(asked, probabilities, strict=True):
        meant = COUNTS_AS.get(EMOGATOR_30[emotion], EMOGATOR_30[emotion])
        if meant not in EXVO_10:
            continue
        sums = dict.fromkeys(EXVO_10, 0.0)
        for name, value in zip(EMOGATOR_30, row, strict=True):
            if COUNTS_AS.get(name, name) in EXVO_10:
                sums[COUNTS_AS.get(name, name)] += value
        hits.setdefault(meant, []).append(max(sums, key=sums.get) == meant)
    return np.mean([np.mean(own) for own in hits.values()]), sum(map(len, hits.values()))


def test_ten_of_thirty_by_adding_up():
    rng = np.random.default_rng(0)
    asked = rng.permutation(np.repeat(np.arange(30), 5))
    probabilities = rng.dirichlet(np.full(30, 0.3), size=150)
    own = exvo_score(asked, probabilities, None)
    value, n = slow_exvo_uar(asked, probabilities)
    assert own.value == pytest.approx(value) and own.n == n == 50


def test_table_and_json(benchmark, tmp_path, dev, capsys):
    out = tmp_path / "bench"
    assert benchmark(out) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "table.md").read_text()
    report = report_of(out)
    assert {row["name"] for row in report["rows"]} == {"tiny", "tiny-two"}
    assert (report["clips"], report["speakers"], report["folds"], report["measured"]) == (90, 3, None, "dev")
    values = [row["headline"]["value"] for row in report["rows"]]
    assert values == sorted(values, reverse=True)
    for row in report["rows"]:
        model = RecognitionModel.load(out / "models" / row["name"])
        heard = model.hear(dev.waves)
        own = score(model.task, dev.y, heard.values, dev.speakers)[0]
        assert row["headline"] == {
            "measure": "UAR",
            "value": own.value,
            "low": own.low,
            "high": own.high,
            "n": 90,
        }
        assert row["exvo_10"]["value"] == pytest.approx(
            slow_exvo_uar(dev.y[:, 0].astype(int), heard.probabilities)[0]
        )
        assert row["exvo_10"]["low"] <= row["exvo_10"]["value"] <= row["exvo_10"]["high"]
        assert (row["epochs"], row["parameters"], row["seed"], row["settings"]) == (
            1, 93, 0, model.settings.model_dump(),
        )  # fmt: skip
        line = next(line for line in printed.split("\n") if line.startswith(f"| {row['name']} "))
        assert f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]" in line
        assert row["ms_per_clip"] >= 0 and row["cpu_minutes"] >= 0
    chance = next(line for line in printed.split("\n") if line.startswith("| not listening"))
    assert [cell.strip() for cell in chance.split("|")[2:4]] == ["0.033", "0.111"]
    assert "ExVo-10: 30 clips" in printed and "bootstrap over 3 speakers" in printed


def test_a_second_run_loads_what_is_there(benchmark, tmp_path, capsys):
    assert benchmark(tmp_path / "bench") == 0
    first, printed = report_of(tmp_path / "bench"), capsys.readouterr()
    assert TinyModel.fits == 2 and "training " in printed.err
    assert benchmark(tmp_path / "bench") == 0
    second, printed = report_of(tmp_path / "bench"), capsys.readouterr()
    assert TinyModel.fits == 2 and "training " not in printed.err and "listening" not in printed.err
    for report in (first, second):
        for row in report["rows"]:
            del row["ms_per_clip"]
    assert first == second


def test_answers_that_were_kept_are_of_these_weights_and_clips(benchmark, tmp_path, capsys):
    out = tmp_path / "bench"
    assert benchmark(out, "--models", "tiny") == 0
    folder = out / "models" / "tiny"
    model = RecognitionModel.load(folder)
    model.means_ = model.means_[::-1].copy()
    model.save(folder)
    expected = report_of(out)["rows"][0]["headline"]["value"]
    assert benchmark(out, "--models", "tiny") == 0
    assert "listening to 90 clips" in capsys.readouterr().err
    assert report_of(out)["rows"][0]["headline"]["value"] != expected
    (out / "heard" / "tiny.safetensors").write_bytes(b"cut short")
    assert benchmark(out, "--models", "tiny") == 0


def test_folds_predict_each_clip_once_by_a_model_that_never_heard_its_speaker(
    benchmark, tmp_path, manifest, cache
):
    out = tmp_path / "bench"
    assert benchmark(out, "--models", "tiny", "--folds", "3") == 0
    assert TinyModel.fits == 3
    report = report_of(out)
    assert (report["clips"], report["speakers"], report["folds"]) == (240, 8, 3)
    clips = [
        load_split(TASKS["emogator-30"], ClipSource(manifest, cache=cache), split)
        for split in ("train", "dev")
    ]
    both = type(clips[0]).joined(clips)
    fold = speaker_folds(both.speakers, 3)
    predicted = np.full((240, 1), np.nan)
    for k in range(3):
        model = RecognitionModel.load(out / "models" / "tiny" / f"fold-{k + 1}")
        own = np.flatnonzero(fold == k)
        run = model.training_["run"]
        assert run["measured"]["speakers"] == len({both.speakers[i] for i in own})
        assert run["train"]["speakers"] + run["choose"]["speakers"] == 8 - run["measured"]["speakers"]
        assert run["identity"]["train"] == f"train+dev, fold {k + 1} of 3 left out"
        predicted[own] = model.predict(both.take(own).waves)
    own = score(TASKS["emogator-30"], both.y, predicted, both.speakers)[0]
    headline = report["rows"][0]["headline"]
    assert headline["value"] == pytest.approx(own.value) and headline["n"] == 240
    assert (headline["low"], headline["high"]) == pytest.approx((own.low, own.high))


def test_trained_by_the_other_command(monkeypatch, benchmark, tmp_path, manifest, cache):
    common = ("--model", "tiny", "--task", "emogator-30", "--manifest", manifest, "--cache", cache)
    for name in ("tiny", "mine"):
        assert (
            run_vocalburst(monkeypatch, "recognise", "train", *common, "--out", tmp_path / "runs" / name) == 0
        )
    arguments = ("--models", f"tiny,{tmp_path / 'runs' / 'mine'}", "--runs", tmp_path / "runs")
    assert benchmark(tmp_path / "bench", *arguments) == 0
    assert TinyModel.fits == 2
    rows = report_of(tmp_path / "bench")["rows"]
    assert len(rows) == 2 and rows[0]["headline"] == rows[1]["headline"]
    assert not (tmp_path / "bench" / "models").exists()


def test_settings_of_a_file(benchmark, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("models: {tiny-two: {sharpness: 2, epochs: 6}}")
    assert benchmark(tmp_path / "bench", "--config", path, "--seed", "3") == 0
    settings = {
        row["name"]: (row["settings"]["sharpness"], row["seed"])
        for row in report_of(tmp_path / "bench")["rows"]
    }
    assert settings == {"tiny": (50.0, 3), "tiny-two": (2.0, 3)}


def test_all_leaves_out_what_it_cannot_have(monkeypatch, benchmark, tmp_path, capsys):
    monkeypatch.setitem(MODELS, "big", Row("tiny", "TinyModel", "Big", needs="pretrained"))
    monkeypatch.setitem(MODELS, "smile", Row("tiny", "TinyModel", "Smile", needs="opensmile"))
    found = contestants.importlib.util.find_spec
    monkeypatch.setattr(
        contestants.importlib.util, "find_spec", lambda n: None if n == "opensmile" else found(n)
    )
    sentences = [
        "big is left out: it needs a local folder of weights, named in --config",
        "smile is left out: it needs the package opensmile",
    ]
    assert benchmark(tmp_path / "bench") == 0
    printed = capsys.readouterr()
    assert all(
        f"note: {sentence}\n" in printed.err and f"\n{sentence}.\n" in printed.out for sentence in sentences
    )
    assert report_of(tmp_path / "bench")["left_out"] == sentences
    (tmp_path / "settings.yaml").write_text("models: {big: {epochs: 2}}")
    assert benchmark(tmp_path / "more", "--config", tmp_path / "settings.yaml") == 0
    assert {row["name"] for row in report_of(tmp_path / "more")["rows"]} == {"tiny", "tiny-two", "big"}


class Listener(Evaluator):
    """Hears as a tiny model does, in an order of emotions of its own."""

    def __init__(self, model):
        self.model, self.id, self.emotions = model, "listener-0", tuple(reversed(EMOGATOR_30))

    @classmethod
    def load(cls, folder):
        return cls(RecognitionModel.load(folder))

    def hear(self, waves):
        heard = self.model.hear(waves)
        return Heard(heard.embeddings, heard.probabilities[:, ::-1])


def test_an_evaluator_beside_the_models(monkeypatch, benchmark, tmp_path, dev, manifest):
    out = tmp_path / "bench"
    assert benchmark(out, "--models", "tiny") == 0
    listener = Listener.load(out / "models" / "tiny")
    digest = ClipSource(manifest).sha256()
    training = {"manifest_sha256": digest, "cpu_minutes": 4.6, "config": {"epochs": 3, "seed": 18}}
    monkeypatch.setattr("vocalburst.eval.evaluators.load_evaluator", lambda spec: listener)
    monkeypatch.setattr(contestants, "read_training", lambda folder: training)
    assert benchmark(out, "--models", "tiny,evaluator:logmel") == 0
    rows = {row["name"]: row for row in report_of(out)["rows"]}
    own, other = rows["evaluator:logmel"], rows["tiny"]
    assert (own["cpu_minutes"], own["epochs"], own["seed"], own["settings"]) == (4.6, 3, 18, None)
    assert own["headline"] == other["headline"] and own["exvo_10"] == other["exvo_10"]
    ten = EvaluatorContestant("evaluator:logmel", TASKS["exvo-10"], digest).hear(dev.waves)
    heard = listener.model.hear(dev.waves).probabilities
    surprise = (
        heard[:, EMOGATOR_30.index("surprise_positive")] + heard[:, EMOGATOR_30.index("surprise_negative")]
    )
    np.testing.assert_allclose(ten.probabilities[:, EXVO_10.index("surprise")], surprise)
    assert not ten.probabilities[:, EXVO_10.index("horror")].any()


def test_the_shipped_evaluators_were_trained_on_other_labels(benchmark, tmp_path, capsys):
    assert benchmark(tmp_path / "bench", "--models", "evaluator:logmel") == 3
    assert "error: evaluator:logmel: was trained with labels_sha256 31651297ae22" in capsys.readouterr().err


def test_refusals_come_before_any_training(benchmark, tmp_path, capsys):
    out = tmp_path / "bench"

    def check(sentence, *arguments, code=3, **options):
        before = TinyModel.fits
        assert benchmark(out, *arguments, **options) == code
        errors = [line for line in capsys.readouterr().err.split("\n") if "error: " in line]
        assert len(errors) == 1 and sentence in errors[0] and TinyModel.fits == before

    check(
        "--models: 'cnn' is no recognition model, folder of one or evaluator:NAME; known: all, tiny",
        "--models",
        "cnn",
    )
    check("--models: tiny stands there twice", "--models", "tiny,all")
    check("--models: names no model", "--models", ",")
    check("--folds: expected 2 folds or more, got '1'", "--folds", "1", code=2)
    check("9 folds need at least as many speakers, got 8", "--folds", "9")
    check("evaluator:logmel: is trained already", "--models", "tiny,evaluator:logmel", "--folds", "2")
    check("has no clip of the split test", "--split-dev", "test")
    assert benchmark(out, "--models", "tiny") == 0
    capsys.readouterr()
    place = out / "models" / "tiny"
    check(f"{place}: was trained with seed 0, expected 4; move it away or name another folder", "--seed", "4")
    (tmp_path / "settings.yaml").write_text("models: {tiny: {sharpness: 3}}")
    check("was trained with sharpness 50.0, expected 3.0", "--config", tmp_path / "settings.yaml")
    (tmp_path / "settings.yaml").write_text("models: {tiny: {sharpness: -3}}")
    check(
        "settings of tiny: sharpness: Input should be greater than 0", "--config", tmp_path / "settings.yaml"
    )
    check(
        f"{place}: was trained with task emogator-30, expected exvo-10",
        "--models",
        str(place),
        task="exvo-10",
    )
    check("is trained already, so it cannot be trained for --folds", "--models", str(place), "--folds", "2")
    (place / "model.safetensors").write_bytes(b"broken")
    check("is no safetensors file", "--models", "tiny", code=4)


def test_folds_need_speakers_and_pupils_no_teacher(monkeypatch, benchmark, tmp_path, capsys):
    labels = avb_high(tmp_path / "high_info.csv", n=24)
    arguments = {
        "labels": ("--labels", labels, "--audio", sounds_of(labels, tmp_path / "wav")),
        "task": "avb-high",
    }
    assert benchmark(tmp_path / "a", "--models", "tiny", "--folds", "2", **arguments) == 3
    assert (
        "--folds deals out speakers, and the labels name none; give --speakers CSV" in capsys.readouterr().err
    )
    assert benchmark(tmp_path / "a", "--models", "tiny", **arguments) == 0
    assert "bootstrap over clips" in capsys.readouterr().out
    monkeypatch.setattr(TinyModel, "teacher", lambda self: "emo18", raising=False)
    assert benchmark(tmp_path / "b", "--models", "tiny", "--folds", "2") == 3
    assert (
        "tiny: is taught by emo18, which may have heard the speakers of any fold" in capsys.readouterr().err
    )
    assert benchmark(tmp_path / "b", "--models", "tiny") == 0


def test_folds_leave_a_teacher_out_unless_one_is_named(monkeypatch):
    monkeypatch.undo()  # the rows of the package
    plain, named = Contestant("wav2small", {"epochs": 1}), Contestant("wav2small", {"teacher": "emo18"})
    assert untaught(plain).settings == {"teacher": "none", "epochs": 1}
    for entry in (named, Contestant("cnnatt", {}), Contestant("evaluator:emo18"), Contestant("runs/a")):
        assert untaught(entry) == entry


def test_speed_is_of_clips_that_were_never_heard(dev):
    calls = []
    speed = benchmark_rows.milliseconds_per_clip(lambda waves: calls.append([w.copy() for w in waves]), dev)
    assert [len(call) for call in calls] == [1, 90] and speed >= 0
    own = dev.waves[0]
    assert calls[1][0].shape == own.shape and not np.array_equal(calls[1][0], own)
    np.testing.assert_allclose(calls[1][0] / calls[1][0].max(), own / own.max(), atol=1e-6)
