"""What a folder or a manifest says its clips are: a list of `Listed`, before any sound is opened.

Every clip carries one emotion here, since everything that is measured is measured per emotion. A row of an entry
that asks for a mix is an error. Real clips may be rated on many emotions at once: such a clip belongs to each
emotion whose value is 1, the rule of all systems of ExVo 2022 (protocols 1.2), or to the only one it names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vocalburst.gen.data.audio import DECODABLE
from vocalburst.gen.data.corpora.folder import METADATA, read_emotion_folders, read_metadata, visible_files
from vocalburst.gen.data.corpora.splits import SPLIT_NAMES
from vocalburst.gen.data.emotions import parse_request
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, first_problem, manifest_root, read_manifest

FULL_STRENGTH = 1 - 1e-6  # a rating of 1 that went through a text file
UNDECODABLE = frozenset({".webm", ".m4a", ".aac", ".wma", ".mp4", ".amr", ".3gp", ".mka"})
SETTINGS = (
    "steps", "guidance", "scheduler", "intensity", "raw", "trim", "vocoder", "best_of", "strength", "run_seed",
    "package_version",
)  # fmt: skip
MANY = 5  # distinct values of a setting that are still written out


@dataclass(frozen=True)
class Listed:
    """One clip as listed: `path` is below the root (`shard.tar::member` inside a shard), times in seconds.

    sha256: of the whole file, where the list tells it.
    """

    name: str
    path: str
    emotion: str
    speaker: str | None = None
    split: str | None = None
    sha256: str | None = None
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True)
class Listing:
    """A list of clips and what is known of all of them; `notes` are sentences for the reader of a table."""

    root: Path
    clips: tuple[Listed, ...]
    selected_by: tuple[str, ...] = ()
    checkpoint: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


class EntryRow(BaseModel):
    """What a line of a JSON list of clips must say; of the other keys only `SETTINGS` are looked at."""

    model_config = ConfigDict(frozen=True, extra="allow", cache_strings=False)

    file_name: str = Field(min_length=1)
    emotion: str
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    speaker: str | None = None
    split: str | None = None
    checkpoint: str | None = None
    selected_by: tuple[str, ...] = ()

    @field_validator("file_name")
    @classmethod
    def _inside_folder(cls, name: str) -> str:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name:
            raise ValueError(f"file name {name!r} leaves the folder")
        return name


def read_listing(path: Path, split: str | None = None) -> Listing:
    """The clips of a folder or of a `.jsonl` file, those of one split when it is given.

    Raises InputDataError naming the file, the line and the problem, also when nothing is left.
    """
    listing = read_all(path, split)
    if split is None:
        return listing
    clips = tuple(clip for clip in listing.clips if clip.split == split)
    if not clips:
        splits = Counter(clip.split for clip in listing.clips if clip.split)
        there = ", ".join(f"{name} ({n})" for name, n in splits.items()) or "clips without a split"
        raise InputDataError(f"{path}: expected clips of the split {split!r}, found {there}")
    return replace(listing, clips=clips)


def read_all(path: Path, split: str | None) -> Listing:
    """Every clip of a folder or file; `split` only chooses what the notes speak of."""
    if path.is_file():
        return read_jsonl(path, split)
    manifest, lines, table = path / "manifest.jsonl", path / "metadata.jsonl", path / METADATA
    if manifest.is_file():
        return read_jsonl(manifest, split)
    if lines.is_file() and table.is_file():
        raise InputDataError(f"{path}: expected one list of clips, found both {lines.name} and {table.name}")
    return read_jsonl(lines, split) if lines.is_file() else read_tree(path)


def read_jsonl(path: Path, split: str | None) -> Listing:
    """A manifest of real clips (its rows have a `path`) or a list of an entry's (a `file_name`)."""
    rows = list(iterate_lines(path))
    if not rows:
        raise InputDataError(f"{path}: holds no clips")
    try:
        first = json.loads(rows[0][1])
    except ValueError:
        first = None
    if isinstance(first, dict) and "path" in first and "file_name" not in first:
        return read_real(path, split)
    return read_entry(path, rows)


def iterate_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, line) of the lines that are not empty."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputDataError(f"{path}: cannot be read as a manifest of clips ({reason})") from None


def read_entry(path: Path, lines: list[tuple[int, str]]) -> Listing:
    """The list that `generate` and `resynthesise` write, or AudioFolder's `metadata.jsonl`.

    A `manifest.jsonl` must tell every file's sha256, so that an altered file cannot go unnoticed.
    """
    clips: list[Listed] = []
    rows: list[EntryRow] = []
    for number, line in lines:
        where = f"{path}, line {number}"
        try:
            row = EntryRow.model_validate_json(line)
        except ValidationError as error:
            raise InputDataError(f"{where}: {first_problem(error)}") from None
        if row.sha256 is None and path.name == "manifest.jsonl":
            raise InputDataError(f"{where}: sha256 is missing, expected that of the file {row.file_name!r}")
        emotion = only_emotion(row.emotion, where)
        clips.append(Listed(row.file_name, row.file_name, emotion, row.speaker, row.split, row.sha256))
        rows.append(row)
    settings = {key: [(row.model_extra or {}).get(key) for row in rows] for key in SETTINGS}
    return Listing(
        root=path.parent,
        clips=tuple(clips),
        selected_by=tuple(sorted({name for row in rows for name in row.selected_by})),
        checkpoint=told([row.checkpoint for row in rows]),
        settings=tuple((key, text) for key, values in settings.items() if (text := told(values)) is not None),
        notes=unlisted(path.parent, {clip.path for clip in clips}, path.name),
    )


def told(values: list) -> str | None:
    """The values of a column in one text, `none` among them where only some rows have one; None if no row has."""
    texts = {
        "none" if value is None else value if isinstance(value, str) else json.dumps(value)
        for value in values
    }
    if texts == {"none"}:
        return None
    return ", ".join(sorted(texts)) if len(texts) <= MANY else f"{len(texts)} different values"


def only_emotion(written: str, where: str) -> str:
    """The name `written` stands for. Raises InputDataError for a mix (`awe+fear`) and an unknown name."""
    try:
        request = parse_request(written.replace("+", ","))
    except InputDataError as error:
        raise InputDataError(f"{where}: {error}") from None
    return single(request.vector, written, where)


def single(emotions: dict[str, float], written: str, where: str) -> str:
    if len(emotions) != 1:
        raise InputDataError(
            f"{where}: expected one emotion, got the mix {written!r}, which cannot be judged per emotion"
        )
    return next(iter(emotions))


def read_tree(root: Path) -> Listing:
    """Any system's folder: EMOTION/*.wav, split folders of these, or AudioFolder's `metadata.csv`."""
    files = visible_files(root)
    tops = {path.parts[0].lower() for path in files if len(path.parts) > 1}
    split_first = bool(tops) and tops <= set(SPLIT_NAMES)
    tables = [root / METADATA] if (root / METADATA).is_file() else sorted(root.glob(f"*/{METADATA}"))
    if tables:
        entries = [entry for table in tables for entry in read_metadata(root, table, split_first)]
    else:
        entries = list(read_emotion_folders(root, files, split_first))
        check_all_used(root, files, {entry.path for entry in entries})
    if not entries:
        raise InputDataError(
            f"{root}: expected manifest.jsonl, {METADATA} or EMOTION/*.wav, found none of them"
        )
    clips = []
    for entry in entries:
        strong = {name: value for name, value in entry.emotions.items() if value > 0}
        full = {name: value for name, value in strong.items() if value >= FULL_STRENGTH}
        emotion = single(full if len(full) == 1 else strong, " + ".join(strong), f"{root / entry.path}")
        clips.append(Listed(entry.path, entry.path, emotion, entry.speaker, entry.split))
    return Listing(root, tuple(clips), notes=unlisted(root, {clip.path for clip in clips}, METADATA))


def check_all_used(root: Path, files: list[PurePosixPath], used: set[str]) -> None:
    """Without a list every sound file is meant to be judged, so one that cannot be is an error."""
    for path in files:
        if path.suffix.lower() in UNDECODABLE:
            raise InputDataError(
                f"{root / path}: cannot be decoded, expected one of {', '.join(sorted(DECODABLE))}"
            )
        if path.suffix.lower() in DECODABLE and str(path) not in used:
            raise InputDataError(f"{root / path}: does not lie in the folder of an emotion")


def unlisted(root: Path, listed: set[str], name: str) -> tuple[str, ...]:
    """A note on sound files beside a list that does not name them."""
    suffixes = DECODABLE | UNDECODABLE
    others = [
        str(path)
        for path in visible_files(root)
        if path.suffix.lower() in suffixes and str(path) not in listed
    ]
    if not others:
        return ()
    return (
        f"{root}: {len(others)} sound files are not listed in {name} and not judged, the first is {others[0]}",
    )


def read_real(path: Path, split: str | None) -> Listing:
    """A manifest of `vocalburst prepare`; a clip rated 1 on several emotions is listed under each of them."""
    clips: list[Listed] = []
    without: list[Clip] = []
    for clip in read_manifest(path):
        emotions = full_emotions(clip.emotions)
        if not emotions and split in (None, clip.split):
            without.append(clip)
        for emotion in emotions:
            name = clip.id if len(emotions) == 1 else f"{clip.id} ({emotion})"
            clips.append(
                Listed(name, clip.path, emotion, clip.speaker, clip.split, None, clip.start, clip.end)
            )
    notes = ()
    if without:
        notes = (
            f"{path}: {len(without)} clips belong to no single emotion and are not used, the first is {without[0].id}",
        )
    return Listing(manifest_root(path), tuple(clips), notes=notes)


def full_emotions(emotions: dict[str, float]) -> list[str]:
    """The emotions that a rated clip belongs to; see the module's docstring."""
    positive = [name for name, value in emotions.items() if value > 0]
    if len(positive) == 1:
        return positive
    return [name for name in positive if emotions[name] >= FULL_STRENGTH]
