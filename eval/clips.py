"""Sets of clips to be judged or to judge by: names, emotions, speakers, and the waves one at a time.

Shape letters: N clips, L wave sample. A wave is mono float32 at `audio.SAMPLE_RATE` (24 kHz).

A set is opened whole or not at all: every file is there, is the one that the list describes, and is read again
when its wave is asked for. What is asked for is what comes: a clip that is missing, altered, unreadable or
silent is an error and never a smaller set.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vocalburst.eval.clip_listing import Listed, Listing, read_listing
from vocalburst.gen.data.audio import read_wave
from vocalburst.gen.data.corpora.splits import split_name
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import iterate_file_bytes

MANIFESTS = Path("manifests")  # where NAME of NAME:SPLIT is looked for, from the working directory
ALL_SPLITS = "all"


@dataclass(frozen=True)
class Source:
    """Where a clip's sound is: a file below the set's root, its sha256, and the part of it in seconds."""

    path: str
    sha256: str
    start: float = 0.0
    end: float | None = None

    @property
    def whole(self) -> bool:
        return self.start == 0 and self.end is None

    @property
    def key(self) -> str:
        """sha256 hex of what is heard: of the file, or of its hash and the times where it is a part."""
        if self.whole:
            return self.sha256
        return hashlib.sha256(f"{self.sha256}:{self.start!r}:{self.end!r}".encode()).hexdigest()

    def meets(self, other: Source) -> bool:
        """Whether the two share samples of the same file."""
        ends = [float("inf") if end is None else end for end in (self.end, other.end)]
        return self.sha256 == other.sha256 and max(self.start, other.start) < min(ends)


@dataclass(frozen=True)
class ClipSet:
    """N clips of one emotion each, in the order of their list.

    label: the folder or manifest as the user named it; split: of a manifest, `all`, or None where none is known.
    names: unique [N]; emotions: names of the vocabulary [N]; speakers: [N], None where unknown; keys: [N], equal
    for equal content. selected_by: evaluators that chose or guided the clips; checkpoint and settings: as far as
    the list tells how the clips were made; notes: what the reader of a table should know, in sentences.
    """

    label: str
    names: tuple[str, ...]
    emotions: tuple[str, ...]
    speakers: tuple[str | None, ...]
    sources: tuple[Source, ...]
    root: Path | None  # None: the sounds themselves are not at hand
    split: str | None = None
    selected_by: tuple[str, ...] = ()
    checkpoint: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(source.key for source in self.sources)

    @property
    def content_sha256(self) -> str:
        """sha256 over all keys and their emotions, whatever the order."""
        lines = sorted(f"{key} {emotion}\n" for key, emotion in zip(self.keys, self.emotions, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def of(self, emotion: str) -> np.ndarray:
        """Indices of the clips of an emotion."""
        return np.flatnonzero(np.array(self.emotions) == emotion)

    def take(self, indices: Sequence[int] | np.ndarray) -> ClipSet:
        """The clips at `indices`, in that order."""
        columns = ("names", "emotions", "speakers", "sources")
        chosen = {name: tuple(getattr(self, name)[i] for i in indices) for name in columns}
        return ClipSet(**{**vars(self), **chosen})

    def to_json(self) -> str:
        """Everything but where the sound is: names, emotions, speakers, hashes, and how the clips were made."""
        columns = vars(self) | {
            "root": None,
            "sources": [vars(source) | {"path": ""} for source in self.sources],
        }
        return json.dumps(columns)

    @classmethod
    def from_json(cls, text: str) -> ClipSet:
        """A set without sound from what `to_json` gave."""
        columns = json.loads(text)
        columns["sources"] = [Source(**source) for source in columns["sources"]]
        return cls(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in columns.items()}
        )

    def waves(self) -> Iterator[tuple[int, np.ndarray]]:
        """(index, wave [L]) of every clip, file by file, one file in memory at a time.

        Raises InputDataError for a file that changed since the set was opened, cannot be decoded, or is silent.
        """
        if self.root is None:
            raise InputDataError(f"{self.label}: tells about its clips but does not hold their sound")
        places: dict[str, list[int]] = defaultdict(list)
        for index, source in enumerate(self.sources):
            places[source.path].append(index)
        for path, data in iterate_file_bytes(self.root, places):
            name, digest = str(self.root / path), hashlib.sha256(data).hexdigest()
            for index in places[path]:
                source = self.sources[index]
                if digest != source.sha256:
                    raise InputDataError(f"{name}: changed while it was being read, or before")
                wave = read_wave(data, start=source.start, end=source.end, name=name)
                if not wave.any():
                    raise InputDataError(f"{name}: is digital silence")
                yield index, wave


def open_clips(spec: str | Path, split: str | None = None) -> ClipSet:
    """Open a set of clips, reading every file once for its hash.

    spec: an output folder of `generate` or `resynthesise`; any system's folder (EMOTION/*.wav, or AudioFolder's
    metadata.csv or .jsonl with file_name and emotion); a manifest PATH.jsonl or PATH.jsonl:SPLIT; NAME:SPLIT for
    manifests/NAME/manifest.jsonl. split: train, dev or test, where `spec` does not name it.
    Raises InputDataError naming the file and the first problem.
    """
    path, split = locate(str(spec), split)
    listing = read_listing(path, split)
    clips = listing.clips
    check_names(clips, path)
    digests = hash_files(listing)
    sources = tuple(Source(clip.path, digests[clip.path], clip.start, clip.end) for clip in clips)
    return ClipSet(
        label=str(spec),
        names=tuple(clip.name for clip in clips),
        emotions=tuple(clip.emotion for clip in clips),
        speakers=tuple(clip.speaker for clip in clips),
        sources=sources,
        root=listing.root,
        split=split or (ALL_SPLITS if any(clip.split for clip in clips) else None),
        selected_by=listing.selected_by,
        checkpoint=listing.checkpoint,
        settings=dict(listing.settings),
        notes=listing.notes + copies(str(spec), sources),
    )


def locate(spec: str, split: str | None) -> tuple[Path, str | None]:
    """The folder or file that a user named, and the split. Raises InputDataError when there is none."""
    asked = None if split is None else split_name(split, spec)
    name, colon, written = spec.rpartition(":")
    for place, colon_split in ((spec, None), (name, written)) if colon and name else ((spec, None),):
        for path in (Path(place), MANIFESTS / place / "manifest.jsonl"):
            if not path.exists():
                continue
            inside = None if colon_split is None else split_name(colon_split, spec)
            if inside and asked and inside != asked:
                raise InputDataError(
                    f"{spec}: names the split {inside!r}, but {asked!r} was asked for as well"
                )
            return path, inside or asked
    known = sorted(path.parent.name for path in MANIFESTS.glob("*/manifest.jsonl"))
    raise InputDataError(
        f"{spec}: no such folder or manifest; expected a folder of clips, MANIFEST.jsonl[:SPLIT] or NAME:SPLIT "
        f"with a NAME in {MANIFESTS}/ ({', '.join(known) or 'which holds none here'})"
    )


def check_names(clips: Sequence[Listed], path: Path) -> None:
    name, times = Counter(clip.name for clip in clips).most_common(1)[0]
    if times > 1:
        raise InputDataError(f"{path}: {name!r} is listed {times} times, expected every clip once")


def hash_files(listing: Listing) -> dict[str, str]:
    """sha256 of every file that is listed, compared with the one in the list where that tells it."""
    told = {clip.path: clip.sha256 for clip in listing.clips}
    digests = {}
    for path, data in iterate_file_bytes(listing.root, told):
        digests[path] = hashlib.sha256(data).hexdigest()
        if told[path] not in (None, digests[path]):
            raise InputDataError(
                f"{listing.root / path}: its sha256 is not the one listed; the file was altered"
            )
    return digests


def copies(label: str, sources: Sequence[Source]) -> tuple[str, ...]:
    """A note on clips of different files that sound the same, which no measure of variety should have to find."""
    extra = len(set(sources)) - len({source.key for source in sources})
    return (f"{label}: {extra} clips are copies of other clips of the set",) if extra else ()


def overlap(one: ClipSet, other: ClipSet) -> list[tuple[str, str]]:
    """Pairs (name in `one`, name in `other`) of clips that share sound: the same file, or parts that meet."""
    by_file: dict[str, list[int]] = defaultdict(list)
    for index, source in enumerate(other.sources):
        by_file[source.sha256].append(index)
    return [
        (name, other.names[index])
        for name, source in zip(one.names, one.sources, strict=True)
        for index in by_file.get(source.sha256, ())
        if source.meets(other.sources[index])
    ]
