"""From what a user asked for to `scores.Scores`: hear every clip once, then score each set by each evaluator.

Shape letters: N clips, E emotions that an evaluator rates.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

from vocalburst.eval import memorisation_scores
from vocalburst.eval.clips import ClipSet
from vocalburst.eval.contest import Contest, Request, open_contest
from vocalburst.eval.embed import EmbeddedClips, embed_each
from vocalburst.eval.gaussian import Identity
from vocalburst.eval.hearing import Evaluator
from vocalburst.eval.heep_bootstrap import HeepScores, score_ratings
from vocalburst.eval.lineup import Lineup, line_up
from vocalburst.eval.measured_set import rated_clips
from vocalburst.eval.measures import Reference
from vocalburst.eval.memorisation_scores import enough_to_split, judge_memorisation, reference_note
from vocalburst.eval.protocols import protocol_ratings
from vocalburst.eval.rated_entry import people_note, rate_entry
from vocalburst.eval.samples import Bench, Samples, by_speaker, samples_of
from vocalburst.eval.scores import Entry, EvaluatorScores, Memorisation, Scores
from vocalburst.eval.scores import Reference as ReferenceRecord
from vocalburst.eval.set_scores import score_dealt, score_set
from vocalburst.gen.data.errors import InputDataError

Say = Callable[[str], None]
Progress = Callable[[Iterable, int], Iterable]


def evaluate(
    request: Request,
    evaluators: Sequence[Evaluator],
    *,
    command: str = "",
    say: Say = lambda text: None,
    progress: Progress | None = None,
) -> Scores:
    """Scores of an entry and of the controls beside it.

    command: what was typed, for the record. say: told what is being done. progress: (clips to hear, how many) ->
    the same clips. Raises InputDataError on anything that cannot be scored as asked.
    """
    say("opening clips")
    contest = open_contest(request, evaluators)
    ratings = rate_entry(contest.entry, request.ratings, request.ratings_maximum) if request.ratings else None
    people = [] if ratings is None else [people_note(ratings)]
    for note in contest.notes:
        say(f"note: {note}")
    with tempfile.TemporaryDirectory(prefix="vocalburst-controls-") as folder:
        lineup = line_up(contest, Path(folder), request.seed)
        heard: dict[str, list[EmbeddedClips]] = {}
        for name, clips in lineup.heard.items():
            say(f"hearing {len(clips)} clips: {name}")
            heard[name] = embed_each(clips, evaluators, cache=request.cache, progress=progress)
    records = []
    for position, evaluator in enumerate(evaluators):
        own = {name: sets[position] for name, sets in heard.items()}
        records.append(score_by(evaluator, own, contest, lineup, request, say, people))
    used = used_reference(contest, lineup)
    return Scores(
        package_version=version("vocalburst"),
        command=command,
        created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seed=request.seed,
        entry=Entry(
            name=contest.entry.label,
            clips_sha256=contest.entry.content_sha256,
            n=len(contest.entry),
            selected_by=contest.entry.selected_by,
            checkpoint=contest.entry.checkpoint,
            settings=contest.entry.settings,
        ),
        reference=ReferenceRecord(
            name=contest.reference.label,
            split=contest.reference.split or "none",
            clips_sha256=used.content_sha256,
            n=len(used),
            speakers=len({*used.speakers} - {None}),
        ),
        evaluators=tuple(records),
        ratings=ratings,
    )


def used_reference(contest: Contest, lineup: Lineup) -> ClipSet:
    """The reference clips that were compared with."""
    if contest.statistics:
        return contest.reference
    (rows,) = lineup.sets["reference"].draws
    return contest.reference.take(np.concatenate(list(rows.values())))


def score_by(
    evaluator: Evaluator,
    heard: Mapping[str, EmbeddedClips],
    contest: Contest,
    lineup: Lineup,
    request: Request,
    say: Say,
    people: Sequence[str] = (),
) -> EvaluatorScores:
    """All sets by one evaluator; `people`: sentences on what people heard."""
    if request.protocol and evaluator.emotions is not None:
        heard = {name: by_protocol(clips, request.protocol) for name, clips in heard.items()}
    draws = {
        name: [samples_of(heard[drawn.heard], rows, drawn.partners) for rows in drawn.draws]
        for name, drawn in lineup.sets.items()
    }
    reference = draws["reference"][0] if "reference" in draws else None
    bench = build_bench(evaluator, contest, reference, heard["entry"].emotions, request.seed)
    sets = []
    for name, drawn in lineup.sets.items():
        if name == "reference":
            continue
        say(f"{evaluator.id}: scoring {name}")
        if name == "shuffled":
            sets.append(score_dealt(name, draws[name][0], bench))
            continue
        resampled = "speakers" if by_speaker(heard[drawn.heard]) else "clips"
        notes = (*contest.notes, *lineup.notes, *people) if name == "entry" else drawn.notes
        sets.append(score_set(name, draws[name], bench, resampled=resampled, notes=notes))
    say(f"{evaluator.id}: looking for copies of train clips")
    memorisation, notes = memorise(heard, contest, request.seed)
    sets[0] = sets[0].model_copy(update={"memorisation": memorisation, "notes": (*sets[0].notes, *notes)})
    real = real_scores(reference, bench, "reference" in heard and by_speaker(heard["reference"]))
    return EvaluatorScores(
        evaluator=evaluator.id,
        preprocessing=evaluator.preprocessing,
        dim=evaluator.dim,
        space=evaluator.space,
        real_heep=None if real is None else real.row_mean,
        real_recognised=None if real is None else real.recognised_mean,
        sets=tuple(sets),
    )


def by_protocol(clips: EmbeddedClips, protocol: str) -> EmbeddedClips:
    """The same clips, rated by the emotions of a protocol instead of the evaluator's own."""
    ratings, names = protocol_ratings(clips.probabilities, clips.emotions, protocol)
    return replace(clips, probabilities=ratings, emotions=names)


def build_bench(
    evaluator: Evaluator,
    contest: Contest,
    reference: Samples | None,
    columns: tuple[str, ...] | None,
    seed: int,
) -> Bench:
    """The reference of every emotion, as clips or as the statistics of a file."""
    identity = Identity(evaluator.id, evaluator.preprocessing, contest.reference.split or "none")
    if reference is None:
        of = contest.statistics[evaluator.id].of
        references = {emotion: of[emotion] for emotion in contest.emotions}
    else:
        references = {}
        for emotion, own in reference.items():
            try:
                references[emotion] = Reference(own.embeddings, identity)
            except InputDataError as error:
                raise InputDataError(f"{contest.reference.label}, {emotion}: {error}") from None
    return Bench(references, identity, columns, contest.protocols, seed)


def real_scores(reference: Samples | None, bench: Bench, speakers: bool) -> HeepScores | None:
    """What real clips reach: the ceiling of HEEP and of the recognised rate; None without clips or recogniser."""
    if reference is None or bench.columns is None or not set(reference) <= set(bench.columns):
        return None
    groups = [group for sample in reference.values() for group in sample.groups] if speakers else None
    return score_ratings(rated_clips(reference, bench.columns), groups, seed=bench.seed)


def memorise(
    heard: Mapping[str, EmbeddedClips], contest: Contest, seed: int
) -> tuple[Memorisation | None, list[str]]:
    """Memorisation of all clips of the entry, and notes on how it was judged or why it was not."""
    if "train" not in heard or "reference" not in heard:
        return None, []
    entry, train, real = heard["entry"], heard["train"], heard["reference"]
    groups = real.clips.speakers if by_speaker(real) else real.clips.names
    if not enough_to_split(groups) or len(train) < memorisation_scores.FEWEST:
        return None, [
            "memorisation needs at least 4 train clips and 4 reference clips in each half of the speakers"
        ]
    found = judge_memorisation(
        entry.embeddings,
        train.embeddings,
        real.embeddings,
        names=entry.clips.names,
        train_names=train.clips.names,
        groups=groups,
        seed=seed,
    )
    peeking = reference_note(
        entry.embeddings,
        real.embeddings,
        train.embeddings,
        names=entry.clips.names,
        real_names=real.clips.names,
        seed=seed,
    )
    notes = [] if peeking is None else [peeking]
    if len(train) > memorisation_scores.FLD_TRAIN:
        notes.append(
            f"the copy audit and C_T look at all {len(train)} train clips, FLD at draws of "
            f"{memorisation_scores.FLD_TRAIN} of them and of {memorisation_scores.FLD_CLIPS} clips"
        )
    return found, notes
