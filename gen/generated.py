"""The record of a generated clip: one line of the `manifest.jsonl` that `generate` writes beside its clips.

Read back by `generate --from-manifest`, by a rerun of an interrupted run, and by whatever judges the clips.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import first_problem


class GeneratedClip(BaseModel):
    """One clip: what was asked for, how it was made, what came out. Times in seconds, levels in dBFS.

    `seconds` and everything below it is measured on the file as a listener decodes it.
    """

    # Without the cache of strings, memory stays flat while a long manifest is read.
    model_config = ConfigDict(frozen=True, extra="forbid", cache_strings=False)

    file_name: str = Field(min_length=1)  # relative to the manifest's folder
    emotion: str  # as asked: `awe`, or `awe+fear` for a mix and for a sweep from one to the other
    emotion_vector: dict[str, float]  # as the model got it, intensity included
    aliases: tuple[str, ...] = ()  # `asked -> meant`, where the model has another name
    intensity: float = Field(gt=0, le=1)
    seed: int = Field(ge=0, lt=2**63)  # of this clip alone; of the winner where it was chosen among several
    run_seed: int = Field(ge=0)
    index: int = Field(ge=0)  # within the emotion
    steps: int = Field(ge=1)
    guidance: float
    scheduler: str
    voice: int | None  # the one used; None: none, as of a varied clip
    second_voice: int | None = None  # mixed into it; drawn unless `voice` was asked for
    voice_asked: int | None
    duration_asked: float | None  # None: drawn from the prior, or that of the varied clip
    stretch: float | None = (
        None  # factor in time by which the voice was brought to `duration_asked`; 1: as it came
    )
    prior_vector: dict[str, float] | None = (
        None  # that length, level and voice are drawn by, if not emotion_vector
    )
    quantile: float | None = Field(None, ge=0, lt=1)  # of the train clip that these are those of, by voice
    sweep_position: float | None = Field(None, ge=0, le=1)  # 0 at the start of the sweep, 1 at its end
    like: str | None = None  # the real clip that was varied, as it was named
    like_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")  # of that file
    strength: float | None = Field(None, gt=0, le=1)  # noise share that it was taken to
    best_of: int | None = Field(None, ge=2)  # candidates that this clip was chosen from
    selected_by: tuple[str, ...] = ()  # the evaluator that chose; it must not score the clip
    seconds: float = Field(ge=0)
    active_seconds: float = Field(ge=0)
    sample_rate: int
    format: str
    raw: bool
    trim: bool
    peak_db: float | None  # None: digital silence
    level_db: float | None  # root mean square of the voice-active part
    loudness_lufs: float | None  # ITU-R BS.1770-4; None: gated to silence
    mel_file_name: str | None = None
    mel_sha256: str | None = None
    checkpoint: str  # hash of the checkpoint's weights and configs
    vocoder: str  # "checkpoint", or the path or Hub id given by hand
    device: str
    package_version: str
    torch_version: str
    created_utc: str  # start of the run
    synthetic: Literal[True] = True
    license: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")  # of the sound file

    @model_validator(mode="after")
    def _whole_stories(self) -> GeneratedClip:
        if len({self.like is None, self.like_sha256 is None, self.strength is None}) > 1:
            raise ValueError("like, like_sha256 and strength belong together")
        if (self.best_of is None) != (not self.selected_by):
            raise ValueError("best_of and selected_by belong together")
        return self

    @field_validator("file_name", "mel_file_name")
    @classmethod
    def _inside_folder(cls, name: str | None) -> str | None:
        if name is not None:
            pure = PurePosixPath(name)
            if pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name:
                raise ValueError(f"file name {name!r} leaves the folder of the manifest")
        return name

    def to_json(self) -> str:
        return self.model_dump_json()


def parse_row(line: str, where: str) -> GeneratedClip:
    """One line of a manifest; raises InputDataError that starts with `where` (file and line number)."""
    try:
        return GeneratedClip.model_validate_json(line)
    except ValidationError as error:
        raise InputDataError(f"{where}: not a clip made by generate ({first_problem(error)})") from None


def read_generated(path: str | Path) -> Iterator[GeneratedClip]:
    """The rows of a `manifest.jsonl`, one at a time, so that memory does not grow with the manifest.

    Raises InputDataError naming the file and the line of the first problem.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield parse_row(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputDataError(f"{path}: cannot be read as a manifest of generated clips ({reason})") from None


def csv_line(clip: GeneratedClip | None = None) -> str:
    """A line of the AudioFolder twin `metadata.csv`, `file_name` first; without a clip the header line."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if clip is None:
        writer.writerow(GeneratedClip.model_fields)
    else:
        values = clip.model_dump(mode="json").values()
        writer.writerow(
            [json.dumps(value) if isinstance(value, (dict, list, bool)) else value for value in values]
        )
    return buffer.getvalue()
