"""MODULATE-STREAM (data paper, arXiv 2403.14048): 1.9 million clips of game streams, one row each of a TSV.

There are no emotion labels and no speakers, so there is no task: the rows serve to choose unlabelled audio. The file is
read row by row and never held. Whether it has a header is not published: a first row with the name `clip_name` is one.
Cells are not quoted (transcripts hold quotation marks of their own).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vocalburst.gen.data.errors import InputDataError

COLUMNS = (
    "clip_name", "clip_duration_msec", "transcript",
    "is_child_probability", "is_female_probability", "game_metadata",
)  # fmt: skip
ADULT_BELOW = 0.5  # probability of a child


@dataclass(frozen=True)
class StreamClip:
    """A row. path: below the root of the audio; seconds: its length; the probabilities are a classifier's."""

    path: str
    seconds: float
    transcript: str
    is_child_probability: float
    is_female_probability: float
    game: str | None


def read_stream(path: Path, *, child_below: float | None = ADULT_BELOW) -> Iterator[StreamClip]:
    """Clips of a TSV in its order, in constant memory.

    child_below: leave out clips whose probability of a child is not below it; None keeps all.
    Raises InputDataError naming file and line for a row of another length, and for a number that is none or out of
    range.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            order = COLUMNS
            for line, cells in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
                if line == 1 and "clip_name" in [cell.strip() for cell in cells]:
                    order = header_order(path, cells)
                    continue
                if not cells:
                    continue
                clip = stream_clip(cells, order, f"{path}, line {line}")
                if child_below is None or clip.is_child_probability < child_below:
                    yield clip
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputDataError(f"{path}: cannot be read as a table ({reason})") from None


def header_order(path: Path, cells: list[str]) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in cells)
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InputDataError(f"{path}: lacks the columns {', '.join(missing)}; it has {', '.join(names)}")
    return names


def stream_clip(cells: list[str], order: tuple[str, ...], where: str) -> StreamClip:
    if len(cells) != len(order):
        raise InputDataError(f"{where}: expected {len(order)} cells, found {len(cells)}")
    row = dict(zip(order, (cell.strip() for cell in cells), strict=True))
    return StreamClip(
        path=row["clip_name"],
        seconds=bounded(row["clip_duration_msec"], float("inf"), f"{where}, clip_duration_msec") / 1000,
        transcript=row["transcript"],
        is_child_probability=bounded(row["is_child_probability"], 1, f"{where}, is_child_probability"),
        is_female_probability=bounded(row["is_female_probability"], 1, f"{where}, is_female_probability"),
        game=row["game_metadata"] or None,
    )


def bounded(cell: str, high: float, where: str) -> float:
    """A number between 0 and `high`."""
    try:
        value = float(cell)
    except ValueError:
        raise InputDataError(f"{where}: expected a number, found {cell!r}") from None
    if not 0 <= value <= high:
        raise InputDataError(f"{where}: {value:g} is outside 0 to {high:g}")
    return value
