"""Sound files in and out. A wave is float32 in [-1, 1]; mono [L] unless said otherwise. Times in seconds.

Files are decoded by libsndfile (WAV, FLAC, OGG, Opus, MP3) and resampled by soxr: torchaudio's own input and
output need external FFmpeg libraries, so they are not used.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from vocalburst.gen.data.errors import InputDataError

SAMPLE_RATE = 24_000  # Hz, of everything inside the project; other rates exist only in files
MAX_SECONDS = 60.0  # a burst lasts a second or two; longer input is a mistake unless a reader asks for it
DECODABLE = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".caf"})

# format name -> (file suffix, libsndfile container, subtype)
FORMATS = {
    "wav": (".wav", "WAV", "PCM_16"),
    "wav-float": (".wav", "WAV", "FLOAT"),
    "flac": (".flac", "FLAC", "PCM_16"),
    "ogg": (".ogg", "OGG", "VORBIS"),
}


def read_wave(
    source: str | Path | bytes,
    sample_rate: int = SAMPLE_RATE,
    *,
    start: float = 0.0,
    end: float | None = None,
    max_seconds: float | None = MAX_SECONDS,
    name: str | None = None,
) -> np.ndarray:
    """Decode to mono float32 [L] at `sample_rate`; channels are averaged.

    source: a path, or the bytes of a file (then `name` is what errors call it).
    start, end: the part to read, in seconds of the file.
    Raises InputDataError on a file that cannot be decoded, holds no samples or non-finite ones, has more
    than two channels or lasts longer than `max_seconds`.
    """
    name = name or ("<bytes>" if isinstance(source, bytes) else str(source))
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as file:
            rate, channels = file.samplerate, file.channels
            first = round(start * rate)
            last = file.frames if end is None else min(file.frames, round(end * rate))
            seconds = (last - first) / rate
            if file.frames == 0:
                raise InputDataError(f"{name}: holds no samples")
            if channels > 2:
                raise InputDataError(f"{name}: expected mono or stereo, found {channels} channels")
            if max_seconds is not None and seconds > max_seconds:
                raise InputDataError(f"{name}: lasts {seconds:.0f} s, expected at most {max_seconds:g} s")
            if first >= last:
                raise InputDataError(f"{name}: no samples between {start:g} s and {last / rate:g} s")
            file.seek(first)
            data = file.read(last - first, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        reason = "no such file" if isinstance(source, (str, Path)) and not Path(source).exists() else error
        raise InputDataError(f"{name}: cannot be read as audio ({reason})") from None
    if len(data) == 0:
        raise InputDataError(f"{name}: decodes to no samples")
    wave = data.mean(axis=1)
    if not np.isfinite(wave).all():
        raise InputDataError(f"{name}: holds samples that are not finite numbers")
    if rate != sample_rate:
        wave = soxr.resample(wave, rate, sample_rate)
    return np.ascontiguousarray(wave, dtype=np.float32)


def file_seconds(path: str | Path) -> float:
    """How long a sound file lasts, in seconds, without decoding it. Raises InputDataError if it is none."""
    try:
        return float(soundfile.info(str(path)).duration)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise InputDataError(f"{path}: cannot be read as audio ({error})") from None


def encode_wave(wave: np.ndarray, file_format: str = "wav", tags: dict[str, str] | None = None) -> bytes:
    """The bytes of a sound file at `SAMPLE_RATE`; `tags` are libsndfile strings such as title or comment."""
    if file_format not in FORMATS:
        raise InputDataError(f"unknown audio format {file_format!r}; known: {', '.join(FORMATS)}")
    _, container, subtype = FORMATS[file_format]
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", SAMPLE_RATE, 1, subtype, format=container) as file:
        for key, value in (tags or {}).items():
            setattr(file, key, value)
        file.write(np.asarray(wave, dtype=np.float32))
    return buffer.getvalue()


def write_file(path: str | Path, data: bytes) -> None:
    """Write all of `data` or nothing: a kill or a full disk never leaves half a file under the final name."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def peak_db(wave: np.ndarray) -> float:
    """Largest absolute sample in dBFS; -inf for silence."""
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(np.abs(wave).max(initial=0.0)))


def rms_db(wave: np.ndarray) -> float:
    """Root mean square in dBFS; -inf for silence."""
    with np.errstate(divide="ignore"):
        return (
            float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else float("-inf")
        )


def frame_energy(wave: np.ndarray, frame: float) -> np.ndarray:
    """Mean square [T] of consecutive frames of `frame` seconds of a wave [L], the last filled with zeros."""
    size = round(frame * SAMPLE_RATE)
    padded = np.pad(wave.astype(np.float64), (0, -len(wave) % size))
    return np.square(padded).reshape(-1, size).mean(axis=1)


def active_span(wave: np.ndarray, threshold_db: float = -40.0, frame: float = 0.02) -> tuple[int, int]:
    """First and last-plus-one sample of the voice-active part: frames above `threshold_db` re the loudest
    frame.

    Energy is the mean square of consecutive frames of `frame` seconds. A silent wave gives (0, 0).
    """
    energy = frame_energy(wave, frame)
    loudest = energy.max(initial=0.0)
    if loudest <= 0:
        return 0, 0
    size = round(frame * SAMPLE_RATE)
    active = np.flatnonzero(energy > loudest * 10 ** (threshold_db / 10))
    return int(active[0]) * size, min(len(wave), int(active[-1] + 1) * size)


def voice_windows(
    wave: np.ndarray,
    max_seconds: float,
    *,
    pause: float = 0.5,
    threshold_db: float = -40.0,
    frame: float = 0.02,
) -> list[tuple[int, int]]:
    """Cut a long wave [L] into voice-active windows: (first, last-plus-one) samples, in order, none
    overlapping.

    A frame is active as in `active_span`. Every pause of at least `pause` seconds separates two windows;
    what is then still longer than `max_seconds` is cut at the quietest place of its middle half, again and
    again. Silence at the edges of a window belongs to none.
    """
    if len(wave) == 0:
        return []
    size = round(frame * SAMPLE_RATE)
    energy = frame_energy(wave, frame)
    active = energy > energy.max(initial=0.0) * 10 ** (threshold_db / 10)
    # A mean over 100 ms, not one frame: a zero crossing of a low voice is no pause.
    smooth = np.convolve(energy, np.ones(5) / 5, mode="same")
    windows: list[tuple[int, int]] = []
    pending = [(0, len(energy))]
    while pending:
        begin, stop = pending.pop()
        voiced = begin + np.flatnonzero(active[begin:stop])
        if len(voiced) == 0:
            continue
        first, last = int(voiced[0]), int(voiced[-1]) + 1
        gaps = np.diff(voiced)
        if len(gaps) and (gaps.max() - 1) * frame >= pause - 1e-9:
            cut = int(voiced[gaps.argmax()]) + 1
        elif (last - first) * frame > max_seconds + 1e-9:
            quarter = (last - first) // 4
            cut = first + quarter + int(smooth[first + quarter : last - quarter].argmin())
        else:
            windows.append((first * size, min(len(wave), last * size)))
            continue
        pending += [(first, cut), (cut, last)]
    return sorted(windows)


def fade_edges(wave: np.ndarray, seconds: float = 0.005) -> np.ndarray:
    """Raised-cosine fade of both edges, so that a clip never starts or ends with a click."""
    size = min(round(seconds * SAMPLE_RATE), len(wave) // 2)
    if size == 0:
        return wave.copy()
    ramp = (0.5 - 0.5 * np.cos(np.pi * np.arange(size) / size)).astype(np.float32)
    faded = wave.copy()
    faded[:size] *= ramp
    faded[-size:] *= ramp[::-1]
    return faded


def limit_peak(wave: np.ndarray, ceiling_db: float = -1.0) -> np.ndarray:
    """Scale down, only if needed, so that the peak stays under `ceiling_db` dBFS."""
    ceiling = 10 ** (ceiling_db / 20)
    peak = float(np.abs(wave).max(initial=0.0))
    return wave * np.float32(ceiling / peak) if peak > ceiling else wave


def loudness_lufs(wave: np.ndarray) -> float | None:
    """Integrated loudness (ITU-R BS.1770-4), one short block for clips under 0.4 s; None if all is gated."""
    import pyloudnorm

    seconds = len(wave) / SAMPLE_RATE
    block = min(0.4, seconds * 0.999)
    if block <= 0:
        return None
    with np.errstate(divide="ignore"):
        value = float(
            pyloudnorm.Meter(SAMPLE_RATE, block_size=block).integrated_loudness(wave.astype(np.float64))
        )
    return value if np.isfinite(value) else None
