"""Clips with the labels of a task: a manifest of `vocalburst prepare`, or a corpus's label file and its sound.

    manifest.jsonl                     labels and sound of EmoGator, HUME-VOCALBURST, SONATA or any folder of clips
    high_info.csv + a folder of wav    the label file of a task (`eval.tasks.label_files`), its clips found by id

Which clips belong to a split, and that their labels can be learned from and scored by, is decided as in
`eval.tasks.labels`. A clip is there with its sound and its labels or the split is refused.

Shape letters: N clips, L wave sample, C columns of the task, S stores.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vocalburst.eval.recognition.sound_files import Sound, find_sounds
from vocalburst.eval.tasks.columns import Column
from vocalburst.eval.tasks.label_files import READERS, LabelOptions, LabelRow, clip_row
from vocalburst.eval.tasks.labels import (
    check_disjoint,
    check_labelled,
    check_partition,
    check_unique,
    choose_split,
    leave_support_out,
    parse_split,
    with_speakers,
)
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.emotions import VOCABULARY, labelled_names, normalise_name
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, check_files, manifest_root, read_manifest
from vocalburst.gen.data.store import WaveStore

CACHE = Path("cache/waves")
SHORTEST = 0.025  # s, the shortest frame that a model of the registry looks at
NUMBERED = ("avb", "exvo")  # layouts of label files whose ids are the numbers of HUME-VOCALBURST


@dataclass(frozen=True)
class ClipSource:
    """Where clips come from. labels: a manifest (.jsonl), a label file, or a folder of files named by their labels.

    audio: folder of the clips of a label file. speakers: CSV of ids and speakers, where the labels name none. cache:
    folder of decoded waves.
    """

    labels: Path
    audio: Path | None = None
    speakers: Path | None = None
    cache: Path = CACHE

    @property
    def is_manifest(self) -> bool:
        return self.labels.suffix == ".jsonl"

    def sha256(self) -> str:
        """Of the file; of a folder, of the names below it and of its tables."""
        files = sorted(self.labels.rglob("*")) if self.labels.is_dir() else [self.labels]
        digest = hashlib.sha256()
        for file in files:
            if file != self.labels:
                digest.update(f"{file.relative_to(self.labels).as_posix()}\n".encode())
            if file == self.labels or file.suffix == ".csv":
                digest.update(file.read_bytes())
        return digest.hexdigest()


class ChosenWaves(Sequence):
    """`waves[i]` is the wave [L] at places[i] = (store, index in it), read from disk when it is asked for."""

    def __init__(self, stores: Sequence[WaveStore], places: np.ndarray):
        self.stores, self.places = tuple(stores), places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> np.ndarray:
        store, place = self.places[index]
        return self.stores[store][int(place)]

    @property
    def samples(self) -> np.ndarray:
        """Length [N] of every wave in samples."""
        lengths = [store.lengths for store in self.stores]
        return np.array([lengths[store][place] for store, place in self.places], dtype=np.int64)

    def take(self, indices: np.ndarray) -> ChosenWaves:
        return ChosenWaves(self.stores, self.places[indices])

    @classmethod
    def joined(cls, parts: Sequence[ChosenWaves]) -> ChosenWaves:
        shift = np.cumsum([0] + [len(part.stores) for part in parts])
        places = [part.places + np.array([first, 0]) for part, first in zip(parts, shift, strict=False)]
        return cls([store for part in parts for store in part.stores], np.concatenate(places))


@dataclass(frozen=True, eq=False)
class LabelledClips:
    """Clips of a split. y: [N, C] as `estimator` wants it; speakers: [N], or None where the labels name none."""

    split: str
    ids: tuple[str, ...]
    y: np.ndarray
    speakers: tuple[str, ...] | None
    waves: ChosenWaves
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_speakers(self) -> int | None:
        return len(set(self.speakers)) if self.speakers else None

    def take(self, indices: np.ndarray) -> LabelledClips:
        """The clips at `indices`, in that order."""
        speakers = tuple(self.speakers[i] for i in indices) if self.speakers else None
        ids = tuple(self.ids[i] for i in indices)
        return replace(self, ids=ids, y=self.y[indices], speakers=speakers, waves=self.waves.take(indices))

    @classmethod
    def joined(cls, parts: Sequence[LabelledClips]) -> LabelledClips:
        """The clips of several splits, one after the other."""
        speakers = None
        if all(part.speakers for part in parts):
            speakers = tuple(speaker for part in parts for speaker in part.speakers)
        return cls(
            "+".join(part.split for part in parts),
            tuple(name for part in parts for name in part.ids),
            np.concatenate([part.y for part in parts]),
            speakers,
            ChosenWaves.joined([part.waves for part in parts]),
            tuple(note for part in parts for note in part.notes),
        )


def load_split(
    task: Task, source: ClipSource, split: str | None, *, scored: bool = True, progress=iter
) -> LabelledClips:
    """The labelled clips of a split; their sound is decoded once and kept in the cache.

    split: a name, `all`, or PARTITION:SPLIT; None is dev, or all where there are no splits.
    scored: whether the few-shot rule applies, which leaves the clips out that a system is given with their labels.
    progress: wraps the files while they are decoded. Raises InputDataError for one speaker in two splits, a class
    without a clip, a label out of range or missing, a clip without sound, and one shorter than a frame.
    """
    partition, split = parse_split(task, split)
    rows, sounds, root = read_rows(task, source, partition)
    check_unique(source.labels, rows)
    if source.speakers:
        rows = with_speakers(task, rows, source.speakers)
    check_disjoint(source.labels, rows)
    rows, split = choose_split(source.labels, rows, split)
    own = [row for row in rows if split in ("all", row.split)]
    notes: list[str] = []
    if task.support and scored:
        own = leave_support_out(task, source.labels, own, split, None, notes)
    kept = [row for row in own if row.left_out is None]
    y = np.array([row.values for row in kept], dtype=np.float64).reshape(len(kept), len(task.columns))
    check_labelled(task, source.labels, split, kept, y)
    named = [row.speaker for row in kept]
    if any(named) and not all(named):
        raise InputDataError(
            f"{source.labels}: names no speaker for {kept[named.index(None)].id}, but for others"
        )
    if partition:
        check_partition(task, source.labels, partition, split, len(kept), len(set(named)))
    out = [row for row in own if row.left_out is not None]
    if out:
        notes.append(
            f"{source.labels}: {len(out)} clips of the split {split} are left out; the first, {out[0].id}: "
            f"{out[0].left_out}"
        )
    # A manifest is decoded whole, so that tasks of different subsets share the decoded waves.
    heard = own if source.is_manifest else kept
    if not source.is_manifest:
        root, sounds = find_sounds(task, source.labels, source.audio, [row.id for row in kept])
    store = WaveStore.build(root, [sounds[row.id] for row in heard], source.cache, progress)
    place = {row.id: index for index, row in enumerate(heard)}
    waves = ChosenWaves([store], np.array([(0, place[row.id]) for row in kept]))
    ids = tuple(row.id for row in kept)
    check_lengths(ids, waves.samples)
    name = f"{partition}:{split}" if partition else split
    return LabelledClips(name, ids, y, tuple(named) if all(named) else None, waves, tuple(notes))


def check_lengths(ids: Sequence[str], samples: np.ndarray) -> None:
    """Raise InputDataError for a clip of `samples` [N] in which there is not one frame to look at."""
    shortest = int(samples.argmin())
    if samples[shortest] < SHORTEST * SAMPLE_RATE:
        raise InputDataError(
            f"{ids[shortest]}: lasts {1000 * samples[shortest] / SAMPLE_RATE:.1f} ms, expected at least a frame of "
            f"{1000 * SHORTEST:g} ms"
        )


def read_rows(
    task: Task, source: ClipSource, partition: str | None
) -> tuple[list[LabelRow], dict[str, Sound], Path]:
    """Labels of all clips; of a manifest also where their sound is: by id, below a root."""
    if not source.is_manifest:
        return READERS[task.layout](task, source.labels, LabelOptions(partition=partition)), {}, source.labels
    if partition:
        raise InputDataError(f"{source.labels}: a manifest has no partition {partition!r}, expected a split")
    if source.audio:
        raise InputDataError(f"{source.labels}: a manifest names its sound itself, so --audio has no meaning")
    clips = read_manifest(source.labels)
    check_files(source.labels, clips)
    rows = [manifest_row(task, clip, source.labels) for clip in clips]
    sounds = {
        row.id: Sound(clip.id, clip.path, clip.start, clip.end) for row, clip in zip(rows, clips, strict=True)
    }
    return rows, sounds, manifest_root(source.labels)


def manifest_row(task: Task, clip: Clip, path: Path) -> LabelRow:
    """Labels of a clip of a manifest: its one emotion, or its intensities, age and country."""
    if task.layout == "clips":
        return clip_row(task, clip, path)
    where = f"{path}, id {clip.id}"
    values = tuple(manifest_value(task, column, clip, path, where) for column in task.columns)
    return LabelRow(clip_id(task, clip.id), values, values, clip.split, clip.speaker)


def manifest_value(task: Task, column: Column, clip: Clip, path: Path, where: str) -> float:
    """A column's value, NaN where the clip is not labelled."""
    emotion = normalise_name(column.name)
    if column.name == "Age":
        return math.nan if clip.age is None else column.read(repr(clip.age), where)
    if column.name == "Country":
        return column.read(clip.country or "", where)
    if emotion not in VOCABULARY or column.classes:
        raise InputDataError(
            f"{path}: a manifest holds no {column.name}, which {task.name} asks for; give the corpus's own label "
            "file as --labels FILE --audio FOLDER"
        )
    if emotion not in labelled_names(clip.labelled):
        return math.nan
    return column.read(repr(clip.emotions.get(emotion, 0.0)), where)


def clip_id(task: Task, written: str) -> str:
    """The id of a clip of a manifest as the label files of the task write it: `hume-00007` -> `00007`."""
    return task.identify(written.removeprefix("hume-") if task.layout in NUMBERED else written)
