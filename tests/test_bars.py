"""The bars: each number from the scores it is made of, its interval, and on which side of the bar it lies."""

from __future__ import annotations

import numpy as np
import pytest
from scores_fixtures import LOGMEL, around, build_scores

from vocalburst.eval.bars import bars_table, difference, quotient
from vocalburst.eval.scores import Measure, Scores

EMOTIONS = ("awe", "fear", "pain")


def scores(n: int = 160, **options) -> Scores:
    return build_scores(n=n, emotions=EMOTIONS, evaluators=(LOGMEL,), **options)


def with_set(given: Scores, name: str, **changes) -> Scores:
    """The scores with some values of one set replaced: emotions' or means', e.g. fid_infinity={"awe": 2, "mean": 3}."""
    data = given.model_dump()
    for one in data["evaluators"][0]["sets"]:
        if one["name"] == name:
            for measure, values in changes.items():
                for where, value in values.items():
                    row = one["mean"] if where == "mean" else one["emotions"][where]["measures"]
                    row[measure] = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return Scores.model_validate(data)


def cells(table: str) -> dict[str, tuple[str, str]]:
    """what -> (bar, reached) of the one evaluator."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if "|" in line
    ]
    return {row[0]: (row[1], row[2]) for row in rows[2:]}


def value_of(given: Scores, name: str, measure: str) -> float:
    return next(s for s in given.evaluators[0].sets if s.name == name).mean[measure].value


def test_the_ratio_to_the_floor_is_taken_emotion_by_emotion():
    given = with_set(scores(), "entry", fid_infinity={"awe": 2.0, "fear": 3.0, "pain": 1.0, "mean": 2.0})
    given = with_set(given, "floor", fid_infinity={"awe": 1.0, "fear": 1.0, "pain": 2.0, "mean": 4 / 3})
    found = cells(bars_table(given))
    bar, reached = found["FID∞ over the floor's, mean over emotions"]
    assert bar == "≤ 1.5"
    assert reached.startswith("1.83 (1.50 [")  # the mean of 2, 3 and 1/2; the ratio of the means
    assert reached.endswith("✗")
    bar, reached = found["FID∞ over the floor's, worst emotion"]
    assert bar == "≤ 2.27"
    assert reached.startswith("3.00 [")
    assert reached.endswith("fear ✗")


def test_each_share_is_of_what_its_row_says():
    given = scores(skill=1.0)
    heard = given.evaluators[0]
    found = cells(bars_table(given))
    expected = {
        "KAD above the floor's, mean": value_of(given, "entry", "kad") - value_of(given, "floor", "kad"),
        "row-HEEP, share of real clips'": value_of(given, "entry", "heep") / heard.real_heep.value,
        "recognised, share of real clips'": value_of(given, "entry", "recognised")
        / heard.real_recognised.value,
        "coverage, share of the floor's": value_of(given, "entry", "coverage")
        / value_of(given, "floor", "coverage"),
        "precision, share of the floor's": value_of(given, "entry", "precision")
        / value_of(given, "floor", "precision"),
        "copy-synthesis FID∞ over the entry's": value_of(given, "copy-synthesis", "fid_infinity")
        / value_of(given, "entry", "fid_infinity"),
    }
    for what, value in expected.items():
        assert float(found[what][1].split()[0]) == pytest.approx(value, rel=0.01), what


@pytest.mark.parametrize(
    ("what", "set_name", "measure", "good", "bad"),
    [
        ("KAD above the floor's, mean", "entry", "kad", 0.49, 0.51),
        ("row-HEEP, share of real clips'", "entry", "heep", 0.26 * 0.91, 0.26 * 0.89),
        ("recognised, share of real clips'", "entry", "recognised", 0.2 * 0.91, 0.2 * 0.89),
        ("coverage, share of the floor's", "entry", "coverage", 0.81, 0.79),
        ("precision, share of the floor's", "entry", "precision", 0.81, 0.79),
        ("copy-synthesis FID∞ over the entry's", "copy-synthesis", "fid_infinity", 0.24, 0.26),
    ],
)
def test_a_bar_is_met_on_one_side_and_missed_on_the_other(what, set_name, measure, good, bad):
    base = with_set(scores(), "floor", kad={"mean": 0.0}, coverage={"mean": 1.0}, precision={"mean": 1.0})
    base = with_set(base, "entry", fid_infinity={"mean": 1.0})
    for value, sign in ((good, "✓"), (bad, "✗")):
        table = bars_table(with_set(base, set_name, **{measure: {"mean": value}}))
        assert cells(table)[what][1].endswith(sign), (value, table)


def test_memorisation_is_held_against_the_band():
    clean, copied = (cells(bars_table(scores(suspicious=flag))) for flag in (False, True))
    for what in ("FLD gap, band of fresh real clips", "C_T, band of fresh real clips", "nearest-clip audit"):
        assert clean[what][1].endswith("✓")
        assert copied[what][1].endswith("✗")


def test_what_was_not_measured_is_a_dash_and_neither_met_nor_missed():
    found = cells(bars_table(scores(controls=("shuffled", "noise"))))
    for what in ("FID∞ over the floor's, mean over emotions", "KAD above the floor's, mean",
                 "coverage, share of the floor's", "copy-synthesis FID∞ over the entry's",
                 "FID∞ over that of many network calls"):  # fmt: skip
        assert found[what][1] == "–", what


def test_a_floor_at_zero_leaves_the_ratio_of_means_only():
    given = with_set(scores(), "floor", fid_infinity={"awe": -0.1, "mean": 2.0})
    given = with_set(given, "entry", fid_infinity={"mean": 3.0})
    table = bars_table(given)
    assert cells(table)["FID∞ over the floor's, mean over emotions"][1].startswith("– (1.50 [")
    assert "not above 0 in every emotion" in table


def test_both_sides_are_compared_by_their_means():
    found = cells(bars_table(scores()))
    floor_row, copy_row = (
        "FID∞ on both sides over the floor's, of means",
        "copy-synthesis FID∞ on both sides over it",
    )
    assert found[floor_row][1] == found[copy_row][1] == "–"  # made-up scores do not have it
    given = with_set(scores(), "entry", fid_infinity_both={"mean": 3.0})
    given = with_set(given, "floor", fid_infinity_both={"mean": 1.9})
    given = with_set(given, "copy-synthesis", fid_infinity_both={"mean": 0.6})
    found = cells(bars_table(given))
    assert found[floor_row][1].startswith("1.58 [") and found[floor_row][1].endswith("✗")
    assert found[copy_row][1].startswith("0.200 [") and found[copy_row][1].endswith("✓")


def test_few_steps_are_compared_with_the_file_of_many():
    few = with_set(scores(), "entry", fid_infinity={"mean": 1.08})
    many = with_set(scores(), "entry", fid_infinity={"mean": 1.0})
    what = "FID∞ over that of many network calls"
    assert cells(bars_table(few, many))[what][1].startswith("1.08 [")
    assert cells(bars_table(few, many))[what][1].endswith("✓")
    assert cells(bars_table(with_set(few, "entry", fid_infinity={"mean": 1.12}), many))[what][1].endswith("✗")
    assert "--many-steps" in bars_table(few)
    assert "--many-steps" not in bars_table(few, many)


def test_too_few_clips_for_the_bars_are_told():
    assert "meant for at least 160 clips" in bars_table(scores(n=100))
    assert "meant for" not in bars_table(scores())


def test_intervals_of_quotients_and_differences_hold_the_truth():
    rng = np.random.default_rng(0)
    held = {"quotient": [], "difference": []}
    for _ in range(2000):
        a, b = around(3 + 0.2 * rng.standard_normal(), 0.392), around(2 + 0.1 * rng.standard_normal(), 0.196)
        for name, function, truth in (("quotient", quotient, 1.5), ("difference", difference, 1.0)):
            found = function(a, b)
            held[name].append(found.low <= truth <= found.high)
    assert {name: np.mean(h) for name, h in held.items()} == pytest.approx(
        {"quotient": 0.95, "difference": 0.95}, abs=0.02
    )
    assert quotient(around(1, 0.1), around(-1, 0.1)) is None
    assert quotient(Measure(value=1.0), around(2, 0.1)) == Measure(value=0.5)
