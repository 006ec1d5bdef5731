"""Forest plot: one line per set of clips, its value as a dot and its interval as a bar, on one axis.

Places are in per cent of the axis, so that a page can draw them at any width.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vocalburst.eval.scores import Measure


@dataclass(frozen=True)
class Line:
    """value, low, high: places in per cent; None where there is no number. beyond: the value is off the axis."""

    label: str
    measure: Measure
    key: str
    value: float | None
    low: float | None
    high: float | None
    beyond: bool = False


@dataclass(frozen=True)
class Plot:
    """The axis runs from `start` to `end` and holds 0, at `zero` per cent."""

    lines: tuple[Line, ...]
    start: float
    end: float
    zero: float


def forest(rows: Sequence[tuple[str, Measure, str]], outside: Collection[str] = ()) -> Plot | None:
    """Plot of (label, measure, key) rows, None when none has a number.

    Rows labelled in `outside` (noise, silence) do not stretch the axis and are marked where they leave it.
    """
    inside = [measure for label, measure, _ in rows if label not in outside and measure.value is not None]
    if not inside:
        inside = [measure for _, measure, _ in rows if measure.value is not None]
    numbers = [v for m in inside for v in (m.value, m.low, m.high) if v is not None]
    if not numbers:
        return None
    low, high = min(0.0, *numbers), max(0.0, *numbers)
    if low == high:
        high = 1.0  # nothing but zeros
    margin = 0.04 * (high - low)
    start, end = low - (margin if low < 0 else 0), high + (margin if high > 0 else 0)

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * min(1.0, max(0.0, (value - start) / (end - start))), 2)

    lines = tuple(
        Line(
            label, measure, key, place(measure.value), place(measure.low), place(measure.high),
            beyond=measure.value is not None and not start <= measure.value <= end,
        )
        for label, measure, key in rows
    )  # fmt: skip
    return Plot(lines, start, end, round(-100 * start / (end - start), 2) + 0.0)
