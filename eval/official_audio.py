"""Clips as the official code of ExVo 2022 reads them, which is not how the rest of this project does.

Shape letters: L wave sample, K channel.

Samples are taken at the file's own rate and brought to 16 kHz by torchaudio's windowed sinc; a file that is at
16 kHz already is fed as it is. The two channels of a stereo file are laid end to end, left then right, not
averaged: the official code flattens them. Silence is not cut off, the level is left alone, and a clip of zeros is
scored like any other.
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile

from vocalburst.eval.clips import ClipSet
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import iterate_file_bytes

RATE = 16_000  # Hz
MAX_CHANNELS = 2


@dataclass(frozen=True, eq=False)
class OfficialClip:
    """A clip as it enters the framing: `wave` [L] at 16 kHz; what it was before: rate in Hz, channels."""

    index: int  # into the set
    wave: np.ndarray
    rate: int
    channels: int


def official_clips(clips: ClipSet) -> Iterator[OfficialClip]:
    """Every clip of a set, file by file.

    Raises InputDataError for a file that changed since the set was opened or cannot be decoded.
    """
    if clips.root is None:
        raise InputDataError(f"{clips.label}: tells about its clips but does not hold their sound")
    places: dict[str, list[int]] = defaultdict(list)
    for index, source in enumerate(clips.sources):
        places[source.path].append(index)
    for path, data in iterate_file_bytes(clips.root, places):
        name, digest = str(clips.root / path), hashlib.sha256(data).hexdigest()
        for index in places[path]:
            source = clips.sources[index]
            if digest != source.sha256:
                raise InputDataError(f"{name}: changed while it was being read, or before")
            samples, rate = read_samples(data, source.start, source.end, name)
            yield OfficialClip(index, flattened(samples, rate), rate, samples.shape[1])


def read_samples(data: bytes, start: float, end: float | None, name: str) -> tuple[np.ndarray, int]:
    """Samples [L, K] (float32, full scale 1) and rate of the part of a file from `start` to `end` seconds."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate = file.samplerate
            first = round(start * rate)
            last = file.frames if end is None else min(file.frames, round(end * rate))
            file.seek(min(first, file.frames))
            samples = file.read(max(0, last - first), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise InputDataError(f"{name}: cannot be read as audio ({error})") from None
    if not len(samples):
        raise InputDataError(f"{name}: holds no samples")
    if samples.shape[1] > MAX_CHANNELS:
        raise InputDataError(f"{name}: expected mono or stereo, found {samples.shape[1]} channels")
    if not np.isfinite(samples).all():
        raise InputDataError(f"{name}: holds samples that are not finite numbers")
    return samples, rate


def flattened(samples: np.ndarray, rate: int) -> np.ndarray:
    """wave [L] at 16 kHz of samples [L, K]: each channel resampled, then all of them one after the other."""
    channels = np.ascontiguousarray(samples.T)  # [K, L]
    if rate != RATE:
        import torch
        from torchaudio.functional import resample

        channels = resample(torch.from_numpy(channels), rate, RATE).numpy()
    return channels.reshape(-1)
