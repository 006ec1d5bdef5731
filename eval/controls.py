"""The sets that stand beside an entry, so that a number has a scale: real clips, wrong labels, no voice at all.

Shape letters: n clips of an emotion, L wave sample. See `scores.CONTROLS` for what each control tells.

Every draw is without replacement and by a seed; the draw of one emotion does not depend on the others, and a draw of
fewer clips is the beginning of a draw of more. Silence and noise say nothing of any emotion: one pool of n clips
stands for all emotions.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from vocalburst.eval.clips import ClipSet, open_clips
from vocalburst.gen.data.audio import encode_wave, write_file
from vocalburst.gen.data.errors import InputDataError

STEP = 1 / 32768  # of 16 bit


def draw_rows(
    clips: ClipSet, emotions: Sequence[str], n: int, *, seed: int = 0, draw: int = 0
) -> dict[str, np.ndarray]:
    """Rows of n clips of each emotion, or of all where there are fewer, in increasing order.

    draw: which of several draws that share no clip. Raises InputDataError for an emotion with fewer than 2 clips.
    """
    rows = {}
    for emotion in emotions:
        own = clips.of(emotion)
        if len(own) < 2:
            raise InputDataError(f"{clips.label}: expected at least 2 clips of {emotion}, found {len(own)}")
        generator = np.random.default_rng([seed, zlib.crc32(emotion.encode())])
        rows[emotion] = np.sort(generator.permutation(own)[draw * n : (draw + 1) * n])
    return rows


def draw_partners(
    copies: ClipSet, reference: ClipSet, rows: Mapping[str, np.ndarray], n: int, *, seed: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """Rows of n copies of each emotion, those of the reference clips in `rows` first, and the place among these of the
    clip that each was made from (-1: of none of them).

    A copy is named after its source, as `resynthesise` does: EMOTION_ID.wav for the clip ID. The places are None
    where no copy is of a reference clip at all. Raises InputDataError for an emotion with fewer than 2 copies.
    """
    chosen, partners = {}, {}
    for emotion, own in draw_rows(copies, list(rows), len(copies), seed=seed).items():
        own = np.random.default_rng([seed, zlib.crc32(emotion.encode())]).permutation(own)
        place = {reference.names[row]: index for index, row in enumerate(rows[emotion])}
        made_from = np.array([source_place(copies.names[row], place) for row in own])
        order = np.argsort(np.where(made_from < 0, 1, 0), kind="stable")[:n]
        chosen[emotion], partners[emotion] = own[order], made_from[order]
    if all((places < 0).all() for places in partners.values()):
        return draw_rows(copies, list(rows), n, seed=seed), None
    return chosen, partners


def source_place(name: str, place: Mapping[str, int]) -> int:
    """Place of the clip that a copy is named after, -1 for none: what follows an underscore of its name."""
    stem = PurePosixPath(name).stem
    ends = [stem[index + 1 :] for index, letter in enumerate(stem) if letter == "_"]
    return next((place[end] for end in ends if end in place), -1)


def draw_blindly(clips: ClipSet, emotions: Sequence[str], n: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of n clips for each emotion, drawn from the clips of all of them without regard to which they carry.

    Raises InputDataError when there are fewer clips than that in all.
    """
    own = np.flatnonzero(np.isin(clips.emotions, list(emotions)))
    needed = n * len(emotions)
    if len(own) < needed:
        raise InputDataError(
            f"{clips.label}: expected {needed} clips of {len(emotions)} emotions, found {len(own)}"
        )
    drawn = np.random.default_rng([seed, 1]).permutation(own)[:needed].reshape(len(emotions), n)
    return {emotion: np.sort(row) for emotion, row in zip(emotions, drawn, strict=True)}


def measure_waves(clips: ClipSet, rows: Sequence[int]) -> list[tuple[int, float]]:
    """Length in samples and root mean square of the clips in some rows, in the order of the rows."""
    chosen = clips.take(rows)
    found = {
        i: (len(wave), float(np.sqrt(np.mean(np.square(wave, dtype=float))))) for i, wave in chosen.waves()
    }
    return [found[index] for index in range(len(chosen))]


def silence_waves(sizes: Sequence[tuple[int, float]], *, seed: int = 0) -> Iterator[np.ndarray]:
    """Waves as long as `sizes` tell, of digital silence with one step of dither: each sample is -1, 0 or 1 step."""
    generator = np.random.default_rng([seed, 2])
    for length, _ in sizes:
        yield (generator.integers(-1, 2, size=length) * STEP).astype(np.float32)


def noise_waves(sizes: Sequence[tuple[int, float]], *, seed: int = 0) -> Iterator[np.ndarray]:
    """White noise as long and as loud as `sizes` tell.

    The samples are uniform, whose peak is only the root of 3 above their root mean square: Gaussian ones would clip.
    """
    generator = np.random.default_rng([seed, 3])
    for length, level in sizes:
        wave = generator.uniform(-1, 1, size=length)
        wave *= level / max(float(np.sqrt(np.mean(np.square(wave)))), np.finfo(float).tiny)
        yield np.clip(wave, -1, 1).astype(np.float32)


def write_pool(folder: Path, waves: Iterator[np.ndarray], emotion: str) -> ClipSet:
    """The waves as a folder of clips; `emotion` names its subfolder and says nothing about them."""
    (folder / emotion).mkdir(parents=True)
    for index, wave in enumerate(waves):
        write_file(folder / emotion / f"{index:05d}.wav", encode_wave(wave))
    return open_clips(folder)
