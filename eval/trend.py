"""Does it rise? Means, trends and shares with their 95 % intervals, over units that are drawn independently.

Shape letters: S units (series of clips that share a seed), P levels. A unit is drawn as a whole, so a curve that
compares clips of one seed with each other is not blurred by the difference between seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from vocalburst.eval.scores import Measure

RESAMPLES = 2000
LEVELS = (2.5, 97.5)  # percentiles
NORMAL = 1.959964  # standard normal quantile of 0.975


def mean_measure(values: np.ndarray, *, seed: int = 0) -> Measure:
    """Mean of values [S] with a percentile bootstrap over the units (Efron & Tibshirani 1993, ch. 13).

    One unit has no interval.
    """
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        raise ValueError("expected at least one value, got none")
    if len(values) == 1:
        return Measure(value=float(values[0]))
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), LEVELS)
    return Measure(value=float(values.mean()), low=float(low), high=float(high))


def difference_measure(one: np.ndarray, other: np.ndarray, *, seed: int = 0) -> Measure:
    """Mean of one set of values less that of another, both drawn independently and both resampled."""
    rng = np.random.default_rng(seed)
    means = [
        values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
        for values in (one, other)
    ]
    low, high = np.percentile(means[0] - means[1], LEVELS)
    return Measure(value=float(one.mean() - other.mean()), low=float(low), high=float(high))


def rank_correlation(levels: Sequence[float], values: np.ndarray) -> np.ndarray:
    """Spearman's rho [S] between levels [P] and each row of values [S, P]; 0 for a row without any change."""
    ranks, own = rankdata(levels), rankdata(values, axis=1)
    ranks = ranks - ranks.mean()
    own = own - own.mean(axis=1, keepdims=True)
    spread = np.sqrt((own**2).sum(axis=1) * (ranks**2).sum())
    return np.divide(own @ ranks, spread, out=np.zeros(len(own)), where=spread > 0)


def trend_measure(levels: Sequence[float], values: np.ndarray, *, seed: int = 0) -> Measure:
    """Mean over the units of the rank correlation between levels [P] and values [S, P]."""
    return mean_measure(rank_correlation(levels, values), seed=seed)


def share_measure(hits: int, n: int) -> Measure:
    """A share with its Wilson interval (Wilson 1927), which holds near 0 and 1 too."""
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"expected 0 <= hits <= n and n >= 1, got {hits} of {n}")
    share, square = hits / n, NORMAL**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = NORMAL * math.sqrt(share * (1 - share) / n + square / (4 * n**2)) / (1 + square / n)
    return Measure(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half))


def monotone(means: Sequence[float], *, rising: bool = True) -> bool:
    """Whether every mean is above (below) the one before."""
    steps = np.diff(means)
    return bool((steps > 0).all() if rising else (steps < 0).all())
