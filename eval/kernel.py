"""Kernel distances between two sets of embeddings: unbiased, so few clips are compared fairly.

Shape letters: n generated clips, m reference clips, D embedding.

Both are the unbiased squared maximum mean discrepancy (Gretton et al. 2012, Eq. 3):
    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)
so for equal laws they scatter around 0 and may be negative.

* KAD (Chung et al. 2025): 100 MMD^2 with k = exp(-|x - y|^2 / (2 s^2)). The bandwidth s is the median
  distance between *reference* clips: taken from the generated clips, a collapsed generator would choose
  its own ruler.
* KID (Bińkowski et al. 2018): k = (x.y / D + 1)^3, mean and deviation over random subsets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist, pdist

from vocalburst.eval.gaussian import check_embeddings
from vocalburst.gen.data.errors import InputDataError

KAD_SCALE = 100.0
BLOCK = 1024  # rows of a kernel matrix in memory at once
BANDWIDTH_CLIPS = 4000  # a median over 8 million distances does not move with more
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SubsetDistance:
    """Mean and standard deviation of a distance over `subsets` random subsets of `size` clips."""

    value: float
    deviation: float
    size: int
    subsets: int


def kernel_audio_distance(
    generated: np.ndarray, reference: np.ndarray, bandwidth: float | None = None
) -> float:
    """KAD between generated [n, D] and reference [m, D]; `bandwidth` None takes the one of the reference."""
    generated, reference = check_pair(generated, reference)
    if bandwidth is None:
        bandwidth = median_distance(reference)
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise InputDataError(f"expected a bandwidth above 0, got {bandwidth:g}")
    return KAD_SCALE * squared_discrepancy(generated, reference, gaussian_kernel(bandwidth))


def kernel_inception_distance(
    generated: np.ndarray,
    reference: np.ndarray,
    *,
    subsets: int = KID_SUBSETS,
    subset_size: int = KID_SUBSET_SIZE,
    seed: int = 0,
) -> SubsetDistance:
    """KID over subsets of min(subset_size, n / 2, m / 2) clips drawn without replacement."""
    generated, reference = check_pair(generated, reference)
    size = min(subset_size, len(generated) // 2, len(reference) // 2)
    if size < 2:
        raise InputDataError(
            "KID draws halves of at least 2 clips, so it needs at least 4 clips on each side"
        )
    generator = np.random.default_rng(seed)
    values = [
        squared_discrepancy(
            generated[generator.permutation(len(generated))[:size]],
            reference[generator.permutation(len(reference))[:size]],
            cubic_kernel,
        )
        for _ in range(subsets)
    ]
    return SubsetDistance(float(np.mean(values)), float(np.std(values)), size, subsets)


def median_distance(reference: np.ndarray, *, seed: int = 0) -> float:
    """Median Euclidean distance between two different clips of reference [m, D].

    Above BANDWIDTH_CLIPS clips the median is over a random subset. Raises InputDataError when it is 0.
    """
    reference = check_embeddings(reference, "the reference", at_least=2)
    if len(reference) > BANDWIDTH_CLIPS:
        reference = reference[np.random.default_rng(seed).permutation(len(reference))[:BANDWIDTH_CLIPS]]
    bandwidth = float(np.median(pdist(reference)))
    if bandwidth == 0:
        raise InputDataError("most reference embeddings are equal, so there is no distance to measure with")
    return bandwidth


def squared_discrepancy(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> float:
    """Unbiased MMD^2 of x [n, D] and y [m, D], n and m at least 2."""
    return pair_mean(x, kernel) + pair_mean(y, kernel) - 2 * cross_sum(x, y, kernel) / (len(x) * len(y))


def pair_mean(x: np.ndarray, kernel: Kernel) -> float:
    """Mean of k over ordered pairs of different rows of x [n, D]."""
    total = 0.0
    for start in range(0, len(x), BLOCK):
        block = kernel(x[start : start + BLOCK], x)
        total += float(block.sum() - np.trace(block, offset=start))
    return total / (len(x) * (len(x) - 1))


def cross_sum(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> float:
    """Sum of k over all pairs of a row of x and a row of y, a block of rows at a time."""
    return sum(float(kernel(x[i : i + BLOCK], y).sum()) for i in range(0, len(x), BLOCK))


def gaussian_kernel(bandwidth: float) -> Kernel:
    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.exp(cdist(x, y, "sqeuclidean") / (-2 * bandwidth**2))

    return kernel


def cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def check_pair(generated: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets as float64 matrices of one dimension with at least 2 rows. Raises InputDataError."""
    generated = check_embeddings(generated, "the generated clips", at_least=2)
    return generated, check_embeddings(reference, "the reference", at_least=2, dim=generated.shape[1])
