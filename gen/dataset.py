"""Manifests -> training examples, as a pure function of (seed, draw).

`draw` counts the samples seen since the start of training. Which clip a draw is, and how it is augmented, depends on
the seed and the draw alone: position in the data is one number, exact resuming needs no state, and the order is the
same on one process or many.

Shape letters: B batch, M mel bin, T mel frame, L wave sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import soxr
import torch
from torch.utils.data import Dataset, Sampler

from vocalburst.gen.data.audio import SAMPLE_RATE, active_span, rms_db
from vocalburst.gen.data.emotions import to_vector
from vocalburst.gen.data.manifest import Clip
from vocalburst.gen.data.mel import LogMel, MelConfig
from vocalburst.gen.data.store import WaveStore
from vocalburst.gen.models.conditioning import AUGMENTATIONS, Condition
from vocalburst.gen.models.normalizer import LEVEL_DB
from vocalburst.gen.models.outline import OutlineEncoder

ACTIVE_MARGIN = 0.1  # seconds kept around the voice-active part, at most, when a clip is cropped to it


@dataclass(frozen=True)
class Source:
    """One corpus in the mix: its clips, their waves in the same order, and its share of the draws."""

    clips: Sequence[Clip]
    waves: WaveStore
    weight: float = 1.0


@dataclass
class Batch:
    """mel [B, M, T] padded with the floor, mask [B, T] True on real frames, and the condition."""

    mel: torch.Tensor
    mask: torch.Tensor
    condition: Condition

    def examples(self) -> Iterator[tuple[torch.Tensor, Condition]]:
        """The mel [M, T] and the condition of each row again, in memory of their own."""
        for row, length in enumerate(self.mask.sum(dim=1).tolist()):
            yield self.mel[row, :, :length].clone(), self.condition.take(torch.tensor([row]))


def normalise_level(wave: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The wave with its voice-active part at `LEVEL_DB` dBFS, that part's seconds and its level before, in dBFS."""
    first, last = active_span(wave)
    level = max(rms_db(wave[first:last]), -100.0)
    return wave * np.float32(10 ** ((LEVEL_DB - level) / 20)), (last - first) / SAMPLE_RATE, level


def active_frames(wave: np.ndarray, mel: MelConfig) -> tuple[float, float]:
    """First and last-plus-one mel frame of the voice-active part, as fractions."""
    first, last = active_span(wave)
    return first / mel.hop_length, last / mel.hop_length


def active_part(mel: torch.Tensor, span: tuple[float, float]) -> torch.Tensor:
    """mel [M, T] of the frames in `span`, one at least."""
    first = min(int(span[0]), mel.shape[-1] - 1)
    return mel[:, first : max(math.ceil(span[1]), first + 1)]


class BurstDataset(Dataset):
    """`dataset[draw]` is (mel [M, T], Condition of one); `collate` makes a Batch.

    p_pitch: share of draws resampled by up to `max_pitch` (relative), which moves pitch, formants and tempo together.
    p_crop: share of draws cut to their voice-active part. Both set their flag in the condition.
    outline: what tells the outline of a clip; None: conditions have none.
    max_seconds: longer clips (speech windows, sighs) are cut to a random part of this length.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        emotions: tuple[str, ...],
        voices: Sequence[str] = (),
        countries: Sequence[str] = (),
        *,
        mel: MelConfig | None = None,
        seed: int = 0,
        p_pitch: float = 0.0,
        max_pitch: float = 0.08,
        p_crop: float = 0.0,
        max_seconds: float = 4.0,
        outline: OutlineEncoder | None = None,
    ):
        self.sources = list(sources)
        self.emotions = tuple(emotions)
        self.voices = {name: row for row, name in enumerate(voices)}
        self.countries = {name: row for row, name in enumerate(countries)}
        self.log_mel = LogMel(mel)
        self.seed = seed
        self.outline = outline
        self.p_pitch, self.max_pitch, self.p_crop, self.max_seconds = p_pitch, max_pitch, p_crop, max_seconds
        self._plan: tuple[int, np.ndarray] = (-1, np.empty((0, 2), dtype=np.int64))

    def __len__(self) -> int:
        """Draws in an epoch: as many as there are clips."""
        return sum(len(source.clips) for source in self.sources)

    def plan(self, epoch: int) -> np.ndarray:
        """[len(self), 2] (source, clip) of each draw of an epoch.

        Sources share the epoch by weight; inside a source every clip comes once before any comes again.
        """
        rng = np.random.default_rng([self.seed, 1, epoch])
        weights = np.array([source.weight for source in self.sources], dtype=np.float64)
        ends = np.round(np.cumsum(weights) / weights.sum() * len(self)).astype(int)
        parts = []
        for index, (source, count) in enumerate(zip(self.sources, np.diff(ends, prepend=0), strict=True)):
            rounds = -(-int(count) // len(source.clips))
            order = np.concatenate([rng.permutation(len(source.clips)) for _ in range(rounds)] or [[]])[
                :count
            ]
            parts.append(np.stack([np.full(count, index), order.astype(np.int64)], axis=1))
        return rng.permutation(np.concatenate(parts))

    def __getitem__(self, draw: int) -> tuple[torch.Tensor, Condition]:
        epoch, place = divmod(draw, len(self))
        if self._plan[0] != epoch:
            self._plan = (epoch, self.plan(epoch))
        source, index = self._plan[1][place]
        return self.example(self.sources[source], int(index), np.random.default_rng([self.seed, 2, draw]))

    def example(
        self, source: Source, index: int, rng: np.random.Generator | None = None
    ) -> tuple[torch.Tensor, Condition]:
        """The mel and condition of one clip; without `rng` as it was recorded."""
        clip, wave = source.clips[index], source.waves[index]
        augmentation = dict.fromkeys(AUGMENTATIONS, 0.0)
        if rng is not None and rng.random() < self.p_pitch:
            shift = rng.uniform(-1, 1)
            augmentation["pitch"] = shift
            wave = soxr.resample(wave, SAMPLE_RATE * (1 + self.max_pitch * shift), SAMPLE_RATE).astype(
                np.float32
            )
        if rng is not None and rng.random() < self.p_crop:
            augmentation["cropped"] = 1.0
            first, last = active_span(wave)
            before, after = (rng.uniform(0, ACTIVE_MARGIN, 2) * SAMPLE_RATE).astype(int)
            wave = wave[max(0, first - before) : last + after]
        longest = round(self.max_seconds * SAMPLE_RATE)
        if len(wave) > longest:
            start = int(rng.integers(len(wave) - longest)) if rng is not None else 0
            wave = wave[start : start + longest]
        wave, active_seconds, level = normalise_level(wave)
        condition = self.condition(clip, len(wave) / SAMPLE_RATE, active_seconds, level)
        mel = self.log_mel(torch.from_numpy(wave))
        span = active_frames(wave, self.log_mel.config)
        return mel, replace(
            condition,
            augmentation=torch.tensor([list(augmentation.values())]),
            span=torch.tensor([span]),
            outline=condition.outline if self.outline is None else self.outline(active_part(mel, span))[None],
        )

    def condition(self, clip: Clip, seconds: float, active_seconds: float, level_db: float) -> Condition:
        """The condition of one clip, as a batch of one."""
        values, known = to_vector(clip.emotions, clip.labelled, self.emotions)
        age = float("nan") if clip.age is None else clip.age
        return Condition(
            emotion=torch.tensor([values]),
            emotion_known=torch.tensor([known]),
            voice=torch.tensor([self.voices.get(clip.speaker, -1)]),
            country=torch.tensor([self.countries.get(clip.country, -1)]),
            scalars=torch.tensor([[seconds, active_seconds, level_db, age]]),
            augmentation=torch.zeros(1, len(AUGMENTATIONS)),
            outline=torch.zeros(1, 0),
            span=torch.zeros(1, 2),
        )

    def collate(self, items: Sequence[tuple[torch.Tensor, Condition]]) -> Batch:
        """Pad with the floor of digital silence, and say in the mask what is padding."""
        longest = max(mel.shape[-1] for mel, _ in items)
        mels = torch.full((len(items), items[0][0].shape[0], longest), self.log_mel.config.floor)
        mask = torch.zeros(len(items), longest, dtype=torch.bool)
        condition = items[0][1]
        for row, (mel, own) in enumerate(items):
            mels[row, :, : mel.shape[-1]] = mel
            mask[row, : mel.shape[-1]] = True
            if row:
                condition = condition.cat(own)
        return Batch(mels, mask, condition)


class DrawSampler(Sampler[list[int]]):
    """Batches of draws from `start` on: each rank takes its own slice of every global batch."""

    def __init__(self, start: int, stop: int, batch_size: int, rank: int = 0, n_ranks: int = 1):
        self.start, self.stop, self.batch_size, self.rank, self.n_ranks = (
            start,
            stop,
            batch_size,
            rank,
            n_ranks,
        )

    def __len__(self) -> int:
        return -(-(self.stop - self.start) // (self.batch_size * self.n_ranks))

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(len(self)):
            first = self.start + (step * self.n_ranks + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))
