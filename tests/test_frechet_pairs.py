"""Distances from products of clips against those of statistics; two samples of one law are at 0, others are not."""

from __future__ import annotations

import numpy as np
import pytest

from vocalburst.eval.frechet import frechet_distance, frechet_infinity
from vocalburst.eval.frechet_pairs import PairDistances, PairLimit
from vocalburst.eval.gaussian import Identity, gaussian_statistics

IDENTITY = Identity("toy", "none", "dev")


def points(n: int, seed: int, dim: int, *, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return shift + scale * rng.standard_normal((n, dim)) / np.sqrt(1 + np.arange(dim))


def limit(x: np.ndarray, y: np.ndarray, seed: int = 0, halvings: int = 20) -> float:
    return PairLimit(len(x), len(y), seed, halvings)(PairDistances(x, y), np.arange(len(x)))


@pytest.mark.parametrize("dim", [5, 60])  # fewer dimensions than clips, and more, take different matrices
def test_the_distance_of_two_subsets_is_that_of_their_statistics(dim):
    x, y = points(40, 0, dim, shift=0.3) + 50, points(50, 1, dim) + 50
    rng = np.random.default_rng(2)
    rows, columns = rng.permutation(40)[:23], rng.permutation(50)[:31]
    expected = frechet_distance(*(gaussian_statistics(s, IDENTITY) for s in (x[rows], y[columns])))
    assert PairDistances(x, y).distance(rows, columns) == pytest.approx(expected, rel=1e-6)
    swapped = PairDistances(y, x).distance(columns, rows)
    assert swapped == pytest.approx(expected, rel=1e-6)


def test_the_limit_is_where_the_line_through_halves_and_all_meets_zero():
    class Falling(PairDistances):
        def distance(self, rows, columns):
            return 2 + 5 / len(rows) + 5 / len(columns)

    x, y = points(41, 0, 3), points(57, 1, 3)
    assert PairLimit(41, 57, 0)(Falling(x, y), np.arange(41)) == pytest.approx(2, abs=1e-12)
    assert PairLimit(41, 57, 0)(Falling(x, y), np.arange(30)) == pytest.approx(2, abs=1e-12)
    assert np.isnan(PairLimit(8, 57, 0)(Falling(x[:8], y), np.arange(2)))


def test_two_samples_of_one_law_are_at_zero_where_the_one_sided_limit_is_not():
    both, one_sided, raw = [], [], []
    for seed in range(30):
        x, y = points(80, seed, 60), points(80, 100 + seed, 60)
        statistics = gaussian_statistics(y, IDENTITY)
        both.append(limit(x, y, seed))
        one_sided.append(frechet_infinity(x, IDENTITY, statistics, seed=seed, subsets=3).value)
        raw.append(frechet_distance(gaussian_statistics(x, IDENTITY), statistics))
    assert abs(np.mean(both)) < 0.1 * np.mean(raw)
    assert np.mean(one_sided) > 0.3 * np.mean(raw)


def test_a_true_distance_is_kept():
    truth = 60 * 0.3**2 + 0.2**2 * (1 / (1 + np.arange(60))).sum()
    found = [
        limit(points(120, s, 60, scale=1.2, shift=0.3), points(120, 100 + s, 60), s, 5) for s in range(20)
    ]
    assert np.mean(found) == pytest.approx(truth, rel=0.04)


def test_it_depends_on_the_seed_only_a_little():
    x, y = points(100, 0, 20, shift=0.2), points(100, 1, 20)
    values = [limit(x, y, seed) for seed in range(8)]
    assert limit(x, y, 3) == values[3]
    assert np.std(values) < 0.1 * np.mean(values)
