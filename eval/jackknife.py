"""Intervals by the delete-a-group jackknife: leave one block of clips out, compute again, see what moves.

Shape letters: N clips, G blocks.

A bootstrap repeats clips, and a repeated clip is a clip without a nearest neighbour of its own, a covariance of
lower rank, a set of less variety: distances, coverage and the Vendi score of a resample are not those of a sample.
Leaving clips out repeats none. Blocks are random, of whole groups (speakers) where clips of one group resemble each
other (Kott 2001). They may differ in size, so pseudo-values are weighted as by Busing, Meijer & van der Leeden 1999,
Eq. 4-5: with h_g = N / (clips left out),
    p_g = h_g t - (h_g - 1) t_(g)        variance = mean_g (p_g - mean p)^2 / (h_g - 1)
Percentiles are those of Student's t with G - 1 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student_t

BLOCKS = 20
LEVEL = 0.95


def deal_blocks(groups: Sequence[str], blocks: int = BLOCKS, *, seed: int = 0) -> np.ndarray:
    """Block [N], from 0, of every clip: its group is dealt to one of at most `blocks` blocks at random.

    Groups are dealt in turn, so that the numbers of groups in two blocks differ by one at most.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    block = np.empty(len(names), int)
    block[order] = np.arange(len(names)) % blocks
    return block[group]


def jackknife_error(value: float, left_out: np.ndarray, sizes: np.ndarray, n: int) -> float:
    """Standard error of `value` (of n clips) from the values [G] with sizes [G] clips left out, G at least 2."""
    ratios = n / np.asarray(sizes, float)
    pseudo = ratios * value - (ratios - 1) * np.asarray(left_out, float)
    return float(np.sqrt(np.mean(np.square(pseudo - pseudo.mean()) / (ratios - 1))))


def jackknife_interval(
    value: float,
    left_out: np.ndarray,
    sizes: np.ndarray,
    n: int,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """95 % interval around `value`, cut at the `bounds` that the measure cannot leave; see `jackknife_error`."""
    half = student_t.ppf((1 + LEVEL) / 2, len(left_out) - 1) * jackknife_error(value, left_out, sizes, n)
    return max(bounds[0], value - half), min(bounds[1], value + half)
