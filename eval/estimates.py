"""A number together with what it would be without each block of clips, or under each deal of the labels.

Shape letters: G blocks or deals. Whatever is computed from such numbers (a mean over emotions, S_GEN) is computed
from their replicates just the same, so that it has an interval of its own without any formula for errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from vocalburst.eval.jackknife import LEVEL, jackknife_interval
from vocalburst.eval.scores import Measure

UNBOUNDED = (-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class Estimate:
    """`value` of n clips and its `replicates` [G].

    sizes: clips left out for each replicate [G]; None where the replicates are deals, of which `value` is the mean,
    or a function of means. No replicates: there is no interval.
    """

    value: float
    replicates: np.ndarray
    sizes: np.ndarray | None
    n: int

    @classmethod
    def of_deals(cls, values: Sequence[float]) -> Estimate:
        return cls(float(np.mean(values)), np.array(values, float), None, len(values))

    def measure(self, bounds: tuple[float, float] = UNBOUNDED) -> Measure:
        """With its 95 % interval: of the sampling of clips, or the range of single deals."""
        low, high = self.interval(bounds)
        return Measure(value=self.value, low=low, high=high)

    def interval(self, bounds: tuple[float, float] = UNBOUNDED) -> tuple[float, float] | tuple[None, None]:
        if self.sizes is not None:
            left = self.sizes > 0  # a speaker block may hold no clip of an emotion
            if left.sum() < 2 or len(self.replicates) < 2:
                return None, None
            return jackknife_interval(
                self.value, self.replicates[left], self.sizes[left], self.n, bounds=bounds
            )
        count = len(self.replicates)
        if count < 2:
            return None, None
        half = (
            student_t.ppf((1 + LEVEL) / 2, count - 1) * self.replicates.std(ddof=1) * np.sqrt(1 + 1 / count)
        )
        return max(bounds[0], self.value - half), min(bounds[1], self.value + half)


def combined(estimates: Sequence[Estimate], function: Callable[[np.ndarray], float]) -> Estimate:
    """`function` of the values, with replicates that are `function` of the replicates.

    The estimates come from the same blocks (or deals); where one has no replicates the result has none.
    """
    replicates, sizes = np.zeros(0), np.zeros(0, int)
    if len({len(estimate.replicates) for estimate in estimates}) == 1:
        table = np.stack([estimate.replicates for estimate in estimates])
        replicates = np.array([function(column) for column in table.T])
        dealt = estimates[0].sizes is None
        sizes = None if dealt else np.sum([estimate.sizes for estimate in estimates], axis=0)
    value = function(np.array([estimate.value for estimate in estimates]))
    return Estimate(value, replicates, sizes, sum(estimate.n for estimate in estimates))


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over emotions."""
    return combined(estimates, lambda values: float(np.mean(values)))
