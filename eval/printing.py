"""How the numbers of a score are written, the same on the screen, in Markdown and in HTML.

Three significant digits, at most three decimals: 0.174, 4.81, 12.3, 160; an interval has the decimals of its
value. What would round to 0.000 is written with its power of ten. A number that could not be computed is a dash.
"""

from __future__ import annotations

from collections.abc import Sequence

from vocalburst.eval.scores import MEASURES, EmotionScores, Measure, Reference

DASH = "–"

# What a measure tells, in one sentence, for the reader of a page.
MEANINGS = {
    "fid": "Fréchet distance between the Gaussians of the clips and of the reference clips, at this n; biased upwards, "
    "the more so the fewer the clips.",
    "fid_infinity": "Fréchet distance extrapolated to infinitely many clips (linear in 1/n), which removes most of the "
    "bias; may be just below 0.",
    "kad": "Kernel distance with a Gaussian kernel whose bandwidth comes from the reference; unbiased, scatters "
    "around 0 for real clips.",
    "kid": "Kernel distance with a cubic polynomial kernel; unbiased, scatters around 0 for real clips.",
    "precision": "Share of the clips that lie among the reference clips.",
    "recall": "Share of the reference clips that lie among the clips.",
    "density": "How densely the clips sit where reference clips are; 1 for real clips.",
    "coverage": "Share of the reference clips that have a clip near them.",
    "vendi": "Effective number of different clips, divided by that of the reference.",
    "heep": "Correlation between the emotion that was asked for and what was heard, over the clips of an emotion (by "
    "row), from -1 to 1; a recogniser stands in for people unless ratings were given.",
    "recognised": "Share of the clips whose asked emotion is the most probable one.",
    "s_gen": "(1/FID + HEEP)/2 of each emotion, in the mean over the emotions of the protocol; one without clips "
    "counts 0.",
}


def show(value: float | None) -> str:
    """A number with three significant digits; a dash for None."""
    return DASH if value is None else written(value, decimals(value))


def show_value(measure: Measure | None) -> str:
    """The value alone, as `show_measure` writes it."""
    if measure is None or measure.value is None:
        return DASH
    return written(measure.value, measure_decimals(measure))


def show_interval(measure: Measure | None) -> str:
    """`[low, high]`, or nothing where there is no interval."""
    if measure is None or measure.low is None or measure.high is None:
        return ""
    places = measure_decimals(measure)
    return f"[{written(measure.low, places)}, {written(measure.high, places)}]"


def show_measure(measure: Measure | None) -> str:
    """`0.174 [0.160, 0.190]`; a dash for a measure that is not there."""
    return f"{show_value(measure)} {show_interval(measure)}".strip()


def measure_decimals(measure: Measure) -> int | None:
    """One number of decimals for a value and its interval: what suits the largest of them."""
    return decimals(max(abs(v) for v in (measure.value, measure.low, measure.high) if v is not None))


def decimals(value: float) -> int | None:
    """Decimals of three significant digits, at most three; None for what needs a power of ten."""
    size = abs(value)
    if 0 < size < 0.0005:
        return None
    return 3 if size < 0.9995 else 2 if size < 9.995 else 1 if size < 99.95 else 0


def written(value: float, places: int | None) -> str:
    if places is None:
        return f"{value:.0e}"
    return f"{round(value, places) + 0.0:.{places}f}"  # + 0.0: no minus before a zero


def show_clips(emotions: dict[str, EmotionScores]) -> str:
    """Clips of a set: `3000 (100 × 30)`, or `190 (90–100 × 2)` when emotions differ."""
    return f"{sum(scores.n for scores in emotions.values())} ({show_each(emotions)})"


def show_each(emotions: dict[str, EmotionScores]) -> str:
    """Clips of each emotion times emotions: `100 × 30`."""
    counts = [scores.n for scores in emotions.values()]
    low, high = min(counts), max(counts)
    return f"{low if low == high else f'{low}–{high}'} × {len(counts)}"


def heading(key: str) -> str:
    """Name of a measure with an arrow to its better side: `FID ↓`."""
    name, more = MEASURES[key]
    return name if more is None else f"{name} {'↑' if more else '↓'}"


def emotion_name(emotion: str) -> str:
    """`surprise_positive` -> `surprise (positive)`, `romantic_love` -> `romantic love`."""
    first, _, second = emotion.partition("_")
    if second in ("positive", "negative"):
        return f"{first} ({second})"
    return emotion.replace("_", " ")


def show_reference(reference: Reference) -> str:
    """`emogator:dev`, or name and split where the name does not tell it: `real/ (test)`."""
    split = f":{reference.split}"
    return reference.name if reference.name.endswith(split) else f"{reference.name} ({reference.split})"


def sentence(text: str) -> str:
    """With a capital, unless it begins with a symbol such as n, and a full stop."""
    first = text[:1].upper() if text[1:2].isalpha() else text[:1]
    return f"{first}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def short_hash(digest: str) -> str:
    return digest[:12]


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose source is aligned too, since it is read on a screen."""
    table = [[cell.replace("|", "\\|") for cell in row] for row in (titles, *rows)]
    widths = [max(len(row[k]) for row in table) for k in range(len(titles))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in table
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])
