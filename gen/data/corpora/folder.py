"""Any folder of labelled clips.

Layouts, told apart by what is there:

    metadata.csv                     AudioFolder: a column file_name, and the emotion as below
    {train,dev,test}/metadata.csv    the same per split, file_name relative to the split's folder
    EMOTION/*.wav                    one folder per emotion
    {train,dev,test}/EMOTION/*.wav   the same per split

In a `metadata.csv` the emotion is a column `emotion` (`awe`, or a mix `awe:0.7,fear:0.3`) or one column per
emotion with intensities from 0 to 1 (empty = not known). Optional columns: speaker, split, country, age.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from vocalburst.gen.data.audio import DECODABLE
from vocalburst.gen.data.corpora import Candidate, LeftOut
from vocalburst.gen.data.corpora.splits import SPLIT_NAMES, hashed_splits, split_name
from vocalburst.gen.data.corpora.table import intensity, number, read_table, require_columns
from vocalburst.gen.data.emotions import VOCABULARY, normalise_name, parse_request, resolve_name
from vocalburst.gen.data.errors import InputDataError

METADATA = "metadata.csv"
SHARES = (8, 1, 1)  # train, dev and test of a folder that brings no split
OPTIONAL_COLUMNS = ("speaker", "split", "country", "age")


@dataclass(frozen=True)
class Entry:
    """One clip as the folder describes it; `path` starts at the root, `known` are the emotions labelled."""

    path: str
    emotions: dict[str, float]
    known: frozenset[str] | None = None  # None: all that occur in the folder
    split: str | None = None
    speaker: str | None = None
    country: str | None = None
    age: float | None = None
    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_folder(
    root: Path, corpus: str | None = None, speaker_pattern: str | None = None
) -> Iterator[Candidate | LeftOut]:
    """Candidates in the order of paths, after a `LeftOut` for every other file.

    corpus: its name in the manifest, at the head of ids and speakers; the folder's own name if not given.
    speaker_pattern: regular expression with a group `speaker`, searched in a file's relative path.
    Raises InputDataError for an unknown emotion (naming the nearest), a label outside 0 to 1, a listed file
    that is missing, and when there is nothing to read.
    """
    corpus = corpus or root.resolve().name
    files = visible_files(root)
    tops = {path.parts[0].lower() for path in files if len(path.parts) > 1}
    split_first = bool(tops) and tops <= set(SPLIT_NAMES)
    tables = [root / METADATA] if (root / METADATA).is_file() else sorted(root.glob(f"*/{METADATA}"))
    if tables:
        entries = [entry for table in tables for entry in read_metadata(root, table, split_first)]
    else:
        entries = list(read_emotion_folders(root, files, split_first))
    if speaker_pattern:
        entries = [replace(entry, speaker=find_speaker(entry.path, speaker_pattern)) for entry in entries]
    used = {entry.path for entry in entries} | {table.relative_to(root).as_posix() for table in tables}
    yield from (left_out(str(path), corpus, bool(tables)) for path in files if str(path) not in used)
    if not entries:
        raise InputDataError(
            f"{root}: expected EMOTION/*.wav, split folders of these or {METADATA}, found neither"
        )
    known = {name for entry in entries for name in entry.emotions}
    splits, note = choose_splits(entries)
    for entry in sorted(entries, key=lambda entry: entry.path):
        yield Candidate(
            id=f"{corpus}-{PurePosixPath(entry.path).with_suffix('').as_posix().replace('/', '-')}",
            path=entry.path,
            corpus=corpus,
            split=splits[entry.path],
            speaker=f"{corpus}-{entry.speaker}" if entry.speaker else None,
            labelled=tuple(
                name for name in VOCABULARY if name in (known if entry.known is None else entry.known)
            ),
            emotions=entry.emotions,
            country=entry.country,
            age=entry.age,
            aliases=entry.aliases,
            notes=(note, *entry.notes),
        )


def left_out(path: str, corpus: str, has_table: bool) -> LeftOut:
    """Why a file of the folder is no clip."""
    name = f"{corpus}-{path}"
    if PurePosixPath(path).suffix.lower() not in DECODABLE:
        return LeftOut(name, path, "not audio", f"not one of {', '.join(sorted(DECODABLE))}")
    if has_table:
        return LeftOut(name, path, "unlisted", f"not a row of {METADATA}")
    return LeftOut(name, path, "unlabelled", "does not lie in the folder of an emotion")


def visible_files(root: Path) -> list[PurePosixPath]:
    """Sorted paths, relative to `root`, of the files of which no part is hidden (`._clip.wav`, `.git/`)."""
    paths = [PurePosixPath(file.relative_to(root).as_posix()) for file in root.rglob("*") if file.is_file()]
    return sorted(path for path in paths if not any(part.startswith(".") for part in path.parts))


def read_emotion_folders(root: Path, files: list[PurePosixPath], split_first: bool) -> Iterator[Entry]:
    """Entries of `EMOTION/**` or `SPLIT/EMOTION/**`."""
    depth = 2 if split_first else 1
    for path in files:
        parts = path.parts
        if path.suffix.lower() not in DECODABLE or len(parts) <= depth:
            continue
        folder = root.joinpath(*parts[:depth])
        try:
            mix, alias = resolve_name(folder.name)
        except InputDataError as error:
            raise InputDataError(f"{folder}: {error}") from None
        yield Entry(
            path=str(path),
            emotions=mix,
            split=split_name(parts[0], str(folder)) if split_first else None,
            aliases=(alias,) if alias else (),
        )


def read_metadata(root: Path, table: Path, split_first: bool) -> Iterator[Entry]:
    """Entries of one `metadata.csv`, whose file names start at its own folder."""
    rows = read_table(table)
    require_columns(table, rows, ("file_name",))
    emotion_columns: dict[str, str] = {}
    aliases: list[str] = []
    if "emotion" not in rows[0]:
        for column in rows[0]:
            if normalise_name(column) in VOCABULARY:
                mix, alias = resolve_name(column)
                emotion_columns[column] = next(iter(mix))
                aliases += [alias] if alias else []
        if not emotion_columns:
            raise InputDataError(
                f"{table}: expected a column emotion or one per emotion, found {', '.join(rows[0])}"
            )
    ignored = set(rows[0]) - {"file_name", "emotion", *OPTIONAL_COLUMNS} - set(emotion_columns)
    notes = (f"columns of {METADATA} that are not read: {', '.join(sorted(ignored))}",) if ignored else ()
    listed: set[str] = set()
    for line, row in enumerate(rows, 2):
        where = f"{table}, line {line}"
        path = listed_path(root, table, row["file_name"], where)
        if path in listed:
            raise InputDataError(f"{where}: file_name {row['file_name']!r} stands there twice")
        listed.add(path)
        if emotion_columns:
            values = {
                name: intensity(row[column], f"{where}, {column}") for column, name in emotion_columns.items()
            }
            emotions = {name: value for name, value in values.items() if value is not None}
            known, renamed = frozenset(emotions), tuple(aliases)
        else:
            emotions, renamed = read_mix(row["emotion"], where)
            known = None
        split = row.get("split") or (path.split("/")[0] if split_first else None)
        yield Entry(
            path=path,
            emotions=emotions,
            known=known,
            split=split_name(split, where) if split else None,
            speaker=row.get("speaker") or None,
            country=row.get("country", "").lower() or None,
            age=number(row.get("age", ""), f"{where}, age"),
            aliases=renamed,
            notes=notes,
        )


def read_mix(written: str, where: str) -> tuple[dict[str, float], tuple[str, ...]]:
    """Emotions and aliases of a cell `awe` or `awe:0.7,fear:0.3`."""
    try:
        request = parse_request(written)
    except InputDataError as error:
        raise InputDataError(f"{where}: {error}") from None
    return request.vector, request.aliases


def listed_path(root: Path, table: Path, file_name: str, where: str) -> str:
    """Path below `root` of a file named in a table; raises InputDataError if it is outside or not there."""
    pure = PurePosixPath(file_name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in file_name or not file_name:
        raise InputDataError(f"{where}: file_name {file_name!r} leaves the folder")
    if not (table.parent / pure).is_file():
        raise InputDataError(f"{where}: {table.parent / pure} is listed but missing")
    return (table.parent / pure).relative_to(root).as_posix()


def find_speaker(path: str, pattern: str) -> str:
    """The group `speaker` of `pattern` in a path."""
    try:
        match = re.search(pattern, path)
    except re.error as error:
        raise InputDataError(f"speaker pattern {pattern!r}: {error}") from None
    if not match or not match.groupdict().get("speaker"):
        raise InputDataError(
            f"{path}: no group (?P<speaker>...) of the speaker pattern {pattern!r} is found in it"
        )
    return match["speaker"]


def choose_splits(entries: list[Entry]) -> tuple[dict[str, str], str]:
    """Split of every path, and the sentence that says how it came about."""
    without = sum(entry.split is None for entry in entries)
    if without == 0:
        return {entry.path: entry.split for entry in entries}, "splits: as the folder says"
    if without < len(entries):
        raise InputDataError(
            f"{without} of {len(entries)} clips have no split, the first is "
            f"{next(entry.path for entry in entries if entry.split is None)}"
        )
    keys = {
        entry.path: f"speaker {entry.speaker}" if entry.speaker else f"clip {entry.path}" for entry in entries
    }
    split_of = hashed_splits(keys.values(), "folder-v1", SHARES)
    unknown = sum(entry.speaker is None for entry in entries)
    note = "splits: speakers by hash, 8 : 1 : 1"
    if unknown:
        note = f"splits: by clip for {unknown} clips without speaker, so a voice may stand in two splits"
    return {path: split_of[key] for path, key in keys.items()}, note
