"""What `generate` was asked for and what it wrote: the rows of its manifests, as far as control is measured by them.

Sweeps and mixes belong here, which sets of clips that are scored (`clips`) refuse. Shape letters: L wave sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from vocalburst.eval.clip_listing import EntryRow, iterate_lines
from vocalburst.gen.data.audio import read_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import first_problem


class AskedRow(EntryRow):
    """A row of `generate`: the wishes that it answers. The meaning of each is told in `gen/generated.py`."""

    sha256: str
    emotion_vector: dict[str, float]
    intensity: float
    run_seed: int
    index: int
    voice_asked: int | None = None
    second_voice: int | None = None
    duration_asked: float | None = None
    sweep_position: float | None = None
    like: str | None = None
    like_sha256: str | None = None
    strength: float | None = None

    @property
    def voices_asked(self) -> str | None:
        """`3`, or `3+7` for two that are mixed; None where they were drawn."""
        if self.voice_asked is None:
            return None
        return (
            str(self.voice_asked) if self.second_voice is None else f"{self.voice_asked}+{self.second_voice}"
        )

    @property
    def target(self) -> str:
        """The only emotion asked for."""
        if len(self.emotion_vector) != 1:
            raise InputDataError(f"{self.file_name}: expected one emotion, was asked for {self.emotion}")
        return next(iter(self.emotion_vector))

    @property
    def unit(self) -> Hashable:
        """Equal for the clips of one seed, between which only what was asked for changes."""
        return (
            self.emotion,
            self.run_seed,
            self.index,
            self.like_sha256,
            self.voices_asked,
            self.duration_asked,
        )


@dataclass(frozen=True)
class AskedClip:
    """A row and the folder that it stands in."""

    row: AskedRow
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / self.row.file_name

    def wave(self) -> np.ndarray:
        """The clip [L]. Raises InputDataError when it is missing, altered or silent."""
        return checked_wave(self.path, self.row.sha256)

    def source(self) -> np.ndarray:
        """The clip [L] that this one varies, from where the row says, or beside the manifest."""
        places = [Path(self.row.like), self.folder / self.row.like]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise InputDataError(f"{self.path}: varies {self.row.like}, which is not there")
        return checked_wave(found, self.row.like_sha256)


def checked_wave(path: Path, sha256: str) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputDataError(f"{path}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputDataError(f"{path}: its sha256 is not the one in the manifest; the file was altered")
    wave = read_wave(data, name=str(path))
    if not wave.any():
        raise InputDataError(f"{path}: is digital silence")
    return wave


def read_asked(folders: Sequence[str | Path]) -> list[AskedClip]:
    """The clips of output folders of `generate`, in order. Raises InputDataError naming file, line and problem."""
    return [clip for folder in folders for clip in _read_folder(Path(folder))]


def _read_folder(folder: Path) -> Iterator[AskedClip]:
    path = folder / "manifest.jsonl"
    if not path.is_file():
        raise InputDataError(
            f"{folder}: expected the output folder of a finished generate, with a manifest.jsonl"
        )
    empty = True
    for number, line in iterate_lines(path):
        try:
            yield AskedClip(AskedRow.model_validate_json(line), folder)
        except ValidationError as error:
            raise InputDataError(
                f"{path}, line {number}: not a clip made by generate ({first_problem(error)})"
            ) from None
        empty = False
    if empty:
        raise InputDataError(f"{path}: holds no clips")


@dataclass(frozen=True)
class Series:
    """Clips by unit and level: `places` [S, P] are indices of clips, `levels` [P] are in rising order."""

    levels: tuple[float, ...]
    places: np.ndarray


def series_of(rows: Sequence[AskedRow], levels: Sequence[float], what: str) -> Series:
    """Line up the clips of each unit by what was asked, `levels` [N] of the rows.

    Raises InputDataError unless every unit has exactly one clip at each level, and there are two levels.
    """
    rounded = [round(level, 6) for level in levels]
    known = sorted(set(rounded))
    if len(known) < 2:
        raise InputDataError(f"expected clips of at least two values of {what}, got {known}")
    units: dict[Hashable, dict[float, int]] = {}
    for place, (row, level) in enumerate(zip(rows, rounded, strict=True)):
        if level in units.setdefault(row.unit, {}):
            raise InputDataError(f"{row.file_name}: a second clip of the same seed with {what} {level:g}")
        units[row.unit][level] = place
    for at in units.values():
        missing = [level for level in known if level not in at]
        if missing:
            name = rows[next(iter(at.values()))].file_name
            raise InputDataError(
                f"{name}: expected a clip of the same seed with {what} {missing[0]:g}, found none"
            )
    return Series(tuple(known), np.array([[at[level] for level in known] for at in units.values()]))
