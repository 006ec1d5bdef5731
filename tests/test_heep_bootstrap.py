"""HEEP of weighted clips against the formulas of `heep` on repeated ones; intervals against slow resampling."""

from __future__ import annotations

import numpy as np
import pytest

from vocalburst.eval.heep import heep_by_column, heep_by_row, heep_overall
from vocalburst.eval.heep_bootstrap import RatedClips, resampled_weights, score_ratings

RNG = np.random.default_rng(0)
ASKED = np.repeat([0, 1, 3], 12)  # nothing was made for emotion 2
RATINGS = RNG.dirichlet(np.ones(4), size=36)
RATINGS[np.arange(36), ASKED] += 0.3
RATINGS /= RATINGS.sum(axis=1, keepdims=True)
SPEAKERS = [f"s{i % 7}" for i in range(36)]


def test_a_weight_is_a_number_of_repeats():
    weights = RNG.integers(0, 4, size=(5, 36)).astype(float)
    clips = RatedClips(ASKED, RATINGS)
    rows, columns = clips.by_row(weights), clips.by_column(weights)
    overall, recognised = clips.overall(weights), clips.recognised(weights)
    for index, weight in enumerate(weights.astype(int)):
        asked, ratings = np.repeat(ASKED, weight), np.repeat(RATINGS, weight, axis=0)
        np.testing.assert_allclose(rows[index], heep_by_row(asked, ratings), atol=1e-12)
        np.testing.assert_allclose(columns[index], heep_by_column(asked, ratings), atol=1e-12)
        assert overall[index] == pytest.approx(heep_overall(asked, ratings), abs=1e-12)
        hits = ratings.argmax(axis=1) == asked
        expected = [hits[asked == e].mean() if (asked == e).any() else np.nan for e in range(4)]
        np.testing.assert_allclose(recognised[index], expected)


def test_ratings_that_say_nothing_score_zero_and_share_the_hits():
    clips = RatedClips(ASKED, np.full((36, 4), 0.1))
    everything = np.ones((1, 36))
    assert clips.by_row(everything)[0, [0, 1, 3]].tolist() == [0, 0, 0]
    assert clips.overall(everything).tolist() == [0]
    assert clips.by_column(everything)[0, [0, 1, 3]].tolist() == [0, 0, 0]
    assert clips.recognised(everything)[0, 0] == pytest.approx(1 / 4)


def test_by_column_is_undefined_for_a_single_emotion():
    clips = RatedClips(np.zeros(6, int), RATINGS[:6])
    assert np.isnan(clips.by_column(np.ones((1, 6)))).all()
    assert score_ratings(clips, None).column_mean.value is None
    assert score_ratings(clips, None).row[1] is None


def test_the_same_clips_for_every_emotion_score_zero_and_not_its_rounding():
    pool = np.random.default_rng(3).dirichlet(np.ones(30), size=20)
    clips = RatedClips(np.repeat(np.arange(30), 20), np.tile(pool, (30, 1)))
    found = score_ratings(clips, [f"clip-{i % 20}" for i in range(600)], resamples=50)
    assert (found.row_mean.value, found.row_mean.low, found.row_mean.high) == (0, 0, 0)
    assert found.overall.value == 0


def test_the_scores_and_their_means_are_those_of_all_clips():
    scores = score_ratings(RatedClips(ASKED, RATINGS), SPEAKERS)
    row, column = heep_by_row(ASKED, RATINGS), heep_by_column(ASKED, RATINGS)
    assert [None if m is None else m.value for m in scores.row] == [
        None if np.isnan(v) else pytest.approx(v) for v in row
    ]
    assert scores.row_mean.value == pytest.approx(np.nanmean(row))
    assert scores.column_mean.value == pytest.approx(np.nanmean(column))
    assert scores.overall.value == pytest.approx(heep_overall(ASKED, RATINGS))
    for measure in (scores.row_mean, scores.recognised_mean, scores.column_mean, scores.overall):
        assert measure.low < measure.value < measure.high


def test_the_interval_over_speakers_equals_a_loop_over_resamples():
    weights = resampled_weights(ASKED, SPEAKERS, 50, seed=3)
    means = []
    for weight in weights:
        rows = np.repeat(np.arange(36), weight.astype(int))
        assert len({(SPEAKERS[r], int(weight[r])) for r in rows}) == len({SPEAKERS[r] for r in rows})
        means.append(np.nanmean(heep_by_row(ASKED[rows], RATINGS[rows])))
    found = score_ratings(RatedClips(ASKED, RATINGS), SPEAKERS, resamples=50, seed=3).row_mean
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_clips_are_drawn_within_their_emotion_and_one_speaker_gives_no_interval():
    weights = resampled_weights(ASKED, None, 20, seed=0)
    for emotion in (0, 1, 3):
        assert (weights[:, emotion == ASKED].sum(axis=1) == 12).all()
    assert score_ratings(RatedClips(ASKED, RATINGS), ["one"] * 36).row_mean.low is None


def test_dealing_the_labels_out_takes_heep_to_zero():
    n = 3000
    asked = np.repeat(np.arange(6), n // 6)
    ratings = np.random.default_rng(1).dirichlet(np.ones(6), size=n)
    ratings[np.arange(n), asked] += 0.5
    ratings /= ratings.sum(axis=1, keepdims=True)
    assert score_ratings(RatedClips(asked, ratings), None).row_mean.low > 0.4
    dealt = score_ratings(RatedClips(np.random.default_rng(2).permutation(asked), ratings), None)
    assert dealt.row_mean.low < 0 < dealt.row_mean.high
    assert abs(dealt.row_mean.value) < 0.02


def test_intervals_hold_the_truth():
    def draw(seed: int) -> RatedClips:
        rng = np.random.default_rng(seed)
        asked = np.repeat(np.arange(3), 40)
        ratings = rng.dirichlet(np.ones(5), size=120)
        ratings[np.arange(120), asked] += 0.15
        return RatedClips(asked, ratings / ratings.sum(axis=1, keepdims=True))

    truth = np.mean([np.nanmean(draw(s).by_row(np.ones((1, 120)))) for s in range(1000, 1400)])
    found = [score_ratings(draw(s), None, resamples=300, seed=s).row_mean for s in range(150)]
    assert 0.9 <= np.mean([m.low <= truth <= m.high for m in found]) <= 0.99
