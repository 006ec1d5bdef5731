"""From a raw wave of the model to the bytes of a finished sound file, and the numbers that describe it.

The bytes are a function of the wave and the tags alone. libsndfile draws the serial number of an Ogg stream
at random and writes the time of day into the PEAK chunk of float WAV files; both are replaced here.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from vocalburst.gen.data.audio import (
    FORMATS,
    SAMPLE_RATE,
    active_span,
    encode_wave,
    fade_edges,
    limit_peak,
    loudness_lufs,
    read_wave,
)
from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.data.prepare import measure

PEAK_CEILING_DB = -1.0  # dBFS; the decoded peak of a finished file stays under it
HEADROOM_DB = 0.01  # aimed at below the ceiling, more than 16-bit rounding can add
TRIM_MARGIN = 0.03  # seconds kept on both sides of the voice-active part
FADE = 0.005  # seconds
GOLDEN = (math.sqrt(5) - 1) / 2


def clip_seed(run_seed: int, label: str, index: int) -> int:
    """The seed of one clip: 63 bits of SHA-256 over run seed, emotion as asked and index."""
    digest = hashlib.sha256(f"{run_seed}|{label}|{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def clip_quantile(run_seed: int, label: str, index: int) -> float:
    """Where among the train clips, 0 to 1, a clip takes its length, level and voice: evenly over the clips of a run.

    Steps of the golden section from a place that run seed and emotion choose. However many there are, no gap between
    them is much wider than another (the three-distance theorem), so voices seldom repeat before all have had a turn.
    """
    return (clip_seed(run_seed, f"{label}|quantile", 0) / 2**63 + index * GOLDEN) % 1.0


def clip_name(
    label: str,
    run_seed: int,
    index: int,
    file_format: str,
    parts: Sequence[str] = (),
    *,
    folder: bool = False,
) -> str:
    """`awe_0_00017.wav`, in a folder of the emotion's name when a run makes several emotions.

    parts: what tells clips of one index apart, such as the place in a sweep: `awe+fear_0_00017_p03.wav`.
    """
    name = "_".join([label, str(run_seed), f"{index:05d}", *parts]) + FORMATS[file_format][0]
    return f"{label}/{name}" if folder else name


def finish_wave(wave: np.ndarray, *, trim: bool = False) -> np.ndarray:
    """Trim to the voice-active part if asked, fade both edges, limit the peak; wave [L] -> [L']."""
    if trim:
        first, last = active_span(wave)
        margin = round(TRIM_MARGIN * SAMPLE_RATE)
        if last > first:
            wave = wave[max(0, first - margin) : last + margin]
    return limit_peak(fade_edges(wave, FADE), PEAK_CEILING_DB - HEADROOM_DB)


def encode_clip(wave: np.ndarray, file_format: str, tags: dict[str, str], *, raw: bool = False) -> bytes:
    """A sound file of `wave` [L]; unless `raw`, the peak of the *decoded* file is under `PEAK_CEILING_DB`.

    A lossy format may overshoot, so the file is decoded and the wave scaled down until it does not.
    Raises MissingModelError when the wave holds no samples or non-finite ones, as of a damaged model.
    """
    if len(wave) == 0 or not np.isfinite(wave).all():
        what = "no samples" if len(wave) == 0 else "samples that are not finite numbers"
        raise MissingModelError(
            f"the checkpoint made a wave with {what}; its weights are damaged or do not fit"
        )
    data = encode_wave(wave, file_format, tags)
    ceiling = 10 ** (PEAK_CEILING_DB / 20)
    while not raw and (peak := float(np.abs(read_wave(data)).max())) >= ceiling:
        wave = wave * np.float32(ceiling / peak * 10 ** (-HEADROOM_DB / 20))
        data = encode_wave(wave, file_format, tags)
    return stable_bytes(data)


def describe(data: bytes) -> dict[str, float | None]:
    """seconds, active_seconds, peak_db, level_db, loudness_lufs of a sound file; None for silence."""
    wave = read_wave(data)
    numbers = measure(wave)
    loudness = loudness_lufs(wave)
    numbers = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
    return {**numbers, "loudness_lufs": None if loudness is None else round(loudness, 2)}


def file_tags(emotion: str, seed: int, checkpoint: str, version: str, **more: object) -> dict[str, str]:
    """What the file says about itself; no time of day, so that the same clip has the same bytes."""
    facts = {"synthetic": "true", "emotion": emotion, "seed": seed, "checkpoint": checkpoint, **more}
    return {
        "comment": "; ".join(f"{key}={value}" for key, value in facts.items()),
        "software": f"vocalburst {version}",
    }


def stable_bytes(data: bytes) -> bytes:
    """The same sound file without what libsndfile adds at random or by the clock."""
    if data.startswith(b"OggS"):
        return _stable_ogg(data)
    if data.startswith(b"RIFF"):
        return _stable_wav(data)
    return data


def _stable_wav(data: bytes) -> bytes:
    """Zero the time stamp of a PEAK chunk: four bytes after the chunk's header and version."""
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        if name == b"PEAK":
            return data[: place + 12] + bytes(4) + data[place + 16 :]
        place += 8 + size + size % 2
    return data


def _stable_ogg(data: bytes) -> bytes:
    """Give the stream a serial number that follows from its content, each page its checksum (RFC 3533)."""
    stream = bytearray(data)
    pages = []
    place = 0
    while place < len(stream):
        n_segments = stream[place + 26]
        end = place + 27 + n_segments + sum(stream[place + 27 : place + 27 + n_segments])
        stream[place + 14 : place + 18] = bytes(4)  # serial number
        stream[place + 22 : place + 26] = bytes(4)  # checksum, counted as zero
        pages.append((place, end))
        place = end
    serial = struct.pack("<I", zlib.crc32(stream))
    for place, end in pages:
        stream[place + 14 : place + 18] = serial
        stream[place + 22 : place + 26] = struct.pack("<I", ogg_checksum(stream[place:end]))
    return bytes(stream)


def _checksum_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


_TABLE = _checksum_table()


def ogg_checksum(page: bytes) -> int:
    """CRC-32 of RFC 3533: polynomial 0x04c11db7, not reflected, zero at the start and the end."""
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _TABLE[(value >> 24) ^ byte]
    return value
