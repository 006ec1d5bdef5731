"""The scores of one set of clips by one evaluator, as they stand in `scores.json`.

Shape letters: n clips of an emotion, E emotions that the evaluator rates.

Intervals of distances, neighbour measures and S_GEN are jackknives over blocks of speakers or clips; those of HEEP
and of the recognised rate are bootstraps over speakers or clips. All take the reference as it is: its luck is the
same for every set beside it, so rows can be compared. Dealt labels have the range of single deals instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vocalburst.eval.estimates import UNBOUNDED, combined, mean_of
from vocalburst.eval.heep_bootstrap import score_ratings
from vocalburst.eval.measured_set import (
    S_GEN_TERMS,
    Estimates,
    MeasuredSet,
    mean_of_draws,
    measure_set,
    merge_deals,
    rated_clips,
)
from vocalburst.eval.measures import BOUNDS
from vocalburst.eval.reliability import reliability_notes
from vocalburst.eval.s_gen import FID_FLOOR, PROTOCOLS, s_gen
from vocalburst.eval.samples import Bench, Samples, deal_labels, deal_samples, join
from vocalburst.eval.scores import COMPANIONS, MEASURES, EmotionScores, Measure, SetScores, SGen, SGenTerms

DEALS = 5  # of the labels, for the set that has them shuffled
CORRELATION = (-1.0, 1.0)
LIMITS = {**BOUNDS, "heep": CORRELATION, "recognised": (0.0, 1.0)}
NOT_COMPUTED = Measure(value=None)


def score_set(
    name: str,
    draws: Sequence[Samples],
    bench: Bench,
    *,
    resampled: str,
    notes: Sequence[str] = (),
) -> SetScores:
    """Scores of the samples of each emotion, the mean over `draws` where there are several of one n.

    resampled: what the groups of the samples are, "speakers" or "clips".
    """
    samples, blocks = draws[0], deal_samples(draws, bench.blocks, seed=bench.seed)
    each = zip(draws, blocks or [None] * len(draws), strict=True)
    measured = mean_of_draws([measure_set(draw, bench, own) for draw, own in each])
    rated = None
    if bench.columns is not None and (known := [e for e in samples if e in bench.columns]):
        everything = {emotion: join([draw[emotion] for draw in draws]) for emotion in known}
        groups = [group for sample in everything.values() for group in sample.groups]
        # Clips that stand for several emotions (silence, noise) are drawn together, as speakers are.
        whole = resampled == "speakers" or len(set(groups)) < len(groups)
        rated = score_ratings(
            rated_clips(everything, bench.columns), groups if whole else None, seed=bench.seed
        )
    emotions = {e: measures_of(measured.emotions[e]) for e in samples}
    mean = mean_measures(measured)
    if rated is not None:
        for place, emotion in enumerate(bench.columns):
            if emotion in emotions:
                emotions[emotion] |= {"heep": rated.row[place], "recognised": rated.recognised[place]}
        if len(known) == len(samples):
            mean |= {"heep": rated.row_mean, "recognised": rated.recognised_mean}
    if blocks is None:
        notes = (*notes, f"all clips are of one of the {resampled}, so there are no intervals")
    return SetScores(
        name=name,
        n=sum(map(len, samples.values())),
        resampled=resampled,
        emotions=emotion_scores(emotions, samples, bench),
        mean=mean,
        heep_column=NOT_COMPUTED if rated is None else rated.column_mean,
        heep_overall=NOT_COMPUTED if rated is None else rated.overall,
        # The inverse of a distance between clips and their own copies says nothing and would dwarf every other.
        s_gen=() if any(sample.partners is not None for sample in samples.values()) else all_s_gen(measured),
        notes=(*notes, *reliability_notes(measured, samples, bench)),
    )


def score_dealt(name: str, samples: Samples, bench: Bench) -> SetScores:
    """Scores of the same clips with their emotions dealt out at random: the mean over deals."""
    generator = np.random.default_rng(bench.seed)
    deals = [deal_labels(samples, generator) for _ in range(DEALS)]
    measured = merge_deals([measure_set(deal, bench, None) for deal in deals])
    whole = {key: estimate.measure(CORRELATION) for key, estimate in measured.whole.items()}
    return SetScores(
        name=name,
        n=sum(map(len, samples.values())),
        resampled="labels",
        emotions=emotion_scores({e: measures_of(measured.emotions[e]) for e in samples}, samples, bench),
        mean=mean_measures(measured),
        heep_column=whole.get("column", NOT_COMPUTED),
        heep_overall=whole.get("overall", NOT_COMPUTED),
        s_gen=all_s_gen(measured),
        notes=reliability_notes(measured, samples, bench),
    )


def measures_of(found: Estimates) -> dict[str, Measure]:
    """Every measure of one emotion, in the order they are printed; those that are not there without a value."""
    return {
        name: found[name].measure(LIMITS.get(name, UNBOUNDED)) if name in found else NOT_COMPUTED
        for name in (*MEASURES, *COMPANIONS)
    }


def mean_measures(measured: MeasuredSet) -> dict[str, Measure]:
    """Means over emotions; none of a measure that an emotion lacks, since it would be a mean over fewer."""
    columns = {
        name: [found[name] for found in measured.emotions.values() if name in found]
        for name in (*MEASURES, *COMPANIONS)
    }
    return {
        name: mean_of(own).measure(LIMITS.get(name, UNBOUNDED))
        if len(own) == len(measured.emotions)
        else NOT_COMPUTED
        for name, own in columns.items()
    }


def emotion_scores(
    emotions: Mapping[str, dict[str, Measure]], samples: Samples, bench: Bench
) -> dict[str, EmotionScores]:
    return {
        emotion: EmotionScores(
            n=len(samples[emotion]), n_reference=bench.statistics(emotion).n, measures=measures
        )
        for emotion, measures in emotions.items()
    }


def all_s_gen(measured: MeasuredSet) -> tuple[SGen, ...]:
    """S_GEN of every protocol that has an emotion with all its terms."""
    return tuple(protocol_s_gen(p, terms) for p, terms in measured.protocols.items() if terms)


def protocol_s_gen(protocol: str, terms: Mapping[str, Estimates]) -> SGen:
    """S_GEN of one protocol from the terms of its emotions; its intervals come from the replicates of the terms."""
    names, asked = list(terms), PROTOCOLS[protocol]

    def scored(distance: str, field: str) -> Measure:
        if any(distance not in found for found in terms.values()):
            return NOT_COMPUTED

        def function(values: np.ndarray) -> float:
            fid, heep = values[: len(names)], np.clip(values[len(names) :], -1, 1)
            pairs = (dict(zip(names, map(float, own), strict=True)) for own in (fid, heep))
            return getattr(s_gen(*pairs, asked), field)

        inputs = [terms[e][distance] for e in names] + [terms[e]["heep"] for e in names]
        return combined(inputs, function).measure()

    return SGen(
        protocol=protocol,
        emotions={
            emotion: SGenTerms(**{name: found[name].value if name in found else None for name in S_GEN_TERMS})
            for emotion, found in terms.items()
        },
        value=scored("fid", "value"),
        available=scored("fid", "available"),
        infinity=scored("fid_infinity", "value"),
        missing=tuple(emotion for emotion in asked if emotion not in terms),
        fid_floor=FID_FLOOR,
    )
