"""The output folder of a run: whose it is, what is finished, and its manifest.

Files, all beside the clips:

run.json                     the settings of the run; a folder with other settings is another run's
manifest.part.jsonl          finished clips that an earlier start left behind, verified, in job order
manifest.part-R-W.jsonl      clips finished since by worker W of rank R, in job order, each on disk at once
manifest.jsonl, metadata.csv the result, written when every clip is there; then the part files go

A line of a part file is `{"position": number in the job list, "clip": row of the manifest}`.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.generated import GeneratedClip, csv_line, read_generated

RUN = "run.json"
MANIFEST = "manifest.jsonl"
METADATA = "metadata.csv"
VERIFIED = "manifest.part.jsonl"
PARTS = "manifest.part-*.jsonl"

Entry = tuple[int, GeneratedClip]  # position in the job list, row


def claim(folder: Path, settings: dict, *, overwrite: bool = False) -> str:
    """Make `folder` this run's and return the run's `created_utc`; a rerun gets the one of its first start.

    settings: everything that decides the bytes of the clips and the rows, JSON values.
    Raises InputDataError when the folder holds another run and `overwrite` is not given; with it, the clips
    and manifests of that run are removed, nothing else.
    """
    settings = json.loads(json.dumps(settings))
    if overwrite:
        clear(folder)
    problem = other_run(folder, settings)
    if problem:
        raise InputDataError(f"{folder} {problem}; choose another --out, or --overwrite")
    if (folder / RUN).exists():
        return _read_run(folder)["created_utc"]
    folder.mkdir(parents=True, exist_ok=True)
    record = {"created_utc": _now(), "settings": settings}
    write_file(folder / RUN, (json.dumps(record, indent=2) + "\n").encode())
    return record["created_utc"]


def other_run(folder: Path, settings: dict) -> str | None:
    """Why `folder` cannot take a run of `settings`, as the end of a sentence; None when it can."""
    if not (folder / RUN).exists():
        held = [name for name in (MANIFEST, METADATA) if (folder / name).exists()]
        return f"already holds a {held[0]} that is not of this run" if held else None
    theirs = _read_run(folder)["settings"]
    for key in {**settings, **theirs}:
        if theirs.get(key) != settings.get(key):
            return f"holds another run ({key} {theirs.get(key)} there, {settings.get(key)} here)"
    return None


def clear(folder: Path) -> None:
    """Remove the clips, spectrograms and manifests of the run in `folder`.

    run.json goes last, so that a kill on the way leaves a folder that can be cleared again.
    """
    if (folder / MANIFEST).exists() or (folder / RUN).exists():
        for _, clip in _entries(folder):
            for name in (clip.file_name, clip.mel_file_name):
                if name:
                    (folder / name).unlink(missing_ok=True)
    for path in [*folder.glob(PARTS), *(folder / name for name in (VERIFIED, METADATA, MANIFEST, RUN))]:
        path.unlink(missing_ok=True)


def verify(folder: Path) -> tuple[int, int]:
    """Gather what earlier starts finished into `manifest.part.jsonl`, keeping only clips whose hash is right.

    Returns the number of clips kept and of those that are missing or damaged and will be made again.
    """
    kept = damaged = 0
    with _whole_file(folder / VERIFIED) as file:
        previous = -1
        for position, clip in _entries(folder):
            if position == previous:
                continue  # in two files: a start was killed between gathering and removing the parts
            if intact(folder, clip):
                previous = position
                file.write(journal_line(position, clip))
                kept += 1
            else:
                damaged += 1
    for part in folder.glob(PARTS):
        part.unlink()
    return kept, damaged


def finished(folder: Path, n_jobs: int) -> bytearray:
    """One byte per job: 1 where `verify` found the clip."""
    done = bytearray(n_jobs)
    for position, _ in _read_part(folder / VERIFIED):
        done[position] = 1
    return done


@contextmanager
def open_part(folder: Path, rank: int, worker: int) -> Iterator[IO[str]]:
    """The journal of one worker, empty at the start."""
    with (folder / PARTS.replace("*", f"{rank:04d}-{worker:04d}")).open("w", encoding="utf-8") as file:
        yield file


def note(file: IO[str], position: int, clip: GeneratedClip) -> None:
    """Add a finished clip to a journal; on disk when this returns."""
    file.write(journal_line(position, clip))
    file.flush()
    os.fsync(file.fileno())


def journal_line(position: int, clip: GeneratedClip) -> str:
    return f'{{"position": {position}, "clip": {clip.to_json()}}}\n'


def finish(folder: Path, n_jobs: int) -> None:
    """Merge the part files into `manifest.jsonl` and `metadata.csv`, in job order, then remove them.

    Raises OSError when a clip is missing, as when machines of one run do not share the folder.
    """
    # Closed from right to left: the manifest gets its name last and says that the run is whole.
    with _whole_file(folder / MANIFEST) as manifest, _whole_file(folder / METADATA) as table:
        table.write(csv_line())
        expected = 0
        for position, clip in _merge(_part_paths(folder)):
            if position == expected - 1:
                continue
            if position != expected:
                break
            manifest.write(clip.to_json() + "\n")
            table.write(csv_line(clip))
            expected += 1
        if expected != n_jobs:
            raise OSError(f"{folder}: {n_jobs} clips were expected, but clip {expected} is in no part file")
    for path in _part_paths(folder):
        path.unlink(missing_ok=True)


def intact(folder: Path, clip: GeneratedClip) -> bool:
    """Whether the files of a clip are there with the hashes that its row says."""
    try:
        sound = (folder / clip.file_name).read_bytes()
        mel = (folder / clip.mel_file_name).read_bytes() if clip.mel_file_name else None
    except OSError:
        return False
    if hashlib.sha256(sound).hexdigest() != clip.sha256:
        return False
    return mel is None or hashlib.sha256(mel).hexdigest() == clip.mel_sha256


def _now() -> str:
    """The time in UTC, to the second; SOURCE_DATE_EPOCH (reproducible-builds.org) overrides it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.now(timezone.utc) if epoch is None else datetime.fromtimestamp(int(epoch), timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_run(folder: Path) -> dict:
    try:
        record = json.loads((folder / RUN).read_text(encoding="utf-8"))
        return {"created_utc": record["created_utc"], "settings": dict(record["settings"])}
    except (ValueError, KeyError, TypeError):
        raise InputDataError(f"{folder / RUN}: not a record of a run; choose another --out") from None


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[str]]:
    """Write a text file line by line; it gets its name only when it is whole and on disk."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _part_paths(folder: Path) -> list[Path]:
    return [path for path in [folder / VERIFIED, *sorted(folder.glob(PARTS))] if path.exists()]


def _read_part(path: Path) -> Iterator[Entry]:
    """Entries of a part file up to the first line that a kill or a full disk cut short."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
                yield record["position"], GeneratedClip.model_validate(record["clip"])
            except (ValueError, KeyError, TypeError, ValidationError):
                return


def _merge(paths: list[Path]) -> Iterator[Entry]:
    return heapq.merge(*map(_read_part, paths), key=lambda entry: entry[0])


def _entries(folder: Path) -> Iterator[Entry]:
    """All that earlier starts noted, in job order; a clip may come more than once."""
    sources = [_merge(_part_paths(folder))]
    if (folder / MANIFEST).exists():
        sources.append(enumerate(read_generated(folder / MANIFEST)))
    return heapq.merge(*sources, key=lambda entry: entry[0])
