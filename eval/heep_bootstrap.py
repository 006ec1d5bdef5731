"""HEEP and recognition rates of weighted clips, and their bootstrap intervals.

Shape letters: N clips, E emotions, B weightings (resamples). `asked` [N] indexes the E columns of `ratings` [N, E].

Every score here is a function of weighted sums over clips, so a resample is a row of weights (how often a clip was
drawn) and a thousand resamples are one product of matrices. The formulas are those of `heep`. Intervals are 95 %
percentile bootstraps (Efron & Tibshirani 1993, ch. 13): whole speakers are drawn where clips name them, otherwise
clips within their emotion. A resample of speakers may miss an emotion: its mean is over the emotions it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vocalburst.eval.heep import check_ratings
from vocalburst.eval.rates import LEVELS
from vocalburst.eval.scores import Measure

RESAMPLES = 1000
ROUNDING = 1e-12  # of the mean square: a smaller variance is that of equal ratings, whose correlation is 0


class RatedClips:
    """Clips with the emotion asked for and a rating of each emotion; scores of any weighting [B, N] of them."""

    def __init__(self, asked: np.ndarray, ratings: np.ndarray):
        self.asked, self.ratings = check_ratings(asked, ratings)
        n, self.n_emotions = self.ratings.shape
        best = self.ratings == self.ratings.max(
            axis=1, keepdims=True
        )  # people tie; then each best one is a share
        own = self.ratings[np.arange(n), self.asked]
        hits = best[np.arange(n), self.asked] / best.sum(axis=1)
        squares = np.square(self.ratings)
        columns = (np.ones(n), own, self.ratings.sum(axis=1), squares.sum(axis=1), hits)
        self.sums = np.stack(columns, axis=1)  # [N, 5]
        self.squares = squares

    def __len__(self) -> int:
        return len(self.asked)

    def emotion_sums(self, weights: np.ndarray) -> np.ndarray:
        """Weighted `sums` [5, B, E] over the clips of each emotion."""
        totals = np.zeros((self.n_emotions, len(weights), self.sums.shape[1]))
        for emotion in np.unique(self.asked):
            rows = self.asked == emotion
            totals[emotion] = weights[:, rows] @ self.sums[rows]
        return totals.transpose(2, 1, 0)

    def by_row(self, weights: np.ndarray) -> np.ndarray:
        """HEEP by row [B, E]; NaN for an emotion without weight."""
        count, own, total, square, _ = self.emotion_sums(weights)
        return row_correlation(count, own, total, square, self.n_emotions)

    def recognised(self, weights: np.ndarray) -> np.ndarray:
        """Share [B, E] whose asked emotion is rated highest; NaN for an emotion without weight."""
        count, _, _, _, hits = self.emotion_sums(weights)
        with np.errstate(invalid="ignore"):
            return hits / count

    def overall(self, weights: np.ndarray) -> np.ndarray:
        """HEEP [B] over all clips and emotions at once."""
        count, own, total, square, _ = self.emotion_sums(weights).sum(axis=2)
        return row_correlation(count, own, total, square, self.n_emotions)

    def by_column(self, weights: np.ndarray) -> np.ndarray:
        """HEEP by column [B, E]; NaN where no weight, or all of it, is on clips made for the emotion."""
        own_count, own, *_ = self.emotion_sums(weights)
        count = weights.sum(axis=1, keepdims=True)
        mean, square = weights @ self.ratings / count, weights @ self.squares / count
        share = own_count / count
        covariance = own / count - share * mean
        scores = correlation(covariance, share * (1 - share), square - np.square(mean), square)
        return np.where((share > 0) & (share < 1), scores, np.nan)


@dataclass(frozen=True)
class HeepScores:
    """All scores of rated clips; per emotion [E] in the order of the columns, None for one without clips."""

    row: tuple[Measure | None, ...]
    recognised: tuple[Measure | None, ...]
    row_mean: Measure
    recognised_mean: Measure
    column_mean: Measure
    overall: Measure


def score_ratings(
    clips: RatedClips, groups: Sequence[str] | None, *, resamples: int = RESAMPLES, seed: int = 0
) -> HeepScores:
    """Scores with intervals; `groups` [N] are speakers that are drawn whole, None draws clips."""
    weights = resampled_weights(clips.asked, groups, resamples, seed)
    everything = np.ones((1, len(clips)))

    def pairs(scores) -> tuple[np.ndarray, np.ndarray | None]:
        return scores(everything), None if weights is None else scores(weights)

    row, recognised, column = pairs(clips.by_row), pairs(clips.recognised), pairs(clips.by_column)
    return HeepScores(
        per_emotion(*row),
        per_emotion(*recognised),
        mean_measure(*row),
        mean_measure(*recognised),
        mean_measure(*column),
        mean_measure(*(None if x is None else x[:, None] for x in pairs(clips.overall))),
    )


def resampled_weights(
    asked: np.ndarray, groups: Sequence[str] | None, resamples: int, seed: int
) -> np.ndarray | None:
    """How often each clip is drawn, [B, N]; None where there is but one speaker to draw."""
    generator = np.random.default_rng(seed)
    if groups is not None:
        names, group = np.unique(np.asarray(groups), return_inverse=True)
        if len(names) < 2:
            return None
        draws = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
        return draws[:, group].astype(float)
    weights = np.empty((resamples, len(asked)))
    for emotion in np.unique(asked):
        rows = np.flatnonzero(asked == emotion)
        weights[:, rows] = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
    return weights


def per_emotion(values: np.ndarray, resampled: np.ndarray | None) -> tuple[Measure | None, ...]:
    """One measure for each column of values [1, E] and resampled [B, E]."""
    return tuple(
        None
        if np.isnan(value)
        else mean_measure(np.array([[value]]), None if resampled is None else resampled[:, [column]])
        for column, value in enumerate(values[0])
    )


def mean_measure(values: np.ndarray, resampled: np.ndarray | None) -> Measure:
    """Mean over emotions of values [1, E], with the percentiles of that of resampled [B, E]."""
    if np.isnan(values).all():
        return Measure(value=None)
    value = exact_zero(np.nanmean(values))
    if resampled is None:
        return Measure(value=value)
    kept = resampled[~np.isnan(resampled).all(axis=1)]
    low, high = np.percentile(np.nanmean(kept, axis=1), LEVELS)
    return Measure(value=value, low=exact_zero(low), high=exact_zero(high))


def exact_zero(value: float) -> float:
    """Without the rounding that a sum of correlations leaves where it is 0, as for the same clips in each emotion."""
    return 0.0 if abs(value) < ROUNDING else float(value)


def row_correlation(
    count: np.ndarray, own: np.ndarray, total: np.ndarray, square: np.ndarray, n_emotions: int
) -> np.ndarray:
    """Correlation of one-hot targets and ratings from sums over clips: own, all and squared ratings."""
    with np.errstate(invalid="ignore", divide="ignore"):
        entries = count * n_emotions
        mean, mean_square = total / entries, square / entries
        share = 1 / n_emotions
        covariance = own / entries - share * mean
        variance = mean_square - np.square(mean)
    return correlation(covariance, share * (1 - share), variance, mean_square)


def correlation(
    covariance: np.ndarray, target_variance: np.ndarray | float, variance: np.ndarray, square: np.ndarray
) -> np.ndarray:
    """Covariance over both deviations; 0 where the ratings are constant, NaN stays NaN."""
    constant = variance <= ROUNDING * square
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = covariance / np.sqrt(target_variance * np.where(constant, np.nan, variance))
    return np.where(constant, 0.0, scores)
