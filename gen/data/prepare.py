"""Corpus folder -> manifest: measure every candidate, drop what is no sound, write down what was dropped and why.

Written into the output folder: `manifest.jsonl` (the clips), `dropped.jsonl` (id, path, reason, detail of each
clip left out), `report.json` (root, counts by split, emotion and reason, aliases used). Splits must not share a
speaker.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from vocalburst.gen.data.audio import SAMPLE_RATE, active_span, peak_db, read_wave, rms_db, write_file
from vocalburst.gen.data.corpora import Candidate
from vocalburst.gen.data.corpora.emogator import read_emogator
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, first_problem, iterate_file_bytes, write_manifest

READERS: dict[str, Callable[..., Iterator[Candidate]]] = {
    "emogator": read_emogator,
}

SILENCE_DB = -70.0  # dBFS; a clip whose peak stays below holds no voice


def measure(wave: np.ndarray) -> dict[str, float]:
    """seconds, active_seconds, level_db (of the active part) and peak_db of a wave [L]."""
    first, last = active_span(wave)
    return {
        "seconds": round(len(wave) / SAMPLE_RATE, 4),
        "active_seconds": round((last - first) / SAMPLE_RATE, 4),
        "level_db": round(rms_db(wave[first:last]), 2),
        "peak_db": round(peak_db(wave), 2),
    }


def prepare(candidates: Iterable[Candidate], root: Path, out: Path, progress: Callable = iter) -> dict:
    """Measure `candidates`, write the three files into `out` and return the report."""
    by_path: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_path.setdefault(candidate.path, []).append(candidate)
    clips: list[Clip] = []
    dropped: list[dict] = []
    first_with: dict[bytes, str] = {}

    def drop(candidate: Candidate, reason: str, detail: str) -> None:
        dropped.append({"id": candidate.id, "path": candidate.path, "reason": reason, "detail": detail})

    # By file name, so that of two equal takes it is always the later one that goes, wherever the shards put them.
    found: list[tuple[Candidate, dict, bytes]] = []
    for path, data in progress(iterate_file_bytes(root, by_path)):
        for candidate in by_path[path]:
            try:
                wave = read_wave(data, start=candidate.start, end=candidate.end, name=str(root / path))
            except InputDataError as error:
                drop(candidate, "undecodable", str(error))
                continue
            if peak_db(wave) < SILENCE_DB:
                drop(candidate, "silent", f"peak {peak_db(wave):.1f} dBFS is under {SILENCE_DB:g} dBFS")
                continue
            pcm = (wave * 32767).astype(np.int16).tobytes()
            found.append((candidate, measure(wave), hashlib.sha256(pcm).digest()))
    for candidate, measures, digest in sorted(found, key=lambda item: item[0].id):
        if digest in first_with:
            drop(candidate, "duplicate", f"the same samples as {first_with[digest]}")
            continue
        first_with[digest] = candidate.id
        fields = {key: value for key, value in asdict(candidate).items() if key != "aliases"}
        try:
            clips.append(Clip(**fields, **measures))
        except ValidationError as error:
            raise InputDataError(f"{root / candidate.path}: {first_problem(error)}") from None
    if not clips:
        raise InputDataError(f"{root}: none of the {len(dropped)} clips could be used; see {out / 'dropped.jsonl'}")
    check_speakers(clips)
    report = {
        "root": str(root.resolve()),
        "clips": len(clips),
        "hours": round(sum(clip.seconds for clip in clips) / 3600, 3),
        "speakers": len({clip.speaker for clip in clips if clip.speaker}),
        "splits": dict(Counter(clip.split for clip in clips)),
        "emotions": dict(Counter(max(c.emotions, key=c.emotions.get) for c in clips if c.emotions)),
        "dropped": dict(Counter(item["reason"] for item in dropped)),
        "aliases": sorted({alias for items in by_path.values() for item in items for alias in item.aliases}),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / "dropped.jsonl", "".join(json.dumps(item) + "\n" for item in dropped).encode())
    write_file(out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    write_manifest(out / "manifest.jsonl", clips)
    return report


def check_speakers(clips: Iterable[Clip]) -> None:
    """Raise InputDataError when a speaker stands in two splits."""
    split_of: dict[str, str] = {}
    for clip in clips:
        if clip.speaker is not None and split_of.setdefault(clip.speaker, clip.split) != clip.split:
            raise InputDataError(f"speaker {clip.speaker!r} stands in both {split_of[clip.speaker]} and {clip.split}")
