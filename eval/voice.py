"""A crude ear for voices: does it sound like the same person in the same place?

Shape letters: N clips, M mel bin, T frame, L wave sample, F feature.

The feature of a clip is its long-term average spectrum (the mean log-mel spectrum of its loud frames, level removed)
and the statistics of its pitch. No network and no training: it hears the length of a throat, the range of a voice and,
just as well, the microphone and the room, which in recordings from the web belong to one person too. It is no speaker
verification. An emotion changes a spectrum as much as a speaker does, so the mean of each emotion over the voices
compared is taken out, and only pairs of different emotions are looked at. `separation` of real speakers tells how much
the ear hears at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vocalburst.gen.data.audio import SAMPLE_RATE, active_span
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.mel import LogMel

LOUD_DB = 30.0  # frames within this of the loudest one make the average spectrum
PITCH_HZ = (60.0, 1200.0)
FRAME, HOP = 0.04, 0.01  # seconds, of pitch
VOICED = 0.5  # height of the autocorrelation from which a frame counts as voiced
PITCH_QUANTILES = (0.1, 0.5, 0.9)
BANDS = 25  # of the average spectrum, 4 mel bins each


def features(wave: np.ndarray, log_mel: LogMel | None = None) -> np.ndarray:
    """[F]: the average spectrum in `BANDS` bands, dB, mean 0; quantiles of pitch in octaves over 100 Hz; voiced share.

    Pitch is NaN where no frame is voiced. Raises InputDataError for silence.
    """
    first, last = active_span(wave)
    if last == 0:
        raise InputDataError("expected a voice, got silence")
    return np.concatenate(
        [average_spectrum(wave[first:last], log_mel or LogMel()), pitch_statistics(wave[first:last])]
    )


def average_spectrum(wave: np.ndarray, log_mel: LogMel) -> np.ndarray:
    """Mean log-mel spectrum [BANDS] in dB over the loud frames of a wave [L], without its level."""
    padded = np.pad(wave, (0, max(0, log_mel.config.n_fft - len(wave))))
    mel = log_mel(torch.from_numpy(padded)[None])[0].numpy() * (20 / np.log(10))  # [M, T] dB
    energy = 10 * np.log10(np.sum(10 ** (mel / 10), axis=0))
    loud = mel[:, energy > energy.max() - LOUD_DB]
    spectrum = np.maximum(loud, mel.max() - 60).mean(axis=1).reshape(BANDS, -1).mean(axis=1)
    return spectrum - spectrum.mean()


def pitch_statistics(wave: np.ndarray) -> np.ndarray:
    """Quantiles [3] of pitch over the voiced frames in octaves over 100 Hz, and the share of voiced frames."""
    hertz, clarity = pitch(wave)
    voiced = clarity > VOICED
    if not voiced.any():
        return np.array([np.nan] * len(PITCH_QUANTILES) + [0.0])
    return np.array([*np.quantile(np.log2(hertz[voiced] / 100), PITCH_QUANTILES), voiced.mean()])


def pitch(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch [T] in Hz and its clarity [T] (1: perfectly periodic) of frames of a wave [L].

    The first peak of the normalised autocorrelation that is nearly as high as the highest one (McLeod & Wyvill 2005).
    """
    size, hop = round(FRAME * SAMPLE_RATE), round(HOP * SAMPLE_RATE)
    padded = np.pad(wave.astype(np.float64), (0, max(0, size - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]  # [T, size]
    frames = frames - frames.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(frames, 2 * size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :size]
    squares = np.cumsum(frames**2, axis=1)
    # Energy of the two overlapping parts that a lag compares.
    lags = np.arange(size)
    energy = squares[:, size - 1 - lags] + squares[:, -1:] - np.pad(squares, ((0, 0), (1, 0)))[:, lags]
    low, high = round(SAMPLE_RATE / PITCH_HZ[1]), round(SAMPLE_RATE / PITCH_HZ[0])
    height = (2 * correlation / np.maximum(energy, 1e-12))[:, low - 1 : high + 2]
    inner = height[:, 1:-1]
    peaks = np.where((inner >= height[:, :-2]) & (inner > height[:, 2:]), inner, -1.0)
    best = peaks.max(axis=1)
    lag = low + (peaks >= 0.9 * best[:, None]).argmax(axis=1)
    return SAMPLE_RATE / lag, np.maximum(best, 0.0)


def distances(features: np.ndarray, emotions: Sequence[str]) -> np.ndarray:
    """Cosine distance [N, N], 0 to 2, of features [N, F] without the mean of their emotion, each of variance 1.

    A clip without pitch gets the mean one.
    """
    emotion = np.asarray(emotions)
    x = np.where(np.isnan(features), np.nanmean(features, axis=0), features)
    for name in np.unique(emotion):
        x[emotion == name] -= x[emotion == name].mean(axis=0)
    spread = x.std(axis=0)
    x = x / np.where(spread > 0, spread, 1.0)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return 1 - x @ x.T


def separation(distance: np.ndarray, voices: Sequence[str], emotions: Sequence[str]) -> np.ndarray:
    """For each voice, how often a clip of it is nearer than one of another voice: area under the ROC curve [V], 0 to 1.

    Both clips are compared with the same clip of the voice and are of other emotions than that; half a point for a tie.
    0.5 is chance. Order of the voices as of `np.unique`. Raises InputDataError when a voice has no pair to compare.
    """
    voice, emotion = np.asarray(voices), np.asarray(emotions)
    names = np.unique(voice)
    if len(names) < 2:
        raise InputDataError(f"expected clips of at least two voices, got {len(names)}")
    areas = []
    for name in names:
        parts = []
        for clip in np.flatnonzero(voice == name):
            fair = emotion != emotion[clip]
            own = distance[clip, fair & (voice == name)]
            other = np.sort(distance[clip, fair & (voice != name)])
            if len(own) and len(other):
                further = len(other) - np.searchsorted(other, own, "right")
                tied = np.searchsorted(other, own, "right") - np.searchsorted(other, own, "left")
                parts.append(np.mean(further + tied / 2) / len(other))
        if not parts:
            raise InputDataError(f"expected clips of at least two emotions of the voice {name}")
        areas.append(np.mean(parts))
    return np.array(areas)
