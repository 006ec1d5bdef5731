"""The sets that are scored beside each other: which clips are heard, and which of them make each set.

Shape letters: n clips of an emotion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocalburst.eval.clips import ClipSet
from vocalburst.eval.contest import Contest
from vocalburst.eval.controls import (
    draw_blindly,
    draw_partners,
    draw_rows,
    measure_waves,
    noise_waves,
    silence_waves,
    write_pool,
)

FLOOR_DRAWS = 4  # at most: everything is divided by the floor, so its luck should be small
Rows = Mapping[str, np.ndarray]  # of clips, by emotion
PAIRED = (
    "these are copies of reference clips: FID∞ is read from halves that keep a clip with its source, KAD and KID leave "
    "such pairs out, precision and coverage are near 1 by construction, speakers are those of the reference, and there "
    "is no S_GEN"
)


@dataclass(frozen=True)
class DrawnSet:
    """The clips of a set: rows of `heard` in one draw or several of the same n. partners: see `draw_partners`."""

    heard: str
    draws: tuple[Rows, ...]
    partners: Rows | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lineup:
    """heard: clips by what they are; sets: by name, in printed order, `reference` among them where it has clips.

    notes: of the entry's row, about sets that are missing.
    """

    heard: dict[str, ClipSet]
    sets: dict[str, DrawnSet]
    notes: tuple[str, ...]


def line_up(contest: Contest, folder: Path, seed: int) -> Lineup:
    """Draw every set of a contest; silence and noise are written below `folder`.

    Raises InputDataError for a control that lacks an emotion.
    """
    emotions, n, notes = contest.emotions, contest.n, []
    rows = draw_rows(contest.entry, emotions, n, seed=seed)
    heard, sets = {"entry": contest.entry}, {"entry": DrawnSet("entry", (rows,))}
    if not contest.statistics:
        heard["reference"] = contest.reference
        sets["reference"] = DrawnSet("reference", (draw_rows(contest.reference, emotions, n, seed=seed),))
    if contest.train is not None:
        heard["train"] = contest.train
        sets["floor"] = draw_floor(contest, seed)
    if contest.copies is not None:
        heard["copies"] = contest.copies
        sets["copy-synthesis"] = draw_copies(contest, sets.get("reference"), seed)
    else:
        notes.append(
            "there is no copy-synthesis row: `vocalburst resynthesise MANIFEST --split SPLIT --n "
            f"{n} --out DIR` on the reference's split makes the folder for --copy-synthesis DIR"
        )
    if contest.train is not None:
        there = int(np.isin(contest.train.emotions, list(emotions)).sum())
        blind = draw_blindly(contest.train, emotions, min(n, there // len(emotions)), seed=seed)
        sets["emotion-blind"] = DrawnSet("train", (blind,))
    sets["shuffled"] = sets["entry"]
    sizes = pool_sizes(contest.entry, rows, n, seed)
    for name, waves in (("silence", silence_waves), ("noise", noise_waves)):
        heard[name] = write_pool(folder / name, waves(sizes, seed=seed), emotions[0])
        sets[name] = DrawnSet(name, (dict.fromkeys(emotions, np.arange(len(sizes))),))
    return Lineup(heard, sets, tuple(notes))


def draw_floor(contest: Contest, seed: int) -> DrawnSet:
    """Several draws of n train clips of each emotion, as far as there are enough that share none."""
    counts = Counter(contest.train.emotions)
    count = max(1, min(FLOOR_DRAWS, min(counts[emotion] for emotion in contest.emotions) // contest.n))
    draws = (draw_rows(contest.train, contest.emotions, contest.n, seed=seed, draw=k) for k in range(count))
    note = f"the floor is the mean over {count} draws of train clips that share none"
    return DrawnSet("train", tuple(draws), notes=(note,) if count > 1 else ())


def draw_copies(contest: Contest, reference: DrawnSet | None, seed: int) -> DrawnSet:
    """Copies, beside their sources where these are in the reference."""
    if reference is None:
        rows = draw_rows(contest.copies, contest.emotions, contest.n, seed=seed)
        return DrawnSet("copies", (rows,))
    rows, partners = draw_partners(
        contest.copies, contest.reference, reference.draws[0], contest.n, seed=seed
    )
    if partners is None:
        return DrawnSet("copies", (rows,))
    return DrawnSet("copies", (rows,), partners, (PAIRED,))


def pool_sizes(entry: ClipSet, rows: Rows, n: int, seed: int) -> list[tuple[int, float]]:
    """Lengths and levels of n clips of the entry, drawn over all emotions."""
    everything = np.unique(np.concatenate(list(rows.values())))
    return measure_waves(entry, np.random.default_rng([seed, 4]).permutation(everything)[:n])
