"""Whether a generator invents clips or re-exports the ones it was trained on.

Shape letters: n generated clips, t train clips, m held-out test clips, D embedding.

Three views of the same question, each against held-out clips of the same corpus, because real clips are near
train clips as well:

* FLD (Jiralerspong et al. 2023): a mixture with one isotropic Gaussian at every *generated* clip, with
  variances fitted to the *train* clips, is asked for the likelihood of the *test* clips. A copy makes its
  Gaussian collapse onto a train clip, so train becomes likelier than test: the gap (train - test) falls far
  below 0.
* C_T (Meehan et al. 2020): the Mann-Whitney Z of distances to the nearest train clip, generated against test.
  About 0 for new clips, below -3 for a set that hugs its train set.
* The audit names pairs: which generated clip is nearer to which train clip than any test clip is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import rankdata

from vocalburst.eval.gaussian import check_embeddings
from vocalburst.gen.data.errors import InputDataError

EM_STEPS = 100
EM_TOLERANCE = 1e-4  # nats per clip and dimension
VARIANCE_FLOOR = 1e-4  # of a standardised feature: an exact copy would otherwise have infinite likelihood
BLOCK = 1024  # rows of a distance matrix in memory at once
CANDIDATES = 4  # nearest by products, of which the nearest two by differences are kept
CHANCE = 0.01  # a set is called suspicious when new clips would look like it less often than this


@dataclass(frozen=True)
class FeatureLikelihood:
    """`value`: FLD, 0 for a perfect generator and larger when worse. `gap`: FLD of train minus FLD of test.

    Both in -100 nats per dimension. Variances are fitted to train, so even new clips have a gap slightly
    below 0: it is to be read beside the gap of held-out real clips. Below about 1000 clips `value` is noisy.
    """

    value: float
    gap: float


@dataclass(frozen=True)
class NearestTrain:
    """A generated clip and the train clip nearest to it.

    distance: Euclidean; ratio: distance over the distance to the second nearest train clip, in [0, 1];
    cosine: similarity of the two embeddings; copied: nearer, by distance or by ratio, than every test clip.
    """

    clip: str
    train_clip: str
    distance: float
    ratio: float
    cosine: float
    copied: bool


@dataclass(frozen=True)
class CopyAudit:
    """One row per generated clip, the closest (by ratio) first.

    chance: probability that as many clips look copied when none is; exact where generated and test clips
    follow one law.
    """

    pairs: tuple[NearestTrain, ...]
    chance: float

    @property
    def copied(self) -> tuple[NearestTrain, ...]:
        return tuple(pair for pair in self.pairs if pair.copied)

    @property
    def suspicious(self) -> bool:
        return self.chance < CHANCE


def feature_likelihood(
    generated: np.ndarray, train: np.ndarray, test: np.ndarray, *, seed: int = 0
) -> FeatureLikelihood:
    """FLD and its gap for generated [n, D], train [t, D] and test [m, D]; features as `test` scales them.

    The baseline that `value` is measured from puts the Gaussians on one half of train and fits them to the
    other half.
    """
    generated, train, test = check_three(generated, train, test)
    mean, deviation = test.mean(axis=0), test.std(axis=0)
    moving = deviation > 0
    if not moving.any():
        raise InputDataError("all test embeddings are equal, so there is no scale to measure with")
    generated, train, test = ((x - mean)[:, moving] / deviation[moving] for x in (generated, train, test))
    scale = -100 / test.shape[1]

    variances = fit_variances(generated, train)
    of_test = scale * log_density(test, generated, variances).mean()
    of_train = scale * log_density(train, generated, variances).mean()

    order = np.random.default_rng(seed).permutation(len(train))
    centres, fitted = train[order[: len(train) // 2]], train[order[len(train) // 2 :]]
    baseline = scale * log_density(test, centres, fit_variances(centres, fitted)).mean()
    return FeatureLikelihood(float(of_test - baseline), float(of_train - of_test))


def fit_variances(centres: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Variance [n] of each isotropic Gaussian at centres [n, D] for the likeliest mixture of points [t, D].

    Expectation maximisation with fixed means and equal weights; every step raises the likelihood. Holds a few
    matrices [t, n] in memory.
    """
    squares = cdist(points, centres, "sqeuclidean")  # [t, n]
    dim = centres.shape[1]
    variances = np.full(len(centres), max(squares.min(axis=1).mean() / dim, VARIANCE_FLOOR))
    before = -np.inf
    for _ in range(EM_STEPS):
        exponents = -0.5 * (squares / variances + dim * np.log(variances))  # [t, n]
        totals = logsumexp(exponents, axis=1, keepdims=True)
        if totals.mean() - before < EM_TOLERANCE * dim:
            break
        before = totals.mean()
        shares = np.exp(exponents - totals)
        weights = shares.sum(axis=0)
        used = weights > np.finfo(float).tiny  # a centre that explains no point keeps its variance
        variances[used] = (shares * squares).sum(axis=0)[used] / (dim * weights[used])
        variances = np.maximum(variances, VARIANCE_FLOOR)
    return variances


def log_density(points: np.ndarray, centres: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Log density [t], in nats, of points [t, D] under the equal mixture of N(centre, variance I)."""
    dim = centres.shape[1]
    exponents = -0.5 * (
        cdist(points, centres, "sqeuclidean") / variances + dim * np.log(2 * np.pi * variances)
    )
    return logsumexp(exponents, axis=1) - np.log(len(centres))


def copying_z(generated: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """C_T: Z of the Mann-Whitney U of distances to train, generated [n, D] against test [m, D].

    Negative when generated clips are nearer to train than test clips are; ties count half, and their variance
    correction is left out (embeddings of different clips do not tie).
    """
    generated, train, test = check_three(generated, train, test)
    return rank_z(nearest_two(generated, train)[0][:, 0], nearest_two(test, train)[0][:, 0])


def rank_z(one: np.ndarray, other: np.ndarray) -> float:
    """Mann-Whitney Z of numbers [n] against [m]: below 0 when the first are the smaller ones."""
    n, m = len(one), len(other)
    ranks = rankdata(np.concatenate([one, other]))
    u = ranks[:n].sum() - n * (n + 1) / 2  # pairs in which the first one is the larger
    return float((u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))


def copy_audit(
    generated: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    generated_names: Sequence[str],
    train_names: Sequence[str],
) -> CopyAudit:
    """Nearest train clip of every generated clip, judged by how near test clips come to train.

    A clip that was copied from one of two near-identical train clips has a ratio near 1, one from a dense
    corner (breaths, near-silence) a small distance without being a copy: so both are looked at.
    """
    generated, train, test = check_three(generated, train, test)
    for names, x, what in ((generated_names, generated, "generated"), (train_names, train, "train")):
        if len(names) != len(x):
            raise InputDataError(f"expected {len(x)} names of {what} clips, got {len(names)}")
    distances, nearest = nearest_two(generated, train)
    of_test, _ = nearest_two(test, train)
    ratios, test_ratios = nearness_ratio(distances), nearness_ratio(of_test)
    by_distance = distances[:, 0] < of_test[:, 0].min()
    by_ratio = ratios < test_ratios.min()
    # Two looks at the same clips: the smaller probability doubled (Bonferroni).
    chance = min(
        1.0,
        2 * min(below_all_chance(int(f.sum()), len(generated), len(test)) for f in (by_distance, by_ratio)),
    )
    pairs = []
    for row in np.argsort(ratios, kind="stable"):
        neighbour = train[nearest[row]]
        lengths = np.linalg.norm(generated[row]) * np.linalg.norm(neighbour)
        cosine = float(generated[row] @ neighbour / lengths) if lengths else 0.0
        pairs.append(
            NearestTrain(
                generated_names[row], train_names[nearest[row]], float(distances[row, 0]), float(ratios[row]),
                cosine, bool(by_distance[row] or by_ratio[row]),
            )
        )  # fmt: skip
    return CopyAudit(tuple(pairs), chance)


def below_all_chance(k: int, n: int, m: int) -> float:
    """Probability that at least k of n values lie below all of m others when all n + m follow one law.

    That is, that the k smallest of the n + m values all belong to the n.
    """
    steps = np.arange(k)
    return float(np.prod((n - steps) / (n + m - steps)))


def nearness_ratio(distances: np.ndarray) -> np.ndarray:
    """First over second column of distances [n, 2]; 1 where both are 0, two train clips being equal."""
    first, second = distances[:, 0], distances[:, 1]
    return np.divide(first, second, out=np.ones_like(first), where=second > 0)


def nearest_two(points: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances [n, 2] of points [n, D] to their nearest two rows of train [t, D]; index [n] of the first.

    Candidates come from products, which are fast; distances from differences, which are exact for copies.
    """
    centre = train.mean(axis=0)
    points, train = points - centre, train - centre
    train_squares = np.square(train).sum(axis=1)
    n_candidates = min(CANDIDATES, len(train))
    distances, indices = [], []
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK]
        approximate = train_squares - 2 * block @ train.T  # squared distance less the point's own square
        candidates = np.argpartition(approximate, n_candidates - 1, axis=1)[:, :n_candidates]
        exact = np.linalg.norm(block[:, None] - train[candidates], axis=2)
        order = np.argsort(exact, axis=1)[:, :2]
        distances.append(np.take_along_axis(exact, order, axis=1))
        indices.append(np.take_along_axis(candidates, order, axis=1)[:, 0])
    return np.concatenate(distances), np.concatenate(indices)


def check_three(
    generated: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All as float64 matrices of one dimension; train and test with at least 4 and 2 rows."""
    generated = check_embeddings(generated, "the generated clips")
    dim = generated.shape[1]
    return (
        generated,
        check_embeddings(train, "the train clips", at_least=4, dim=dim),
        check_embeddings(test, "the test clips", at_least=2, dim=dim),
    )
