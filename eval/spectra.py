"""How far a clip is from the clip that it varies, as a picture: frame by frame, in dB.

Shape letters: M mel bin, T frame, L wave sample.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from vocalburst.gen.data.audio import active_span, rms_db
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.mel import LogMel

RANGE_DB = 60.0  # under the loudest point, further down is room
DB = 20 / math.log(10)  # of a natural logarithm of magnitude


def picture(wave: np.ndarray, log_mel: LogMel) -> np.ndarray:
    """Log-mel spectrogram [M, T] of a wave [L], dB re the level of its voice, floored `RANGE_DB` under its maximum."""
    first, last = active_span(wave)
    if last == 0:
        raise InputDataError("expected a voice, got silence")
    mel = DB * log_mel(torch.from_numpy(wave)[None])[0].numpy() - rms_db(wave[first:last])
    return np.maximum(mel, mel.max() - RANGE_DB)


def spectral_distance(wave: np.ndarray, other: np.ndarray, log_mel: LogMel) -> float:
    """Mean absolute difference in dB between the spectrograms of two waves [L] of one length.

    A vocoder leaves out the last part of a hop; lengths that differ by more are an error.
    """
    one, two = picture(wave, log_mel), picture(other, log_mel)
    if abs(len(wave) - len(other)) > log_mel.config.hop_length:
        raise InputDataError(
            f"expected two waves of one length, got {len(wave)} and {len(other)} samples; was --trim given?"
        )
    frames = min(one.shape[1], two.shape[1])
    return float(np.abs(one[:, :frames] - two[:, :frames]).mean())
