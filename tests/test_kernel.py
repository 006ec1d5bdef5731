"""Kernel distances against loops over pairs, closed forms and their unbiasedness."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vocalburst.eval import kernel as kernel_module
from vocalburst.eval.kernel import (
    cubic_kernel,
    gaussian_kernel,
    kernel_audio_distance,
    kernel_inception_distance,
    median_distance,
    squared_discrepancy,
)
from vocalburst.gen.data.errors import InputDataError


def points(n: int, dim: int = 3, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)) + shift


def discrepancy_by_loops(x, y, kernel) -> float:
    def pairs(a):
        return [kernel(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j]

    return np.mean(pairs(x)) + np.mean(pairs(y)) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_kad_equals_loops_over_pairs_with_the_bandwidth_of_the_reference():
    x, y = points(9, shift=0.5), points(13, seed=1)
    lengths = [math.dist(y[i], y[j]) for i in range(13) for j in range(i)]
    bandwidth = np.median(lengths)
    expected = 100 * discrepancy_by_loops(
        x, y, lambda a, b: math.exp(-(math.dist(a, b) ** 2) / (2 * bandwidth**2))
    )
    assert kernel_audio_distance(x, y) == pytest.approx(expected, rel=1e-10)


def test_kad_of_two_pairs_has_the_known_answer():
    # Both pairs are 2 apart on parallel lines 1 apart: k = e^{-d^2 / 8} with d^2 = 4, 4, {1, 5}.
    x, y = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[0.0, 1.0], [2.0, 1.0]])
    expected = 100 * (2 * math.exp(-1 / 2) - (math.exp(-1 / 8) + math.exp(-5 / 8)))
    assert kernel_audio_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_the_generated_clips_do_not_choose_the_bandwidth():
    reference = points(40, seed=1)
    collapsed = np.zeros((40, 3)) + 1e-3 * points(40)
    fixed = kernel_audio_distance(collapsed, reference, median_distance(reference))
    assert kernel_audio_distance(collapsed, reference) == pytest.approx(fixed)
    assert median_distance(collapsed) < 0.01 < median_distance(reference)


def test_blocks_give_the_same_sum(monkeypatch):
    x, y = points(23, shift=0.3), points(31, seed=1)
    whole = kernel_audio_distance(x, y), squared_discrepancy(x, y, cubic_kernel)
    monkeypatch.setattr(kernel_module, "BLOCK", 7)
    assert (kernel_audio_distance(x, y), squared_discrepancy(x, y, cubic_kernel)) == pytest.approx(whole)


def test_equal_laws_scatter_around_zero_however_few_the_clips():
    values = [kernel_audio_distance(points(12, seed=s), points(12, seed=s + 900), 2.0) for s in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(400)
    assert min(values) < 0 < max(values)


def test_the_kernel_distance_of_gaussians_converges_to_its_closed_form():
    # For N(0, I) and N(d, I) in D dimensions: E k = (s^2 / (s^2 + 2))^{D/2} e^{-|gap|^2 / (2 (s^2 + 2))}.
    s, d, dim = 1.7, 1.2, 3
    base = (s**2 / (s**2 + 2)) ** (dim / 2)
    expected = 2 * base * (1 - math.exp(-dim * d**2 / (2 * (s**2 + 2))))
    found = squared_discrepancy(points(3000), points(3000, seed=1, shift=d), gaussian_kernel(s))
    assert found == pytest.approx(expected, abs=0.01)


def test_kid_of_one_subset_equals_loops_over_pairs():
    x, y = points(10, dim=4, shift=0.5), points(12, dim=4, seed=1)
    generator = np.random.default_rng(5)
    a = x[generator.permutation(10)[:5]]
    b = y[generator.permutation(12)[:5]]
    expected = discrepancy_by_loops(a, b, lambda u, v: (u @ v / 4 + 1) ** 3)
    result = kernel_inception_distance(x, y, subsets=1, seed=5)
    assert (result.size, result.subsets) == (5, 1)
    assert result.value == pytest.approx(expected, rel=1e-10)


def test_kid_is_unbiased_and_sees_a_shift():
    same = kernel_inception_distance(points(400), points(400, seed=1))
    moved = kernel_inception_distance(points(400), points(400, seed=1, shift=0.5))
    assert (same.size, same.subsets) == (200, 100)
    assert abs(same.value) < 0.1 < moved.value
    assert same == kernel_inception_distance(points(400), points(400, seed=1))


def test_kid_subsets_have_at_most_the_asked_size():
    assert kernel_inception_distance(points(50), points(30, seed=1), subset_size=9).size == 9
    assert kernel_inception_distance(points(50), points(30, seed=1)).size == 15


@pytest.mark.parametrize("distance", [kernel_audio_distance, kernel_inception_distance])
def test_bad_input_is_refused(distance):
    with pytest.raises(InputDataError, match="at least 2"):
        distance(points(1), points(9))
    with pytest.raises(InputDataError, match="dimension 3, got 4"):
        distance(points(9), points(9, dim=4))
    broken = points(9)
    broken[4, 0] = np.nan
    with pytest.raises(InputDataError, match=r"reference.*row 4"):
        distance(points(9), broken)


def test_a_reference_of_equal_clips_gives_no_bandwidth():
    with pytest.raises(InputDataError, match="no distance to measure with"):
        kernel_audio_distance(points(9), np.zeros((9, 3)))
    with pytest.raises(InputDataError, match="at least 4"):
        kernel_inception_distance(points(3), points(9))
