"""Readers of label files: what a corpus publishes -> one `LabelRow` per clip, in the order of the file.

A reader is a function `(task, path, options) -> list[LabelRow]`; the registry is the plain dict `READERS`. Which rows
are scored, and whether they can be, is decided in `labels`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from vocalburst.eval.tasks.acted import READERS as CORPORA
from vocalburst.eval.tasks.acted import read_name
from vocalburst.eval.tasks.columns import SUFFIXES, Column, find_columns, plain
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.corpora.splits import split_name
from vocalburst.gen.data.corpora.table import read_table
from vocalburst.gen.data.emotions import VOCABULARY
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, read_manifest

ID_COLUMNS = ("File_ID", "filename", "id", "clip_name", "name")
SPEAKER_COLUMNS = ("Subject_ID", "speaker", "speaker_id")
CERTAIN = 1 - 1e-6  # intensity from which a clip counts as one of the emotion


@dataclass(frozen=True)
class LabelRow:
    """One clip. values: [C] in the order of the task's columns, NaN where not labelled; raw: the same as written.

    left_out: why the clip is not scored, None if it is.
    """

    id: str
    values: tuple[float, ...]
    raw: tuple[float, ...]
    split: str | None = None
    speaker: str | None = None
    left_out: str | None = None


@dataclass(frozen=True)
class LabelOptions:
    """How to read a label file that is written another way. columns: task's column -> the file's name of it."""

    split: str | None = None
    partition: str | None = None
    id_column: str | None = None
    columns: dict[str, str] = field(default_factory=dict)


def named_column(header: Iterable[str], names: Iterable[str]) -> str | None:
    """The first of `names` that the header has, as the header spells it."""
    written = {plain(name): name for name in header}
    return next((written[plain(name)] for name in names if plain(name) in written), None)


def id_column(path: Path, header: Iterable[str], asked: str | None) -> str:
    """The column of ids. Raises InputDataError where there is none."""
    header = list(header)
    found = named_column(header, (asked,) if asked else ID_COLUMNS)
    if found is None:
        expected = asked or " or ".join(ID_COLUMNS)
        raise InputDataError(f"{path}: lacks a column {expected}; it has {', '.join(header)}")
    return found


def read_matrix(
    path: Path,
    rows: list[dict[str, str]],
    task: Task,
    found: dict[str, str],
    ids: str,
    *,
    prediction: bool = False,
) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]], str | None]:
    """Values as they are compared, values as written, and a sentence if the two differ.

    A task with a `rescaled` range is read in that range as soon as one value is above 1.
    """
    columns, note = task.columns, None
    if task.rescaled and any(above_one(row[name]) for row in rows for name in found.values()):
        low, high = task.rescaled
        columns = tuple(replace(column, bounds=(low, high)) for column in columns)
        note = f"{path}: written as {low:g} to {high:g}, compared as 0 to 1"
    raw = []
    for row in rows:
        where = f"{path}, {ids} {row[ids]}"
        raw.append(tuple(c.read(row[found[c.name]], where, prediction=prediction) for c in columns))
    if note is None:
        return raw, raw, None
    return [tuple((value - low) / (high - low) for value in row) for row in raw], raw, note


def above_one(cell: str) -> bool:
    try:
        return float(cell) > 1
    except ValueError:
        return False  # said when the cell is read


def read_label_table(task: Task, path: Path, options: LabelOptions, *, split: bool) -> list[LabelRow]:
    """A CSV with a row per clip. split: whether it has to have a column of splits."""
    rows = read_table(path)
    ids = id_column(path, rows[0], options.id_column)
    columns = [replace(c, aliases=(options.columns[c.name],), name=options.columns[c.name]) if c.name in options.columns
               else c for c in task.columns]  # fmt: skip
    written = find_columns(path, rows[0], columns)
    found = {own.name: written[other.name] for own, other in zip(task.columns, columns, strict=True)}
    splits = named_column(rows[0], (options.partition, "Split") if options.partition else ("Split",))
    if splits is None and split:
        raise InputDataError(f"{path}: lacks the columns Split; it has {', '.join(rows[0])}")
    speakers = named_column(rows[0], SPEAKER_COLUMNS)
    left_out = [reason_to_leave_out(task, row, found) for row in rows]
    kept = [row for row, reason in zip(rows, left_out, strict=True) if reason is None]
    values, raw, _ = read_matrix(path, kept, task, found, ids)
    numbers = iter(zip(values, raw, strict=True))
    unknown = (math.nan,) * len(task.columns)
    result = []
    for row, reason in zip(rows, left_out, strict=True):
        value, own = next(numbers) if reason is None else (unknown, unknown)
        where = f"{path}, {ids} {row[ids]}"
        result.append(
            LabelRow(
                id=task.identify(row[ids]),
                values=value,
                raw=own,
                split=split_name(row[splits], where) if splits else None,
                speaker=(row[speakers] or None) if speakers else None,
                left_out=reason,
            )
        )
    return result


def reason_to_leave_out(task: Task, row: dict[str, str], found: dict[str, str]) -> str | None:
    """Why a row of a task on a subset of emotions is not scored."""
    if not task.subset:
        return None
    (column,) = task.columns
    cell = row[found[column.name]]
    return foreign_emotion(column, column.named(cell, "") if cell else "")


def foreign_emotion(column: Column, name: str) -> str | None:
    if name in VOCABULARY and name not in column.classes:
        return f"{name} is none of the {len(column.classes)} emotions of the task"
    return None


def read_avb(task: Task, path: Path, options: LabelOptions) -> list[LabelRow]:
    """`high_info.csv`, `two_info.csv`, `culture_info.csv` or `type_info.csv` of A-VB; no speakers."""
    return read_label_table(task, path, options, split=True)


def read_exvo(task: Task, path: Path, options: LabelOptions) -> list[LabelRow]:
    """`data_info.csv` of ExVo; the Test rows are blind, and their Subject_ID may be empty."""
    rows = read_label_table(task, path, options, split=True)
    if task.support and not any(row.speaker for row in rows):
        raise InputDataError(f"{path}: names no speakers, expected a column Subject_ID")
    return rows


def read_compare(task: Task, path: Path, options: LabelOptions) -> list[LabelRow]:
    """ComParE: `lab/devel.csv`, whose name or whose ids `devel_00001.wav` tell the split; or the folder `lab`."""
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise InputDataError(f"{path}: expected train.csv, devel.csv or test.csv, found none")
    result = []
    for file in files:
        for row in read_label_table(task, file, options, split=False):
            result.append(replace(row, split=row.split or compare_split(row.id, file)))
    return result


def compare_split(name: str, file: Path) -> str | None:
    for written in (name.partition("_")[0], file.stem):
        try:
            return split_name(written, "")
        except InputDataError:
            continue
    return None


def read_clips(task: Task, path: Path, options: LabelOptions) -> list[LabelRow]:
    """A manifest of `vocalburst prepare` (.jsonl), or a CSV: id, emotion, and perhaps speaker and split."""
    if path.suffix != ".jsonl":
        return read_label_table(task, path, options, split=False)
    return [clip_row(task, clip, path) for clip in read_manifest(path)]


def clip_row(task: Task, clip: Clip, path: Path) -> LabelRow:
    """A clip is of the one emotion that it has at intensity 1, the rule of ExVo's systems."""
    (column,) = task.columns
    where = f"{path}, id {clip.id}"
    names = {column.named(name, where) for name, value in clip.emotions.items() if value >= CERTAIN}
    value, reason = math.nan, None
    if len(names) != 1:
        reason = f"it has {len(names)} emotions of intensity 1, expected one"
    else:
        (name,) = names
        reason = foreign_emotion(column, name) if task.subset else None
        value = math.nan if reason else column.read(name, where)
    return LabelRow(task.identify(clip.id), (value,), (value,), clip.split, clip.speaker, reason)


def read_acted(task: Task, path: Path, options: LabelOptions) -> list[LabelRow]:
    """File names of CREMA-D, RAVDESS, SAVEE or TESS: a folder of them, a text with one a line, or a CSV of them.

    A CSV may have a column of splits; the corpora have none.
    """
    corpora = (task.name,) if task.name in CORPORA else tuple(CORPORA)
    (column,) = task.columns
    splits: dict[str, str] = {}
    if path.is_dir():
        files = sorted(
            f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")
        )
        names = [file.relative_to(path).as_posix() for file in files]
    elif path.suffix == ".txt":
        names = [line.strip() for line in text_of(path).splitlines() if line.strip()]
    else:
        rows = read_table(path)
        ids, split = id_column(path, rows[0], options.id_column), named_column(rows[0], ("Split",))
        names = [row[ids] for row in rows]
        splits = (
            {row[ids]: split_name(row[split], f"{path}, {ids} {row[ids]}") for row in rows} if split else {}
        )
    result = []
    for name in names:
        try:
            file = read_name(name, corpora)
        except InputDataError as error:
            raise InputDataError(f"{path}: {error}") from None
        value = math.nan if file.emotion is None else float(column.classes.index(file.emotion))
        result.append(LabelRow(file.id, (value,), (value,), splits.get(name), file.speaker, file.left_out))
    return result


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputDataError(f"{path}: cannot be read as a list of names ({reason})") from None


READERS: dict[str, Callable[[Task, Path, LabelOptions], list[LabelRow]]] = {
    "avb": read_avb,
    "exvo": read_exvo,
    "compare": read_compare,
    "clips": read_clips,
    "acted": read_acted,
}
