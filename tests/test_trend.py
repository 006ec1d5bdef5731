"""Means, trends and shares: closed forms, scipy as the reference, and what intervals have to hold."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from vocalburst.eval.trend import (
    difference_measure,
    mean_measure,
    monotone,
    rank_correlation,
    share_measure,
    trend_measure,
)


def test_rank_correlation_is_spearman_s_of_every_row():
    rng = np.random.default_rng(0)
    levels = [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    values = rng.integers(0, 4, size=(50, 6)).astype(float)  # many ties
    expected = [spearmanr(levels, row).statistic for row in values if len(set(row)) > 1]
    ours = rank_correlation(levels, values)
    np.testing.assert_allclose(ours[[len(set(row)) > 1 for row in values]], expected, atol=1e-12)


def test_rank_correlation_at_its_ends():
    levels = [0.1, 0.2, 0.7]
    values = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0]])
    np.testing.assert_allclose(rank_correlation(levels, values), [1.0, -1.0, 0.0], atol=1e-12)


def test_a_trend_is_the_mean_over_units():
    levels = [1, 2, 3]
    values = np.array([[1.0, 2.0, 3.0]] * 3 + [[3.0, 2.0, 1.0]])
    trend = trend_measure(levels, values)
    assert trend.value == pytest.approx(0.5) and trend.low < 0.5 < trend.high <= 1.0


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    measure = mean_measure(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert measure.value == pytest.approx(values.mean())
    assert measure.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert measure.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert mean_measure(values) == measure  # the same draws every time


def test_one_value_has_no_interval_and_none_is_an_error():
    assert (mean_measure([2.0]).low, mean_measure([2.0]).value) == (None, 2.0)
    with pytest.raises(ValueError, match="at least one value"):
        mean_measure([])


def test_the_interval_of_a_difference():
    rng = np.random.default_rng(2)
    one, other = rng.normal(1.0, 1.0, 300), rng.normal(0.0, 2.0, 200)
    measure = difference_measure(one, other)
    half = 1.96 * np.sqrt(one.var() / 300 + other.var() / 200)
    assert measure.value == pytest.approx(one.mean() - other.mean())
    assert measure.high - measure.low == pytest.approx(2 * half, rel=0.15)


def test_wilson_s_interval():
    measure = share_measure(8, 10)  # Wilson 1927; values of Brown, Cai & DasGupta 2001, rounded
    assert (measure.value, measure.low, measure.high) == (
        0.8,
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )
    all_hits = share_measure(30, 30)
    assert all_hits.high == 1.0 and all_hits.low == pytest.approx(30 / (30 + 1.959964**2), abs=1e-6)
    with pytest.raises(ValueError, match="got 3 of 2"):
        share_measure(3, 2)


def test_monotone():
    assert monotone([1, 2, 3]) and not monotone([1, 2, 2]) and not monotone([3, 2, 1])
    assert monotone([3, 2, 1], rising=False) and not monotone([3, 1, 2], rising=False)
