"""Every measure of one emotion: n clips of a set against m real clips, from their embeddings alone.

Shape letters: n clips of the set, m reference clips, D embedding, G blocks. Measures are named as in
`scores.MEASURES` and `scores.COMPANIONS`; the formulas stand in `frechet`, `frechet_pairs`, `kernel`, `neighbours` and
`vendi`. A measure that needs more clips than there are is left out of a result.

The reference is prepared once for all sets, and the distances of a set to it once for all subsets of the set: an
interval leaves each of G blocks of clips out (`jackknife`) and costs no new distance.

KID is defined as a mean over random subsets of an unbiased estimate; over all subsets that mean is the same
estimate on all clips, which is what is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy.spatial.distance import cdist

from vocalburst.eval.frechet import SampleDistances, frechet_infinity
from vocalburst.eval.frechet_pairs import PairDistances, PairLimit
from vocalburst.eval.gaussian import GaussianStatistics, Identity, check_embeddings, gaussian_statistics
from vocalburst.eval.kernel import KAD_SCALE, cubic_kernel, median_distance
from vocalburst.eval.neighbours import DENSITY_NEIGHBOURS, PRECISION_NEIGHBOURS
from vocalburst.eval.vendi import vendi_ratio, vendi_score

BOUNDS = {
    "fid": (0.0, np.inf),
    "precision": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "density": (0.0, np.inf),
    "coverage": (0.0, 1.0),
    "vendi": (0.0, np.inf),
}  # what an interval cannot leave; the unbiased distances may be negative
MIN_INFINITY = 8  # clips that an extrapolation needs
HALVINGS = 5  # of the clips, for the interval of an extrapolation


class Reference:
    """The real clips of one emotion, prepared to be compared with: embeddings [m, D], at least 2."""

    def __init__(self, embeddings: np.ndarray, identity: Identity):
        self.embeddings = check_embeddings(embeddings, "the reference clips", at_least=2)
        self.statistics = gaussian_statistics(self.embeddings, identity)
        self.bandwidth = median_distance(self.embeddings)
        distances = cdist(self.embeddings, self.embeddings)
        self.kad_mean = pair_mean(gaussian(distances, self.bandwidth))
        self.kid_mean = pair_mean(cubic_kernel(self.embeddings, self.embeddings))
        self.precision_radii = radii(distances, PRECISION_NEIGHBOURS)
        self.density_radii = radii(distances, DENSITY_NEIGHBOURS)

    def __len__(self) -> int:
        return len(self.embeddings)


class FrechetComparison:
    """Clips [n, D] of one emotion beside a Gaussian, where nothing else is known of the reference."""

    def __init__(self, embeddings: np.ndarray, statistics: GaussianStatistics, *, seed: int = 0):
        self.embeddings = check_embeddings(embeddings, "the clips to score", at_least=2, dim=statistics.dim)
        self.statistics = statistics
        self.seed = seed
        self.frechet = SampleDistances(self.embeddings, statistics.identity, statistics, at_least=2)
        self.halves = Halves(len(self.embeddings), seed)

    def __len__(self) -> int:
        return len(self.embeddings)

    def measures(self) -> dict[str, float]:
        """All measures of all clips."""
        return {**self.of_rows(np.arange(len(self))), **self.limits}

    def measures_without(self, block: np.ndarray, n_blocks: int) -> dict[str, np.ndarray]:
        """Measures [G] with each of `n_blocks` blocks of clips left out; `block` [n], some may hold no clip.

        A measure that cannot be computed without one of the blocks is left out. A limit is that of `measures` plus
        what leaving the block out does to a line through all and half of the clips; the halves are the same for every
        block, so that the luck of drawing halves does not pass for the luck of the clips.
        """
        lines = self.lines(np.arange(len(self)))
        columns: dict[str, list[float]] = {}
        for index in range(n_blocks):
            kept = np.flatnonzero(block != index)
            found = self.of_rows(kept) if len(kept) >= 2 else {}
            if len(kept) >= MIN_INFINITY:
                found |= {
                    name: self.limits[name] + value - lines[name] for name, value in self.lines(kept).items()
                }
            for name, value in found.items():
                columns.setdefault(name, []).append(value)
        full = {name: np.array(values) for name, values in columns.items() if len(values) == n_blocks}
        return {name: values for name, values in full.items() if np.isfinite(values).all()}

    @cached_property
    def limits(self) -> dict[str, float]:
        """Distances extrapolated to many clips, from all clips; none where there are too few."""
        if len(self) < MIN_INFINITY:
            return {}
        identity = self.statistics.identity
        fitted = frechet_infinity(self.embeddings, identity, self.statistics, seed=self.seed)
        return {"fid_infinity": fitted.value}

    def lines(self, rows: np.ndarray) -> dict[str, float]:
        """The same by fixed halves of some rows, which costs less."""
        return {"fid_infinity": self.halves(self.frechet.distance, rows)}

    def of_rows(self, rows: np.ndarray) -> dict[str, float]:
        """All measures but limits of at least 2 rows, none of them repeated."""
        return {"fid": self.frechet.distance(rows)}


class Comparison(FrechetComparison):
    """Clips [n, D] of one emotion beside real clips.

    partners [n]: the reference clip that each clip was made from, -1 for one that was made from none of them. Such
    clips are no independent draw: their limits are read from halves that keep pairs together, and kernel distances
    leave the pairs out (as the paired estimate of Gretton et al. 2012, Lemma 6, does). Neighbour measures keep them.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        reference: Reference,
        *,
        partners: np.ndarray | None = None,
        seed: int = 0,
    ):
        super().__init__(embeddings, reference.statistics, seed=seed)
        self.reference = reference
        self.partners = partners
        self.apart = np.ones(
            (len(self), len(reference))
        )  # 1 for two clips of which none was made from the other
        if partners is not None:
            paired = np.flatnonzero(partners >= 0)
            self.apart[paired, partners[paired]] = 0
        self.distances = cdist(self.embeddings, reference.embeddings)  # [n, m]
        self.own_distances = cdist(self.embeddings, self.embeddings)
        self.kad_cross = gaussian(self.distances, reference.bandwidth)
        self.kad_own = gaussian(self.own_distances, reference.bandwidth)
        self.kid_cross = cubic_kernel(self.embeddings, reference.embeddings)
        self.kid_own = cubic_kernel(self.embeddings, self.embeddings)
        # Of as many reference clips as there are clips: the score grows with their number.
        self.reference_vendi = vendi_ratio(self.embeddings, reference.embeddings, seed=seed).reference
        self.pairs = PairDistances(self.embeddings, reference.embeddings)
        self.pair_line = PairLimit(len(self), len(reference), seed, HALVINGS, partners)

    @cached_property
    def limits(self) -> dict[str, float]:
        found = super().limits
        if not found or len(self.reference) < MIN_INFINITY:
            return found
        limit = PairLimit(len(self), len(self.reference), self.seed, partners=self.partners)
        found = {**found, "fid_infinity_both": limit(self.pairs, np.arange(len(self)))}
        return found if self.partners is None else dict.fromkeys(found, found["fid_infinity_both"])

    def lines(self, rows: np.ndarray) -> dict[str, float]:
        found = super().lines(rows)
        if "fid_infinity_both" in self.limits:
            found["fid_infinity_both"] = self.pair_line(self.pairs, rows)
        return found if self.partners is None else dict.fromkeys(found, found["fid_infinity_both"])

    def of_rows(self, rows: np.ndarray) -> dict[str, float]:
        reference, own, distances = self.reference, np.ix_(rows, rows), self.distances[rows]
        apart = self.apart[rows]
        kad_pairs = pair_mean(self.kad_own[own]) + reference.kad_mean
        kid_pairs = pair_mean(self.kid_own[own]) + reference.kid_mean
        found = {
            **super().of_rows(rows),
            "kad": KAD_SCALE * (kad_pairs - 2 * float(np.average(self.kad_cross[rows], weights=apart))),
            "kid": kid_pairs - 2 * float(np.average(self.kid_cross[rows], weights=apart)),
            "vendi": vendi_score(self.embeddings[rows]) / self.reference_vendi,
        }
        own_radii = radii(self.own_distances[own], PRECISION_NEIGHBOURS)
        if own_radii is not None and reference.precision_radii is not None:
            found["precision"] = float((distances <= reference.precision_radii).any(axis=1).mean())
            found["recall"] = float((distances <= own_radii[:, None]).any(axis=0).mean())
        if reference.density_radii is not None:
            inside = distances <= reference.density_radii
            found["density"] = float(inside.sum() / (DENSITY_NEIGHBOURS * len(rows)))
            found["coverage"] = float(inside.any(axis=0).mean())
        return found


class Halves:
    """The line in 1/n through a distance of all of some rows and the mean over fixed halves of them, at 1/n = 0.

    NaN where a half has fewer than the two rows that a covariance needs.
    """

    def __init__(self, n: int, seed: int, halvings: int = HALVINGS):
        generator = np.random.default_rng(seed)
        self.sides = [generator.permutation(n) % 2 == 0 for _ in range(halvings)]

    def __call__(self, distance: Callable[[np.ndarray], float], rows: np.ndarray) -> float:
        halves = [rows[side[rows] == value] for side in self.sides for value in (True, False)]
        if min(map(len, halves)) < 2:
            return float("nan")
        steps = np.mean([1 / len(half) for half in halves])
        slope = (np.mean([distance(half) for half in halves]) - distance(rows)) / (steps - 1 / len(rows))
        return float(distance(rows) - slope / len(rows))


def gaussian(distances: np.ndarray, bandwidth: float) -> np.ndarray:
    """The kernel of KAD from distances instead of embeddings."""
    return np.exp(np.square(distances) / (-2 * bandwidth**2))


def pair_mean(kernel: np.ndarray) -> float:
    """Mean of kernel [n, n] over ordered pairs of different clips."""
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def radii(distances: np.ndarray, k: int) -> np.ndarray | None:
    """Distance [n] of each clip to its k-th nearest other one, from distances [n, n]; None if n <= k."""
    return np.partition(distances, k, axis=1)[:, k] if len(distances) > k else None
