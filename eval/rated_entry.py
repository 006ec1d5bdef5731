"""What people heard: HEEP of an entry from a CSV of ratings, over the clips that were rated.

Shape letters: N rated clips, E emotions.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

import numpy as np

from vocalburst.eval.clips import ClipSet
from vocalburst.eval.heep import read_ratings
from vocalburst.eval.heep_bootstrap import RatedClips, score_ratings
from vocalburst.eval.printing import show_measure
from vocalburst.eval.scores import RatedByPeople
from vocalburst.gen.data.emotions import VOCABULARY
from vocalburst.gen.data.errors import InputDataError


def rate_entry(clips: ClipSet, path: Path, maximum: float = 1.0) -> RatedByPeople:
    """HEEP of the clips that a CSV rates, one column for each emotion of the entry; see `heep.read_ratings`.

    A clip is named as in its list, or by its file name with or without suffix where that is unique. Raises
    InputDataError for a clip that is not of the entry, and for an emotion with fewer than 2 rated clips.
    """
    emotions = tuple(sorted(set(clips.emotions), key=VOCABULARY.index))
    if len(emotions) < 2:
        raise InputDataError(f"{path}: HEEP needs ratings of at least 2 emotions, {clips.label} has one")
    ratings = read_ratings(path, emotions, maximum=maximum)
    places = clip_places(clips)
    rows = []
    for name in ratings.clips:
        if name not in places:
            raise InputDataError(
                f"{path}: rates {name!r}, which is no clip of {clips.label}, or more than one"
            )
        rows.append(places[name])
    if len(set(rows)) < len(rows):
        raise InputDataError(f"{path}: rates a clip under two names")
    asked = np.array([emotions.index(clips.emotions[row]) for row in rows])
    counts = np.bincount(asked, minlength=len(emotions))
    if counts.min() < 2:
        scarce = emotions[int(counts.argmin())]
        raise InputDataError(f"{path}: expected at least 2 rated clips of {scarce}, found {counts.min()}")
    scores = score_ratings(RatedClips(asked, ratings.values), None)
    return RatedByPeople(
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        n=len(rows),
        ratings=int(ratings.raters.sum()),
        emotions=dict(zip(emotions, scores.row, strict=True)),
        heep=scores.row_mean,
        recognised=scores.recognised_mean,
        heep_column=scores.column_mean,
        heep_overall=scores.overall,
    )


def people_note(rated: RatedByPeople) -> str:
    """What people heard, in a sentence for the entry's row."""
    return (
        f"people heard HEEP {show_measure(rated.heep)} by row, {show_measure(rated.heep_column)} by column, "
        f"{show_measure(rated.heep_overall)} overall, and recognised {show_measure(rated.recognised)} "
        f"({rated.ratings} ratings of {rated.n} clips)"
    )


def clip_places(clips: ClipSet) -> dict[str, int]:
    """Row of every clip by all names that mean it alone: as listed, by file name, and without suffix."""
    places: dict[str, set[int]] = {}
    for row, name in enumerate(clips.names):
        path = PurePosixPath(name)
        for known in {name, path.name, path.stem, str(path.with_suffix(""))}:
            places.setdefault(known, set()).add(row)
    return {name: rows.pop() for name, rows in places.items() if len(rows) == 1}
