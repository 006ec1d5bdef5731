"""The command-line side of listening to a set: what `embed` and `statistics` ask for alike, and their processes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from vocalburst.eval.clips import ClipSet, open_clips
from vocalburst.gen.data.errors import InputDataError

if TYPE_CHECKING:
    from accelerate import PartialState

    from vocalburst.eval.hearing import Evaluator

CACHE = Path("cache/embeddings")


@dataclass(frozen=True)
class ListeningSession:
    """A set, who listens to it, where each evaluator's result goes, and the processes that share the work."""

    clips: ClipSet
    evaluators: list[Evaluator]
    outs: list[Path]
    processes: PartialState | None

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.processes is None or self.processes.process_index == 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "clips",
        metavar="SPEC",
        help="folder of clips, MANIFEST.jsonl[:SPLIT], or NAME:SPLIT of manifests/NAME",
    )
    parser.add_argument("--split", help="of a manifest, where SPEC does not name it")
    parser.add_argument(
        "--evaluator",
        action="append",
        metavar="NAME",
        help="a name, a folder, ssl:FOLDER, or `default` for those that ship (the default); may be repeated",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="safetensors file; of several evaluators each adds -ID to its name",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        metavar="DIR",
        help=f"where embeddings are kept (default: {CACHE})",
    )


@contextmanager
def listening_session(arguments: argparse.Namespace) -> Iterator[ListeningSession]:
    """Open what the arguments name, on each process of `accelerate launch` or `torchrun`."""
    from vocalburst.eval.evaluators import load_evaluators

    out = arguments.out
    if not out.absolute().parent.is_dir():
        raise InputDataError(f"{out}: the folder {out.parent} does not exist")
    evaluators = list(load_evaluators(arguments.evaluator or ["default"]))
    clips = open_clips(arguments.clips, arguments.split)
    session = ListeningSession(clips, evaluators, evaluator_paths(out, evaluators), join_processes())
    if session.first:
        for note in clips.notes:
            print(f"note: {note}", file=sys.stderr)
    try:
        yield session
    finally:
        if session.processes is not None:
            session.processes.destroy_process_group()


def evaluator_paths(out: Path, evaluators: Sequence[Evaluator]) -> list[Path]:
    """OUT for one evaluator, and one file for each of several."""
    if len(evaluators) == 1:
        return [out]
    return [evaluator_path(out, evaluator.id) for evaluator in evaluators]


def evaluator_path(out: Path, evaluator: str) -> Path:
    """OUT with the evaluator's id in its name: `stats-logmel-08559624fdf2.safetensors`."""
    return out.with_name(f"{out.stem}-{evaluator}{out.suffix}")


def join_processes() -> PartialState | None:
    """The processes that were launched together with this one; None when it is alone."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return None
    from accelerate import PartialState

    # Results are exchanged through memory, wherever the networks run; one share may end long before another.
    return PartialState(cpu=True, timeout=timedelta(days=30))


def counted(clips: Iterable, total: int) -> Iterable:
    """A progress bar on stderr over the clips that the first process has to hear."""
    from tqdm import tqdm

    hidden = True if int(os.environ.get("RANK", 0)) else None  # None: hidden unless stderr is a terminal
    return tqdm(clips, total=total, unit="clip", desc="listening", file=sys.stderr, disable=hidden)
