"""What the networks of the LoopQ solution hear: 16 kHz, no trailing silence, mel spectrograms and MFCCs in dB.

Shape letters: B clips, L wave sample at `RATE`, M mel bin, K cepstral coefficient, T frame.

Window 1024, hop 256, 128 mel bins and 40 coefficients are the paper's (sections 3.1 to 3.3 and 3.6). It used librosa
and names no more, so the rest is as librosa has it: a Hann window around every `HOP`-th sample with zeros beyond the
edges, so T = L // HOP + 1; Slaney's mel scale and areas; decibels of power re 1, cut 80 dB below the clip's own
maximum; cepstra by the orthonormal DCT-II of those.
"""

from __future__ import annotations

import numpy as np
import soxr
import torch
from torch import nn
from torch.nn import functional
from torchaudio import transforms
from torchaudio.functional import create_dct

from vocalburst.eval.emo18 import RATE
from vocalburst.gen.data.audio import SAMPLE_RATE, active_span
from vocalburst.gen.data.errors import InputDataError

WINDOW = 1024  # samples
HOP = 256  # samples
N_MELS = 128
N_MFCC = 40
RANGE_DB = 80.0  # under the maximum of a clip
PREPARED = f"trailing-40db_{RATE}hz"  # id of what `prepared` does
GRID = f"{WINDOW}-{HOP}-{N_MELS}_range-{RANGE_DB:g}db"  # id of the spectrogram


def prepared(wave: np.ndarray) -> torch.Tensor:
    """The wave [L] at `RATE`, cut after its last frame of 20 ms within 40 dB of the loudest, of a wave at 24 kHz.

    At least `WINDOW` samples stay. Raises InputDataError for silence and for a wave shorter than a window.
    """
    if len(wave) * RATE < WINDOW * SAMPLE_RATE:
        raise InputDataError(
            f"a wave of {1000 * len(wave) / SAMPLE_RATE:.0f} ms is shorter than one window of "
            f"{1000 * WINDOW / RATE:.0f} ms"
        )
    _, last = active_span(wave)
    if last == 0:
        raise InputDataError(f"a wave of {len(wave)} samples is silent; there is no burst to recognise")
    shortest = -(-WINDOW * SAMPLE_RATE // RATE)
    kept = np.ascontiguousarray(wave[: max(last, shortest)], dtype=np.float32)
    return torch.from_numpy(soxr.resample(kept, SAMPLE_RATE, RATE))


def fixed(wave: torch.Tensor, seconds: float) -> torch.Tensor:
    """The wave [..., L] at `RATE`, cut or continued with zeros to exactly so many seconds."""
    length = round(seconds * RATE)
    return functional.pad(wave[..., :length], (0, max(0, length - wave.shape[-1])))


class MelSpectrogram(nn.Module):
    """wave [B, L] -> mel [B, M, T] in dB, T = L // HOP + 1."""

    def __init__(self) -> None:
        super().__init__()
        self.power = transforms.MelSpectrogram(
            RATE, n_fft=WINDOW, hop_length=HOP, n_mels=N_MELS, norm="slaney", mel_scale="slaney",
            pad_mode="constant",
        )  # fmt: skip
        self.decibels = transforms.AmplitudeToDB("power", RANGE_DB)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        # As one channel of each clip: torchaudio would take [B, M, T] for B channels with one maximum.
        return self.decibels(self.power(wave[:, None]))[:, 0]


class Mfcc(nn.Module):
    """wave [B, L] -> mfcc [B, K, T], T = L // HOP + 1."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = MelSpectrogram()
        self.register_buffer("dct", create_dct(N_MFCC, N_MELS, "ortho").T, persistent=False)  # [K, M]

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return self.from_mel(self.mel(wave))

    def from_mel(self, mel: torch.Tensor) -> torch.Tensor:
        """mfcc [..., K, T] of mel [..., M, T] in dB."""
        return self.dct @ mel
