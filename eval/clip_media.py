"""A few clips of a set for a page: a mel picture and a player each, as data URIs that need no file beside them.

Shape letters: L wave sample, M mel bin, T mel frame.

Clips are drawn with a seed, never picked. Players hold MP3, which every browser plays and which is a tenth of
the size of the wave: what is heard on a page is a lossy copy of what was scored.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.errors import InputDataError

if TYPE_CHECKING:
    from vocalburst.eval.clips import ClipSet
    from vocalburst.gen.data.mel import LogMel

RANGE_DB = 60.0  # a picture goes this far down from its loudest point
LEVELS = 64  # of brightness: one dB each, which the eye does not tell apart


@dataclass(frozen=True)
class ClipMedia:
    """One clip: `picture` and `sound` are data URIs, a picture of T x M pixels; `seconds` of sound."""

    name: str
    emotion: str
    seconds: float
    picture: str
    sound: str


def collect_media(
    clips: ClipSet, seed: int = 0, per_emotion: int = 1, emotions: Sequence[str] | None = None
) -> tuple[ClipMedia, ...]:
    """Picture and sound of `per_emotion` drawn clips of each of `emotions` (default: all, in the set's order).

    The draw of an emotion does not depend on the others. Raises InputDataError when an emotion has fewer clips.
    """
    from vocalburst.gen.data.mel import LogMel

    if emotions is None:
        emotions = tuple(dict.fromkeys(clips.emotions))
    chosen: list[int] = []
    for emotion in emotions:
        own = clips.of(emotion)
        if len(own) < per_emotion:
            raise InputDataError(
                f"{clips.label}: expected {per_emotion} clips of {emotion}, found {len(own)}"
            )
        generator = np.random.default_rng([seed, zlib.crc32(emotion.encode())])
        chosen += sorted(generator.permutation(own)[:per_emotion].tolist())
    drawn = clips.take(chosen)
    log_mel = LogMel()
    media = {
        index: ClipMedia(
            drawn.names[index],
            drawn.emotions[index],
            len(wave) / SAMPLE_RATE,
            mel_picture(wave, log_mel),
            player_sound(wave),
        )
        for index, wave in drawn.waves()
    }
    return tuple(media[index] for index in range(len(drawn)))


def mel_picture(wave: np.ndarray, log_mel: LogMel) -> str:
    """PNG of the log-mel [M, T] of a wave [L], low frequencies at the bottom, RANGE_DB under its maximum black."""
    import torch

    mel = log_mel(torch.from_numpy(wave)).numpy()
    decibels = (mel - mel.max()) * 20 / np.log(10)
    levels = np.clip(np.rint((decibels / RANGE_DB + 1) * (LEVELS - 1)), 0, LEVELS - 1)
    return data_uri("image/png", indexed_png(levels[::-1].astype(np.uint8), palette()))


def palette() -> np.ndarray:
    """Colours [LEVELS, 3] of matplotlib's magma, uint8, from black to light yellow."""
    from matplotlib import colormaps

    return colormaps["magma"](np.linspace(0, 1, LEVELS), bytes=True)[:, :3]


def indexed_png(pixels: np.ndarray, colours: np.ndarray) -> bytes:
    """PNG of `pixels` [rows, columns] uint8, indices into `colours` [at most 256, 3] uint8 (RFC 2083).

    A third of the size of the RGB picture that matplotlib would write.
    """
    rows, columns = pixels.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # 8 bits, indexed colours, not interlaced
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)  # each line starts with its filter: none
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colours.tobytes()),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def player_sound(wave: np.ndarray) -> str:
    """MP3 of a wave [L]; the same bytes for the same wave."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III")
    return data_uri("audio/mpeg", buffer.getvalue())


def data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
