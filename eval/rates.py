"""How often clips are recognised as the emotion they were made for: numbers in, numbers out.

Shape letters: N clips, E emotions, S groups (speakers). `asked` and `predicted` are integer indices [N] into
the emotions. A rate over emotions is always the mean of the per-emotion rates (macro recall, "UAR"), so that
an emotion with many clips counts no more than one with few.

Intervals are percentile bootstraps at 95 % (Efron & Tibshirani 1993, ch. 13). Clips of one speaker resemble
each other, so real clips are resampled by speaker; generated clips are independent draws and are resampled
within their emotion. A resample of speakers may miss an emotion: its mean is then over the emotions it has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
LEVELS = (2.5, 97.5)  # percentiles


def confusion(asked: np.ndarray, predicted: np.ndarray, n_emotions: int) -> np.ndarray:
    """Counts [E, E]: row the emotion asked for, column the one recognised."""
    check_indices(asked, n_emotions)
    check_indices(predicted, n_emotions)
    if asked.shape != predicted.shape:
        raise ValueError(f"expected as many predictions as clips, got {len(predicted)} for {len(asked)}")
    return np.bincount(asked * n_emotions + predicted, minlength=n_emotions**2).reshape(
        n_emotions, n_emotions
    )


def recalls(counts: np.ndarray) -> np.ndarray:
    """Share of each row of a confusion matrix on its diagonal, [E]; NaN for an emotion without clips."""
    with np.errstate(invalid="ignore"):
        return np.diag(counts) / counts.sum(axis=1)


def unweighted_average_recall(counts: np.ndarray) -> float:
    """Mean recall over the emotions that have clips."""
    return float(np.nanmean(recalls(counts)))


def emotion_means(values: np.ndarray, asked: np.ndarray, n_emotions: int) -> np.ndarray:
    """Mean [E] of `values` [N] over the clips of each emotion; NaN for an emotion without clips."""
    counts = np.bincount(asked, minlength=n_emotions)
    with np.errstate(invalid="ignore"):
        return np.bincount(asked, weights=values, minlength=n_emotions) / counts


def interval_over_clips(
    values: np.ndarray, asked: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % interval of the mean over emotions of `values` [N], clips resampled within their emotion."""
    generator = np.random.default_rng(seed)
    means = []
    for emotion in np.unique(asked):
        own = values[asked == emotion]
        draws = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=resamples)
        means.append(draws @ own / len(own))
    low, high = np.percentile(np.mean(means, axis=0), LEVELS)
    return float(low), float(high)


def interval_over_groups(
    values: np.ndarray, asked: np.ndarray, groups: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % interval of the mean over emotions of `values` [N], whole groups (speakers) resampled."""
    generator = np.random.default_rng(seed)
    names, group = np.unique(np.asarray(groups), return_inverse=True)  # [S], [N]
    _, emotion = np.unique(asked, return_inverse=True)
    shape = (len(names), int(emotion.max()) + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (group, emotion), values)
    np.add.at(counts, (group, emotion), 1)
    draws = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    with np.errstate(invalid="ignore"):
        means = (draws @ sums) / (draws @ counts)
    low, high = np.percentile(np.nanmean(means, axis=1), LEVELS)
    return float(low), float(high)


def shuffled_rates(
    asked: np.ndarray, values: np.ndarray, *, seed: int = 0, permutations: int = 200
) -> tuple[np.ndarray, tuple[float, float]]:
    """What the same clips score when the emotions asked for are dealt out at random.

    values: [N, E], what a clip would score if it had been asked for as each emotion.
    Returns the mean over permutations per emotion, [E] (NaN without clips), and the range that holds 95 % of
    the permutations' means over emotions.
    """
    generator = np.random.default_rng(seed)
    n, n_emotions = values.shape
    rows = []
    for _ in range(permutations):
        dealt = generator.permutation(asked)
        rows.append(emotion_means(values[np.arange(n), dealt], dealt, n_emotions))
    low, high = np.percentile(np.nanmean(rows, axis=1), LEVELS)
    return np.mean(rows, axis=0), (float(low), float(high))


def draw_equal(asked: np.ndarray, limits: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Indices of at most `limits` [E] clips per emotion, drawn at random, in increasing order.

    The draw of one emotion does not depend on the others.
    """
    kept = []
    for emotion, limit in enumerate(limits):
        own = np.flatnonzero(asked == emotion)
        kept.append(np.random.default_rng([seed, emotion]).permutation(own)[:limit])
    return np.sort(np.concatenate(kept))


def check_indices(indices: np.ndarray, n_emotions: int) -> None:
    if len(indices) == 0:
        raise ValueError("expected at least one clip, got none")
    if indices.min() < 0 or indices.max() >= n_emotions:
        raise ValueError(f"expected indices 0 to {n_emotions - 1}, got {indices.min()} to {indices.max()}")
