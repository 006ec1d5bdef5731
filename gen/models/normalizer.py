"""mel <-> x: per-bin normalisation, with the front end's numbers beside its statistics.

Shape letters: B batch, M mel bin, T mel frame.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from vocalburst.gen.data.mel import SIGMA_DATA, MelConfig

LEVEL_DB = -20.0  # level in dBFS that every clip's voice-active part is brought to before its mel is taken


def moments(mels: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation [M] over all frames of mels [M, T] (float64 sums)."""
    n, total, squares = 0, 0.0, 0.0
    for mel in mels:
        mel = mel.double()
        n += mel.shape[-1]
        total = total + mel.sum(dim=-1)
        squares = squares + mel.square().sum(dim=-1)
    if n < 2:
        raise ValueError(f"expected at least 2 mel frames, got {n}")
    mean = total / n
    return mean, (squares / n - mean.square()).clamp(min=0).sqrt()


class MelNormalizer(ModelMixin, ConfigMixin):
    """Maps mel [B, M, T] to x of zero mean and standard deviation `SIGMA_DATA` in every bin, and back.

    mel: `MelConfig.to_dict()`. The statistics are of training clips at the level `LEVEL_DB`.
    """

    @register_to_config
    def __init__(self, mel: dict, level_db: float = LEVEL_DB):
        super().__init__()
        self.register_buffer("mean", torch.zeros(mel["n_mels"]))
        self.register_buffer("std", torch.ones(mel["n_mels"]))

    @property
    def mel_config(self) -> MelConfig:
        return MelConfig.from_dict(dict(self.config.mel))

    def fit(self, mels: Iterable[torch.Tensor]) -> MelNormalizer:
        """Set the statistics from mels [M, T] (float64 sums over all frames)."""
        mean, deviation = moments(mels)
        self.mean.copy_(mean)
        self.std.copy_(deviation.clamp(min=1e-4))
        return self

    def normalize(self, mel: torch.Tensor) -> torch.Tensor:
        return (mel - self.mean[:, None]) / self.std[:, None] * SIGMA_DATA

    def denormalize(self, x: torch.Tensor) -> torch.Tensor:
        """x -> mel, never below the floor of digital silence."""
        return (x / SIGMA_DATA * self.std[:, None] + self.mean[:, None]).clamp(min=self.mel_config.floor)
