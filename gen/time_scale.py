"""Longer or shorter at the same pitch: a mel spectrogram stretched in time, so that the voice lasts as long as asked.

Length is one of many conditions of the denoiser and holds only roughly. What is missing or too much is made up here,
between denoiser and vocoder, where a change of tempo needs no phases.

Shape letters: M mel bin, T mel frame.
"""

from __future__ import annotations

import math

import torch

TOLERANCE = 0.05  # a voice this near to the asked length, relatively, is left alone
LIMITS = (0.5, 2.0)  # a larger factor would turn the clip into another one
PASSES = 2  # a stretched voice is measured again: its quiet edges may count by then, or no longer


def stretch_factor(active_seconds: float, asked_seconds: float, done: float = 1.0) -> float:
    """By how much to stretch a voice of `active_seconds` that was stretched by `done` before; 1.0 leaves it alone.

    All in all the factor stays within `LIMITS`. Silence has no voice to stretch.
    """
    if active_seconds == 0 or abs(active_seconds / asked_seconds - 1) <= TOLERANCE:
        return 1.0
    return min(max(done * asked_seconds / active_seconds, LIMITS[0]), LIMITS[1]) / done


def stretch_active(
    mel: torch.Tensor, first: float, last: float, factor: float, margin: float
) -> torch.Tensor:
    """mel [M, T] -> [M, T'], the frames from `first` to `last` (fractions allowed) lasting `factor` times as long.

    At most `margin` frames are kept before and after them, at their old tempo. Linear interpolation of log-mels.
    """
    frames = mel.shape[-1]
    last = min(last, frames - 1)
    before = torch.arange(max(0, math.ceil(first - margin)), math.ceil(first))
    after = torch.arange(math.floor(last) + 1, min(frames, math.floor(last + margin) + 1))
    active = torch.linspace(first, last, max(2, round((last - first) * factor) + 1), dtype=torch.float64)
    place = torch.cat([before, active, after])
    left = place.floor().long()
    right = (left + 1).clamp(max=frames - 1)
    share = (place - left).to(mel)
    return mel[:, left] * (1 - share) + mel[:, right] * share
