"""The prior draws whole rows of training clips, by emotion, voice and length."""

from collections import Counter

import numpy as np
import pytest

from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.models.prior import ClipPrior

# emotion, voice, seconds, active_seconds, level_db; powers of two survive float32
ROWS = np.array(
    [
        (0, 0, 1.0, 0.5, -20.0),
        (0, 1, 2.0, 1.5, -30.0),
        (1, 0, 0.5, 0.25, -10.0),
        (1, -1, 4.0, 3.0, -40.0),
    ]
)


def draws(n: int = 400, weights=None, voice=None, active_seconds=None, rows=ROWS) -> list[tuple]:
    prior = ClipPrior.from_rows(rows)
    found = [
        prior.draw(weights or {0: 1.0}, voice, active_seconds, np.random.default_rng(seed))
        for seed in range(n)
    ]
    return [(a.voice, a.seconds, a.active_seconds, a.level_db) for a in found]


def test_only_whole_rows_of_the_emotion():
    seen = Counter(draws())
    assert set(seen) == {tuple(ROWS[0, 1:]), tuple(ROWS[1, 1:])}
    assert min(seen.values()) > 150  # evenly


def test_a_mix_draws_emotions_by_weight():
    counts = Counter(row[1] for row in draws(2000, {0: 0.6, 1: 0.2}))
    assert abs((counts[1.0] + counts[2.0]) / 2000 - 0.75) < 0.04


def test_voice():
    assert set(draws(50, voice=1)) == {tuple(ROWS[1, 1:])}
    # This voice never made emotion 1: its own rows, whatever their emotion.
    assert set(draws(50, {1: 1.0}, voice=1)) == {tuple(ROWS[1, 1:])}
    # A voice without any row borrows one of anybody's of the emotion and stays the voice that was asked for.
    assert set(draws(50, voice=7)) == {(7, *ROWS[0, 2:]), (7, *ROWS[1, 2:])}
    assert len(set(draws(200, {9: 1.0}, voice=7))) == 4


def test_an_emotion_without_rows_borrows_any():
    assert len(set(draws(200, {9: 1.0}))) == 4


def test_quiet_clips_are_left_out_row_by_row():
    outlines = np.arange(8.0).reshape(4, 2)
    prior = ClipPrior.from_rows(ROWS, outlines, onsets=np.arange(4) / 8).at_least(-20.0)
    np.testing.assert_array_equal(prior.rows, ROWS[[0, 2]])
    np.testing.assert_array_equal(prior.outlines, outlines[[0, 2]])
    np.testing.assert_array_equal(prior.onsets, [0, 0.25])
    assert (prior.config.n_rows, prior.config.outline) == (2, 2)
    bare = ClipPrior.from_rows(ROWS).at_least(-30.0)
    np.testing.assert_array_equal(bare.rows, ROWS[:3])
    with pytest.raises(InputDataError, match="reaches 0 dBFS; the loudest has -10 dBFS"):
        prior.at_least(0.0)


def test_a_duration_picks_among_the_nearest_rows():
    rows = np.array([(0, 0, k / 8 + 0.125, k / 8, -20.0) for k in range(1, 33)])
    active = {row[2] for row in draws(600, active_seconds=1.0, rows=rows)}
    assert active == {k / 8 for k in range(1, 17)}


def test_a_quantile_picks_rows_in_the_order_of_voices():
    # Three rows of each of four voices, in any order, and one of another emotion; the level names the row.
    rows = [
        (0, voice, 1.0, (voice + 1) / 8, -level)
        for level, voice in enumerate([2, 0, 3, 1, 0, 2, 1, 3, 3, 1, 0, 2])
    ]
    prior = ClipPrior.from_rows(np.array([*rows, (1, 1, 1.0, 0.5, -99.0)]))

    def draw(quantile: float, **asked):
        asked = {"voice": None, "active_seconds": None} | asked
        drawn = prior.draw({0: 1.0}, rng=np.random.default_rng(0), quantile=quantile, **asked)
        return drawn.voice, drawn.level_db

    evenly = [draw((k + 0.5) / 12) for k in range(12)]
    assert [voice for voice, _ in evenly] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert {level for _, level in evenly} == {row[4] for row in rows}
    assert draw(0.0)[0] == 0 and draw(np.nextafter(1.0, 0.0))[0] == 3
    assert {draw(q, voice=2) for q in (0.1, 0.5, 0.9)} == {(2, row[4]) for row in rows if row[1] == 2}
    # Of the rows nearest to a length, too: the sixteen of voice 3 and beyond.
    long = ClipPrior.from_rows(np.array([(0, k % 4, 4.0, k / 8, -20.0) for k in range(1, 33)]))
    found = [
        long.draw({0: 1.0}, None, 1.0, np.random.default_rng(0), quantile=(k + 0.5) / 16) for k in range(16)
    ]
    assert [one.voice for one in found] == sorted([*range(4)] * 4)
    assert {one.active_seconds for one in found} == {k / 8 for k in range(1, 17)}


def test_same_generator_same_row():
    assert draws(20) == draws(20)


def test_folder_round_trip(tmp_path):
    ClipPrior.from_rows(ROWS).save_pretrained(tmp_path)
    np.testing.assert_array_equal(ClipPrior.from_pretrained(tmp_path).rows.numpy(), ROWS.astype(np.float32))
