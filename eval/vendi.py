"""The Vendi score: how many different clips a set is worth (Friedman & Dieng 2023).

Shape letters: n clips, D embedding.

exp(-sum l log l) over the eigenvalues l of K / n, K the cosine similarities of embeddings: 1 for copies of
one clip, n for clips that have nothing in common. It grows with n, so a set is only ever compared with a
reference of the same size: the ratio is about 1 for real clips and falls when a generator repeats itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vocalburst.eval.gaussian import check_embeddings
from vocalburst.gen.data.errors import InputDataError

DRAWS = 10


@dataclass(frozen=True)
class VendiRatio:
    """Mean scores of both sets at n clips, and their ratio."""

    generated: float
    reference: float
    n: int

    @property
    def ratio(self) -> float:
        return self.generated / self.reference


def vendi_score(embeddings: np.ndarray) -> float:
    """Effective number of different clips, in [1, n]. Raises InputDataError on an all-zero embedding."""
    embeddings = check_embeddings(embeddings, "the clips")
    lengths = np.linalg.norm(embeddings, axis=1)
    if not lengths.all():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise InputDataError(f"the embedding in row {row} is all zero, so it has no cosine similarity")
    unit = embeddings / lengths[:, None]
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit  # the same non-zero eigenvalues
    shares = np.clip(np.linalg.eigvalsh(gram / len(unit)), 0, None)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def vendi_ratio(
    generated: np.ndarray, reference: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> VendiRatio:
    """Scores of generated [n, D] and reference [m, D] at min(n, m) clips.

    The larger set is drawn down `draws` times without replacement and its scores are averaged.
    """
    generated = check_embeddings(generated, "the generated clips")
    reference = check_embeddings(reference, "the reference", dim=generated.shape[1])
    n = min(len(generated), len(reference))
    generator = np.random.default_rng(seed)

    def mean_score(x: np.ndarray) -> float:
        if len(x) == n:
            return vendi_score(x)
        return float(np.mean([vendi_score(x[generator.permutation(len(x))[:n]]) for _ in range(draws)]))

    return VendiRatio(mean_score(generated), mean_score(reference), n)
