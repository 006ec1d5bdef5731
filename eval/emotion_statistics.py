"""`vocalburst statistics`: Gaussian statistics of every emotion of a set, and of all its clips together.

Shape letters: N clips, D embedding. Streaming: only one mean [D] and scatter [D, D] per emotion is in memory.

Fréchet distances need no more of a reference than this file; precision, kernel distances and memorisation need
the clips themselves. The file also tells which clips it was made of (names, emotions, speakers, hashes, not their
sound), so that an entry that copies them is found.

On disk: one safetensors file per evaluator with `EMOTION.mean` and `EMOTION.cov`, `pooled.*` for all clips; the
identity is in the metadata, as in `gaussian`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from vocalburst.eval.clips import ClipSet
from vocalburst.eval.gaussian import GaussianAccumulator, GaussianStatistics, Identity
from vocalburst.eval.listening import Processes, Progress, exchange, stream
from vocalburst.eval.listening_session import add_arguments, counted, evaluator_path, listening_session
from vocalburst.gen.cli import run
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.errors import InputDataError

if TYPE_CHECKING:
    from vocalburst.eval.hearing import Evaluator

FORMAT = "vocalburst-emotion-statistics-1"
POOLED = "pooled"
NO_SPLIT = "none"  # of a folder that is no part of a corpus


@dataclass(frozen=True, eq=False)
class EmotionStatistics:
    """Statistics by emotion, `POOLED` included, and the clips (without sound) that they were made of."""

    clips: ClipSet
    of: dict[str, GaussianStatistics]

    @property
    def identity(self) -> Identity:
        return self.of[POOLED].identity

    def save(self, path: str | Path) -> None:
        """Write the safetensors file, all of it or nothing."""
        tensors = {"clips": np.frombuffer(self.clips.to_json().encode(), np.uint8)}
        for emotion, statistics in self.of.items():
            tensors[f"{emotion}.mean"] = np.ascontiguousarray(statistics.mean)
            tensors[f"{emotion}.cov"] = np.ascontiguousarray(statistics.cov)
        counts = {f"{emotion}.n": str(statistics.n) for emotion, statistics in self.of.items()}
        metadata = {
            "format": FORMAT,
            "evaluator": self.identity.evaluator,
            "preprocessing": self.identity.preprocessing,
            "split": self.identity.split,
            **counts,
        }
        write_file(path, to_safetensors(tensors, metadata))

    @classmethod
    def load(cls, path: str | Path) -> EmotionStatistics:
        """Read a file that `save` wrote. Raises InputDataError naming the file when it is not one."""
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as error:
            raise InputDataError(f"{path}: cannot be read as statistics ({error})") from None
        if metadata.get("format") != FORMAT:
            raise InputDataError(f"{path}: expected statistics of the format {FORMAT}, got something else")
        try:
            identity = Identity(metadata["evaluator"], metadata["preprocessing"], metadata["split"])
            statistics = {}
            for key, n in metadata.items():
                if key.endswith(".n"):
                    emotion = key.removesuffix(".n")
                    mean, cov = tensors[f"{emotion}.mean"], tensors[f"{emotion}.cov"]
                    statistics[emotion] = GaussianStatistics(int(n), mean, cov, identity)
            clips = ClipSet.from_json(tensors["clips"].tobytes().decode())
        except KeyError as error:
            raise InputDataError(f"{path}: lacks {error}") from None
        except (ValueError, TypeError) as error:
            raise InputDataError(f"{path}: {error}") from None
        expected = {**Counter(clips.emotions), POOLED: len(clips)}
        if {emotion: own.n for emotion, own in statistics.items()} != expected:
            raise InputDataError(f"{path}: its statistics are not those of the clips that it tells about")
        return cls(
            clips, {emotion: statistics[emotion] for emotion in (*sorted(set(clips.emotions)), POOLED)}
        )


def read_statistics(path: str | Path) -> dict[str, GaussianStatistics]:
    """Statistics by emotion, `POOLED` for all clips together. Raises InputDataError naming the file."""
    return EmotionStatistics.load(path).of


def statistics_path(path: Path, evaluator: str) -> Path:
    """The file of one evaluator, where `path` is what was given to `statistics --out` for one or several."""
    own = evaluator_path(path, evaluator)
    return own if own.is_file() else path


def emotion_statistics(
    clips: ClipSet,
    evaluators: Sequence[Evaluator],
    *,
    cache: Path | None,
    processes: Processes | None = None,
    progress: Progress | None = None,
) -> list[EmotionStatistics]:
    """Statistics of a set as each evaluator hears it; arguments as of `embed_each`.

    A clip that stands under two emotions counts in both, and twice among all. Raises InputDataError for an
    emotion with fewer than 2 clips, before anything is heard.
    """
    counts = Counter(clips.emotions)
    alone = sorted(emotion for emotion, n in counts.items() if n < 2)
    if alone:
        raise InputDataError(
            f"{clips.label}: a covariance needs at least 2 clips, got 1 of {', '.join(alone)}"
        )
    names = (*sorted(counts), POOLED)
    split = clips.split or NO_SPLIT
    identities = [Identity(one.id, one.preprocessing, split) for one in evaluators]

    def empty() -> list[dict[str, GaussianAccumulator]]:
        pairs = list(zip(evaluators, identities, strict=True))
        return [{name: GaussianAccumulator(one.dim, identity) for name in names} for one, identity in pairs]

    def work() -> list[dict[str, GaussianAccumulator]]:
        sums = empty()
        for block in stream(clips, evaluators, cache=cache, processes=processes, progress=progress):
            emotions = np.array([clips.emotions[index] for index in block.indices])
            for emotion in np.unique(emotions):
                sums[block.evaluator][emotion].update(block.embeddings[emotions == emotion])
            sums[block.evaluator][POOLED].update(block.embeddings)
        return sums

    total = empty()
    for sums in exchange(processes, work):
        for into, part in zip(total, sums, strict=True):
            for name in names:
                into[name].merge(part[name])
    return [EmotionStatistics(clips, {name: own[name].statistics() for name in names}) for own in total]


def summary(statistics: EmotionStatistics) -> str:
    """One line about a file: how many clips, heard by whom."""
    counts = [own.n for emotion, own in statistics.of.items() if emotion != POOLED]
    each = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return (
        f"{len(statistics.clips)} clips, {len(counts)} emotions of {each} clips, "
        f"split {statistics.identity.split}, evaluator {statistics.identity.evaluator}"
    )


def unreliable(statistics: EmotionStatistics) -> str | None:
    """A sentence on the emotions whose covariance is singular for lack of clips."""
    few = [emotion for emotion, own in statistics.of.items() if not own.reliable]
    if not few:
        return None
    return (
        f"{len(few)} of {len(statistics.of)} covariances are singular, with no more clips than the "
        f"{statistics.of[POOLED].dim} dimensions of {statistics.identity.evaluator}: a Fréchet distance to them "
        f"is biased upwards ({', '.join(few)})"
    )


def main() -> None:
    """Entry point of `vocalburst statistics`."""
    parser = argparse.ArgumentParser(
        prog="vocalburst statistics",
        description="Write the Gaussian statistics of every emotion of a set, to judge by instead of the clips.",
        epilog="examples:\n"
        "  vocalburst statistics emogator:dev --evaluator logmel --out stats.safetensors\n"
        "  accelerate launch -m vocalburst.eval.emotion_statistics emogator:train --out train.safetensors\n"
        "By several evaluators: one file each, OUT's name with -ID before the suffix.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    arguments = parser.parse_args()

    def command() -> None:
        with listening_session(arguments) as session:
            made = emotion_statistics(
                session.clips,
                session.evaluators,
                cache=arguments.cache,
                processes=session.processes,
                progress=counted,
            )
            for statistics, path in zip(made, session.outs, strict=True):
                if session.first:
                    statistics.save(path)
                    print(f"{path}\n{summary(statistics)}")
                    if note := unreliable(statistics):
                        print(f"note: {note}", file=sys.stderr)

    sys.exit(run(command))


if __name__ == "__main__":
    main()
