"""HEEP: how far clips are heard as the emotion they were made for (ExVo 2022, arXiv 2205.01780).

Shape letters: N clips, E emotions, R raters.

`ratings` [N, E] are intensities in [0, 1]: mean ratings of people, or a recogniser's outputs as their proxy.
`asked` [N] is the index of the emotion a clip was made for. With T the one-hot matrix of `asked`, HEEP is the
Pearson correlation of T and the ratings. The paper defines it over everything and prints it per emotion; both
readings of that are here:

* by row (the default): only the clips made for e, all their E ratings. Needs no other emotion, and uses the
  same clips as the distance of e.
* by column: only the ratings of e, over all clips. Penalises clips of other emotions that are heard as e, and
  is undefined for an entry of a single emotion.

Where a correlation has no spread to work with, ratings that say nothing score 0.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocalburst.gen.data.emotions import normalise_name
from vocalburst.gen.data.errors import InputDataError

CLIP_COLUMNS = ("clip", "clip_id", "file_id", "id")  # accepted headers of the column that names the clip


@dataclass(frozen=True)
class Ratings:
    """Mean ratings `values` [N, E] in [0, 1] of the clips named `clips`, from `raters` [N] lines each."""

    clips: tuple[str, ...]
    values: np.ndarray
    raters: np.ndarray


def heep_by_row(asked: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """HEEP [E] of the clips made for each emotion, over all their ratings; NaN for an emotion without clips.

    Equal to sqrt(p (1 - p)) (a - b) / s with p = 1 / E, a the mean rating of the emotion asked for, b that
    of the others and s the deviation of all ratings of these clips.
    """
    asked, ratings = check_ratings(asked, ratings)
    n_emotions = ratings.shape[1]
    scores = np.full(n_emotions, np.nan)
    for emotion in np.unique(asked):
        own = ratings[asked == emotion]
        targets = np.zeros_like(own)
        targets[:, emotion] = 1
        scores[emotion] = correlation(targets, own)
    return scores


def heep_by_column(asked: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """HEEP [E] of each emotion's ratings over all clips; NaN where no clip, or every clip, is made for it."""
    asked, ratings = check_ratings(asked, ratings)
    scores = np.full(ratings.shape[1], np.nan)
    for emotion in np.unique(asked):
        targets = (asked == emotion).astype(float)
        if not targets.all():
            scores[emotion] = correlation(targets, ratings[:, emotion])
    return scores


def heep_overall(asked: np.ndarray, ratings: np.ndarray) -> float:
    """HEEP over all clips and emotions at once."""
    asked, ratings = check_ratings(asked, ratings)
    return correlation(np.eye(ratings.shape[1])[asked], ratings)


def correlation(targets: np.ndarray, ratings: np.ndarray) -> float:
    """Pearson correlation of two arrays of one shape, over all entries; 0 if either is constant."""
    x, y = targets.ravel() - targets.mean(), ratings.ravel() - ratings.mean()
    spread = math.sqrt((x @ x) * (y @ y))
    # A constant column of 0.1 leaves deviations of 1e-17 behind its rounded mean.
    if np.ptp(targets) == 0 or np.ptp(ratings) == 0 or spread == 0:
        return 0.0
    return float(x @ y / spread)


def read_ratings(path: str | Path, emotions: Sequence[str], *, maximum: float = 1.0) -> Ratings:
    """Mean ratings of people from a CSV: a column that names the clip, one column per emotion.

    A line is one rating of one clip; several lines of a clip are averaged. Brackets around a clip name, as
    the official files have them, are dropped. `maximum` is the top of the scale (100 for the official
    interface). Other columns are ignored. Raises InputDataError naming file and line on anything missing or
    out of range.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputDataError(f"{path}: cannot be read as a CSV of ratings ({error})") from None
    if len(rows) < 2:
        raise InputDataError(f"{path}: expected a header and at least one rating, got {len(rows)} lines")
    header = [normalise_name(name) for name in rows[0]]
    named = [index for index, name in enumerate(header) if name in CLIP_COLUMNS]
    missing = [emotion for emotion in emotions if header.count(emotion) != 1]
    if len(named) != 1:
        raise InputDataError(
            f"{path}: expected one column named {' or '.join(CLIP_COLUMNS)}, got {len(named)}"
        )
    if missing:
        raise InputDataError(
            f"{path}: expected one column for each emotion, {missing[0]!r} has not exactly one"
        )
    columns = [header.index(emotion) for emotion in emotions]

    ratings: dict[str, list[list[float]]] = {}
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(header):
            raise InputDataError(f"{path}, line {number}: expected {len(header)} fields, got {len(row)}")
        clip = row[named[0]].strip().strip("[]")
        if not clip:
            raise InputDataError(f"{path}, line {number}: names no clip")
        values = [parse_rating(row[column], maximum, f"{path}, line {number}") for column in columns]
        ratings.setdefault(clip, []).append(values)
    means = np.array([np.mean(lines, axis=0) for lines in ratings.values()])
    return Ratings(tuple(ratings), means, np.array([len(lines) for lines in ratings.values()]))


def parse_rating(text: str, maximum: float, where: str) -> float:
    """A rating in [0, 1] from its text on a scale from 0 to `maximum`. Raises InputDataError."""
    try:
        value = float(text) / maximum
    except ValueError:
        raise InputDataError(f"{where}: expected a rating, got {text!r}") from None
    if not 0 <= value <= 1:
        raise InputDataError(f"{where}: expected a rating from 0 to {maximum:g}, got {text}")
    return value


def check_ratings(asked: np.ndarray, ratings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`asked` as integers [N] and `ratings` as float64 [N, E]. Raises InputDataError if they do not fit."""
    asked, ratings = np.asarray(asked), np.asarray(ratings, np.float64)
    if ratings.ndim != 2 or ratings.shape[1] < 2 or asked.shape != ratings.shape[:1] or not len(asked):
        raise InputDataError(f"expected emotions [N] and ratings [N, E], got {asked.shape}, {ratings.shape}")
    if not np.issubdtype(asked.dtype, np.integer) or asked.min() < 0 or asked.max() >= ratings.shape[1]:
        raise InputDataError(f"expected emotion indices from 0 to {ratings.shape[1] - 1}")
    if not ((ratings >= 0) & (ratings <= 1)).all():
        raise InputDataError("expected ratings from 0 to 1, got one outside or NaN")
    return asked, ratings
