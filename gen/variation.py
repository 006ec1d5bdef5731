"""The real clip that a generated one varies: which file it is, and that it still is that file.

SDEdit (Meng et al. 2022): the clip's mel is noised part of the way, to the noise share `strength`, and denoised under
the asked emotion; what the noise left standing stays. `sampling.sample` does the arithmetic.

Shape letter: L wave sample.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vocalburst.gen.data.audio import SAMPLE_RATE, peak_db, read_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.prepare import SILENCE_DB


@dataclass(frozen=True)
class Variation:
    """A clip to vary and how far.

    name: the file as the user named it first, which rows record; path: where it is now; sha256: of the file; strength:
    noise share in (0, 1].
    """

    name: str
    path: str
    sha256: str
    strength: float

    @property
    def stem(self) -> str:
        """The file's name without its suffix, safe in file names."""
        return re.sub(r"[^A-Za-z0-9._-]+", "_", Path(self.name).stem)

    def wave(self) -> np.ndarray:
        """The clip [L]. Raises InputDataError when the file is gone or another one."""
        return _read(self.path, self.sha256)


def open_variations(
    paths: Sequence[str | Path], strength: float, durations: tuple[float, float]
) -> tuple[Variation, ...]:
    """`open_variation` of every path; clips are named after them, so two of one name are refused."""
    variations = tuple(open_variation(path, strength, durations) for path in paths)
    first: dict[str, str] = {}
    for variation in variations:
        if first.setdefault(variation.stem, variation.name) is not variation.name:
            raise InputDataError(
                f"{variation.name}: clips are named after the file they vary, and {first[variation.stem]} "
                f"would give them the same names"
            )
    return variations


def open_variation(path: str | Path, strength: float, durations: tuple[float, float]) -> Variation:
    """A file to vary; `durations`: shortest and longest seconds that the checkpoint makes.

    Raises InputDataError when the file is no sound, silent, or of another length.
    """
    data = _bytes(path)
    wave = read_wave(data, name=str(path))
    seconds = len(wave) / SAMPLE_RATE
    if peak_db(wave) < SILENCE_DB:
        raise InputDataError(
            f"{path}: is silent (peak {peak_db(wave):.1f} dBFS), so there is no voice to vary"
        )
    if not durations[0] <= seconds <= durations[1]:
        raise InputDataError(
            f"{path}: lasts {seconds:.2f} s, this checkpoint makes {durations[0]:g} to {durations[1]:.2f} s"
        )
    return Variation(str(path), str(path), hashlib.sha256(data).hexdigest(), strength)


def find_varied(row: str, name: str, sha256: str, manifest: Path, given: Mapping[str, Path]) -> str:
    """Path of the clip that the row (by file name) of a manifest varies: of `given` (by sha256), else where it was.

    Raises InputDataError when it is not there or not the same file any more.
    """
    places = [given[sha256]] if sha256 in given else [Path(name), manifest.parent / name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputDataError(f"{manifest}: {row} varies {name}, which is not there; name it with --like")
    digest = hashlib.sha256(_bytes(found)).hexdigest()
    if digest != sha256:
        raise InputDataError(
            f"{found}: is not the clip that {row} of {manifest} varies (sha256 {digest[:12]}, expected "
            f"{sha256[:12]}); name the right one with --like"
        )
    return str(found)


def by_sha256(paths: Sequence[Path]) -> dict[str, Path]:
    """The files by the hash of their bytes."""
    return {hashlib.sha256(_bytes(path)).hexdigest(): path for path in paths}


@lru_cache(maxsize=4)  # clips that vary one file follow each other
def _read(path: str, sha256: str) -> np.ndarray:
    data = _bytes(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputDataError(f"{path}: was altered while clips that vary it were made")
    return read_wave(data, name=path)


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputDataError(f"{path}: cannot be read as audio ({error.strerror})") from None
