"""Curves of control: what was asked for against what came, for each kind of wish that `generate` takes.

Every function gets the rows and what was measured on their clips, and gives a `Curve`: a table with n and 95 %
intervals, and the trends that decide whether the control works. Units are drawn independently (see `trend`).

Shape letters: N clips, E emotions, S units, P levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vocalburst.eval.asked import AskedRow, Series, series_of
from vocalburst.eval.printing import show_measure
from vocalburst.eval.scores import Measure
from vocalburst.eval.trend import difference_measure, mean_measure, monotone, share_measure, trend_measure
from vocalburst.eval.voice import distances, separation
from vocalburst.gen.data.errors import InputDataError

DURATION_TOLERANCE = 0.1  # of the asked duration; the bar that is set for it


@dataclass(frozen=True)
class Line:
    """One line of a curve: what was asked, of how many units or clips, and what came."""

    asked: str
    n: int
    measures: dict[str, Measure]


@dataclass(frozen=True)
class Curve:
    """kind: of control; heading: of the first column; verdicts: sentences that the lines and trends give."""

    kind: str
    heading: str
    lines: tuple[Line, ...]
    trends: dict[str, Measure] = field(default_factory=dict)
    verdicts: tuple[str, ...] = ()

    def markdown(self) -> str:
        names = list(self.lines[0].measures)
        rows = [[self.heading, "n", *names], ["---"] * (len(names) + 2)]
        rows += [[line.asked, str(line.n), *map(show_measure, line.measures.values())] for line in self.lines]
        text = ["| " + " | ".join(row) + " |" for row in rows]
        if self.trends:
            text += ["", *(f"* {name}: {show_measure(measure)}" for name, measure in self.trends.items())]
        return "\n".join(
            text + ([""] if self.verdicts else []) + [f"* {verdict}" for verdict in self.verdicts]
        )

    def to_dict(self) -> dict:
        return {
            "kind": self.kind,
            "lines": [
                {
                    self.heading: line.asked,
                    "n": line.n,
                    **{k: m.model_dump() for k, m in line.measures.items()},
                }
                for line in self.lines
            ],
            "trends": {name: measure.model_dump() for name, measure in self.trends.items()},
            "verdicts": list(self.verdicts),
        }


def rises(name: str, means: Sequence[float], *, rising: bool = True) -> str:
    word = "rises" if rising else "falls"
    return (
        f"{name} {word} at every step"
        if monotone(means, rising=rising)
        else f"{name} does not {word[:-1]} at every step"
    )


def intensity_curve(rows: Sequence[AskedRow], probabilities: np.ndarray, emotions: Sequence[str]) -> Curve:
    """Probability and recognition of the asked emotion by the asked intensity; probabilities [N, E]."""
    target = target_columns(rows, emotions)
    series = series_of(rows, [row.intensity for row in rows], "the intensity")
    asked = probabilities[np.arange(len(rows)), target][series.places]  # [S, P]
    hits = (probabilities.argmax(axis=1) == target)[series.places].astype(float)
    columns = {"probability of the emotion": asked, "recognised as it": hits}
    means = asked.mean(axis=0)
    trends = {
        "rank correlation of intensity and probability, mean over seeds": trend_measure(series.levels, asked),
        f"probability at {series.levels[-1]:g} less that at {series.levels[0]:g}": mean_measure(
            asked[:, -1] - asked[:, 0]
        ),
    }
    return Curve(
        "intensity",
        "intensity asked",
        lines_of(series, columns),
        trends,
        (rises("the mean probability", means),),
    )


def mix_curve(rows: Sequence[AskedRow], probabilities: np.ndarray, emotions: Sequence[str]) -> Curve:
    """Of each part of each mix: its probability in the mix, in clips of other emotions, and in clips of it alone.

    Clips of single emotions count when they were asked for with the largest intensity among the rows.
    """
    strongest = max(row.intensity for row in rows)
    alone: dict[str, list[int]] = {}
    mixes: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        names = tuple(sorted(row.emotion_vector))
        if len(names) > 1:
            mixes.setdefault(names, []).append(place)
        elif row.intensity == strongest:
            alone.setdefault(names[0], []).append(place)
    if not mixes or not alone:
        raise InputDataError(
            "expected clips of mixes and, from another folder, clips of single emotions beside them"
        )
    lines = []
    for names, places in mixes.items():
        unrelated = [place for name, own in alone.items() if name not in names for place in own]
        if len(places) < 2 or len(unrelated) < 2:
            raise InputDataError(f"expected at least 2 clips of {'+'.join(names)} and 2 of other emotions")
        for name in names:
            heard = probabilities[:, column(name, emotions)]
            measures = {
                "in the mix": mean_measure(heard[places]),
                "in clips of other emotions": mean_measure(heard[unrelated]),
                "difference": difference_measure(heard[places], heard[unrelated]),
            }
            if name in alone:
                measures["in clips of it alone"] = mean_measure(heard[alone[name]])
            else:
                measures["in clips of it alone"] = Measure(value=None)
            lines.append(Line(f"{name} of {' + '.join(names)}", len(places), measures))
    above = [line.measures["difference"].low > 0 for line in lines]
    verdict = f"{sum(above)} of {len(lines)} parts are heard more in their mix, by the whole interval"
    return Curve("mix", "part of a mix", tuple(lines), {}, (verdict,))


def duration_curve(rows: Sequence[AskedRow], active_seconds: np.ndarray) -> Curve:
    """Length of the voice-active part [N], seconds, against the one asked for."""
    for row in rows:
        if row.duration_asked is None:
            raise InputDataError(f"{row.file_name}: no duration was asked for")
    asked = np.array([row.duration_asked for row in rows])
    ratio = active_seconds / asked
    hits = np.abs(ratio - 1) <= DURATION_TOLERANCE + 1e-9
    lines = [
        duration_line(f"{seconds:g} s", ratio[asked == seconds], hits[asked == seconds])
        for seconds in np.unique(asked)
    ]
    return Curve("duration", "duration asked", (*lines, duration_line("all", ratio, hits)))


def duration_line(label: str, ratio: np.ndarray, hits: np.ndarray) -> Line:
    measures = {
        "came / asked": mean_measure(ratio),
        "mean error, %": mean_measure(100 * np.abs(ratio - 1)),
        f"within {100 * DURATION_TOLERANCE:g} %": share_measure(int(hits.sum()), len(hits)),
    }
    return Line(label, len(ratio), measures)


def sweep_curve(rows: Sequence[AskedRow], probabilities: np.ndarray, emotions: Sequence[str]) -> Curve:
    """Probability of the emotion that a sweep starts with, and of the one it ends with, along the way."""
    for row in rows:
        if row.sweep_position is None:
            raise InputDataError(f"{row.file_name}: is no clip of a sweep (generate --from A --to B)")
    series = series_of(rows, [row.sweep_position for row in rows], "the position")
    columns: dict[str, np.ndarray] = {}
    for name, end in (("where it starts", 0), ("where it ends", -1)):
        heard = []
        for places in series.places:
            heard.append(probabilities[places, column(rows[places[end]].target, emotions)])
        columns[f"probability of the emotion {name}"] = np.array(heard)
    if any(rows[places[0]].target == rows[places[-1]].target for places in series.places):
        raise InputDataError("these sweeps are over intensities; measure them as --of intensity")
    start, end = columns.values()
    trends = {
        "rank correlation of position and starting emotion": trend_measure(series.levels, start),
        "rank correlation of position and ending emotion": trend_measure(series.levels, end),
    }
    verdicts = (
        rises("the starting emotion", start.mean(axis=0), rising=False),
        rises("the ending emotion", end.mean(axis=0)),
    )
    return Curve("sweep", "position", lines_of(series, columns), trends, verdicts)


def variation_curve(
    rows: Sequence[AskedRow],
    probabilities: np.ndarray,
    emotions: Sequence[str],
    spectral: np.ndarray,
    embedded: np.ndarray,
) -> Curve:
    """Distance to the varied clip by strength: spectral [N] in dB, embedded [N] as a cosine distance."""
    for row in rows:
        if row.strength is None:
            raise InputDataError(f"{row.file_name}: varies no clip (generate --like FILE)")
    target = target_columns(rows, emotions)
    series = series_of(rows, [row.strength for row in rows], "the strength")
    columns = {
        "spectral distance to the clip, dB": spectral[series.places],
        "distance of embeddings": embedded[series.places],
        "probability of the emotion": probabilities[np.arange(len(rows)), target][series.places],
    }
    trends = {
        f"rank correlation of strength and {name}": trend_measure(series.levels, v)
        for name, v in columns.items()
    }
    verdicts = tuple(rises(f"the {name}", values.mean(axis=0)) for name, values in columns.items())
    return Curve("variation", "strength", lines_of(series, columns), trends, verdicts)


def voice_curve(sets: dict[str, tuple[np.ndarray, Sequence[str], Sequence[str]]]) -> Curve:
    """Whether clips of one voice are nearer to each other than to other voices: label -> features, voices, emotions."""
    lines = []
    for label, (features, voices, emotions) in sets.items():
        distance = distances(features, emotions)
        voice, emotion = np.asarray(voices), np.asarray(emotions)
        fair = emotion[:, None] != emotion[None]
        names = np.unique(voice)
        own = [
            distance[np.ix_(voice == v, voice == v)][fair[np.ix_(voice == v, voice == v)]].mean()
            for v in names
        ]
        other = [
            distance[np.ix_(voice == v, voice != v)][fair[np.ix_(voice == v, voice != v)]].mean()
            for v in names
        ]
        measures = {
            "distance within a voice": mean_measure(own),
            "distance to other voices": mean_measure(other),
            "same voice is nearer (0.5: chance)": mean_measure(separation(distance, voices, emotions)),
        }
        lines.append(Line(f"{label}, {len(names)} voices", len(voice), measures))
    return Curve("voice", "clips", tuple(lines))


def lines_of(series: Series, columns: dict[str, np.ndarray]) -> tuple[Line, ...]:
    """A line per level of values [S, P]."""
    return tuple(
        Line(f"{level:.3g}", len(series.places), {name: mean_measure(v[:, p]) for name, v in columns.items()})
        for p, level in enumerate(series.levels)
    )


def target_columns(rows: Sequence[AskedRow], emotions: Sequence[str]) -> np.ndarray:
    """Index [N] of the only emotion that each row asks for."""
    return np.array([column(row.target, emotions) for row in rows])


def column(name: str, emotions: Sequence[str]) -> int:
    if name not in emotions:
        raise InputDataError(f"the evaluator does not know {name!r}, so control over it cannot be measured")
    return list(emotions).index(name)
