"""`vocalburst recognise predict`: what it writes is scored by `score-predictions` as it is."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from recognition_fixtures import (
    emogator,
    hume,
    run_vocalburst,
    sounds_of,
    tiny,  # noqa: F401 (a fixture)
    tone,
    write_sound,
)
from task_fixtures import avb_high, compare, exvo, read_rows, write_rows

from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.labelled_clips import ClipSource, load_split
from vocalburst.eval.tasks.registry import EMOTIONS, SHARES, TASKS
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10
from vocalburst.gen.data.manifest import read_manifest

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return emogator(tmp_path_factory.mktemp("emogator"))


@pytest.fixture(scope="module")
def hume_manifest(tmp_path_factory):
    return hume(tmp_path_factory.mktemp("hume"))


@pytest.fixture
def command(monkeypatch, tmp_path):
    """`vocalburst recognise VERB ...` with the cache of this test."""

    def call(verb, *arguments):
        return run_vocalburst(monkeypatch, "recognise", verb, *arguments, "--cache", tmp_path / "cache")

    return call


@pytest.fixture
def scored(monkeypatch, capsys):
    """A number that `score-predictions` prints of a file, the headline unless another is named."""

    def call(predictions, task, labels, *arguments, measure=None):
        capsys.readouterr()
        common = ("--task", task, "--labels", labels)
        assert run_vocalburst(monkeypatch, "score-predictions", predictions, *common, *arguments) == 0
        printed = capsys.readouterr().out
        return next(
            float(line.split("|")[2]) for line in printed.split("\n")
            if line.startswith("| ") and line.split("|")[1].strip() == (measure or TASKS[task].headline)
        )  # fmt: skip

    return call


def headline(run):
    return RecognitionModel.load(run).training_["run"]["scores"][0]["value"]


def mean_ccc(run):
    scores = RecognitionModel.load(run).training_["run"]["scores"]
    return next(row["value"] for row in scores if row["measure"] == "mean CCC")


def trained(command, tmp_path, task, *source, name="run"):
    assert command("train", "--model", "tiny", "--task", task, "--out", tmp_path / name, *source) == 0
    return tmp_path / name


def test_classes_of_a_manifest(command, scored, tmp_path, manifest, capsys):
    run = trained(command, tmp_path, "emogator-30", "--manifest", manifest)
    out = tmp_path / "new" / "predictions.csv"
    assert command("predict", f"{manifest}:dev", "--model", run, "--out", out, "--probabilities") == 0
    assert capsys.readouterr().out.endswith(f"90 predictions for emogator-30 in {out}\n")
    rows = read_rows(out)
    assert list(rows[0]) == ["File_ID", "Emotion", *(f"probability_{name}" for name in EMOGATOR_30)]
    assert [row["File_ID"] for row in rows] == [c.id for c in read_manifest(manifest) if c.split == "dev"]
    for row in rows:
        shares = [float(row[f"probability_{name}"]) for name in EMOGATOR_30]
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        assert shares[EMOGATOR_30.index(row["Emotion"])] == max(shares)
    assert scored(out, "emogator-30", manifest) == pytest.approx(headline(run), abs=5e-5)


def test_subset_of_a_manifest_by_its_labels(command, scored, tmp_path, manifest):
    run = trained(command, tmp_path, "exvo-10", "--manifest", manifest)
    out = tmp_path / "predictions.csv"
    assert command("predict", "--labels", manifest, "--split", "dev", "--model", run, "--out", out) == 0
    rows = read_rows(out)
    assert len(rows) == 30 and {row["Emotion"] for row in rows} <= set(EXVO_10)
    assert scored(out, "exvo-10", manifest) == pytest.approx(headline(run), abs=5e-5)


def test_numbers_of_hume_against_the_official_label_file(command, scored, tmp_path, hume_manifest):
    run = trained(command, tmp_path, "avb-high", "--manifest", hume_manifest)
    out = tmp_path / "predictions.csv"
    assert command("predict", f"{hume_manifest}:dev", "--model", run, "--out", out) == 0
    rows = read_rows(out)
    assert list(rows[0]) == ["File_ID", *EMOTIONS] and rows[0]["File_ID"] == "[00037]"
    official = [
        {"File_ID": f"[{clip.id.removeprefix('hume-')}]", "Split": "Val"}
        | {name: clip.emotions[name.lower()] for name in EMOTIONS}
        for clip in read_manifest(hume_manifest)
        if clip.split == "dev"
    ]
    labels = write_rows(tmp_path / "high_info.csv", official)
    assert scored(out, "avb-high", labels, "--split", "Val") == pytest.approx(headline(run), abs=1e-3)
    # The blind clips of the test split have no labels and get predictions all the same.
    assert command("predict", f"{hume_manifest}:test", "--model", run, "--out", out) == 0
    assert [row["File_ID"] for row in read_rows(out)] == ["[00053]", "[00054]", "[00055]", "[00056]"]


@pytest.mark.parametrize("task", ["exvo-multitask", "exvo-fewshot", "avb-high"])
def test_label_files_of_hume(command, scored, tmp_path, task):
    labels = avb_high(tmp_path / "info.csv") if task == "avb-high" else exvo(tmp_path / "info.csv", n=192)
    source = ("--labels", labels, "--audio", sounds_of(labels, tmp_path / "wav"))
    run = trained(command, tmp_path, task, *source)
    out = tmp_path / "predictions.csv"
    assert command("predict", *source, "--split", "Val", "--model", run, "--out", out) == 0
    columns = [column.name for column in TASKS[task].columns]
    assert list(read_rows(out)[0]) == ["File_ID", *columns]
    value = scored(out, task, labels, "--split", "Val", measure="mean CCC")
    assert value == pytest.approx(mean_ccc(run), abs=1e-3)


def test_folder_of_compare(command, scored, tmp_path):
    labels = compare(tmp_path / "lab")
    for split in ("train", "devel"):
        sounds_of(labels / f"{split}.csv", tmp_path / "wav", "filename")
    source = ("--labels", labels, "--audio", tmp_path / "wav")
    run = trained(command, tmp_path, "prosody-share", *source)
    out = tmp_path / "predictions.csv"
    assert command("predict", *source, "--model", run, "--out", out) == 0
    rows = read_rows(out)
    assert list(rows[0]) == ["filename", *SHARES] and rows[0]["filename"] == "devel_00000.wav"
    assert scored(out, "prosody-share", labels) == pytest.approx(headline(run), abs=1e-3)


def test_any_folder_of_clips(command, tmp_path, manifest):
    run = trained(command, tmp_path, "emogator-30", "--manifest", manifest)
    for number in range(3):
        write_sound(tmp_path / "clips" / "awe" / f"{number}.wav", tone(300 + 50 * number, number))
    out = tmp_path / "predictions.csv"
    assert command("predict", tmp_path / "clips", "--model", run, "--out", out) == 0
    model = RecognitionModel.load(run)
    waves = [tone(300 + 50 * number, number) for number in range(3)]
    expected = [EMOGATOR_30[int(k)] for k in model.predict(waves)[:, 0]]
    assert [row["Emotion"] for row in read_rows(out)] == expected


def test_order_does_not_depend_on_blocks(monkeypatch, command, tmp_path, manifest):
    run = trained(command, tmp_path, "emogator-30", "--manifest", manifest)
    for name, size in (("a", 256), ("b", 7)):
        monkeypatch.setattr("vocalburst.eval.recognition.predict.HEARD_AT_ONCE", size)
        arguments = (manifest, "--model", run, "--out", tmp_path / f"{name}.csv", "--probabilities")
        assert command("predict", *arguments) == 0
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    with (tmp_path / "a.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 241
    dev = load_split(TASKS["emogator-30"], ClipSource(manifest, cache=tmp_path / "cache"), "dev")
    by_id = {row["File_ID"]: row["Emotion"] for row in read_rows(tmp_path / "a.csv")}
    predicted = RecognitionModel.load(run).predict(dev.waves)[:, 0]
    assert [by_id[name] for name in dev.ids] == [EMOGATOR_30[int(k)] for k in predicted]


def test_refusals(command, tmp_path, manifest, hume_manifest, capsys):
    run = trained(command, tmp_path, "avb-high", "--manifest", hume_manifest)
    out = tmp_path / "predictions.csv"

    def check(code, sentence, *arguments):
        assert command("predict", *arguments, "--out", out) == code
        errors = [line for line in capsys.readouterr().err.split("\n") if "error: " in line]
        assert len(errors) == 1 and sentence in errors[0] and not out.exists()

    check(
        4, "config.json: cannot be read (No such file or directory)", manifest, "--model", tmp_path / "none"
    )
    check(3, "--probabilities: avb-high has no class column", manifest, "--model", run, "--probabilities")
    check(3, "no such folder or manifest", tmp_path / "nothing", "--model", run)
    check(3, "has no clip of the split test", f"{manifest}:test", "--model", run)
    check(2, "expected either CLIPS or --labels FILE", "--model", run)
    check(2, "--audio and --speakers belong to --labels", manifest, "--model", run, "--audio", tmp_path)
    write_sound(tmp_path / "clips" / "awe" / "0.wav", tone(300, 0))
    write_sound(tmp_path / "clips" / "fear" / "1.wav", np.zeros(4800, np.float32))
    check(3, "is digital silence", tmp_path / "clips", "--model", run)
    write_sound(tmp_path / "clips" / "fear" / "1.wav", tone(300, 0))
    write_sound(tmp_path / "clips" / "fear" / "1.flac", tone(300, 0))
    check(3, "have the same id", tmp_path / "clips", "--model", run)
