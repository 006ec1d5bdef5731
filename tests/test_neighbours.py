"""Precision, recall, density and coverage against loops, hand-made sets and their expected values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vocalburst.eval import neighbours as neighbours_module
from vocalburst.eval.neighbours import (
    density_coverage,
    neighbour_radii,
    neighbour_scores,
    precision_recall,
)
from vocalburst.gen.data.errors import InputDataError


def points(n: int, dim: int = 3, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal((n, dim))


def radius_by_loops(centres, j: int, k: int) -> float:
    return sorted(math.dist(centres[j], centres[i]) for i in range(len(centres)) if i != j)[k - 1]


def scores_by_loops(x, y, k: int) -> tuple[float, float, float, float]:
    around_y = [radius_by_loops(y, j, k) for j in range(len(y))]
    around_x = [radius_by_loops(x, i, k) for i in range(len(x))]
    hits = [[math.dist(a, b) <= r for b, r in zip(y, around_y, strict=True)] for a in x]
    precision = sum(any(row) for row in hits) / len(x)
    recall = sum(any(math.dist(b, a) <= r for a, r in zip(x, around_x, strict=True)) for b in y) / len(y)
    density = sum(sum(row) for row in hits) / (k * len(x))
    coverage = sum(any(row[j] for row in hits) for j in range(len(y))) / len(y)
    return precision, recall, density, coverage


@pytest.mark.parametrize(("n", "m", "k"), [(20, 20, 3), (17, 29, 5), (30, 12, 1)])
def test_all_four_equal_loops_over_pairs(n, m, k, monkeypatch):
    monkeypatch.setattr(neighbours_module, "BLOCK", 8)
    x, y = points(n, scale=1.3), points(m, seed=1)
    assert precision_recall(x, y, k) + density_coverage(x, y, k) == pytest.approx(scores_by_loops(x, y, k))


def test_a_line_has_the_known_answer():
    # Reference 0, 1, 3: radii to the nearest other are 1, 1, 2. Generated 0.5 lies in two balls, 9 in none.
    y, x = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [9.0]])
    np.testing.assert_array_equal(neighbour_radii(y, 1), [1, 1, 2])
    assert precision_recall(x, y, 1) == (0.5, 1.0)  # the generated balls reach 8.5 far
    assert density_coverage(x, y, 1) == (1.0, pytest.approx(2 / 3))


def test_a_clip_is_not_its_own_neighbour():
    np.testing.assert_allclose(neighbour_radii(np.array([[0.0], [2.0], [5.0], [9.0]]), 2), [5, 3, 4, 7])


def test_equal_laws_have_the_expected_density_and_coverage():
    scores = neighbour_scores(points(500, dim=4), points(500, dim=4, seed=1))
    assert scores.n == 500
    assert scores.density == pytest.approx(1, abs=0.1)
    assert scores.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    assert scores.precision > 0.75
    assert scores.recall > 0.75


def test_a_collapsed_generator_is_precise_and_covers_nothing():
    scores = neighbour_scores(points(200, scale=0.02), points(200, seed=1))
    assert scores.precision == 1
    assert scores.recall < 0.1
    assert scores.coverage < 0.2


def test_a_generator_of_noise_is_imprecise():
    scores = neighbour_scores(points(200, dim=8, scale=20), points(200, dim=8, seed=1))
    assert scores.precision < 0.1
    assert scores.density < 0.1


def test_the_larger_set_is_drawn_down_so_that_sizes_are_equal():
    x, y = points(50), points(400, seed=1)
    scores = neighbour_scores(x, y)
    assert scores.n == 50
    assert scores == neighbour_scores(x, y)
    rows = np.sort(np.random.default_rng(0).permutation(400)[:50])
    assert scores == neighbour_scores(x, y[rows])


def test_scale_of_the_features_does_not_matter():
    x, y = points(60, scale=1.5), points(60, seed=1)
    assert neighbour_scores(x, y) == neighbour_scores(100 * x + 7, 100 * y + 7)


def test_bad_input_is_refused():
    with pytest.raises(InputDataError, match="at least 6 clips, got 5"):
        neighbour_scores(points(5), points(20))
    with pytest.raises(InputDataError, match="more than 3 clips, got 3"):
        neighbour_radii(points(3), 3)
    with pytest.raises(InputDataError, match="dimension"):
        neighbour_scores(points(9), points(9, dim=2))
    broken = points(9)
    broken[2, 1] = np.nan
    with pytest.raises(InputDataError, match="row 2"):
        neighbour_scores(broken, points(9))
