"""One reader per corpus. A reader turns a folder into candidates; `prepare` measures, drops and writes them.

A reader is a function `(root: Path, **options) -> Iterator[Candidate]` that touches no audio. The registry is the
plain dict `READERS`, in `prepare.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Candidate:
    """What a corpus says about a clip before its sound has been looked at. Fields as in `manifest.Clip`."""

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
    aliases: tuple[str, ...] = field(default=(), compare=False)  # label names that were renamed on reading
