"""HEEP against its closed form and np.corrcoef, its two readings, and ratings from a CSV."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vocalburst.eval.heep import heep_by_column, heep_by_row, heep_overall, read_ratings
from vocalburst.gen.data.emotions import EXVO_10
from vocalburst.gen.data.errors import InputDataError

ASKED = np.repeat(np.arange(10), 5)


def ratings(skill: float = 0.5, seed: int = 0) -> np.ndarray:
    heard = np.random.default_rng(seed).random((50, 10))
    return (1 - skill) * heard + skill * np.eye(10)[ASKED]


def test_rows_equal_the_correlation_of_the_flattened_clips():
    values, targets = ratings(), np.eye(10)[ASKED]
    for emotion, score in enumerate(heep_by_row(ASKED, values)):
        own = emotion == ASKED
        assert score == pytest.approx(np.corrcoef(targets[own].ravel(), values[own].ravel())[0, 1])


def test_rows_equal_their_closed_form():
    # 0.3 (a - b) / s for ten emotions.
    values = ratings()
    for emotion, score in enumerate(heep_by_row(ASKED, values)):
        own = values[emotion == ASKED]
        a, b = own[:, emotion].mean(), np.delete(own, emotion, axis=1).mean()
        assert score == pytest.approx(0.3 * (a - b) / own.std())


def test_columns_equal_their_closed_form():
    # sqrt(p (1 - p)) (a - c) / s with p the share of clips made for the emotion.
    values = ratings()
    for emotion, score in enumerate(heep_by_column(ASKED, values)):
        column = values[:, emotion]
        a, c = column[emotion == ASKED].mean(), column[emotion != ASKED].mean()
        assert score == pytest.approx(math.sqrt(0.1 * 0.9) * (a - c) / column.std())


def test_overall_equals_the_correlation_with_the_identity():
    values = ratings()
    expected = np.corrcoef(np.eye(10)[ASKED].ravel(), values.ravel())[0, 1]
    assert heep_overall(ASKED, values) == pytest.approx(expected)


def test_perfect_ratings_score_one_and_opposite_ratings_minus_one():
    perfect = np.eye(10)[ASKED]
    for values, expected in ((perfect, 1), (1 - perfect, -1), (0.1 + 0.2 * perfect, 1)):
        np.testing.assert_allclose(heep_by_row(ASKED, values), expected)
        np.testing.assert_allclose(heep_by_column(ASKED, values), expected)
        assert heep_overall(ASKED, values) == pytest.approx(expected)


@pytest.mark.parametrize("constant", [0.0, 0.1, 0.3, 1.0])
def test_ratings_that_say_nothing_score_zero_exactly(constant):
    values = np.full((50, 10), constant)
    assert not heep_by_row(ASKED, values).any()
    assert not heep_by_column(ASKED, values).any()
    assert heep_overall(ASKED, values) == 0


def test_the_three_readings_agree_on_average():
    values = ratings(0.4)
    overall = heep_overall(ASKED, values)
    assert heep_by_row(ASKED, values).mean() == pytest.approx(overall, abs=0.02)
    assert heep_by_column(ASKED, values).mean() == pytest.approx(overall, abs=0.02)


def test_a_single_emotion_has_a_row_but_no_column():
    asked, values = np.full(5, 3), ratings()[15:20]
    rows, columns = heep_by_row(asked, values), heep_by_column(asked, values)
    assert rows[3] == pytest.approx(heep_by_row(ASKED, ratings())[3])
    assert np.isnan(np.delete(rows, 3)).all()
    assert np.isnan(columns).all()


def test_only_the_column_punishes_what_other_clips_are_heard_as():
    values = ratings()
    overused = values.copy()
    overused[ASKED != 0, 0] = 1.0
    assert heep_by_row(ASKED, overused)[0] == pytest.approx(heep_by_row(ASKED, values)[0])
    assert heep_by_column(ASKED, overused)[0] < 0 < heep_by_column(ASKED, values)[0]


def test_ratings_that_do_not_fit_are_refused():
    with pytest.raises(InputDataError, match="from 0 to 1"):
        heep_by_row(ASKED, 2 * ratings())
    with pytest.raises(InputDataError, match="NaN"):
        heep_overall(ASKED, np.full((50, 10), np.nan))
    with pytest.raises(InputDataError, match="indices from 0 to 9"):
        heep_by_row(ASKED + 1, ratings())
    with pytest.raises(InputDataError, match=r"\[N, E\]"):
        heep_by_column(ASKED[:9], ratings())


def write_csv(path, lines: list[str], emotions=EXVO_10):
    path.write_text("\n".join([",".join(["File_ID", "Rater", *map(str.title, emotions)]), *lines]) + "\n")
    return path


def test_lines_of_one_clip_are_averaged_and_the_scale_is_divided_out(tmp_path):
    lines = ["[00007],a," + ",".join(["100"] + ["0"] * 9), "[00008],a," + ",".join(["50"] * 10)]
    lines += ["[00007],b," + ",".join(["50"] + ["20"] * 9)]
    result = read_ratings(write_csv(tmp_path / "ratings.csv", lines), EXVO_10, maximum=100)
    assert result.clips == ("00007", "00008")
    np.testing.assert_array_equal(result.raters, [2, 1])
    np.testing.assert_allclose(result.values, [[0.75] + [0.1] * 9, [0.5] * 10])


def test_columns_are_found_by_name_whatever_their_order(tmp_path):
    shuffled = EXVO_10[::-1]
    lines = ["clip,a," + ",".join(f"{i / 10}" for i in range(10))]
    result = read_ratings(write_csv(tmp_path / "ratings.csv", lines, shuffled), EXVO_10)
    np.testing.assert_allclose(result.values[0], np.arange(10)[::-1] / 10)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,a," + ",".join(["101"] + ["0"] * 9), r"line 2: expected a rating from 0 to 100, got 101"),
        ("x,a," + ",".join(["nan"] + ["0"] * 9), r"line 2: expected a rating from 0 to 100, got nan"),
        ("x,a," + ",".join(["much"] + ["0"] * 9), r"line 2: expected a rating, got 'much'"),
        ("x,a,1", r"line 2: expected 12 fields, got 3"),
        ("[],a," + ",".join(["1"] * 10), r"line 2: names no clip"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    with pytest.raises(InputDataError, match=message):
        read_ratings(write_csv(tmp_path / "ratings.csv", [line]), EXVO_10, maximum=100)


def test_a_wrong_table_is_named(tmp_path):
    path = tmp_path / "ratings.csv"
    with pytest.raises(InputDataError, match=r"ratings\.csv"):
        read_ratings(path, EXVO_10)
    with pytest.raises(InputDataError, match="at least one rating"):
        read_ratings(write_csv(path, []), EXVO_10)
    with pytest.raises(InputDataError, match="'surprise' has not exactly one"):
        read_ratings(write_csv(path, ["x,a," + ",".join(["1"] * 9)], EXVO_10[:9]), EXVO_10)
    path.write_text("Awe,Fear\n1,0\n")
    with pytest.raises(InputDataError, match="one column named clip"):
        read_ratings(path, ("awe", "fear"))
