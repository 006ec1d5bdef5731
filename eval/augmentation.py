"""Changes of a training clip that keep its emotion, for spectrograms and for waves, and mixtures of clips.

Shape letters: B clips, L wave sample, M mel bin, T time step of a clip's features, E emotion.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

from vocalburst.eval.recogniser import pad_features


class Augmentation(BaseModel):
    """What both families have; comments in configs/recogniser. Nothing happens unless it is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_crop: int = Field(0, ge=0)  # time steps, at either edge
    mixup_alpha: float = Field(0, ge=0)

    @abstractmethod
    def __call__(self, features: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        """A changed float32 copy of features [..., T]."""

    def crop(self, features: torch.Tensor, shortest: int, generator: np.random.Generator) -> torch.Tensor:
        """A view of features [..., T] without some steps at the edges; `shortest` steps are never taken."""
        length = features.shape[-1]
        spare = length - max(length - 2 * self.max_crop, min(length, shortest))
        first = int(generator.integers(spare // 2 + 1))
        return features[..., first : length - int(generator.integers(spare // 2 + 1))]


class MelAugmentation(Augmentation):
    """Changes of a spectrogram [M, T]: crop, gain, bin shift, and masks filled with the clip's mean."""

    max_gain_db: float = Field(0, ge=0)
    max_bin_shift: int = Field(0, ge=0)
    time_masks: int = Field(0, ge=0)
    max_time_mask: int = Field(0, ge=0)
    frequency_masks: int = Field(0, ge=0)
    max_frequency_mask: int = Field(0, ge=0)

    def __call__(self, features: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        mel = self.crop(features, 16, generator).float()
        mel = mel + float(generator.uniform(-self.max_gain_db, self.max_gain_db)) * math.log(10) / 20
        shift = int(generator.integers(-self.max_bin_shift, self.max_bin_shift + 1))
        if shift:
            bins = torch.arange(mel.shape[0]).sub(shift).clamp(0, mel.shape[0] - 1)
            mel = mel[bins]
        fill = float(mel.mean())
        for _ in range(self.time_masks):
            width = int(generator.integers(min(self.max_time_mask, mel.shape[1] // 5) + 1))
            start = int(generator.integers(mel.shape[1] - width + 1))
            mel[:, start : start + width] = fill
        for _ in range(self.frequency_masks):
            width = int(generator.integers(self.max_frequency_mask + 1))
            start = int(generator.integers(mel.shape[0] - width + 1))
            mel[start : start + width] = fill
        return mel


class WaveAugmentation(Augmentation):
    """Changes of a wave [L] whose level does not count: crop, speed, spectral tilt, noise, polarity.

    The result has the mean square 1, so that a mixture of two is as loud in both.
    """

    max_speed: float = Field(0, ge=0, lt=0.5)  # share by which it is played faster or slower, pitch included
    max_tilt: float = Field(0, ge=0, lt=1)  # y[l] = x[l] + a x[l - 1], |a| up to this: another microphone
    noise_db: tuple[float, float] | None = None  # white noise, dB re the clip: from, to
    polarity: bool = False  # turn half of the clips upside down

    def __call__(self, features: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        wave = self.crop(features, 1600, generator).float().numpy()
        speed = 1 + generator.uniform(-self.max_speed, self.max_speed)
        if self.max_speed:
            places = np.arange(0, len(wave) - 1, speed)
            wave = np.interp(places, np.arange(len(wave)), wave).astype(np.float32)
        if self.max_tilt:
            wave = wave + np.float32(generator.uniform(-self.max_tilt, self.max_tilt)) * np.roll(wave, 1)
        wave = wave / max(math.sqrt(np.mean(np.square(wave, dtype=np.float64))), 1e-8)
        if self.noise_db is not None:
            level = 10 ** (generator.uniform(*self.noise_db) / 20)
            wave = wave + np.float32(level) * generator.standard_normal(len(wave), dtype=np.float32)
        if self.polarity and generator.random() < 0.5:
            wave = -wave
        return torch.from_numpy(wave.astype(np.float32))


def mixed_batch(
    clips: list[torch.Tensor],
    labels: torch.Tensor,
    n_emotions: int,
    alpha: float,
    generator: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features [B, ..., T], lengths [B] and targets [B, E]; mixup blends each clip with another of the batch.

    Zhang et al. 2018, with the blend done on the features and cut to the shorter clip.
    """
    x, lengths = pad_features(clips)
    targets = functional.one_hot(labels, n_emotions).float()
    if alpha > 0:
        share = float(generator.beta(alpha, alpha))
        other = torch.from_numpy(generator.permutation(len(clips)))
        x = share * x + (1 - share) * x[other]
        lengths = torch.minimum(lengths, lengths[other])
        targets = share * targets + (1 - share) * targets[other]
    return x, lengths, targets
