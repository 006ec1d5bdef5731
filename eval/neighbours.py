"""Fidelity and diversity from nearest neighbours: precision, recall, density, coverage.

Shape letters: n generated clips, m reference clips, D embedding.

B_k(y) is the ball around a clip that reaches its k-th nearest neighbour in its own set, itself not counted.

* precision: share of generated clips inside the union of the reference balls; recall: share of reference
  clips inside the union of the generated balls (Kynkäänniemi et al. 2019; k = 3).
* density: mean number of reference balls around a generated clip, over k; coverage: share of reference
  balls that hold a generated clip (Naeem et al. 2020, Eq. 3-4; k = 5). For equal laws density is about 1.

Precision and recall move with n and m, so the two sets should have the same size: the larger one is drawn
down, and the size that was used is in the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from vocalburst.eval.gaussian import check_embeddings
from vocalburst.gen.data.errors import InputDataError

PRECISION_NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5
BLOCK = 1024  # rows of a distance matrix in memory at once


@dataclass(frozen=True)
class NeighbourScores:
    """All in [0, 1] except density, which may exceed 1; `n` clips were used on each side."""

    precision: float
    recall: float
    density: float
    coverage: float
    n: int


def neighbour_scores(generated: np.ndarray, reference: np.ndarray, *, seed: int = 0) -> NeighbourScores:
    """The four scores of generated [n, D] against reference [m, D] at equal n, with the papers' k.

    Raises InputDataError with fewer than 6 clips on a side: the fifth neighbour would not exist.
    """
    at_least = DENSITY_NEIGHBOURS + 1
    generated = check_embeddings(generated, "the generated clips", at_least=at_least)
    reference = check_embeddings(reference, "the reference", at_least=at_least, dim=generated.shape[1])
    n = min(len(generated), len(reference))
    generator = np.random.default_rng(seed)
    generated, reference = (
        x if len(x) == n else x[np.sort(generator.permutation(len(x))[:n])] for x in (generated, reference)
    )
    precision, recall = precision_recall(generated, reference)
    density, coverage = density_coverage(generated, reference)
    return NeighbourScores(precision, recall, density, coverage, n)


def precision_recall(
    generated: np.ndarray, reference: np.ndarray, k: int = PRECISION_NEIGHBOURS
) -> tuple[float, float]:
    """Improved precision and recall of generated [n, D] against reference [m, D]."""
    precision = ball_counts(generated, reference, neighbour_radii(reference, k)) > 0
    recall = ball_counts(reference, generated, neighbour_radii(generated, k)) > 0
    return float(precision.mean()), float(recall.mean())


def density_coverage(
    generated: np.ndarray, reference: np.ndarray, k: int = DENSITY_NEIGHBOURS
) -> tuple[float, float]:
    """Density and coverage of generated [n, D] against reference [m, D]."""
    radii = neighbour_radii(reference, k)
    density = ball_counts(generated, reference, radii).mean() / k
    nearest = np.concatenate([d.min(axis=1) for d in distance_blocks(reference, generated)])
    return float(density), float((nearest <= radii).mean())


def neighbour_radii(points: np.ndarray, k: int) -> np.ndarray:
    """Distance [n] of each point [n, D] to its k-th nearest other point. Raises InputDataError if n <= k."""
    points = check_embeddings(points, "the clips")
    if len(points) <= k:
        raise InputDataError(f"neighbour {k} of a clip needs more than {k} clips, got {len(points)}")
    # Column k of the sorted distances: column 0 is the point itself, at distance 0.
    return np.concatenate([np.partition(d, k, axis=1)[:, k] for d in distance_blocks(points, points)])


def ball_counts(points: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """How many balls around centres [m, D] with radii [m] each point [n, D] lies in; integers [n]."""
    return np.concatenate([(d <= radii).sum(axis=1) for d in distance_blocks(points, centres)])


def distance_blocks(x: np.ndarray, y: np.ndarray):
    """Euclidean distances [up to BLOCK, m] of consecutive rows of x [n, D] to all rows of y [m, D].

    From differences, not from products: a copied clip must be at distance 0, not at rounding noise.
    """
    for start in range(0, len(x), BLOCK):
        yield cdist(x[start : start + BLOCK], y)
