"""`vocalburst score-predictions` from a CSV to the table: numbers against slow references, and every refusal."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
import task_fixtures as made

from vocalburst.eval.tasks import metrics, published
from vocalburst.eval.tasks.registry import BURST_TYPES, CULTURE_COLUMNS, EMOTIONS, SHARES, TASKS
from vocalburst.eval.tasks.score_predictions import main
from vocalburst.eval.tasks.scoring import METRICS, score, uninformed
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10, SONATA_25

FACES = {"ANG": "Angry", "DIS": "Disgust", "FEA": "Fear", "HAP": "Happy", "NEU": "Neutral", "SAD": "Sad"}


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; gives exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["vocalburst score-predictions", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return call


def scored(run, *arguments):
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    report = json.loads(out)
    return report, {row["measure"]: row for row in report["scores"]}


def column(path, name, split=None):
    rows = [row for row in made.read_rows(path) if split is None or row["Split"] == split]
    return np.array([float(row[name] or "nan") for row in rows])


@pytest.fixture
def high(tmp_path):
    labels = made.avb_high(tmp_path / "labels" / "high_info.csv")
    return labels, made.answers(labels, tmp_path / "predictions.csv", EMOTIONS, "Val")


def test_avb_high_is_the_mean_of_ten_official_ccc(run, high):
    labels, predictions = high
    report, rows = scored(run, predictions, "--task", "avb-high", "--labels", labels, "--split", "Val")
    pairs = [(column(labels, e, "Val"), column(predictions, e)) for e in EMOTIONS]
    official = [metrics.ccc(t, p) for t, p in pairs]
    exact = [metrics.ccc(t, p, "exact") for t, p in pairs]
    assert next(iter(rows)) == "mean CCC"
    assert rows["mean CCC"]["value"] == pytest.approx(np.mean(official), abs=1e-12)
    assert rows["mean CCC, exact"]["value"] == pytest.approx(np.mean(exact), abs=1e-12)
    assert [rows[f"CCC of {e}"]["value"] for e in EMOTIONS] == official
    assert 0.5 < np.mean(official) < 0.9  # neither perfect nor nothing
    for row in rows.values():
        assert row["low"] < row["value"] < row["high"] and row["n"] == 24
    assert (report["split"], report["resampled"], report["ccc"]) == ("dev", "clips", "official")
    _, other = scored(run, predictions, "--task", "avb-high", "--labels", labels, "--ccc", "exact")
    assert other["mean CCC"]["value"] == pytest.approx(np.mean(exact), abs=1e-12)
    assert "mean CCC, exact" not in other


def test_the_interval_of_the_mean_ccc_equals_a_loop(high):
    labels, predictions = high
    truth = np.stack([column(labels, e, "Val") for e in EMOTIONS], axis=1)
    answer = np.stack([column(predictions, e) for e in EMOTIONS], axis=1)
    speakers = [f"s{k // 4}" for k in range(24)]
    rows = score(TASKS["avb-high"], truth, answer, speakers, mode="exact", seed=3, resamples=40)
    means = []
    for draw in np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=40):
        drawn = np.concatenate([np.arange(4 * s, 4 * s + 4) for s in range(6) for _ in range(draw[s])])
        means.append(np.mean([metrics.ccc(truth[drawn, c], answer[drawn, c], "exact") for c in range(10)]))
    assert (rows[0].low, rows[0].high) == pytest.approx(tuple(np.percentile(means, (2.5, 97.5))), abs=1e-9)


def test_the_order_of_rows_and_columns_and_brackets_do_not_matter(run, high):
    labels, predictions = high
    arguments = ("--task", "avb-high", "--labels", labels)
    _, before = scored(run, predictions, *arguments)
    rows = [
        dict(reversed(row.items())) | {"File_ID": row["File_ID"].strip("[]")}
        for row in made.read_rows(predictions)
    ]
    made.write_rows(predictions, rows[::-1], delimiter=";")
    assert scored(run, predictions, *arguments)[1] == before


def test_the_table(run, high):
    labels, predictions = high
    code, out, err = run(predictions, "--task", "avb-high", "--labels", labels)
    assert code == 0 and err == ""
    assert re.search(r"^\| mean CCC +\| 0\.\d{4} \| \[0\.\d{4}, 0\.\d{4}\] \| 24 \|$", out, re.MULTILINE)
    assert "split dev, 24 clips." in out and "bootstrap over clips, seed 0. CCC: official." in out
    assert re.search(r"\| END2YOU +\| test +\| mean CCC \| 0.569 +\| arXiv 2403.14048 \(Table 7\)", out)
    assert re.search(r"\| not listening +\| dev +\| mean CCC \| 0.0000", out)


def test_avb_two_in_either_scale(run, tmp_path):
    labels = made.avb_two(tmp_path / "two_info.csv")
    columns = ("Valence", "Arousal")
    rows = [row for row in made.read_rows(labels) if row["Split"] == "Val"]
    copied = made.write_rows(tmp_path / "a.csv", [{k: v for k, v in r.items() if k != "Split"} for r in rows])
    scaled = [{"File_ID": r["File_ID"]} | {c: (float(r[c]) - 1) / 8 for c in columns} for r in rows]
    report, raw = scored(run, copied, "--task", "avb-two", "--labels", labels)
    assert raw["mean CCC"]["value"] == pytest.approx(23 / 24, abs=1e-4)  # copies: (n - 1)/n
    assert (
        len(report["notes"]) == 2 and report["notes"][1] == f"{copied}: written as 1 to 9, compared as 0 to 1"
    )
    other = made.write_rows(tmp_path / "b.csv", scaled)
    report, unit = scored(run, other, "--task", "avb-two", "--labels", labels)
    assert len(report["notes"]) == 1
    assert unit["mean CCC"]["value"] == pytest.approx(raw["mean CCC"]["value"], abs=1e-4)


def test_avb_culture_scores_each_country_on_its_own_clips(run, tmp_path):
    labels = made.avb_culture(tmp_path / "culture_info.csv")
    predictions = made.answers(labels, tmp_path / "p.csv", CULTURE_COLUMNS, "Val")
    text = predictions.read_text().replace(
        "South Africa_Sadness", "SouthAfrica_Sadness"
    )  # as the organisers wrote it
    predictions.write_text(text)
    _, rows = scored(run, predictions, "--task", "avb-culture", "--labels", labels)
    awe = column(labels, "China_Awe", "Val"), column(predictions, "China_Awe")
    assert rows["CCC of China_Awe"]["value"] == metrics.ccc(*awe) and rows["CCC of China_Awe"]["n"] == 12
    known = ~np.isnan(awe[0])
    exact = [
        metrics.ccc(column(labels, c, "Val"), made_column, "exact")
        for c, made_column in ((c, column(predictions, c.replace("South Africa_Sad", "SouthAfrica_Sad")))
                               for c in CULTURE_COLUMNS)
    ]  # fmt: skip
    assert rows["mean CCC, exact"]["value"] == pytest.approx(np.mean(exact))
    assert metrics.ccc(*awe, "exact") == pytest.approx(metrics.ccc(awe[0][known], awe[1][known], "exact"))
    assert rows["mean CCC"]["value"] > rows["mean CCC, exact"]["value"]  # unlabelled rows inflate it


def test_avb_type_by_hand(run, tmp_path):
    labels = made.avb_type(tmp_path / "type_info.csv")
    rows = [row for row in made.read_rows(labels) if row["Split"] == "Val"]
    said = [
        {"File_ID": r["File_ID"], "Voc_Type": "gasp" if r["Voc_Type"] == "Cry" else r["Voc_Type"]}
        for r in rows
    ]
    report, found = scored(
        run, made.write_rows(tmp_path / "p.csv", said), "--task", "avb-type", "--labels", labels
    )
    assert found["UAR"]["value"] == pytest.approx(7 / 8)
    assert found["recall of Cry"]["value"] == 0 and found["recall of Gasp"]["value"] == 1
    assert [row["n"] for row in report["scores"]] == [32] + [4] * 8
    assert report["uninformed"] == {"UAR": 1 / 8} and report["ccc"] is None


def test_exvo_multitask(run, tmp_path):
    labels = made.exvo(tmp_path / "data_info.csv")
    predictions = made.answers(labels, tmp_path / "p.csv", EMOTIONS, "Val")
    rows = [row for row in made.read_rows(labels) if row["Split"] == "Val"]
    countries = ("China", "South Africa", "United States", "Venezuela")
    answers = [
        p
        | {"Country": "China" if k < 6 else countries[int(float(r["Country"]))]}
        | {"Age": float(r["Age"]) + (-1) ** k * 3}
        for k, (p, r) in enumerate(zip(made.read_rows(predictions), rows, strict=True))
    ]
    answers[6]["Country"] = "3"  # one of the 12 clips of South Africa
    made.write_rows(predictions, answers)
    report, found = scored(run, predictions, "--task", "exvo-multitask", "--labels", labels)
    ccc = np.mean([metrics.ccc(column(labels, e, "Val"), column(predictions, e)) for e in EMOTIONS])
    uar = (1 + 11 / 12 + 1 + 1) / 4
    assert next(iter(found)) == "S_MTL"
    assert found["UAR of country"]["value"] == pytest.approx(uar)
    assert found["MAE of age"]["value"] == pytest.approx(3)
    assert found["S_MTL"]["value"] == pytest.approx(3 / (1 / ccc + 3 + 1 / uar))
    assert found["S_MTL"]["low"] < found["S_MTL"]["value"] < found["S_MTL"]["high"]
    assert (report["resampled"], report["speakers"]) == ("speakers", 8)
    assert set(report["uninformed"]) == {"mean CCC", "UAR of country", "MAE of age"}
    assert set(report["uninformed"]) < set(found)


def test_s_mtl_without_agreement_is_a_dash(run, tmp_path):
    labels = made.exvo(tmp_path / "data_info.csv")
    rows = [row for row in made.read_rows(labels) if row["Split"] == "Val"]
    against = [r | {e: 1 - float(r[e]) for e in EMOTIONS} for r in rows]
    predictions = made.write_rows(tmp_path / "p.csv", against)
    code, out, err = run(predictions, "--task", "exvo-multitask", "--labels", labels)
    assert code == 0 and re.search(r"^\| S_MTL +\| – +\| – ", out, re.MULTILINE)
    assert "note: S_MTL: undefined" in err


def test_fewshot_scores_the_other_clips(run, tmp_path):
    labels = made.exvo(tmp_path / "data_info.csv")
    every = made.read_rows(made.answers(labels, tmp_path / "p.csv", EMOTIONS, "Val"))
    arguments = (tmp_path / "p.csv", "--task", "exvo-fewshot", "--labels", labels)
    assert run(*arguments)[0] == 3
    made.write_rows(tmp_path / "p.csv", [row for k, row in enumerate(every) if k % 6 > 1])
    report, found = scored(run, *arguments)
    assert (report["clips"], report["speakers"], found["mean CCC"]["n"]) == (32, 8, 32)


def test_prosody_is_the_mean_of_nine_correlations_on_any_scale(run, tmp_path):
    folder = made.compare(tmp_path / "lab")
    rng = np.random.default_rng(0)
    rows = [
        {"filename": r["filename"]} | {s: float(r[s]) * 3 - 2 + rng.random() for s in SHARES}
        for r in made.read_rows(folder / "devel.csv")
    ]
    predictions = made.write_rows(tmp_path / "p.csv", rows)
    _, found = scored(run, predictions, "--task", "prosody-share", "--labels", folder, "--split", "devel")
    by_hand = [np.corrcoef(column(folder / "devel.csv", s), column(predictions, s))[0, 1] for s in SHARES]
    assert found["mean Pearson"]["value"] == pytest.approx(np.mean(by_hand))
    assert found["Pearson of Tiredness"]["value"] == pytest.approx(by_hand[-1])
    made.write_rows(predictions, [row | {"Anger": 0.2} for row in rows])
    report, found = scored(run, predictions, "--task", "prosody-share", "--labels", folder)
    assert found["Pearson of Anger"]["value"] is None and found["mean Pearson"]["value"] is None
    assert "mean Pearson, Pearson of Anger: undefined" in report["notes"][0]


def test_naming_tasks_with_speakers(run, tmp_path):
    labels = made.named_clips(tmp_path / "clips.csv", EMOGATOR_30, per_class=16, speakers=4)
    rows = [row for row in made.read_rows(labels) if row["split"] == "dev"]
    wrong = [
        {"filename": r["filename"], "emotion": r["Emotion"] if r["speaker"] != "actor-0" else "awe"}
        for r in rows
    ]
    predictions = made.write_rows(tmp_path / "p.csv", wrong)
    report, found = scored(run, predictions, "--task", "emogator-30", "--labels", labels)
    assert found["UAR"]["value"] == pytest.approx((29 * 2 / 3 + 1) / 30)
    assert (report["resampled"], report["speakers"]) == ("speakers", 3)
    assert (
        found["UAR"]["low"] == pytest.approx(1 / 30) and found["UAR"]["high"] == 1
    )  # a speaker is right or wrong
    code, _, err = run(predictions, "--task", "exvo-10", "--labels", labels)
    assert code == 3 and "is not scored: adoration is none of the 10 emotions of the task" in err


def test_exvo_10_takes_the_names_of_thirty(run, tmp_path):
    labels = made.named_clips(tmp_path / "clips.csv", EMOGATOR_30, per_class=16, speakers=4)
    kept = {"elation", "surprise_negative", "surprise_positive", "embarrassment"} | set(EXVO_10)
    rows = [r for r in made.read_rows(labels) if r["split"] == "dev" and r["Emotion"] in kept]
    predictions = made.write_rows(
        tmp_path / "p.csv", [{"id": r["filename"], "Prediction": r["Emotion"]} for r in rows]
    )
    report, found = scored(run, predictions, "--task", "exvo-10", "--labels", labels)
    assert found["UAR"]["value"] == 1 and found["recall of surprise"]["n"] == 24
    assert report["uninformed"] == {"UAR": 1 / 9} and "recall of horror" not in found


def test_acted_speech_has_accuracy_and_macro_f1(run, tmp_path):
    names = [f"10{speaker:02d}_{s}_{code}_XX" for speaker in (1, 2) for s in ("DFA", "IEO") for code in FACES]
    folder = tmp_path / "AudioWAV"
    folder.mkdir()
    for name in names:
        (folder / f"{name}.wav").touch()
    said = [
        {"filename": f"{n}.wav", "emotion": "Happy" if "ANG" in n else FACES[n.split("_")[2]]} for n in names
    ]
    predictions = made.write_rows(tmp_path / "p.csv", said)
    report, found = scored(run, predictions, "--task", "crema-d", "--labels", folder)
    assert found["accuracy"]["value"] == pytest.approx(5 / 6) and next(iter(found)) == "accuracy"
    assert found["macro F1"]["value"] == pytest.approx((4 + 2 / 3 + 0) / 6)  # Happy: precision 1/2, recall 1
    assert found["F1 of Happy"]["value"] == pytest.approx(2 / 3) and "F1 of Surprise" not in found
    assert (report["split"], report["speakers"]) == ("all", 2)
    assert report["uninformed"]["accuracy"] == pytest.approx(1 / 6)
    assert report["notes"] == ["the split all is not a published one of crema-d; none is published"]


def test_a_split_of_ones_own_is_said_to_be_one(run, tmp_path):
    labels = made.named_clips(tmp_path / "clips.csv", SONATA_25, per_class=16, speakers=4)
    rows = [
        {"filename": r["filename"], "Label": r["Emotion"]}
        for r in made.read_rows(labels)
        if r["split"] == "dev"
    ]
    predictions = made.write_rows(tmp_path / "p.csv", rows)
    report, _ = scored(run, predictions, "--task", "sonata-25", "--labels", labels, "--split", "Val")
    assert report["notes"] == [
        "the split dev is not a published one of sonata-25; published: table-3:train, table-3:dev, table-3:test, "
        "table-4:train, table-4:dev, table-4:test"
    ]
    code, _, err = run(predictions, "--task", "sonata-25", "--labels", labels, "--split", "table-3:Val")
    assert (
        code == 3
        and "table-3 dev is 125 clips of 4 speakers in arXiv 2403.14048 (Table 3), got 300 of 3" in err
    )


def test_what_predictions_must_not_be(run, high):
    labels, predictions = high
    good = made.read_rows(predictions)

    def refused(rows, sentence):
        made.write_rows(predictions, rows)
        code, out, err = run(predictions, "--task", "avb-high", "--labels", labels)
        assert (code, out) == (3, "") and err.count("\n") == 1
        assert err.startswith(f"error: {predictions}") and sentence in err

    refused(good[1:], "lacks 1 of the 24 clips of the split dev, the first is 00013")
    refused([*good, good[0]], "File_ID [00013] stands there twice")
    refused([*good, good[0] | {"File_ID": "13"}], "File_ID 13 stands there twice")
    refused([*good, good[0] | {"File_ID": "[99999]"}], f"File_ID [99999] is not in {labels}")
    refused(
        [*good, good[0] | {"File_ID": "[00001]"}],
        "[00001] is not scored: it is in the split train, expected dev",
    )
    refused([good[0] | {"Awe": "1.01"}, *good[1:]], "File_ID [00013], Awe: 1.01 is outside 0 to 1")
    refused([good[0] | {"Awe": "-0.01"}, *good[1:]], "File_ID [00013], Awe: -0.01 is outside 0 to 1")
    refused([good[0] | {"Awe": "inf"}, *good[1:]], "Awe: inf is outside 0 to 1")
    refused([good[0] | {"Awe": ""}, *good[1:]], "File_ID 00013 has no value for Awe")
    refused([good[0] | {"Awe": "lots"}, *good[1:]], "Awe: expected a number, found 'lots'")
    refused(
        [{k: v for k, v in r.items() if k != "Awe"} for r in good], "lacks the columns Awe; it has File_ID"
    )
    refused(
        [{k: v for k, v in r.items() if k != "File_ID"} for r in good], "lacks a column File_ID or filename"
    )


def test_an_unknown_class_is_refused(run, tmp_path):
    labels = made.avb_type(tmp_path / "type_info.csv")
    rows = [row for row in made.read_rows(labels) if row["Split"] == "Val"]
    predictions = made.write_rows(tmp_path / "p.csv", [r | {"Voc_Type": "Sigh"} for r in rows])
    code, _, err = run(predictions, "--task", "avb-type", "--labels", labels)
    assert code == 3 and "'Sigh' is not one of the 8 classes" in err


def test_wrong_usage(run, high, tmp_path):
    labels, predictions = high
    assert run(predictions, "--task", "avb-low", "--labels", labels)[0] == 2
    assert run(predictions, "--task", "avb-high", "--labels", labels, "--label-columns", "Awe")[0] == 2
    code, _, err = run(predictions, "--task", "avb-high", "--labels", labels, "--label-columns", "Joy=Awe")
    assert code == 3 and "avb-high has no column Joy" in err
    code, _, err = run(predictions, "--task", "avb-high", "--labels", tmp_path / "none.csv")
    assert code == 3 and "none.csv: cannot be read as a table" in err
    code, _, err = run(tmp_path / "none.csv", "--task", "avb-high", "--labels", labels)
    assert code == 3 and "none.csv: cannot be read as a table" in err


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_task_is_scored_by_known_metrics_and_published_under_their_names(task):
    rng = np.random.default_rng(0)
    n = 30 * max(1, len(task.columns[0].classes))
    truth = np.stack(
        [np.arange(n) % len(c.classes) if c.classes else rng.uniform(*c.bounds, n) for c in task.columns],
        axis=1,
    )
    assert {part.metric for part in task.parts} <= set(METRICS)
    rows = score(task, truth, truth, [f"s{k % 9}" for k in range(n)], mode="exact", resamples=5)
    assert rows[0].measure == task.headline
    best = [row for row in rows if row.measure != "S_MTL" and not row.measure.startswith("MAE")]
    assert all(row.value == pytest.approx(1) for row in best) and len(best) >= 2
    names = {row.measure for row in rows}
    assert {row.measure for row in task.published} <= names
    assert set(uninformed(task, truth)) <= names


def test_published_rows_are_those_of_the_papers():
    """Tables 5 to 10 of arXiv 2403.14048 and Table 4 of LoopQ, the best of each task."""
    best = {
        name: max(row.value for row in TASKS[name].published if row.measure == TASKS[name].headline)
        for name in TASKS if TASKS[name].published
    }  # fmt: skip
    assert best == {
        "exvo-multitask": 0.435, "exvo-fewshot": 0.739, "avb-high": 0.736, "avb-two": 0.707, "avb-culture": 0.620,
        "avb-type": 0.586, "sonata-25": 0.84, "prosody-share": 0.514, "crema-d": 0.8297, "ravdess": 0.8297,
        "savee": 0.8297, "tess": 0.8297, "loopq": 0.8297,
    }  # fmt: skip
    dev = {r.system: r.value for r in published.EXVO_MULTITASK if r.split == "dev" and r.measure == "S_MTL"}
    assert dev == {"ComParE": 0.349, "eGeMAPS": 0.324}
    assert len(BURST_TYPES) == 8 and len(CULTURE_COLUMNS) == 40
