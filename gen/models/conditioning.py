"""What a clip is conditioned on, and its embedding.

Shape letters: B batch, E emotion, S scalar, D width. Every condition has its own null, so that any of them can be
left out at generation: emotions by a learned null embedding, voice and country by the last row of their table,
scalars by a learned vector for "not known".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import nn

from vocalburst.gen.models.prior import mixed_with

# Scalars that describe a recording, and the range each is scaled from (to about -1..1). Beyond it is extrapolation.
SCALARS: dict[str, tuple[float, float]] = {
    "seconds": (0.0, 4.0),  # length of the clip
    "active_seconds": (0.0, 4.0),  # its voice-active part
    "level_db": (-60.0, 0.0),  # level of the voice-active part before it was normalised
    "age": (0.0, 80.0),  # years
}
AUGMENTATIONS = ("pitch", "cropped")  # flags; all zero means an untouched recording


@dataclass
class Condition:
    """A batch of conditions.

    emotion: [B, E] weights in 0..1 over the model's emotions; emotion_known: [B, E] False where a corpus says
    nothing. voice, country: [B] table rows, -1 = null; of voices also [B, 2], the second one mixed in unless it is -1.
    scalars: [B, S] in the order of `SCALARS`, NaN = null. augmentation: [B, A] in the order of `AUGMENTATIONS`.
    outline: [B, K] (see `outline`), NaN = null; K is 0 for a model without. span: [B, 2] first and last-plus-one mel
    frame of the voice-active part, which an outline is about.
    """

    emotion: torch.Tensor
    emotion_known: torch.Tensor
    voice: torch.Tensor
    country: torch.Tensor
    scalars: torch.Tensor
    augmentation: torch.Tensor
    outline: torch.Tensor
    span: torch.Tensor

    def to(self, device: torch.device | str) -> Condition:
        return Condition(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def without_emotion(self) -> Condition:
        """The same condition with the emotion null: the other half of classifier-free guidance."""
        return replace(self, emotion_known=torch.zeros_like(self.emotion_known))

    def jittered(self, amount: float) -> Condition:
        """The same condition with Gaussian noise of the standard deviation `amount` on its outlines."""
        return replace(self, outline=self.outline + amount * torch.randn_like(self.outline))

    def take(self, rows: torch.Tensor) -> Condition:
        """The condition of some rows of the batch."""
        return Condition(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def cat(self, other: Condition) -> Condition:
        """Both batches, one after the other."""
        return Condition(
            **{f.name: torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)}
        )


def drop_conditions(condition: Condition, p_emotion: float, p_attribute: float) -> Condition:
    """Put each condition of each sample to its null on its own (per sample, so that guidance learns both sides)."""

    def chance(tensor: torch.Tensor, p: float) -> torch.Tensor:
        return torch.rand(tensor.shape, device=tensor.device) < p

    batch = condition.voice
    emotion_gone = chance(batch, p_emotion)[:, None]
    return replace(
        condition,
        emotion_known=condition.emotion_known & ~emotion_gone,
        voice=batch.masked_fill(chance(batch, p_attribute), -1),
        country=condition.country.masked_fill(chance(batch, p_attribute), -1),
        scalars=condition.scalars.masked_fill(chance(condition.scalars, p_attribute), float("nan")),
        outline=condition.outline.masked_fill(chance(batch, p_attribute)[:, None], float("nan")),
    )


def sinusoids(values: torch.Tensor, dim: int, max_period: float = 100.0) -> torch.Tensor:
    """Sine and cosine features [..., dim] of values of order 1 (Vaswani et al. 2017, section 3.5)."""
    half = dim // 2
    frequencies = (
        torch.exp(-math.log(max_period) * torch.arange(half, device=values.device) / half) * 2 * math.pi
    )
    phase = values.float()[..., None] * frequencies
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def row_of(table: nn.Embedding, rows: torch.Tensor) -> torch.Tensor:
    """[B] -> [B, D]: rows of the table, its last one where there is none (-1)."""
    return table(torch.where(rows < 0, table.num_embeddings - 1, rows))


class ConditionEmbedding(nn.Module):
    """Condition -> [B, D]: the sum of one embedding per condition, mixed by a small network."""

    FEATURES = 64  # sinusoids per scalar

    def __init__(self, dim: int, n_emotions: int, n_voices: int, n_countries: int, outline: int = 0):
        super().__init__()
        # One matrix for the weights and one for "is known": an emotion that a corpus does not label is neither 0
        # nor 1, and the two halves let the network tell "absent" from "not known".
        self.emotion = nn.Linear(2 * n_emotions, dim)
        self.emotion_null = nn.Parameter(torch.zeros(dim))
        self.voice = nn.Embedding(n_voices + 1, dim)
        self.country = nn.Embedding(n_countries + 1, dim)
        self.scalar = nn.ModuleDict({name: nn.Linear(self.FEATURES, dim) for name in SCALARS})
        self.scalar_null = nn.Parameter(torch.zeros(len(SCALARS), dim))
        self.augmentation = nn.Linear(len(AUGMENTATIONS), dim, bias=False)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        for table in (self.voice, self.country):
            nn.init.normal_(table.weight, std=0.02)
        nn.init.zeros_(self.augmentation.weight)
        self.outline = nn.Linear(outline, dim) if outline else None
        if outline:
            self.outline_null = nn.Parameter(torch.zeros(dim))
            nn.init.zeros_(self.outline.weight)
            nn.init.zeros_(self.outline.bias)

    def mixed_voice(self, rows: torch.Tensor) -> torch.Tensor:
        """[B] or [B, 2] -> [B, D]: a voice, or one that a second is mixed into, about as far from the mean of all."""
        if rows.dim() == 1:
            return row_of(self.voice, rows)
        first, second = row_of(self.voice, rows[:, 0]), row_of(self.voice, rows[:, 1])
        mean = self.voice.weight[:-1].mean(dim=0)
        mixed = mean + mixed_with(first - mean, second - mean)
        return torch.where((rows[:, 1] < 0)[:, None], first, mixed)

    def forward(self, condition: Condition) -> torch.Tensor:
        known = condition.emotion_known.float()
        emotion = self.emotion(torch.cat([condition.emotion * known, known], dim=-1))
        null = ~condition.emotion_known.any(dim=-1, keepdim=True)
        total = torch.where(null, self.emotion_null, emotion)
        total = total + self.mixed_voice(condition.voice) + row_of(self.country, condition.country)
        for index, (name, (low, high)) in enumerate(SCALARS.items()):
            value = condition.scalars[:, index]
            unknown = value.isnan()
            scaled = (value.masked_fill(unknown, low) - low) / (high - low)
            embedded = self.scalar[name](sinusoids(scaled, self.FEATURES))
            total = total + torch.where(unknown[:, None], self.scalar_null[index], embedded)
        if self.outline is not None:
            unknown = condition.outline.isnan().any(dim=1, keepdim=True)
            embedded = self.outline(condition.outline.nan_to_num(0.0))
            total = total + torch.where(unknown, self.outline_null, embedded)
        return self.mix(total + self.augmentation(condition.augmentation))
