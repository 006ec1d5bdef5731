"""The labels that a task is scored by: which clips of a label file are scored, and that they can be.

Shape letters: N scored clips, C columns of the task.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vocalburst.eval.tasks.label_files import (
    READERS,
    SPEAKER_COLUMNS,
    LabelOptions,
    LabelRow,
    id_column,
    named_column,
)
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.corpora.splits import split_name
from vocalburst.gen.data.corpora.table import read_table
from vocalburst.gen.data.errors import InputDataError

EVERYTHING = "all"
DEFAULT_SPLIT = "dev"
ELSEWHERE = "it is in the split "  # begins the reason of a clip of another split


@dataclass(frozen=True, eq=False)
class Labels:
    """Scored clips. values: [N, C], class columns hold indices, NaN is not labelled; raw: the same as written.

    speakers: [N], or None where the labels name none. left_out: id -> why a clip of the file is not scored.
    """

    path: Path
    split: str
    ids: tuple[str, ...]
    values: np.ndarray
    raw: np.ndarray
    speakers: tuple[str, ...] | None
    left_out: dict[str, str]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def load_labels(
    task: Task,
    path: Path,
    options: LabelOptions | None = None,
    *,
    support: Path | None = None,
    speakers: Path | None = None,
) -> Labels:
    """Labels of one split of a file.

    options.split: a split, `all`, or PARTITION:SPLIT; None is dev where the file has splits, else all.
    support: CSV of the labelled clips that few-shot systems are given; None: the first of each speaker in the file.
    speakers: CSV of ids and speakers, for labels that name none.
    Raises InputDataError for a clip that stands there twice, a speaker in two splits, a split without clips or labels,
    a missing label, a class without a clip, and sizes that are not those of the partition asked for.
    """
    options = options or LabelOptions()
    partition, split = parse_split(task, options.split)
    rows = READERS[task.layout](task, path, replace(options, partition=partition))
    check_unique(path, rows)
    if speakers:
        rows = with_speakers(task, rows, speakers)
    check_disjoint(path, rows)
    rows, split = choose_split(path, rows, split)
    notes: list[str] = []
    if task.support:
        rows = leave_support_out(task, path, rows, split, support, notes)
    scored = [row for row in rows if row.left_out is None]
    others = Counter(row.left_out for row in rows if row.left_out and not row.left_out.startswith(ELSEWHERE))
    notes += [
        f"{count} clips of the split are not scored: {reason}" for reason, count in sorted(others.items())
    ]
    values = np.array([row.values for row in scored], dtype=np.float64).reshape(
        len(scored), len(task.columns)
    )
    raw = np.array([row.raw for row in scored], dtype=np.float64).reshape(values.shape)
    if task.rescaled and not np.array_equal(values, raw, equal_nan=True):
        notes.append(f"{path}: written as {task.rescaled[0]:g} to {task.rescaled[1]:g}, compared as 0 to 1")
    check_labelled(task, path, split, scored, values)
    named = [row.speaker for row in scored]
    if any(named) and not all(named):
        raise InputDataError(f"{path}: names no speaker for {scored[named.index(None)].id}, but for others")
    if partition:
        check_partition(task, path, partition, split, len(scored), len(set(named)))
    return Labels(
        path=path,
        split=f"{partition}:{split}" if partition else split,
        ids=tuple(row.id for row in scored),
        values=values,
        raw=raw,
        speakers=tuple(named) if all(named) else None,
        left_out={row.id: row.left_out for row in rows if row.left_out},
        notes=tuple(notes),
    )


def parse_split(task: Task, written: str | None) -> tuple[str | None, str | None]:
    """`table-3:Test` -> (`table-3`, `test`)."""
    if written is None:
        return None, None
    partition, colon, split = written.rpartition(":")
    if colon and partition not in (task.partitions or {}):
        known = ", ".join(task.partitions or {}) or "none"
        raise InputDataError(
            f"split {written!r}: {task.name} has no partition {partition!r}; published: {known}"
        )
    if split == EVERYTHING and not colon:
        return None, EVERYTHING
    return partition or None, split_name(split, f"--split {written}")


def check_unique(path: Path, rows: list[LabelRow]) -> None:
    twice = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise InputDataError(f"{path}: {twice[0]} stands there twice")


def check_disjoint(path: Path, rows: list[LabelRow]) -> None:
    """Every published split is by speakers: one in two splits means that something is mixed up."""
    home: dict[str, str | None] = {}
    for row in rows:
        if row.speaker and home.setdefault(row.speaker, row.split) != row.split:
            raise InputDataError(
                f"{path}: the speaker {row.speaker} is in two splits, {home[row.speaker]} and {row.split}"
            )


def choose_split(path: Path, rows: list[LabelRow], split: str | None) -> tuple[list[LabelRow], str]:
    """All rows, those of other splits marked as left out, and the split's name."""
    counts = Counter(row.split for row in rows)
    if split is None:
        split = EVERYTHING if set(counts) == {None} else DEFAULT_SPLIT
    if split == EVERYTHING:
        return rows, split
    if split not in counts:
        has = ", ".join(f"{name} ({count})" for name, count in counts.items() if name)
        raise InputDataError(f"{path}: has no clip of the split {split}; it has {has or 'no splits'}")
    return [
        row if row.split == split else replace(row, left_out=f"{ELSEWHERE}{row.split}, expected {split}")
        for row in rows
    ], split


def leave_support_out(
    task: Task, path: Path, rows: list[LabelRow], split: str, support: Path | None, notes: list[str]
) -> list[LabelRow]:
    """The rule of few-shot: of each speaker `task.support` clips are given with their labels, the others predicted."""
    by_speaker: dict[str, list[str]] = {}
    for row in rows:
        if row.left_out is None:
            if not row.speaker:
                raise InputDataError(f"{path}: names no speaker for {row.id}, which few-shot needs")
            by_speaker.setdefault(row.speaker, []).append(row.id)
    if support:
        listed = read_ids(task, support)
        known = {name for names in by_speaker.values() for name in names}
        for name in listed:
            if name not in known:
                raise InputDataError(f"{support}: {name} is no clip of the split {split} of {path}")
    else:
        listed = [name for names in by_speaker.values() for name in names[: task.support]]
        notes.append(f"support: the first {task.support} clips of each speaker in {path}")
    given = set(listed)
    for speaker, names in by_speaker.items():
        count = len(given & set(names))
        if count != task.support or len(names) <= task.support:
            raise InputDataError(
                f"{support or path}: {speaker} has {count} support clips and {len(names) - count} others, "
                f"expected {task.support} and at least one"
            )
    reason = "it is a support clip, whose labels are given"
    return [replace(row, left_out=reason) if row.id in given else row for row in rows]


def read_ids(task: Task, path: Path) -> list[str]:
    """Ids of a CSV, in its order. Raises InputDataError for one that stands there twice."""
    table = read_table(path)
    column = id_column(path, table[0], None)
    names = [task.identify(row[column]) for row in table]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputDataError(f"{path}: {twice[0]} stands there twice")
    return names


def with_speakers(task: Task, rows: list[LabelRow], path: Path) -> list[LabelRow]:
    """Rows with the speakers of another file, such as ExVo's `data_info.csv` for the clips of A-VB."""
    table = read_table(path)
    ids, column = id_column(path, table[0], None), named_column(table[0], SPEAKER_COLUMNS)
    if column is None:
        raise InputDataError(
            f"{path}: lacks a column {' or '.join(SPEAKER_COLUMNS)}; it has {', '.join(table[0])}"
        )
    speakers = {task.identify(row[ids]): row[column] or None for row in table}
    for row in rows:
        if row.id not in speakers:
            raise InputDataError(f"{path}: names no speaker for {row.id}")
    return [replace(row, speaker=speakers[row.id]) for row in rows]


def check_labelled(task: Task, path: Path, split: str, rows: list[LabelRow], values: np.ndarray) -> None:
    known = ~np.isnan(values)
    if not known.any():
        raise InputDataError(f"{path}: the split {split} has no labels to score by")
    if not task.partial and not known.all():
        row, column = (int(k[0]) for k in np.nonzero(~known))
        raise InputDataError(f"{path}: {rows[row].id} has no label for {task.columns[column].name}")
    for index, column in enumerate(task.columns):
        present = values[known[:, index], index]
        if column.classes:
            missing = set(column.classes) - {column.classes[int(k)] for k in present} - set(task.may_lack)
            if missing:
                names = ", ".join(name for name in column.classes if name in missing)
                raise InputDataError(f"{path}: has no clip of {names} in the split {split}")
        elif len(np.unique(present)) < 2:
            raise InputDataError(
                f"{path}: {column.name} has {len(present)} labels in the split {split} and no two different ones"
            )


def check_partition(task: Task, path: Path, partition: str, split: str, clips: int, speakers: int) -> None:
    published = task.partitions[partition]
    if published.sizes[split] != (clips, speakers):
        wanted = "{} clips of {} speakers".format(*published.sizes[split])
        raise InputDataError(
            f"{path}: {partition} {split} is {wanted} in {published.place}, got {clips} of {speakers}"
        )
