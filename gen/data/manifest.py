"""A manifest: one JSON line per clip, validated on the way in and on the way out.

Paths are relative to a root folder: the `root` named in a `report.json` beside the manifest (written by
`vocalburst prepare`), else the manifest's own folder. A clip inside a tar shard is `shard.tar::member`.
An emotion that is not in `labelled` is unknown for the clip; one that is labelled but absent from `emotions`
is 0.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vocalburst.gen.data.audio import read_wave, write_file
from vocalburst.gen.data.emotions import VOCABULARY, labelled_names, nearest_names
from vocalburst.gen.data.errors import InputDataError

SPLITS = ("train", "dev", "test")
TAR_SEPARATOR = "::"


class Clip(BaseModel):
    """One recording, or a part of one. Times in seconds, levels in dBFS."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    path: str = Field(min_length=1)
    start: float = Field(0.0, ge=0)  # of the file
    end: float | None = None  # of the file; None = to its end
    corpus: str
    split: str
    speaker: str | None = None
    labelled: str | tuple[str, ...]  # a key of LABEL_SETS, or names
    emotions: dict[str, float]
    country: str | None = None
    age: float | None = Field(None, ge=0, le=120)  # years
    role: str | None = None  # acted character (MODULATE-SONATA)
    domain: str = "burst"  # "speech" for windows of acted sentences
    seconds: float = Field(gt=0)
    active_seconds: float = Field(ge=0)  # voice-active part, see audio.active_span
    level_db: float  # root mean square of the voice-active part
    peak_db: float
    tags: tuple[str, ...] = ()

    @field_validator("path")
    @classmethod
    def _inside_root(cls, path: str) -> str:
        for part in path.split(TAR_SEPARATOR):
            pure = PurePosixPath(part)
            if pure.is_absolute() or ".." in pure.parts or "\\" in part:
                raise ValueError(f"path {path!r} leaves the root folder")
        return path

    @field_validator("split")
    @classmethod
    def _known_split(cls, split: str) -> str:
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
        return split

    @model_validator(mode="after")
    def _known_labels(self) -> Clip:
        labelled = labelled_names(self.labelled)
        for name in (*labelled, *self.emotions):
            if name not in VOCABULARY:
                nearest = ", ".join(nearest_names(name, VOCABULARY))
                raise ValueError(f"unknown emotion {name!r}; nearest: {nearest}")
        for name, value in self.emotions.items():
            if name not in labelled:
                raise ValueError(f"emotion {name!r} has a value but is not among the labelled ones")
            if not 0 <= value <= 1:
                raise ValueError(f"label {name}={value:g} is outside 0 to 1")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end {self.end:g} s is not after start {self.start:g} s")
        return self

    def to_json(self) -> str:
        return self.model_dump_json(exclude_defaults=True)


def first_problem(error: ValidationError) -> str:
    """The first problem of a pydantic error in one sentence: which field, what was expected, what came."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def write_manifest(path: str | Path, clips: Iterable[Clip]) -> None:
    """Write JSONL, whole or not at all."""
    write_file(path, "".join(clip.to_json() + "\n" for clip in clips).encode())


def read_manifest(path: str | Path) -> list[Clip]:
    """Read and validate every line. Raises InputDataError naming file, line and problem. Ids are unique."""
    path = Path(path)
    clips: list[Clip] = []
    first_line: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path}: cannot be read as a manifest ({error})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            clip = Clip.model_validate_json(line)
        except ValidationError as error:
            raise InputDataError(f"{path}, line {number}: {first_problem(error)}") from None
        except InputDataError as error:
            raise InputDataError(f"{path}, line {number}: {error}") from None
        if clip.id in first_line:
            first = first_line[clip.id]
            raise InputDataError(f"{path}, line {number}: id {clip.id!r} already stands on line {first}")
        first_line[clip.id] = number
        clips.append(clip)
    if not clips:
        raise InputDataError(f"{path}: holds no clips")
    return clips


def manifest_root(path: str | Path) -> Path:
    """The folder that the paths of a manifest start from. Raises InputDataError on a damaged report."""
    report = Path(path).parent / "report.json"
    if report.exists():
        try:
            root = json.loads(report.read_text(encoding="utf-8")).get("root")
        except (ValueError, AttributeError):
            raise InputDataError(f"{report}: is not the JSON report that prepare writes") from None
        if root is not None:
            return Path(root)
    return Path(path).parent


def check_files(path: str | Path, clips: Iterable[Clip]) -> None:
    """Raise InputDataError if files (or tar shards) of a manifest are missing: the first, and how many."""
    root = manifest_root(path)
    files = {clip.path.split(TAR_SEPARATOR)[0] for clip in clips}
    missing = sorted(file for file in files if not (root / file).is_file())
    if missing:
        first = root / missing[0]
        raise InputDataError(
            f"{path}: {len(missing)} of {len(files)} files are missing, the first is {first}"
        )


def iterate_file_bytes(root: Path, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every wanted file, each tar shard opened once, by shard, then by place in it."""
    by_file: dict[str, set[str]] = {}
    for path in paths:
        file, _, member = path.partition(TAR_SEPARATOR)
        by_file.setdefault(file, set()).add(member)
    for file, members in by_file.items():
        if members == {""}:
            try:
                data = (root / file).read_bytes()
            except OSError as error:
                raise InputDataError(f"{root / file}: cannot be read ({error.strerror})") from None
            yield file, data
            continue
        try:
            with tarfile.open(root / file) as tar:
                for member in tar:
                    if member.isfile() and member.name in members:
                        members.discard(member.name)
                        yield f"{file}{TAR_SEPARATOR}{member.name}", tar.extractfile(member).read()
        except (OSError, tarfile.TarError) as error:
            raise InputDataError(f"{root / file}: cannot be read as a tar shard ({error})") from None
        if members:
            raise InputDataError(f"{root / file}: has no member {min(members)}")


def read_clip(root: Path, clip: Clip):
    """The wave [L] of one clip (float32, `audio.SAMPLE_RATE`)."""
    ((name, data),) = iterate_file_bytes(root, [clip.path])
    return read_wave(data, start=clip.start, end=clip.end, name=f"{root / name}")
