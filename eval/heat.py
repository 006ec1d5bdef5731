"""Colours of a heat map: pale for worse, dark for better, by lightness, so that no hue has to be told apart.

The ramp is ColorBrewer's YlGnBu, safe for colour-blind readers and in a grey print. Numbers stand in the cells, in
black or white, whichever has the higher contrast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RAMP = ("#ffffd9", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#253494", "#081d58")
BLACK, WHITE = "#000000", "#ffffff"


@dataclass(frozen=True)
class Scale:
    """From `worst` to `best`, which is the smaller one where less is better."""

    worst: float
    best: float
    near_zero: bool = False  # then the two are sizes

    def position(self, value: float) -> float:
        """0 at the worst end, 1 at the best, and there beyond them; 1 where the ends are equal."""
        if self.near_zero:
            value = abs(value)
        if self.worst == self.best:
            return 1.0
        return min(1.0, max(0.0, (value - self.worst) / (self.best - self.worst)))

    def style(self, value: float | None) -> str:
        """CSS of a cell; empty where there is no number."""
        if value is None:
            return ""
        background = colour(self.position(value))
        return f"background:{background};color:{text_colour(background)}"


def scale_of(values: Iterable[float | None], more_is_better: bool | None) -> Scale | None:
    """The scale over the numbers among `values`, None without any; more_is_better None: near 0 is better."""
    numbers = [abs(v) if more_is_better is None else v for v in values if v is not None]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    return Scale(low, high) if more_is_better else Scale(high, low, near_zero=more_is_better is None)


def colour(position: float) -> str:
    """Hex colour at 0 to 1 of the ramp."""
    place = position * (len(RAMP) - 1)
    index = min(int(place), len(RAMP) - 2)
    share = place - index
    mixed = (
        round((1 - share) * one + share * other)
        for one, other in zip(channels(RAMP[index]), channels(RAMP[index + 1]), strict=True)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def text_colour(background: str) -> str:
    return max((BLACK, WHITE), key=lambda text: contrast(text, background))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two hex colours, 1 to 21 (WCAG 2.1)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(hex_colour: str) -> float:
    """Relative luminance (WCAG 2.1), 0 to 1."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in channels(hex_colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def channels(hex_colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
