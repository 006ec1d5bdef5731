"""Ranking of comparable entries by S_GEN, with what the intervals leave open.

An entry's place is a range: above it are only the entries whose whole 95 % interval lies above its own. Entries
whose intervals overlap share places and are said not to be told apart. This is cautious: two intervals that just
overlap would often be told apart by a test of their difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from vocalburst.eval.comparable import Candidate, Terms
from vocalburst.eval.heat import Scale, scale_of
from vocalburst.eval.scores import MEASURES, EvaluatorScores, Measure, SetScores, SGen


@dataclass(frozen=True)
class Row:
    """A ranked entry: its places from `best` to `worst`, and whose intervals overlap its own."""

    candidate: Candidate
    heard: EvaluatorScores
    score: SGen
    best: int
    worst: int
    tied: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.candidate.name

    @property
    def place(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"

    @property
    def copies(self) -> bool:
        """Whether the entry is suspected of repeating its training clips."""
        found = self.heard.entry.memorisation
        return found is not None and found.suspicious

    def controls(self, names: Sequence[str]) -> list[SetScores]:
        return [s for s in self.heard.sets if s.name in names]


@dataclass(frozen=True)
class Board:
    """The ranking by one evaluator, best entry first.

    shared: controls that are the same for all entries; own: names of those that every entry has for itself.
    emotions: those of any entry, in the order of the first. scales: of heat maps over entries and shared controls.
    """

    evaluator: EvaluatorScores
    protocol: str
    rows: tuple[Row, ...]
    shared: tuple[SetScores, ...]
    own: tuple[str, ...]
    emotions: tuple[str, ...]
    scales: dict[str, Scale]

    @property
    def columns(self) -> tuple[tuple[str, SetScores], ...]:
        """What stands side by side in a heat map: entries by rank, then shared controls."""
        return (*((row.name, row.heard.entry) for row in self.rows), *((s.name, s) for s in self.shared))


def places(values: Sequence[Measure]) -> list[tuple[int, int]]:
    """Best and worst place of each value, more being better; one without an interval may be anywhere."""
    bounds = [interval(value) for value in values]
    ranges = []
    for low, high in bounds:
        above = sum(other_low > high for other_low, _ in bounds)
        below = sum(other_high < low for _, other_high in bounds)
        ranges.append((1 + above, len(bounds) - below))
    return ranges


def interval(value: Measure) -> tuple[float, float]:
    if value.low is None or value.high is None:
        return float("-inf"), float("inf")
    return value.low, value.high


def overlap(one: Measure, other: Measure) -> bool:
    (low, high), (other_low, other_high) = interval(one), interval(other)
    return low <= other_high and other_low <= high


def rank(candidates: Sequence[Candidate], terms: Terms) -> tuple[Board, ...]:
    """A board for every evaluator of the terms. All candidates are comparable on these terms."""
    return tuple(board(candidates, evaluator, terms) for evaluator in terms.evaluators)


def board(candidates: Sequence[Candidate], evaluator: str, terms: Terms) -> Board:
    heard = [candidate.by(evaluator) for candidate in candidates]
    scores = [h.entry.s_gen_of(terms.protocol) for h in heard]
    values = [score.value for score in scores]
    order = sorted(range(len(values)), key=lambda k: (-values[k].value, candidates[k].name))
    ranges = places(values)
    rows = [
        Row(
            candidates[k], heard[k], scores[k], *ranges[k],
            tied=tuple(candidates[j].name for j in order if j != k and overlap(values[k], values[j])),
        )
        for k in order
    ]  # fmt: skip
    shared, own = split_controls(heard)
    emotions = tuple(dict.fromkeys(e for row in rows for e in row.heard.entry.emotions))
    columns = [*(row.heard.entry for row in rows), *shared]
    scales = {
        name: scale_of(
            (e.measures[name].value for s in columns for e in s.emotions.values() if name in e.measures),
            more_is_better,
        )
        for name, (_, more_is_better) in MEASURES.items()
    }
    return Board(
        terms.like.by(evaluator), terms.protocol, tuple(rows), shared, own, emotions,
        {name: scale for name, scale in scales.items() if scale is not None},
    )  # fmt: skip


def split_controls(heard: Sequence[EvaluatorScores]) -> tuple[tuple[SetScores, ...], tuple[str, ...]]:
    """Controls with the same numbers in all files, from the file with most emotions, and the names of the others.

    A file of fewer emotions has a control of fewer emotions; it is the same where both have numbers.
    """
    by_name: dict[str, list[SetScores]] = {}
    for scores in heard:
        for control in scores.sets:
            if control.name != "entry":
                by_name.setdefault(control.name, []).append(control)
    fullest = {name: max(found, key=lambda c: len(c.emotions)) for name, found in by_name.items()}
    equal = {
        name: all(
            fullest[name].emotions.get(emotion) == row
            for control in found
            for emotion, row in control.emotions.items()
        )
        for name, found in by_name.items()
    }
    shared = tuple(fullest[name] for name in by_name if equal[name])
    return shared, tuple(name for name in by_name if not equal[name])


def verdicts(ranked: Board) -> list[str]:
    """What the intervals leave open, in sentences."""
    sentences = []
    for row in ranked.rows:
        later = [name for name in row.tied if ranked_below(ranked, row, name)]
        if later:
            sentences.append(
                f"{row.name} is not told apart from {', '.join(later)}: their 95 % intervals overlap."
            )
        if row.score.value.low is None:
            sentences.append(f"{row.name} has no interval, so its place is open.")
    if not sentences and len(ranked.rows) > 1:
        sentences.append("No two intervals overlap: every place is decided.")
    return sentences


def ranked_below(ranked: Board, row: Row, name: str) -> bool:
    order = [other.name for other in ranked.rows]
    return order.index(name) > order.index(row.name)


def agreement(boards: Sequence[Board]) -> str | None:
    """Whether the evaluators order the entries alike; None for one evaluator or one entry."""
    if len(boards) < 2 or len(boards[0].rows) < 2:
        return None
    orders = [[row.name for row in ranked.rows] for ranked in boards]
    if all(order == orders[0] for order in orders):
        return "All evaluators order the entries alike."
    for one, other in combinations(boards, 2):
        for name, below in sorted(decided(one)):
            if (below, name) in decided(other):
                return (
                    f"The evaluators contradict each other, so no order is safe: {name} is above {below} by "
                    f"{one.evaluator.evaluator} and below it by {other.evaluator.evaluator}, intervals apart."
                )
    return "The evaluators order the entries differently, but only where 95 % intervals overlap."


def decided(ranked: Board) -> set[tuple[str, str]]:
    """Pairs (above, below) of entries whose intervals do not overlap."""
    return {
        (row.name, other.name)
        for k, row in enumerate(ranked.rows)
        for other in ranked.rows[k + 1 :]
        if other.name not in row.tied
    }


def board_data(ranked: Board) -> dict:
    """Everything of a board as plain data, for JSON and for the page."""
    return {
        **ranked.evaluator.model_dump(mode="json", include={"evaluator", "preprocessing", "dim", "space"}),
        "protocol": ranked.protocol,
        "entries": [
            {
                "name": row.name,
                "place": [row.best, row.worst],
                "tied_with": list(row.tied),
                "s_gen": row.score.model_dump(mode="json"),
                **row.heard.entry.model_dump(mode="json", exclude={"name", "s_gen"}),
                "controls": [control.model_dump(mode="json") for control in row.controls(ranked.own)],
            }
            for row in ranked.rows
        ],
        "shared_controls": [control.model_dump(mode="json") for control in ranked.shared],
    }
