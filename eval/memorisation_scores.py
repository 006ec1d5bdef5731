"""Memorisation of a whole set of clips, beside the same numbers of real clips that nobody can have copied.

Shape letters: n clips of the set, t train clips, m real clips of the reference, D embedding.

The reference speakers are split in halves: the clips of one half play the generator, those of the other the held-out
test. The spread over random halves is the band in which a generator that invents its clips should lie. The set is
judged against the same held-out halves, with as many clips drawn from it as a half has, since C_T grows with n.

FLD costs a matrix of clips by train clips in each step of its fit, so it is computed from draws of both. The audit
sees every train clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student_t

from vocalburst.eval.jackknife import LEVEL
from vocalburst.eval.memorisation import copy_audit, feature_likelihood, nearest_two, rank_z
from vocalburst.eval.rates import LEVELS
from vocalburst.eval.scores import CopyPair, Measure, Memorisation

SPLITS = 50  # of the reference speakers in halves, for the band of C_T
FLD_SPLITS = 3  # of them, each half once the generator and once the test, for FLD
FLD_CLIPS = 500  # of the set, and of the test half
FLD_TRAIN = 1500
PAIRS = 20
FEWEST = 4  # clips in a half, so that a variance can be fitted


def judge_memorisation(
    clips: np.ndarray,
    train: np.ndarray,
    real: np.ndarray,
    *,
    names: Sequence[str],
    train_names: Sequence[str],
    groups: Sequence[str],
    seed: int = 0,
) -> Memorisation:
    """Scores of clips [n, D] against train [t, D] and real held-out clips [m, D] of the speakers `groups` [m].

    Raises InputDataError when there are too few clips on a side, naming it.
    """
    audit = copy_audit(clips, train, real, names, train_names)
    of_clips = np.array([pair.distance for pair in audit.pairs])
    of_real = nearest_two(real, train)[0][:, 0]
    generator = np.random.default_rng(seed)
    halves = [split_groups(groups, generator) for _ in range(SPLITS)]
    pairs = [pair for a, b in halves for pair in ((a, b), (b, a))]
    c_t_real = [rank_z(of_real[a], of_real[b]) for a, b in pairs]
    c_t = [rank_z(draw(of_clips, len(a), generator), of_real[b]) for a, b in pairs]
    low, high = np.percentile(c_t_real, LEVELS)

    likelihoods, fresh_gaps = [], []
    for a, b in pairs[: 2 * FLD_SPLITS]:
        size = min(FLD_CLIPS, len(a), len(clips))
        some_train, test = draw(train, FLD_TRAIN, generator), draw(real[b], FLD_CLIPS, generator)
        likelihoods.append(feature_likelihood(draw(clips, size, generator), some_train, test))
        fresh_gaps.append(feature_likelihood(draw(real[a], size, generator), some_train, test).gap)
    copied_first = sorted(audit.pairs, key=lambda pair: not pair.copied)
    return Memorisation(
        fld=float(np.mean([one.value for one in likelihoods])),
        fld_gap=float(np.mean([one.gap for one in likelihoods])),
        fld_gap_real=band(fresh_gaps),
        c_t=float(np.mean(c_t)),
        c_t_real=Measure(value=float(np.mean(c_t_real)), low=float(low), high=float(high)),
        copied=len(audit.copied),
        chance=audit.chance,
        suspicious=audit.suspicious,
        pairs=tuple(
            CopyPair(
                clip=pair.clip,
                train_clip=pair.train_clip,
                distance=pair.distance,
                ratio=pair.ratio,
                cosine=pair.cosine,
            )
            for pair in copied_first[:PAIRS]
        ),
    )


def reference_note(
    clips: np.ndarray,
    real: np.ndarray,
    train: np.ndarray,
    *,
    names: Sequence[str],
    real_names: Sequence[str],
    seed: int = 0,
) -> str | None:
    """A sentence when clips [n, D] look made from the reference clips [m, D], which would void every distance.

    The audit of `memorisation` with other parts: train clips [t, D], which cannot be copies of the reference, say how
    near a clip comes to one by chance.
    """
    audit = copy_audit(clips, real, draw(train, len(clips), np.random.default_rng(seed)), names, real_names)
    if not audit.suspicious:
        return None
    first = audit.copied[0]
    return (
        f"{len(audit.copied)} clips are nearer to a reference clip than any of as many train clips is, the first is "
        f"{first.clip} ({first.train_clip}): if they were made from the reference, no distance here means anything"
    )


def split_groups(groups: Sequence[str], generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row indices of the clips of a random half of the groups, and of the others."""
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    first = np.isin(group, generator.permutation(len(names))[: len(names) // 2])
    return np.flatnonzero(first), np.flatnonzero(~first)


def enough_to_split(groups: Sequence[str]) -> bool:
    """Whether each half of the groups holds the clips that the band needs, however they are split."""
    counts = np.sort(np.unique(np.asarray(groups), return_counts=True)[1])
    return len(counts) >= 2 and int(counts[: len(counts) // 2].sum()) >= FEWEST


def draw(rows: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """`size` rows at random without replacement, or all where there are no more."""
    return rows if len(rows) <= size else rows[np.sort(generator.permutation(len(rows))[:size])]


def band(values: Sequence[float]) -> Measure:
    """Mean of the values and the range in which 95 % of further ones fall (Student's t)."""
    count = len(values)
    half = student_t.ppf((1 + LEVEL) / 2, count - 1) * np.std(values, ddof=1) * np.sqrt(1 + 1 / count)
    mean = float(np.mean(values))
    return Measure(value=mean, low=float(mean - half), high=float(mean + half))
