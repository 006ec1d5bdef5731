"""What the clips should reach, against what they reached: computed from a `scores.json` and nothing else.

A share or ratio of two means has an interval from theirs (delta method, the two sampled independently given the
reference): its relative variance is the sum of both relative variances. Bars are held against the value, and the
interval stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vocalburst.eval.printing import DASH, emotion_name, markdown, show, show_measure
from vocalburst.eval.scores import EvaluatorScores, Measure, Scores, SetScores

CLIPS = 160  # of each emotion on both sides, that the bars are meant for
MEAN_RATIO, WORST_RATIO = 1.5, 2.27
KAD_GAP = 0.5
HEARD_SHARE, SPREAD_SHARE = 0.9, 0.8
COPY_RATIO = 0.25
STEPS_RATIO = 1.1
BOTH = "fid_infinity_both"


@dataclass(frozen=True)
class Reached:
    """A cell: what was reached, whether that meets the bar (None: cannot be told), and what belongs to it."""

    text: str
    met: bool | None

    def __str__(self) -> str:
        return self.text if self.met is None else f"{self.text} {'✓' if self.met else '✗'}"


UNKNOWN = Reached(DASH, None)
Cell = Callable[[EvaluatorScores], Reached]


def bars_table(scores: Scores, many_steps: Scores | None = None) -> str:
    """Markdown: one row per bar, one column per evaluator, and below it what the reader should know.

    many_steps: scores of the same generator with many network calls, for the bar on few steps.
    """
    rows: list[tuple[str, str, Cell]] = [
        ("FID∞ over the floor's, mean over emotions", f"≤ {MEAN_RATIO:g}", mean_ratio),
        ("FID∞ over the floor's, worst emotion", f"≤ {WORST_RATIO:g}", worst_ratio),
        ("FID∞ on both sides over the floor's, of means", f"≤ {MEAN_RATIO:g}", over_floor(BOTH, MEAN_RATIO)),
        ("KAD above the floor's, mean", f"≤ {KAD_GAP:g}", kad_gap),
        ("row-HEEP, share of real clips'", f"≥ {HEARD_SHARE:g}", heard("heep", "real_heep")),
        ("recognised, share of real clips'", f"≥ {HEARD_SHARE:g}", heard("recognised", "real_recognised")),
        ("coverage, share of the floor's", f"≥ {SPREAD_SHARE:g}", of_floor("coverage")),
        ("precision, share of the floor's", f"≥ {SPREAD_SHARE:g}", of_floor("precision")),
        ("FLD gap, band of fresh real clips", "not below", fld_gap),
        ("C_T, band of fresh real clips", "not below", c_t),
        ("nearest-clip audit", "nothing suspicious", audit),
        ("copy-synthesis FID∞ over the entry's", f"≤ {COPY_RATIO:g}", copy_ratio("fid_infinity")),
        ("copy-synthesis FID∞ on both sides over it", f"≤ {COPY_RATIO:g}", copy_ratio(BOTH)),
        ("FID∞ over that of many network calls", f"≤ {STEPS_RATIO:g}", few_steps(many_steps)),
    ]
    heard_by = scores.evaluators
    table = markdown(
        ["what", "bar", *(one.evaluator for one in heard_by)],
        [[what, bar, *(str(cell(one)) for one in heard_by)] for what, bar, cell in rows],
    )
    return "\n".join([table, "", *(f"- {sentence}" for sentence in remarks(scores, many_steps))])


def remarks(scores: Scores, many_steps: Scores | None) -> list[str]:
    counts = sorted({row.n for one in scores.evaluators for row in one.entry.emotions.values()})
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    found = [
        f"{scores.entry.name} against {scores.reference.name}, {n} clips of each of "
        f"{len(scores.evaluators[0].entry.emotions)} emotions; 95 % intervals in brackets."
    ]
    if counts[0] < CLIPS:
        found.append(f"The bars are meant for at least {CLIPS} clips of each emotion.")
    found.append(
        "The mean of ratios is over emotions; behind it the ratio of the two means over emotions with its interval. On "
        "both sides: the bias of the reference is taken out as well, which draws every other ratio of FID∞ towards 1."
    )
    if any(set_named(one, "floor") and ratios(one) is None for one in scores.evaluators):
        found.append("Where a floor's FID∞ is not above 0 in every emotion, there are no ratios by emotion.")
    if many_steps is None:
        found.append("Many network calls: give their scores.json with --many-steps.")
    return found


def set_named(scores: EvaluatorScores, name: str) -> SetScores | None:
    return next((one for one in scores.sets if one.name == name), None)


def ratios(scores: EvaluatorScores) -> dict[str, Measure] | None:
    """FID∞ over the floor's of every emotion; None without a floor, or where the floor's is not above 0."""
    floor = set_named(scores, "floor")
    if floor is None:
        return None
    found = {
        emotion: quotient(row.measures["fid_infinity"], floor.emotions[emotion].measures["fid_infinity"])
        for emotion, row in scores.entry.emotions.items()
    }
    return None if any(one is None for one in found.values()) else found


def mean_ratio(scores: EvaluatorScores) -> Reached:
    floor, found = set_named(scores, "floor"), ratios(scores)
    of_means = None if floor is None else share_of_means(scores.entry, floor, "fid_infinity")
    if found is None:
        return UNKNOWN if of_means is None else Reached(f"{DASH} ({show_measure(of_means)})", None)
    mean = float(np.mean([one.value for one in found.values()]))
    return Reached(f"{show(mean)} ({show_measure(of_means)})", mean <= MEAN_RATIO)


def worst_ratio(scores: EvaluatorScores) -> Reached:
    found = ratios(scores)
    if found is None:
        return UNKNOWN
    emotion, worst = max(found.items(), key=lambda pair: pair[1].value)
    return Reached(f"{show_measure(worst)} {emotion_name(emotion)}", worst.value <= WORST_RATIO)


def kad_gap(scores: EvaluatorScores) -> Reached:
    floor = set_named(scores, "floor")
    if floor is None:
        return UNKNOWN
    gap = difference(scores.entry.mean["kad"], floor.mean["kad"])
    return UNKNOWN if gap is None else Reached(show_measure(gap), gap.value <= KAD_GAP)


def heard(name: str, ceiling: str) -> Cell:
    def cell(scores: EvaluatorScores) -> Reached:
        real = getattr(scores, ceiling)
        return at_least(None if real is None else quotient(scores.entry.mean[name], real), HEARD_SHARE)

    return cell


def of_floor(name: str) -> Cell:
    def cell(scores: EvaluatorScores) -> Reached:
        floor = set_named(scores, "floor")
        return at_least(None if floor is None else share_of_means(scores.entry, floor, name), SPREAD_SHARE)

    return cell


def share_of_means(one: SetScores, other: SetScores, name: str) -> Measure | None:
    """Mean of a measure over emotions, over that of another set; None where one of them has none."""
    if name not in one.mean or name not in other.mean:
        return None
    return quotient(one.mean[name], other.mean[name])


def at_most(share: Measure | None, bar: float) -> Reached:
    return UNKNOWN if share is None else Reached(show_measure(share), share.value <= bar)


def at_least(share: Measure | None, bar: float) -> Reached:
    return UNKNOWN if share is None else Reached(show_measure(share), share.value >= bar)


def fld_gap(scores: EvaluatorScores) -> Reached:
    found = scores.entry.memorisation
    return UNKNOWN if found is None else not_below(found.fld_gap, found.fld_gap_real)


def c_t(scores: EvaluatorScores) -> Reached:
    found = scores.entry.memorisation
    return UNKNOWN if found is None else not_below(found.c_t, found.c_t_real)


def not_below(value: float, band: Measure) -> Reached:
    return Reached(f"{show(value)}, real {show_measure(band)}", value >= band.low)


def audit(scores: EvaluatorScores) -> Reached:
    found = scores.entry.memorisation
    if found is None:
        return UNKNOWN
    return Reached(f"{found.copied} clips, chance {show(found.chance)}", not found.suspicious)


def over_floor(name: str, bar: float) -> Cell:
    def cell(scores: EvaluatorScores) -> Reached:
        floor = set_named(scores, "floor")
        return at_most(None if floor is None else share_of_means(scores.entry, floor, name), bar)

    return cell


def copy_ratio(name: str) -> Cell:
    def cell(scores: EvaluatorScores) -> Reached:
        copies = set_named(scores, "copy-synthesis")
        return at_most(None if copies is None else share_of_means(copies, scores.entry, name), COPY_RATIO)

    return cell


def few_steps(many: Scores | None) -> Cell:
    def cell(scores: EvaluatorScores) -> Reached:
        other = next((o for o in many.evaluators if o.evaluator == scores.evaluator), None) if many else None
        if other is None:
            return UNKNOWN
        return at_most(share_of_means(scores.entry, other.entry, "fid_infinity"), STEPS_RATIO)

    return cell


def quotient(one: Measure, other: Measure) -> Measure | None:
    """`one` over `other` with its interval; None where there is no number above 0 to divide by."""
    if one.value is None or other.value is None or other.value <= 0:
        return None
    value = one.value / other.value
    errors = half_width(one), half_width(other)
    if None in errors:
        return Measure(value=value)
    half = math.hypot(errors[0], value * errors[1]) / other.value
    return Measure(value=value, low=value - half, high=value + half)


def difference(one: Measure, other: Measure) -> Measure | None:
    if one.value is None or other.value is None:
        return None
    value, errors = one.value - other.value, (half_width(one), half_width(other))
    if None in errors:
        return Measure(value=value)
    half = math.hypot(*errors)
    return Measure(value=value, low=value - half, high=value + half)


def half_width(measure: Measure) -> float | None:
    if measure.low is None or measure.high is None:
        return None
    return (measure.high - measure.low) / 2
