"""The Fréchet distance between Gaussians, its limit for many clips, and its uncertainty.

Shape letters: N clips, D embedding, R rank.

Distance (Fréchet 1957; Heusel et al. 2017 for networks, "FID"):
    d = |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^1/2
The last trace is taken from symmetric eigenvalue problems only. With C = F F^T (F from `eigh`), the
eigenvalues of C1 C2 are the squared singular values of F1^T F2, so the trace is their plain sum. A general
matrix root returns complex noise for singular covariances; this form cannot.

The distance of n clips is too large by about b / n even for a perfect generator, so it is never to be read
without n. `frechet_infinity` fits a + b / n (Chong & Forsyth 2020) and returns a. Its subsets are drawn
without replacement: repeated clips would look like lost diversity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vocalburst.eval.gaussian import GaussianStatistics, Identity, check_comparable, check_embeddings
from vocalburst.gen.data.errors import InputDataError

NEGATIVE_TOLERANCE = 1e-6  # of the largest eigenvalue: rounding stays far below, a broken matrix far above
SIZES = 8  # numbers of clips between N / 2 and N of the extrapolation, equally spaced in 1 / n
SUBSETS = 10  # per number of clips
RESAMPLES = 500
LEVELS = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Extrapolation:
    """`value` is the distance for n -> infinity and may be slightly negative; `slope` is its growth with 1/n.

    sizes, distances: the fitted points, one mean distance per number of clips.
    """

    value: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_distance(one: GaussianStatistics, other: GaussianStatistics) -> float:
    """Squared 2-Wasserstein distance of two Gaussians. Raises InputDataError if they are not comparable."""
    check_comparable(one, other)
    overlap = np.linalg.svd(covariance_factor(one.cov).T @ covariance_factor(other.cov), compute_uv=False)
    gap = one.mean - other.mean
    distance = gap @ gap + np.trace(one.cov) + np.trace(other.cov) - 2 * overlap.sum()
    return max(0.0, float(distance))  # rounding takes the distance of equal statistics just below 0


def covariance_factor(cov: np.ndarray) -> np.ndarray:
    """F [D, R] with F F^T = cov [D, D]; R counts the eigenvalues that are not rounding.

    Raises InputDataError when an eigenvalue is clearly negative: then the matrix is no covariance.
    """
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    largest = max(values[-1], 0.0)
    if values[0] < -NEGATIVE_TOLERANCE * largest or (largest == 0.0 and values[0] < 0):
        raise InputDataError(f"expected a covariance, got a matrix with the eigenvalue {values[0]:.3g}")
    kept = values > largest * len(values) * np.finfo(float).eps
    return vectors[:, kept] * np.sqrt(values[kept])


def frechet_infinity(
    embeddings: np.ndarray,
    identity: Identity,
    reference: GaussianStatistics,
    *,
    sizes: int = SIZES,
    subsets: int = SUBSETS,
    seed: int = 0,
) -> Extrapolation:
    """Distance of a generator to `reference` for n -> infinity, from its embeddings [N, D] with N >= 8.

    Works where the spectrum of the reference is steep, as in trained recognisers; with fewer clips than a
    near-isotropic dimension the curve is not a straight line in 1/n and the value stays too large.
    """
    sample = SampleDistances(embeddings, identity, reference, at_least=8)
    generator = np.random.default_rng(seed)
    n = sample.n
    counts = np.unique(np.round(1 / np.linspace(2 / n, 1 / n, sizes)).astype(int))
    means = [
        np.mean(sample(generator.permutation(n)[:count] for _ in range(1 if count == n else subsets)))
        for count in counts
    ]
    slope, value = np.polyfit(1 / counts, means, 1)
    return Extrapolation(
        float(value), float(slope), tuple(int(c) for c in counts), tuple(float(m) for m in means)
    )


def frechet_interval(
    embeddings: np.ndarray,
    identity: Identity,
    reference: GaussianStatistics,
    *,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % bootstrap interval of the distance of N clips to fixed `reference` statistics.

    groups: N names (speakers) that are drawn whole, for real clips; None draws single clips.
    A resample repeats clips and so is further away than the sample on average. The percentiles are therefore
    moved by that excess: the interval is around the distance of N clips, not around the one of the resamples.
    It is for the distance at this N, bias included, and too wide for a generator that is nearly perfect.
    """
    sample = SampleDistances(embeddings, identity, reference, at_least=2)
    generator = np.random.default_rng(seed)
    names, group = np.unique(np.arange(sample.n) if groups is None else groups, return_inverse=True)
    if len(group) != sample.n:
        raise InputDataError(f"expected {sample.n} speakers, one for each clip, got {len(group)}")
    if len(names) < 2:
        raise InputDataError("an interval over speakers needs clips of at least 2 speakers, got 1")
    members = [np.flatnonzero(group == index) for index in range(len(names))]
    draws = (
        np.concatenate([members[index] for index in generator.integers(len(names), size=len(names))])
        for _ in range(resamples)
    )
    distances = sample(draws)
    (point,) = sample([np.arange(sample.n)])
    low, high = np.percentile(distances, LEVELS) - distances.mean() + point
    return max(0.0, float(low)), float(high)


class SampleDistances:
    """Distances of many subsets of the same clips to the same reference, without a D x D root for each.

    With Y = X F (F F^T the reference covariance), the overlap trace of a subset is the sum of the singular
    values of its centred rows of Y over sqrt(n - 1): roots of the eigenvalues of the smaller Gram matrix.
    """

    def __init__(
        self, embeddings: np.ndarray, identity: Identity, reference: GaussianStatistics, *, at_least: int
    ):
        embeddings = check_embeddings(embeddings, "the clips to score", at_least=at_least)
        dim = embeddings.shape[1]
        check_comparable(GaussianStatistics(None, np.zeros(dim), np.eye(dim), identity), reference)
        self.shifted = embeddings - reference.mean  # [N, D]
        self.projected = self.shifted @ covariance_factor(reference.cov)  # [N, R]
        self.reference_trace = float(np.trace(reference.cov))

    @property
    def n(self) -> int:
        return len(self.shifted)

    def __call__(self, draws: Iterable[np.ndarray]) -> np.ndarray:
        """One distance for each array of row indices (at least 2 rows; a row may be repeated)."""
        return np.array([self.distance(rows) for rows in draws])

    def distance(self, rows: np.ndarray) -> float:
        shifted, projected = self.shifted[rows], self.projected[rows]
        gap = shifted.mean(axis=0)
        degrees = len(rows) - 1
        trace = (np.square(shifted).sum() - len(rows) * (gap @ gap)) / degrees
        centred = projected - projected.mean(axis=0)
        gram = centred @ centred.T if len(rows) < centred.shape[1] else centred.T @ centred
        overlap = np.sqrt(np.clip(np.linalg.eigvalsh(gram / degrees), 0, None)).sum()
        return max(0.0, float(gap @ gap + trace + self.reference_trace - 2 * overlap))
