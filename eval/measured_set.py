"""The numbers of one set of clips, each with its replicates: every measure, emotion and protocol.

Shape letters: n clips of an emotion, E emotions that the evaluator rates, G blocks.

What is computed here feeds the intervals of `set_scores`; nothing here knows what a set is called or what it tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vocalburst.eval.estimates import Estimate, mean_of
from vocalburst.eval.gaussian import GaussianStatistics
from vocalburst.eval.heep_bootstrap import RatedClips
from vocalburst.eval.measures import Comparison, FrechetComparison, Reference
from vocalburst.eval.protocols import protocol_emotions, protocol_ratings
from vocalburst.eval.samples import Bench, Blocks, Sample, Samples, join, share_of
from vocalburst.gen.data.errors import InputDataError

Estimates = Mapping[str, Estimate]  # by measure
S_GEN_TERMS = ("fid", "fid_infinity", "heep")


@dataclass(frozen=True, eq=False)
class MeasuredSet:
    """emotions: every measure of each emotion. protocols: the terms of S_GEN by protocol and its emotions.

    whole: HEEP over all emotions at once, `column` and `overall`, where the evaluator rates.
    """

    emotions: Mapping[str, Estimates]
    protocols: Mapping[str, Mapping[str, Estimates]]
    whole: Estimates


def measure_set(samples: Samples, bench: Bench, blocks: Blocks | None) -> MeasuredSet:
    """Everything that can be measured of the samples; `blocks` None: the values alone.

    Raises InputDataError naming the emotion whose clips cannot be measured.
    """
    emotions: dict[str, dict[str, Estimate]] = {}
    for emotion in samples:
        try:
            reference = bench.references[emotion]
            emotions[emotion] = measure_emotion(emotion, samples[emotion], reference, blocks, bench.seed)
        except InputDataError as error:
            raise InputDataError(f"{emotion}: {error}") from None
    whole: dict[str, Estimate] = {}
    if bench.columns is not None:
        rated = {emotion: sample for emotion, sample in samples.items() if emotion in bench.columns}
        for emotion, found in rate(rated, bench.columns, blocks).items():
            emotions[emotion].update(found)
        whole = rate_whole(rated, bench.columns)
    protocols = {
        protocol: protocol_terms(protocol, samples, emotions, bench, blocks) for protocol in bench.protocols
    }
    return MeasuredSet(emotions, protocols, whole)


def merge_deals(deals: Sequence[MeasuredSet]) -> MeasuredSet:
    """The same measures of several deals of the labels as one, with the deals for replicates."""
    return merged(deals, lambda parts: Estimate.of_deals([part.value for part in parts]))


def mean_of_draws(draws: Sequence[MeasuredSet]) -> MeasuredSet:
    """The mean of the same measures over several draws of clips, whose replicates leave the same blocks out."""
    return draws[0] if len(draws) == 1 else merged(draws, mean_of)


def merged(sets: Sequence[MeasuredSet], merge: Callable[[Sequence[Estimate]], Estimate]) -> MeasuredSet:
    def both(parts: Sequence[Estimates]) -> dict[str, Estimate]:
        shared = [name for name in parts[0] if all(name in part for part in parts)]
        return {name: merge([part[name] for part in parts]) for name in shared}

    first = sets[0]
    return MeasuredSet(
        {emotion: both([one.emotions[emotion] for one in sets]) for emotion in first.emotions},
        {
            protocol: {emotion: both([one.protocols[protocol][emotion] for one in sets]) for emotion in terms}
            for protocol, terms in first.protocols.items()
        },
        both([one.whole for one in sets]),
    )


def measure_emotion(
    emotion: str, sample: Sample, reference: Reference | GaussianStatistics, blocks: Blocks | None, seed: int
) -> dict[str, Estimate]:
    """Distances and neighbour measures of one emotion."""
    if isinstance(reference, Reference):
        comparison = Comparison(sample.embeddings, reference, partners=sample.partners, seed=seed)
    else:
        comparison = FrechetComparison(sample.embeddings, reference, seed=seed)
    left_out = {} if blocks is None else comparison.measures_without(blocks.of[emotion], blocks.count)
    sizes = None if blocks is None else blocks.sizes(emotion)
    return {
        name: estimate(value, left_out.get(name), sizes, len(sample))
        for name, value in comparison.measures().items()
    }


def estimate(value: float, left_out: np.ndarray | None, sizes: np.ndarray | None, n: int) -> Estimate:
    """Without replicates where there are none, or where one of them cannot be computed."""
    if left_out is None or sizes is None or np.isnan(left_out).any():
        return Estimate(value, np.zeros(0), np.zeros(0, int), n)
    return Estimate(value, left_out, sizes, n)


def rated_clips(samples: Samples, columns: Sequence[str]) -> RatedClips:
    """All clips of the samples, asked for by the place of their emotion among the columns."""
    asked = [np.full(len(sample), columns.index(emotion)) for emotion, sample in samples.items()]
    return RatedClips(np.concatenate(asked), join(list(samples.values())).probabilities)


def rate(samples: Samples, columns: Sequence[str], blocks: Blocks | None) -> dict[str, dict[str, Estimate]]:
    """HEEP by row and the recognised rate of each emotion."""
    found = {}
    for emotion, sample in samples.items():
        clips = rated_clips({emotion: sample}, columns)
        place, everything = columns.index(emotion), np.ones((1, len(sample)))
        kept = None if blocks is None else blocks.kept(emotion)
        sizes = None if blocks is None else blocks.sizes(emotion)
        found[emotion] = {}
        for name, score in (("heep", clips.by_row), ("recognised", clips.recognised)):
            left_out = None if kept is None else score(kept)[:, place]
            value = float(score(everything)[0, place])
            found[emotion][name] = estimate(value, left_out, sizes, len(sample))
    return found


def rate_whole(samples: Samples, columns: Sequence[str]) -> dict[str, Estimate]:
    """HEEP over all clips: the mean by column (which needs two emotions), and overall."""
    if not samples:
        return {}
    clips = rated_clips(samples, columns)
    everything = np.ones((1, len(clips)))
    values = {"overall": float(clips.overall(everything)[0])}
    if len(samples) > 1:
        values["column"] = float(np.nanmean(clips.by_column(everything)))
    return {name: estimate(value, None, None, len(clips)) for name, value in values.items()}


def protocol_terms(
    protocol: str,
    samples: Samples,
    measured: Mapping[str, Estimates],
    bench: Bench,
    blocks: Blocks | None,
) -> dict[str, dict[str, Estimate]]:
    """The terms of S_GEN of each emotion of a protocol that the samples answer and the evaluator rates.

    An emotion that several answer together is judged by an equal share of each, so that n stays what it is.
    """
    if bench.columns is None:
        return {}
    terms: dict[str, dict[str, Estimate]] = {}
    for emotion, parts in protocol_emotions(protocol, samples).items():
        chosen = {part: share_of(len(samples[part]), len(parts), bench.seed) for part in parts}
        sample = join([samples[part].take(rows) for part, rows in chosen.items()])
        own = None
        if blocks is not None:
            block = np.concatenate([blocks.of[part][rows] for part, rows in chosen.items()])
            own = Blocks(blocks.count, {emotion: block})
        ratings, columns = protocol_ratings(sample.probabilities, bench.columns, protocol)
        if emotion not in columns:
            continue
        if len(parts) == 1:
            distances = measured[parts[0]]
        else:
            distances = measure_emotion(emotion, sample, bench.pooled_statistics(parts), own, bench.seed)
        rated = Sample(sample.embeddings, ratings, sample.groups)
        found = {**distances, **rate({emotion: rated}, columns, own)[emotion]}
        terms[emotion] = {name: found[name] for name in S_GEN_TERMS if name in found}
    return terms
