"""Corpus folder -> manifest: measure every candidate, drop what is no sound, write down what was dropped and
why.

Written into the output folder: `manifest.jsonl` (the clips), `dropped.jsonl` (id, path, reason, detail of
each clip left out), `report.json` (root, counts by split, emotion and reason, aliases used, notes). Splits
must not share a speaker.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from vocalburst.gen.data.audio import (
    MAX_SECONDS,
    SAMPLE_RATE,
    active_span,
    peak_db,
    read_wave,
    rms_db,
    voice_windows,
    write_file,
)
from vocalburst.gen.data.corpora import Candidate, LeftOut
from vocalburst.gen.data.corpora.emogator import read_emogator
from vocalburst.gen.data.corpora.folder import read_folder
from vocalburst.gen.data.corpora.hume import read_hume_vocalburst
from vocalburst.gen.data.corpora.sonata import read_sonata
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, first_problem, iterate_file_bytes

READERS: dict[str, Callable[..., Iterator[Candidate | LeftOut]]] = {
    "emogator": read_emogator,
    "hume-vocalburst": read_hume_vocalburst,
    "sonata": read_sonata,
    "folder": read_folder,
}

SILENCE_DB = -70.0  # dBFS; a clip whose peak stays below holds no voice
MAX_CUT_SECONDS = 600.0  # of a segment that is cut into windows
MIN_WINDOW_SECONDS = 0.3  # a shorter window is a click or half a syllable


def measure(wave: np.ndarray) -> dict[str, float]:
    """seconds, active_seconds, level_db (of the active part) and peak_db of a wave [L]."""
    first, last = active_span(wave)
    return {
        "seconds": round(len(wave) / SAMPLE_RATE, 4),
        "active_seconds": round((last - first) / SAMPLE_RATE, 4),
        "level_db": round(rms_db(wave[first:last]), 2),
        "peak_db": round(peak_db(wave), 2),
    }


def prepare(
    items: Iterable[Candidate | LeftOut],
    root: Path,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[Iterable, int], Iterable] = lambda files, total: files,
) -> dict:
    """Measure what a reader found below `root`, write the three files into `out` and return the report.

    progress: called with the files as they are read and their number, e.g. to wrap them in a progress bar.
    Raises InputDataError when nothing is left, an id or speaker breaks the rules, or `out` holds another
    manifest and `overwrite` is not given.
    """
    candidates: list[Candidate] = []
    dropped: list[LeftOut] = []
    for item in items:
        (candidates if isinstance(item, Candidate) else dropped).append(item)
    check_ids(candidates)
    # Made before the hours of decoding, so that a folder that cannot be written is known at once.
    out.mkdir(parents=True, exist_ok=True)

    found: list[tuple[Candidate, dict[str, float], bytes]] = []
    for item, wave in listen(candidates, root, progress):
        if isinstance(item, LeftOut):
            dropped.append(item)
        elif peak_db(wave) < SILENCE_DB:
            dropped.append(
                leave_out(item, "silent", f"peak {peak_db(wave):.1f} dBFS is under {SILENCE_DB:g} dBFS")
            )
        else:
            pcm = (wave.clip(-1, 1) * 32767).astype(np.int16).tobytes()
            found.append((item, measure(wave), hashlib.sha256(pcm).digest()))

    clips: list[Clip] = []
    first_with: dict[bytes, str] = {}
    # By id, so that of two equal takes it is always the later one that goes, wherever the shards put them.
    for candidate, measures, digest in sorted(found, key=lambda item: item[0].id):
        if digest in first_with:
            dropped.append(leave_out(candidate, "duplicate", f"the same samples as {first_with[digest]}"))
            continue
        first_with[digest] = candidate.id
        clips.append(make_clip(candidate, measures, root))
    check_speakers(clips)
    report = summarise(clips, dropped, candidates, root)
    write_results(out, clips, dropped, report, overwrite)
    return report


def listen(
    candidates: list[Candidate], root: Path, progress: Callable[[Iterable, int], Iterable]
) -> Iterator[tuple[Candidate | LeftOut, np.ndarray | None]]:
    """(clip, its wave [L]) of all candidates, each file opened once; (`LeftOut`, None) for no clip."""
    by_path: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_path.setdefault(candidate.path, []).append(candidate)
    for path, data in progress(iterate_file_bytes(root, by_path), len(by_path)):
        for candidate in by_path[path]:
            limit = MAX_SECONDS if candidate.cut_seconds is None else MAX_CUT_SECONDS
            try:
                wave = read_wave(
                    data, start=candidate.start, end=candidate.end, max_seconds=limit, name=str(root / path)
                )
            except InputDataError as error:
                yield leave_out(candidate, "undecodable", str(error)), None
                continue
            if candidate.cut_seconds is None:
                yield candidate, wave
            else:
                yield from cut(candidate, wave)


def cut(candidate: Candidate, wave: np.ndarray) -> Iterator[tuple[Candidate | LeftOut, np.ndarray | None]]:
    """The voice-active windows of a segment, each a candidate with its own `start` and `end` in the file."""
    windows = voice_windows(wave, candidate.cut_seconds)
    if not windows:
        yield leave_out(candidate, "silent", "no voice-active window"), None
    for number, (first, last) in enumerate(windows, 1):
        window = replace(
            candidate,
            id=f"{candidate.id}-{number:02d}",
            start=round(candidate.start + first / SAMPLE_RATE, 4),
            end=round(candidate.start + last / SAMPLE_RATE, 4),
        )
        if (last - first) / SAMPLE_RATE < MIN_WINDOW_SECONDS:
            detail = f"{window.start:g} to {window.end:g} s is shorter than {MIN_WINDOW_SECONDS:g} s"
            yield leave_out(window, "short", detail), None
        else:
            yield window, wave[first:last]


def leave_out(candidate: Candidate, reason: str, detail: str) -> LeftOut:
    return LeftOut(candidate.id, candidate.path, reason, detail)


def make_clip(candidate: Candidate, measures: dict[str, float], root: Path) -> Clip:
    """The validated record; an alias used on reading is written into its tags."""
    fields = {name: value for name, value in asdict(candidate).items() if name in Clip.model_fields}
    fields["tags"] = (*candidate.tags, *(f"alias {alias}" for alias in candidate.aliases))
    try:
        return Clip(**fields, **measures)
    except ValidationError as error:
        raise InputDataError(f"{root / candidate.path}: {first_problem(error)}") from None


def check_ids(candidates: Iterable[Candidate]) -> None:
    """Raise InputDataError when two candidates have the same id."""
    path_of: dict[str, str] = {}
    for candidate in candidates:
        if candidate.id in path_of:
            raise InputDataError(
                f"id {candidate.id!r} stands for both {path_of[candidate.id]} and {candidate.path}"
            )
        path_of[candidate.id] = candidate.path


def check_speakers(clips: Iterable[Clip]) -> None:
    """Raise InputDataError when a speaker stands in two splits."""
    split_of: dict[str, str] = {}
    for clip in clips:
        if clip.speaker is not None and split_of.setdefault(clip.speaker, clip.split) != clip.split:
            raise InputDataError(
                f"speaker {clip.speaker!r} stands in both {split_of[clip.speaker]} and {clip.split}"
            )


def summarise(clips: list[Clip], dropped: list[LeftOut], candidates: list[Candidate], root: Path) -> dict:
    """The report: what is in the manifest, what is not, and how the labels and splits came about."""
    strongest = (max(c.emotions, key=c.emotions.get) if c.emotions else "unlabelled" for c in clips)
    return {
        "root": str(root.resolve()),
        "clips": len(clips),
        "hours": round(sum(clip.seconds for clip in clips) / 3600, 3),
        "speakers": len({clip.speaker for clip in clips if clip.speaker}),
        "splits": dict(Counter(clip.split for clip in clips)),
        "emotions": dict(Counter(strongest)),
        "dropped": dict(Counter(item.reason for item in dropped)),
        "aliases": sorted({alias for candidate in candidates for alias in candidate.aliases}),
        "notes": sorted({note for candidate in candidates for note in candidate.notes}),
    }


def write_results(
    out: Path, clips: list[Clip], dropped: list[LeftOut], report: dict, overwrite: bool
) -> None:
    """Write the three files, the manifest last: its presence says that the others are there."""
    manifest = out / "manifest.jsonl"
    content = "".join(clip.to_json() + "\n" for clip in clips).encode()
    if not overwrite and manifest.exists() and manifest.read_bytes() != content:
        raise InputDataError(f"{manifest}: holds another manifest; choose another folder or give --overwrite")
    write_file(out / "dropped.jsonl", "".join(json.dumps(asdict(item)) + "\n" for item in dropped).encode())
    if not clips:
        reasons = ", ".join(f"{reason} {count}" for reason, count in report["dropped"].items())
        raise InputDataError(
            f"{report['root']}: no clip could be used ({reasons}); see {out / 'dropped.jsonl'}"
        )
    write_file(out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    write_file(manifest, content)
