"""One reader per corpus. A reader turns a folder into candidates; `prepare` measures, drops and writes them.

A reader is a function `(root: Path, **options) -> Iterator[Candidate | LeftOut]` that decodes no audio (it
may look at a file's length). The registry is the plain dict `READERS`, in `prepare.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Candidate:
    """What a corpus says about a clip before its sound has been looked at. Fields as in `manifest.Clip`, and:

    cut_seconds: the sound is to be cut into voice-active windows of at most so many seconds, each a clip.
    aliases: label names that were renamed on reading, `written -> meant`.
    notes: what a user should know about how the corpus was read, one sentence each.
    """

    id: str
    path: str
    corpus: str
    split: str
    labelled: str | tuple[str, ...]
    emotions: dict[str, float]
    speaker: str | None = None
    start: float = 0.0
    end: float | None = None
    country: str | None = None
    age: float | None = None
    role: str | None = None
    domain: str = "burst"
    tags: tuple[str, ...] = ()
    cut_seconds: float | None = None
    aliases: tuple[str, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class LeftOut:
    """A clip that does not enter the manifest, as written to `dropped.jsonl`."""

    id: str
    path: str
    reason: str  # one word or two, counted in the report
    detail: str
