"""Changes of a training spectrogram that keep its emotion: crop, level, vocal tract, masks, mixtures.

Shape letters: B clips, M mel bin, T mel frame, E emotion.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

from vocalburst.eval.recogniser import pad_mels


class Augmentation(BaseModel):
    """Changes of a training spectrogram that keep its emotion; comments in configs/recogniser/base.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_crop: int = Field(0, ge=0)
    max_gain_db: float = Field(0, ge=0)
    max_bin_shift: int = Field(0, ge=0)
    time_masks: int = Field(0, ge=0)
    max_time_mask: int = Field(0, ge=0)
    frequency_masks: int = Field(0, ge=0)
    max_frequency_mask: int = Field(0, ge=0)
    mixup_alpha: float = Field(0, ge=0)


def augment(mel: torch.Tensor, config: Augmentation, generator: np.random.Generator) -> torch.Tensor:
    """A changed copy of mel [M, T]: crop, gain, bin shift and masks filled with the clip's mean."""
    keep = max(mel.shape[1] - 2 * config.max_crop, min(mel.shape[1], 16))  # frames that no crop may take
    spare = mel.shape[1] - keep
    first = int(generator.integers(spare // 2 + 1))
    last = mel.shape[1] - int(generator.integers(spare // 2 + 1))
    mel = mel[:, first:last].float()
    mel = mel + float(generator.uniform(-config.max_gain_db, config.max_gain_db)) * math.log(10) / 20
    shift = int(generator.integers(-config.max_bin_shift, config.max_bin_shift + 1))
    if shift:
        bins = torch.arange(mel.shape[0]).sub(shift).clamp(0, mel.shape[0] - 1)
        mel = mel[bins]
    fill = float(mel.mean())
    for _ in range(config.time_masks):
        width = int(generator.integers(min(config.max_time_mask, mel.shape[1] // 5) + 1))
        start = int(generator.integers(mel.shape[1] - width + 1))
        mel[:, start : start + width] = fill
    for _ in range(config.frequency_masks):
        width = int(generator.integers(config.max_frequency_mask + 1))
        start = int(generator.integers(mel.shape[0] - width + 1))
        mel[start : start + width] = fill
    return mel


def mixed_batch(
    mels: list[torch.Tensor],
    labels: torch.Tensor,
    n_emotions: int,
    alpha: float,
    generator: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """mel [B, M, T], lengths [B] and targets [B, E]; mixup blends each clip with another of the batch.

    Zhang et al. 2018, with the blend done on log-mels and cut to the shorter clip.
    """
    mel, lengths = pad_mels(mels)
    targets = functional.one_hot(labels, n_emotions).float()
    if alpha > 0:
        share = float(generator.beta(alpha, alpha))
        other = torch.from_numpy(generator.permutation(len(mels)))
        mel = share * mel + (1 - share) * mel[other]
        lengths = torch.minimum(lengths, lengths[other])
        targets = share * targets + (1 - share) * targets[other]
    return mel, lengths, targets
