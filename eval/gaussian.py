"""Gaussian statistics of embeddings: how many, their mean, their covariance, and what they were made with.

Shape letters: N clips, D embedding. Everything is float64. A covariance divides by N - 1, as the official
statistics of ExVo 2022 do.

Statistics carry identity: a distance between embeddings of two networks, or of one network after two ways of
cutting and levelling the waves, is a number without meaning. Comparing or merging such statistics raises.

On disk: one safetensors file with `mean` and `cov`; n and the identity are in its metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.errors import InputDataError

FORMAT = "vocalburst-gaussian-1"
UNKNOWN_N = "unknown"
SYMMETRY_TOLERANCE = 1e-9  # of the largest entry; a covariance is symmetric up to rounding


@dataclass(frozen=True)
class Identity:
    """What a set of embeddings was made with: the network, what was done to the waves, and which clips."""

    evaluator: str
    preprocessing: str
    split: str


@dataclass(frozen=True, eq=False)
class GaussianStatistics:
    """n clips with `mean` [D] and `cov` [D, D]; n is None where a published file does not tell it."""

    n: int | None
    mean: np.ndarray
    cov: np.ndarray
    identity: Identity

    def __post_init__(self) -> None:
        mean, cov = np.asarray(self.mean, np.float64), np.asarray(self.cov, np.float64)
        if self.n is not None and self.n < 2:
            raise InputDataError(f"a covariance needs at least 2 clips, got {self.n}")
        if mean.ndim != 1 or not len(mean) or cov.shape != (len(mean), len(mean)):
            raise InputDataError(
                f"expected a mean [D] and a covariance [D, D], got {mean.shape}, {cov.shape}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
            raise InputDataError("expected finite statistics, got NaN or infinity")
        if np.abs(cov - cov.T).max() > SYMMETRY_TOLERANCE * max(np.abs(cov).max(), np.finfo(float).tiny):
            raise InputDataError("expected a symmetric covariance, got one that is not")
        if np.diag(cov).min() < 0:
            raise InputDataError("expected variances of at least 0, got a negative one")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "cov", cov)

    @property
    def dim(self) -> int:
        return len(self.mean)

    @property
    def reliable(self) -> bool:
        """Whether the covariance can have full rank: n > D, or its rank where n is unknown."""
        if self.n is None:
            return bool(np.linalg.matrix_rank(self.cov, hermitian=True) == self.dim)
        return self.n > self.dim

    @property
    def warning(self) -> str | None:
        """One sentence for the reader of a table when `reliable` is False."""
        if self.reliable:
            return None
        clips = "too few clips" if self.n is None else f"{self.n} clips"
        return (
            f"{clips} for {self.dim} dimensions leave the covariance singular: a Fréchet distance to these "
            "statistics is biased upwards, trust the kernel distance or the extrapolation instead"
        )

    def save(self, path: str | Path) -> None:
        """Write the safetensors file, all of it or nothing."""
        metadata = {
            "format": FORMAT,
            "n": UNKNOWN_N if self.n is None else str(self.n),
            "evaluator": self.identity.evaluator,
            "preprocessing": self.identity.preprocessing,
            "split": self.identity.split,
        }
        tensors = {"mean": np.ascontiguousarray(self.mean), "cov": np.ascontiguousarray(self.cov)}
        write_file(path, to_safetensors(tensors, metadata))

    @classmethod
    def load(cls, path: str | Path) -> GaussianStatistics:
        """Read a file that `save` wrote. Raises InputDataError naming the file when it is not one."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as error:
            raise InputDataError(f"{path}: cannot be read as Gaussian statistics ({error})") from None
        if metadata.get("format") != FORMAT or set(tensors) != {"mean", "cov"}:
            raise InputDataError(f"{path}: expected statistics of the format {FORMAT}, got something else")
        try:
            n = None if metadata["n"] == UNKNOWN_N else int(metadata["n"])
            identity = Identity(metadata["evaluator"], metadata["preprocessing"], metadata["split"])
            return cls(n, tensors["mean"], tensors["cov"], identity)
        except KeyError as error:
            raise InputDataError(f"{path}: the metadata lacks {error}") from None
        except ValueError as error:
            raise InputDataError(f"{path}: {error}") from None


class GaussianAccumulator:
    """Gathers statistics batch by batch, so that memory does not grow with N; two of them add up.

    Means and scatter matrices are merged pairwise (Chan, Golub & LeVeque 1983), which keeps full precision
    where a difference of summed squares would cancel. `n`, `mean` [D] and `scatter` [D, D] (the sum of outer
    products of deviations) are plain arrays that processes can exchange.
    """

    def __init__(self, dim: int, identity: Identity):
        self.identity = identity
        self.n = 0
        self.mean = np.zeros(dim)
        self.scatter = np.zeros((dim, dim))

    def update(self, embeddings: np.ndarray) -> None:
        """Add a batch [B, D]. Raises InputDataError on another D or on NaN."""
        batch = check_embeddings(embeddings, "a batch of embeddings", dim=len(self.mean))
        mean = batch.mean(axis=0)
        deviations = batch - mean
        self.add_moments(len(batch), mean, deviations.T @ deviations)

    def merge(self, other: GaussianAccumulator) -> None:
        """Add what another process gathered over its own clips of the same split."""
        if other.identity != self.identity or len(other.mean) != len(self.mean):
            raise InputDataError(
                f"cannot merge statistics of {other.identity} (dimension {len(other.mean)}) "
                f"into statistics of {self.identity} (dimension {len(self.mean)})"
            )
        if other.n:
            self.add_moments(other.n, other.mean, other.scatter)

    def add_moments(self, n: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        """Add n clips given by their mean [D] and scatter [D, D]."""
        total = self.n + n
        gap = mean - self.mean
        self.scatter = self.scatter + scatter + np.outer(gap, gap) * (self.n * n / total)
        self.mean = self.mean + gap * (n / total)
        self.n = total

    def statistics(self) -> GaussianStatistics:
        """What was gathered. Raises InputDataError for fewer than 2 clips."""
        if self.n < 2:
            raise InputDataError(f"a covariance needs at least 2 clips, got {self.n}")
        return GaussianStatistics(self.n, self.mean, self.scatter / (self.n - 1), self.identity)


def gaussian_statistics(embeddings: np.ndarray, identity: Identity) -> GaussianStatistics:
    """Statistics of embeddings [N, D] that are all in memory."""
    embeddings = check_embeddings(embeddings, "the embeddings", at_least=2)
    accumulator = GaussianAccumulator(embeddings.shape[1], identity)
    accumulator.update(embeddings)
    return accumulator.statistics()


def check_comparable(one: GaussianStatistics, other: GaussianStatistics) -> None:
    """Raise InputDataError unless both come from the same evaluator, preprocessing and dimension.

    The split may differ: comparing two sets of clips is the purpose.
    """
    for name in ("evaluator", "preprocessing"):
        a, b = getattr(one.identity, name), getattr(other.identity, name)
        if a != b:
            raise InputDataError(f"statistics of the {name} {a!r} cannot be compared with those of {b!r}")
    if one.dim != other.dim:
        raise InputDataError(
            f"statistics of dimension {one.dim} cannot be compared with those of {other.dim}"
        )


def check_embeddings(
    embeddings: np.ndarray, what: str, *, at_least: int = 1, dim: int | None = None
) -> np.ndarray:
    """`embeddings` as float64 [N, D]. Raises InputDataError on another shape, too few rows, NaN, infinity."""
    embeddings = np.asarray(embeddings, np.float64)
    if embeddings.ndim != 2 or not embeddings.shape[1]:
        raise InputDataError(f"{what}: expected a matrix [N, D], got the shape {embeddings.shape}")
    if dim is not None and embeddings.shape[1] != dim:
        raise InputDataError(f"{what}: expected the dimension {dim}, got {embeddings.shape[1]}")
    if len(embeddings) < at_least:
        raise InputDataError(f"{what}: expected at least {at_least} clips, got {len(embeddings)}")
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        raise InputDataError(f"{what}: {len(bad)} rows hold NaN or infinity, the first is row {bad[0]}")
    return embeddings
