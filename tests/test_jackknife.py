"""Intervals that leave clips out: the known answer for a mean, blocks of speakers, coverage, no repeated clips."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student_t

from vocalburst.eval.jackknife import deal_blocks, jackknife_error, jackknife_interval


def left_out_means(x: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    names = np.unique(block)
    return np.array([x[block != b].mean() for b in names]), np.array([(block == b).sum() for b in names])


def test_leaving_out_one_clip_at_a_time_gives_the_textbook_error_of_a_mean():
    x = np.random.default_rng(0).standard_normal(40)
    means, sizes = left_out_means(x, np.arange(40))
    assert jackknife_error(x.mean(), means, sizes, 40) == pytest.approx(x.std(ddof=1) / np.sqrt(40))
    low, high = jackknife_interval(x.mean(), means, sizes, 40)
    half = student_t.ppf(0.975, 39) * x.std(ddof=1) / np.sqrt(40)
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half))


def test_blocks_of_two_sizes_have_the_error_of_the_weighted_formula_done_by_hand():
    # Three clips 0, 0, 3 in the blocks {0, 1} and {2}: mean 1, without a block 3 and 0; h = 3/2 and 3.
    # p = 1.5 - 0.5 * 3 = 0 and 3 - 2 * 0 = 3; mean 1.5; variance (2.25 / 0.5 + 2.25 / 2) / 2.
    error = jackknife_error(1.0, np.array([3.0, 0.0]), np.array([2, 1]), 3)
    assert error == pytest.approx(np.sqrt((2.25 / 0.5 + 2.25 / 2) / 2))


def test_blocks_of_different_sizes_give_the_error_of_equal_ones_on_average():
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(400):
        x = rng.standard_normal(100)
        means, sizes = left_out_means(x, rng.integers(12, size=100))
        errors.append(jackknife_error(x.mean(), means, sizes, 100) ** 2)
    assert np.mean(errors) == pytest.approx(1 / 100, rel=0.08)


def test_a_speaker_is_in_one_block_and_blocks_are_even():
    speakers = [f"s{i // 3}" for i in range(150)]
    block = deal_blocks(speakers, 20, seed=3)
    assert sorted(np.unique(block)) == list(range(20))
    for name in set(speakers):
        assert len({b for b, s in zip(block, speakers, strict=True) if s == name}) == 1
    counts = np.bincount(block)
    assert counts.min() >= 6
    assert counts.max() <= 9
    assert np.array_equal(block, deal_blocks(speakers, 20, seed=3))
    assert not np.array_equal(block, deal_blocks(speakers, 20, seed=4))
    assert deal_blocks(["a", "b", "a"], 20).max() == 1  # no more blocks than groups


def test_clips_of_one_speaker_widen_the_interval_as_they_should():
    rng = np.random.default_rng(2)
    x = np.repeat(rng.standard_normal(40), 5) + 0.1 * rng.standard_normal(200)
    speakers = np.repeat([f"s{i}" for i in range(40)], 5)
    by_clip = jackknife_error(x.mean(), *left_out_means(x, deal_blocks(np.arange(200))), 200)
    by_speaker = jackknife_error(x.mean(), *left_out_means(x, deal_blocks(speakers)), 200)
    assert by_speaker == pytest.approx(x.std() / np.sqrt(40), rel=0.35)
    assert by_speaker > 1.6 * by_clip


def test_nineteen_of_twenty_intervals_hold_the_truth():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(1000):
        x = rng.exponential(size=60)
        low, high = jackknife_interval(x.mean(), *left_out_means(x, deal_blocks(np.arange(60))), 60)
        held += low <= 1.0 <= high
    assert 0.91 <= held / 1000 <= 0.97


def test_an_interval_stays_within_what_the_measure_can_be():
    assert jackknife_interval(0.9, np.array([0.5, 1.0]), np.array([5, 5]), 10, bounds=(0, 1))[1] == 1
