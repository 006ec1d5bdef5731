"""`vocalburst embed`: what an evaluator hears in every clip of a set, [N, D], and its probabilities, [N, E].

Shape letters: N clips, D embedding, E emotions of the evaluator.

How the clips are heard, and why the numbers do not depend on processes or cache, stands in `listening`. Beside
the command on several processes: `accelerate launch -m vocalburst.eval.embed SPEC --evaluator NAME --out FILE`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from vocalburst.eval.clips import ClipSet
from vocalburst.eval.listening import Block, Processes, Progress, exchange, stream
from vocalburst.eval.listening_session import add_arguments, counted, listening_session
from vocalburst.gen.cli import run
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.errors import InputDataError

if TYPE_CHECKING:
    from vocalburst.eval.hearing import Evaluator

FORMAT = "vocalburst-embedded-clips-1"


@dataclass(frozen=True, eq=False)
class EmbeddedClips:
    """A set of clips as one evaluator hears it.

    embeddings: [N, D] float64; probabilities: [N, E] float64 in [0, 1] over `emotions`, or both None for an
    evaluator without a recogniser. evaluator, preprocessing: its ids.
    """

    clips: ClipSet
    embeddings: np.ndarray
    probabilities: np.ndarray | None
    evaluator: str
    preprocessing: str
    emotions: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.clips)

    def of(self, emotion: str) -> np.ndarray:
        """Row indices of the clips made for an emotion."""
        return self.clips.of(emotion)

    def take(self, indices: Sequence[int] | np.ndarray) -> EmbeddedClips:
        """The rows at `indices`, in that order."""
        rows = np.asarray(indices, dtype=int)
        chosen = None if self.probabilities is None else self.probabilities[rows]
        return EmbeddedClips(
            self.clips.take(rows),
            self.embeddings[rows],
            chosen,
            self.evaluator,
            self.preprocessing,
            self.emotions,
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the numbers, and about the clips everything but their sound."""
        tensors = {"embeddings": self.embeddings, "clips": as_bytes(self.clips)}
        if self.probabilities is not None:
            tensors["probabilities"] = self.probabilities
        metadata = {
            "format": FORMAT,
            "evaluator": self.evaluator,
            "preprocessing": self.preprocessing,
            "emotions": json.dumps(self.emotions),
        }
        arrays = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
        write_file(path, to_safetensors(arrays, metadata))

    @classmethod
    def load(cls, path: str | Path) -> EmbeddedClips:
        """Read a file that `save` wrote. Raises InputDataError naming the file when it is not one."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as error:
            raise InputDataError(f"{path}: cannot be read as embedded clips ({error})") from None
        if metadata.get("format") != FORMAT:
            raise InputDataError(
                f"{path}: expected embedded clips of the format {FORMAT}, got something else"
            )
        emotions = json.loads(metadata["emotions"])
        return cls(
            ClipSet.from_json(tensors["clips"].tobytes().decode()),
            tensors["embeddings"],
            tensors.get("probabilities"),
            metadata["evaluator"],
            metadata["preprocessing"],
            None if emotions is None else tuple(emotions),
        )


def as_bytes(clips: ClipSet) -> np.ndarray:
    """A tensor, because the metadata of a safetensors file is limited in size."""
    return np.frombuffer(clips.to_json().encode(), np.uint8)


def embed(
    clips: ClipSet,
    evaluator: Evaluator,
    *,
    cache: Path | None,
    accelerator: Processes | None = None,
    progress: Progress | None = None,
) -> EmbeddedClips:
    """Hear every clip of a set with one evaluator; see `embed_each`."""
    (embedded,) = embed_each(clips, [evaluator], cache=cache, accelerator=accelerator, progress=progress)
    return embedded


def embed_each(
    clips: ClipSet,
    evaluators: Sequence[Evaluator],
    *,
    cache: Path | None,
    accelerator: Processes | None = None,
    progress: Progress | None = None,
) -> list[EmbeddedClips]:
    """Hear every clip of a set with several evaluators, each clip decoded once.

    cache: folder of `embedding_cache`, or None. accelerator: an `accelerate.Accelerator` or `PartialState` when
    several processes share the work; all of them return the whole result. progress: (clips to hear, how many)
    -> the same clips. Raises InputDataError for the first clip that cannot be heard.
    """

    def work() -> list[Block]:
        return list(stream(clips, evaluators, cache=cache, processes=accelerator, progress=progress))

    blocks = [block for own in exchange(accelerator, work) for block in own]
    return [
        gathered(clips, evaluator, [block for block in blocks if block.evaluator == number])
        for number, evaluator in enumerate(evaluators)
    ]


def gathered(clips: ClipSet, evaluator: Evaluator, blocks: Iterable[Block]) -> EmbeddedClips:
    """The whole set from blocks in any order."""
    emotions = evaluator.emotions
    embeddings = np.full((len(clips), evaluator.dim), np.nan)
    probabilities = None if emotions is None else np.full((len(clips), len(emotions)), np.nan)
    for block in blocks:
        embeddings[block.indices] = block.embeddings
        if probabilities is not None:
            probabilities[block.indices] = block.probabilities
    assert not np.isnan(embeddings).any(), "a clip was never heard"
    return EmbeddedClips(clips, embeddings, probabilities, evaluator.id, evaluator.preprocessing, emotions)


def main() -> None:
    """Entry point of `vocalburst embed`."""
    parser = argparse.ArgumentParser(
        prog="vocalburst embed",
        description="Write what evaluators hear in every clip of a set: embeddings and probabilities.",
        epilog="examples:\n"
        "  vocalburst embed submission/ --evaluator logmel --out submission.safetensors\n"
        "  accelerate launch -m vocalburst.eval.embed emogator:train --out train.safetensors",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    arguments = parser.parse_args()

    def command() -> None:
        with listening_session(arguments) as session:
            sets = embed_each(
                session.clips,
                session.evaluators,
                cache=arguments.cache,
                accelerator=session.processes,
                progress=counted,
            )
            for embedded, path in zip(sets, session.outs, strict=True):
                if session.first:
                    embedded.save(path)
                    print(path)

    sys.exit(run(command))


if __name__ == "__main__":
    main()
