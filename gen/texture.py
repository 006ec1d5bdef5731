"""The grain of noise: what a few sampling steps leave out of unvoiced sound.

A denoiser answers with a mean, so after a few steps the mel of breath, hiss and room is the mean spectrum of it,
without the fluctuation from frame to frame that any one stretch of noise has. Which fluctuation it is, nobody can tell
from another; so that of white noise, heard through the same front end, is put in its place wherever the wave is not
periodic. The level of a voice's partials does not fluctuate like that, and keeps its own.

Shape letters: M mel bin, T mel frame.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from vocalburst.gen.data.mel import LogMel, MelConfig

LEVEL = 0.1  # standard deviation of the noise; any that is far from the log floor gives the same texture
MEAN_SECONDS = 20  # of noise behind the mean; its error is a hundredth of the fluctuation


def noise_texture(config: MelConfig, n_frames: int, rng: np.random.Generator) -> torch.Tensor:
    """[M, T]: how the log-mel of white noise differs from its mean, made on the CPU."""
    samples = max((n_frames - 1) * config.hop_length, config.n_fft)  # the front end takes no less
    return (log_mel_of_noise(config, samples, rng) - mean_of_noise(config))[:, :n_frames]


@lru_cache(maxsize=4)
def front_end(config: MelConfig) -> LogMel:
    return LogMel(config)


@lru_cache(maxsize=4)
def mean_of_noise(config: MelConfig) -> torch.Tensor:
    """[M, 1]: mean log-mel of white noise."""
    samples = MEAN_SECONDS * config.sample_rate
    return log_mel_of_noise(config, samples, np.random.default_rng(0)).mean(dim=-1, keepdim=True)


def log_mel_of_noise(config: MelConfig, n_samples: int, rng: np.random.Generator) -> torch.Tensor:
    return front_end(config)(LEVEL * torch.from_numpy(rng.standard_normal(n_samples, dtype=np.float32)))


def add_texture(
    mel: torch.Tensor, periodicity: torch.Tensor, amount: float, config: MelConfig, rng: np.random.Generator
) -> torch.Tensor:
    """mel [M, T] with `amount` of the fluctuation of noise, less where periodicity [T] (0 to 1) says voice."""
    texture = noise_texture(config, mel.shape[-1], rng).to(mel)
    noisy = 1 - periodicity.clamp(0, 1).square()
    return (mel + amount * noisy * texture).clamp(min=config.floor)
