"""Spectra back to waves, faster on a CPU than `torch.istft` and `abs`, which the vocoder needs in every correction.

Same numbers as theirs but for rounding (tests/test_spectrum.py); docs/inverse_stft.py prints how much faster.
Shape letters: B batch, L wave sample, F STFT bin, T frame, N sample of a frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

FAINTEST = 1e-20  # power; the square root has no slope at 0


def magnitude(spectrum: torch.Tensor) -> torch.Tensor:
    """Absolute value of a complex tensor; of values under 1e-10 it is 1e-10, without a gradient."""
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=FAINTEST).sqrt()


def overlap_add(frames: torch.Tensor, hop_length: int) -> torch.Tensor:
    """frames [B, T, N] -> their sum [B, (T - 1) * hop_length + N], each a hop after the one before."""
    batch, n_frames, length = frames.shape
    frames = F.pad(frames, (0, -length % hop_length))
    pieces = frames.shape[-1] // hop_length
    total = frames.new_zeros(batch, (n_frames - 1 + pieces) * hop_length)
    for piece, samples in enumerate(frames.split(hop_length, dim=-1)):
        first = piece * hop_length
        total[:, first : first + n_frames * hop_length] += samples.reshape(batch, -1)
    return total[:, : (n_frames - 1) * hop_length + length]


def window_envelope(window: torch.Tensor, n_frames: int, hop_length: int) -> torch.Tensor:
    """[1, L']: what `overlap_add` makes of the squared window [N] in every frame."""
    return overlap_add(window.square().expand(1, n_frames, -1), hop_length)


def inverse_stft(
    spectrum: torch.Tensor, window: torch.Tensor, hop_length: int, envelope: torch.Tensor
) -> torch.Tensor:
    """spectrum [B, F, T] of centred frames -> wave [B, (T - 1) * hop_length], by least squares as `torch.istft`.

    envelope: `window_envelope` of these frames, made once for many spectra. Griffin & Lim 1984, Eq. 6.
    """
    n_fft = len(window)
    frames = torch.fft.irfft(spectrum.transpose(1, 2), n=n_fft) * window
    inside = slice(n_fft // 2, -(n_fft // 2))
    return overlap_add(frames, hop_length)[:, inside] / envelope[:, inside]
