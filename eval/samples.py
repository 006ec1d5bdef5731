"""Clips as an evaluator hears them, sorted by emotion, and what they are judged by.

Shape letters: n clips of an emotion, D embedding, E emotions that the evaluator rates, G blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vocalburst.eval.embed import EmbeddedClips
from vocalburst.eval.gaussian import GaussianAccumulator, GaussianStatistics, Identity
from vocalburst.eval.jackknife import BLOCKS, deal_blocks
from vocalburst.eval.measures import Reference


@dataclass(frozen=True, eq=False)
class Sample:
    """Clips of one emotion: embeddings [n, D], probabilities [n, E] or None, groups [n]: speakers, or the clips.

    partners: the reference clip [n] that each was made from, -1 for none; see `measures.Comparison`.
    """

    embeddings: np.ndarray
    probabilities: np.ndarray | None
    groups: tuple[str, ...]
    partners: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def take(self, rows: np.ndarray) -> Sample:
        """Some of the clips, whose partners are forgotten: the rows may be compared with other clips."""
        chosen = None if self.probabilities is None else self.probabilities[rows]
        return Sample(self.embeddings[rows], chosen, tuple(self.groups[row] for row in rows))


Samples = Mapping[str, Sample]  # by emotion


@dataclass(frozen=True, eq=False)
class Bench:
    """What every set is measured by: the reference of each emotion, and the emotions [E] that the evaluator rates.

    references: real clips, or their Gaussian where only that is known. protocols: of S_GEN.
    """

    references: Mapping[str, Reference | GaussianStatistics]
    identity: Identity
    columns: tuple[str, ...] | None
    protocols: tuple[str, ...] = ()
    seed: int = 0
    blocks: int = BLOCKS
    pooled: dict[tuple[str, ...], GaussianStatistics] = field(default_factory=dict)

    def statistics(self, emotion: str) -> GaussianStatistics:
        reference = self.references[emotion]
        return reference.statistics if isinstance(reference, Reference) else reference

    def pooled_statistics(self, emotions: tuple[str, ...]) -> GaussianStatistics:
        """The Gaussian of the reference clips of several emotions together: an equal share of real clips, so that n
        stays what it is for one emotion, or all that Gaussians were made of.
        """
        if emotions not in self.pooled:
            parts = [self.references[emotion] for emotion in emotions]
            total = GaussianAccumulator(self.statistics(emotions[0]).dim, self.identity)
            for part in parts:
                if isinstance(part, Reference):
                    total.update(part.embeddings[share_of(len(part), len(parts), self.seed)])
                else:
                    total.add_moments(part.n, part.mean, part.cov * (part.n - 1))
            self.pooled[emotions] = total.statistics()
        return self.pooled[emotions]


def share_of(n: int, parts: int, seed: int) -> np.ndarray:
    """Which of n clips are drawn, without replacement, when each of `parts` emotions gives an equal share."""
    if parts == 1:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[: n // parts])


def by_speaker(clips: EmbeddedClips) -> bool:
    """Whether clips are resampled by speaker: every one of them names its speaker."""
    return None not in clips.clips.speakers


def samples_of(
    embedded: EmbeddedClips,
    rows: Mapping[str, np.ndarray],
    partners: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Sample]:
    """The sample of each emotion from row indices; a row may stand under several emotions."""
    clips = embedded.clips
    groups = clips.speakers if by_speaker(embedded) else clips.names
    probabilities = embedded.probabilities
    return {
        emotion: Sample(
            embedded.embeddings[own],
            None if probabilities is None else probabilities[own],
            tuple(groups[row] for row in own),
            None if partners is None else partners[emotion],
        )
        for emotion, own in rows.items()
    }


@dataclass(frozen=True, eq=False)
class Blocks:
    """`count` blocks of clips that are left out in turn, and the block [n] of every clip of each emotion."""

    count: int
    of: Mapping[str, np.ndarray]

    def kept(self, emotion: str) -> np.ndarray:
        """1.0 where a clip is not in the block that is left out, [G, n]."""
        return (self.of[emotion] != np.arange(self.count)[:, None]).astype(float)

    def sizes(self, emotion: str) -> np.ndarray:
        """Clips of the emotion in each block, [G]."""
        return np.bincount(self.of[emotion], minlength=self.count)


def deal_samples(draws: Sequence[Samples], blocks: int = BLOCKS, *, seed: int = 0) -> list[Blocks] | None:
    """Blocks of the clips of each draw, for a jackknife over all emotions and draws at once.

    None where all clips are of one group, so that none can be left out. Groups that stand in one emotion of one draw
    only (clips) are dealt there, so that blocks are even; groups that run through several (speakers, or one pool of
    clips for all emotions) are dealt once.
    """
    samples = [sample for draw in draws for sample in draw.values()]
    names = [set(sample.groups) for sample in samples]
    if len(set().union(*names)) == sum(map(len, names)):
        count = min(blocks, *map(len, names))
        parts = [deal_blocks(sample.groups, count, seed=seed + i) for i, sample in enumerate(samples)]
    else:
        groups = [group for sample in samples for group in sample.groups]
        count = min(blocks, len(set(groups)))
        ends = np.cumsum([len(sample) for sample in samples])
        parts = np.split(deal_blocks(groups, count, seed=seed), ends[:-1])
    if count < 2:
        return None
    dealt = iter(parts)
    return [Blocks(count, {emotion: next(dealt) for emotion in draw}) for draw in draws]


def deal_labels(samples: Samples, generator: np.random.Generator) -> dict[str, Sample]:
    """The same clips with their emotions dealt out at random, as many to each emotion as before."""
    everything = join(list(samples.values()))
    order = generator.permutation(len(everything))
    ends = np.cumsum([len(sample) for sample in samples.values()])
    parts = np.split(order, ends[:-1])
    return {emotion: everything.take(part) for emotion, part in zip(samples, parts, strict=True)}


def join(samples: Sequence[Sample]) -> Sample:
    """All clips of several samples."""
    known = all(sample.probabilities is not None for sample in samples)
    return Sample(
        np.concatenate([sample.embeddings for sample in samples]),
        np.concatenate([sample.probabilities for sample in samples]) if known else None,
        tuple(group for sample in samples for group in sample.groups),
    )
