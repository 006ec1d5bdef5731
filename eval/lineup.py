"""The sets that are scored beside each other: which clips are heard, and which of them make each set.

Shape letters: n clips of an emotion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocalburst.eval.clips import ClipSet
from vocalburst.eval.contest import Contest
from vocalburst.eval.controls import (
    draw_blindly,
    draw_rows,
    measure_waves,
    noise_waves,
    silence_waves,
    write_pool,
)

Rows = Mapping[str, np.ndarray]  # of clips, by emotion


@dataclass(frozen=True)
class Lineup:
    """heard: clips by what they are; sets: name of a set -> (which of `heard`, rows by emotion), in printed order.

    `reference` is among the sets where its clips are at hand. notes: of the entry's row, about sets that are missing.
    """

    heard: dict[str, ClipSet]
    sets: dict[str, tuple[str, Rows]]
    notes: tuple[str, ...]


def line_up(contest: Contest, folder: Path, seed: int) -> Lineup:
    """Draw every set of a contest; silence and noise are written below `folder`.

    Raises InputDataError for a control that lacks an emotion.
    """
    emotions, n, notes = contest.emotions, contest.n, []
    heard = {"entry": contest.entry}
    sets: dict[str, tuple[str, Rows]] = {"entry": ("entry", draw_rows(contest.entry, emotions, n, seed=seed))}
    if not contest.statistics:
        heard["reference"] = contest.reference
        sets["reference"] = ("reference", draw_rows(contest.reference, emotions, n, seed=seed))
    if contest.train is not None:
        heard["train"] = contest.train
        sets["floor"] = ("train", draw_rows(contest.train, emotions, n, seed=seed))
    if contest.copies is not None:
        heard["copies"] = contest.copies
        sets["copy-synthesis"] = ("copies", draw_rows(contest.copies, emotions, n, seed=seed))
    else:
        notes.append(
            "there is no copy-synthesis row: `vocalburst resynthesise MANIFEST --split SPLIT --n "
            f"{n} --out DIR` on the reference's split makes the folder for --copy-synthesis DIR"
        )
    if contest.train is not None:
        sets["emotion-blind"] = ("train", blind_rows(contest.train, emotions, n, seed))
    sets["shuffled"] = sets["entry"]
    sizes = pool_sizes(contest.entry, sets["entry"][1], n, seed)
    for name, waves in (("silence", silence_waves), ("noise", noise_waves)):
        heard[name] = write_pool(folder / name, waves(sizes, seed=seed), emotions[0])
        sets[name] = (name, dict.fromkeys(emotions, np.arange(len(sizes))))
    return Lineup(heard, sets, tuple(notes))


def blind_rows(train: ClipSet, emotions: tuple[str, ...], n: int, seed: int) -> Rows:
    """As many clips for each emotion as there are for all of them, at most n."""
    there = int(np.isin(train.emotions, list(emotions)).sum())
    return draw_blindly(train, emotions, min(n, there // len(emotions)), seed=seed)


def pool_sizes(entry: ClipSet, rows: Rows, n: int, seed: int) -> list[tuple[int, float]]:
    """Lengths and levels of n clips of the entry, drawn over all emotions."""
    everything = np.unique(np.concatenate(list(rows.values())))
    return measure_waves(entry, np.random.default_rng([seed, 4]).permutation(everything)[:n])
