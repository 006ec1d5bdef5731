"""What the reader of a row should not trust, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vocalburst.eval.measured_set import MeasuredSet
from vocalburst.eval.s_gen import FID_FLOOR
from vocalburst.eval.samples import Bench, Samples
from vocalburst.eval.scores import MEASURES

LISTED = 3  # emotions that are named before the rest is counted


def reliability_notes(measured: MeasuredSet, samples: Samples, bench: Bench) -> tuple[str, ...]:
    """Sentences about few clips and whatever could not be computed; n itself stands in the row."""
    sizes = {emotion: len(sample) for emotion, sample in samples.items()}
    notes = [
        *few_clips(sizes, bench.statistics(next(iter(samples))).dim),
        *not_computed(measured, bench),
    ]
    paired = any(sample.partners is not None for sample in samples.values())  # no S_GEN of these
    for protocol, terms in () if paired else measured.protocols.items():
        low = [
            e for e, found in terms.items() if any(found[t].value < FID_FLOOR for t in found if t != "heep")
        ]
        if low:
            notes.append(
                f"S_GEN of {protocol}: a distance below {FID_FLOOR:g} counts as {FID_FLOOR:g} ({listed(low)})"
            )
    return tuple(notes)


def few_clips(sizes: Mapping[str, int], dim: int) -> list[str]:
    low = min(sizes.values())
    if low > dim:
        return []
    return [
        f"{low} clips for {dim} dimensions leave the covariances singular: FID is biased upwards, "
        "trust KAD and FID∞ instead"
    ]


def not_computed(measured: MeasuredSet, bench: Bench) -> list[str]:
    notes = []
    unknown = [emotion for emotion in measured.emotions if emotion not in (bench.columns or ())]
    if bench.columns is None:
        notes.append("this evaluator does not rate emotions, so there is no HEEP, recognised rate or S_GEN")
    elif unknown:
        notes.append(f"this evaluator does not rate {listed(unknown)}, so there is no HEEP of them")
    missing: dict[tuple[str, ...], list[str]] = {}
    for name, (heading, _) in MEASURES.items():
        lacking = tuple(
            emotion
            for emotion, found in measured.emotions.items()
            if name not in found and not (name in ("heep", "recognised") and emotion in unknown)
        )
        if lacking:
            missing.setdefault(lacking, []).append(heading)
    notes += [
        f"{', '.join(headings)} cannot be computed from what there is of {listed(emotions)}"
        for emotions, headings in missing.items()
    ]
    return notes


def listed(names: Sequence[str]) -> str:
    """`awe, fear, pain and 4 more`."""
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
