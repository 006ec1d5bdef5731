"""What stands against what: the entry, its reference, the clips for the controls, opened and checked before a sound
is heard.

Everything that would make a number mean something else than it says is refused here: an entry that shares clips with
its reference, clips that a scoring evaluator has chosen, an emotion that one side lacks, fewer clips than were asked
for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vocalburst.eval.clip_listing import read_listing
from vocalburst.eval.clips import ClipSet, locate, open_clips, overlap
from vocalburst.eval.comparable import is_chosen_by
from vocalburst.eval.emotion_statistics import EmotionStatistics, statistics_path
from vocalburst.eval.hearing import Evaluator
from vocalburst.eval.protocols import protocol_emotions, protocol_names
from vocalburst.eval.reliability import listed
from vocalburst.gen.data.emotions import LABEL_SETS, VOCABULARY
from vocalburst.gen.data.errors import InputDataError

HALF = 0.5  # of a protocol's emotions that the reference must have before S_GEN of it says anything


@dataclass(frozen=True)
class Request:
    """What a user asked for; see `vocalburst evaluate --help`."""

    entry: str
    reference: str
    copy_synthesis: str | None = None
    train: str | None = None
    ratings: Path | None = None
    ratings_maximum: float = 1.0
    n: int | None = None
    protocol: str | None = None
    partial: bool = False
    cache: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Contest:
    """Opened sets. `statistics`: by evaluator id, where the reference is no clips; then `reference` has no sound.

    emotions: those that are judged; n: clips of each on both sides; protocols: of S_GEN, the best covered first;
    notes: what the reader of the entry's row should know.
    """

    entry: ClipSet
    reference: ClipSet
    emotions: tuple[str, ...]
    n: int
    protocols: tuple[str, ...]
    train: ClipSet | None = None
    copies: ClipSet | None = None
    statistics: Mapping[str, EmotionStatistics] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_contest(request: Request, evaluators: Sequence[Evaluator]) -> Contest:
    """Open and check everything that a request names. Raises InputDataError on whatever does not fit."""
    entry = open_clips(request.entry)
    refuse_selectors(entry, evaluators)
    reference, statistics = open_reference(request.reference, evaluators)
    copies = open_clips(request.copy_synthesis) if request.copy_synthesis else None
    train, notes = (None, []) if statistics else open_train(request, reference)
    sets = {"entry": entry, "reference": reference, "copies": copies, "train": train}
    if request.protocol:
        if statistics:
            raise InputDataError(
                f"{request.reference}: statistics keep the emotions they were made with; --protocol needs the clips"
            )
        told = [relabelled(clips, request.protocol) for clips in sets.values() if clips is not None]
        sets |= dict(
            zip((key for key, clips in sets.items() if clips is not None), (c for c, _ in told), strict=True)
        )
        notes += [note for _, own in told for note in own]
    entry, reference, train = sets["entry"], sets["reference"], sets["train"]
    refuse_overlap(entry, reference, "the clips would be judged by themselves")
    if train is not None:
        refuse_overlap(train, reference, "real train clips would be judged by themselves")
    emotions = judged_emotions(entry, reference, request.partial)
    n = clips_per_emotion(entry, None if statistics else reference, emotions, request.n)
    notes += [*entry.notes, *reference.notes, *selection_notes(entry), *draw_notes(entry, emotions, n)]
    if statistics:
        notes.append(
            "the reference is a file of statistics: only Fréchet distances, no controls of real clips, and n of the "
            "reference is what the file was made of"
        )
    if len(emotions) < (total := len(set(reference.emotions))):
        notes.append(
            f"{len(emotions)} of the {total} emotions of the reference were submitted; means are over these"
        )
    return Contest(
        entry, reference, emotions, n,
        (request.protocol,) if request.protocol else protocols_for(reference),
        train, sets["copies"], statistics, tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def refuse_selectors(entry: ClipSet, evaluators: Sequence[Evaluator]) -> None:
    """An evaluator that chose or guided the clips would judge its own taste."""
    guilty = [one.id for one in evaluators if is_chosen_by(entry.selected_by, one.id)]
    if guilty:
        others = [one.id for one in evaluators if one.id not in guilty]
        remedy = f"; {', '.join(others)} may (--evaluator)" if others else ""
        raise InputDataError(
            f"{entry.label}: its clips were chosen or guided by {', '.join(entry.selected_by)}, so "
            f"{', '.join(guilty)} cannot score them{remedy}"
        )


def open_reference(
    spec: str, evaluators: Sequence[Evaluator]
) -> tuple[ClipSet, dict[str, EmotionStatistics]]:
    """Real clips, or the statistics of every evaluator and the clips (without sound) that they were made of."""
    if not spec.endswith(".safetensors"):
        return open_clips(spec), {}
    statistics = {one.id: EmotionStatistics.load(statistics_path(Path(spec), one.id)) for one in evaluators}
    for one in evaluators:
        identity = statistics[one.id].identity
        if (identity.evaluator, identity.preprocessing) != (one.id, one.preprocessing):
            raise InputDataError(
                f"{spec}: holds statistics of {identity.evaluator} ({identity.preprocessing}), "
                f"expected those of {one.id} ({one.preprocessing})"
            )
    hashes = {own.clips.content_sha256 for own in statistics.values()}
    if len(hashes) > 1:
        raise InputDataError(f"{spec}: the statistics of the evaluators were made of different clips")
    return replace(statistics[evaluators[0].id].clips, label=spec), statistics


def open_train(request: Request, reference: ClipSet) -> tuple[ClipSet | None, list[str]]:
    """The clips for real controls: as named, else the train split of the reference's manifest; and notes."""
    if request.train:
        return checked_train(open_clips(request.train), reference)
    path, split = locate(request.reference, None)
    if split in (None, "train") or all(clip.split != "train" for clip in read_listing(path).clips):
        return None, [
            "there are no real train clips (--train), so floor, emotion-blind and memorisation are missing"
        ]
    name = request.reference.rpartition(":")[0] or str(path)
    return checked_train(replace(open_clips(path, "train"), label=f"{name}:train"), reference)


def checked_train(train: ClipSet, reference: ClipSet) -> tuple[ClipSet, list[str]]:
    """With a note when speakers stand on both sides, which makes the floor lower than that of other speakers."""
    shared = {*train.speakers} & {*reference.speakers} - {None}
    notes = [f"{len(shared)} speakers are in train and reference, so the floor is too low"] if shared else []
    if None in train.speakers or None in reference.speakers:
        notes.append("some real clips name no speaker: whether floor and reference share speakers is unknown")
    return train, notes


def relabelled(clips: ClipSet, protocol: str) -> tuple[ClipSet, list[str]]:
    """The clips that answer a protocol, under its emotions, and a note on those that do not."""
    names = protocol_names(protocol, dict.fromkeys(clips.emotions))
    kept = clips.take([index for index, emotion in enumerate(clips.emotions) if emotion in names])
    if not len(kept):
        raise InputDataError(f"{clips.label}: holds no clip of an emotion of {protocol}")
    notes = []
    if lost := sorted(set(clips.emotions) - set(names)):
        notes.append(f"{clips.label}: {listed(lost)} are not judged by {protocol}")
    return replace(kept, emotions=tuple(names[emotion] for emotion in kept.emotions)), notes


def refuse_overlap(one: ClipSet, other: ClipSet, why: str) -> None:
    shared = overlap(one, other)
    if shared:
        (mine, theirs), count = shared[0], len({name for name, _ in shared})
        raise InputDataError(
            f"{one.label}: {count} clips are also in {other.label}, the first is {mine} ({theirs} there): {why}"
        )


def judged_emotions(entry: ClipSet, reference: ClipSet, partial: bool) -> tuple[str, ...]:
    """The emotions of the entry. Raises InputDataError for one that the reference lacks, or (unless `partial`) that
    the entry lacks."""
    mine, known = set(entry.emotions), set(reference.emotions)
    if foreign := sorted(mine - known):
        raise InputDataError(
            f"{entry.label}: the reference {reference.label} has no clips of {listed(foreign)}; --protocol maps "
            "emotions of one corpus to another's"
        )
    if (missing := sorted(known - mine)) and not partial:
        raise InputDataError(
            f"{entry.label}: has no clips of {listed(missing)}, which the reference has; --partial judges an entry of "
            "some emotions all the same"
        )
    return tuple(sorted(mine, key=VOCABULARY.index))


def clips_per_emotion(
    entry: ClipSet, reference: ClipSet | None, emotions: Sequence[str], asked: int | None
) -> int:
    """n: as asked for, else what every emotion has on both sides. Raises InputDataError where there are fewer."""
    sides = [clips for clips in (entry, reference) if clips is not None]
    fewest = []
    for clips in sides:
        counts = Counter(clips.emotions)
        scarce = min(emotions, key=counts.__getitem__)
        wanted = 2 if asked is None else asked
        if counts[scarce] < wanted:
            raise InputDataError(
                f"{clips.label}: expected {wanted} clips of {scarce}, found {counts[scarce]}"
            )
        fewest.append(counts[scarce])
    return min(fewest) if asked is None else asked


def selection_notes(entry: ClipSet) -> list[str]:
    if not entry.selected_by:
        return []
    return [f"the clips were chosen or guided by {', '.join(entry.selected_by)}, which does not score them"]


def draw_notes(entry: ClipSet, emotions: Sequence[str], n: int) -> list[str]:
    counts = Counter(entry.emotions)
    most = max(counts[emotion] for emotion in emotions)
    return [f"{n} of up to {most} clips of an emotion were drawn for the measures"] if most > n else []


def protocols_for(reference: ClipSet) -> tuple[str, ...]:
    """Protocols of which the reference has at least half of the emotions, the one it covers best first; where it has
    half of none, the one it covers best."""
    known = tuple(np.unique(reference.emotions))
    shares = {p: len(protocol_emotions(p, known)) / len(names) for p, names in LABEL_SETS.items()}
    order = sorted((p for p in shares if shares[p] > 0), key=lambda p: -shares[p])
    return tuple(p for p in order if shares[p] >= HALF) or tuple(order[:1])
