"""What an evaluator is: waves in, embeddings and perhaps probabilities out, under a name that says which.

Shape letters: B clips, L wave sample, D embedding, E emotion.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocalburst.gen.data.errors import InputDataError


@dataclass(frozen=True, eq=False)
class Heard:
    """embeddings: [B, D] float32; probabilities: [B, E] float64, or None from an evaluator without outputs."""

    embeddings: np.ndarray
    probabilities: np.ndarray | None


class Evaluator(ABC):
    """Base of all evaluators; a subclass sets the attributes and writes `load` and `hear`.

    id: kind of network and 12 hex digits of its weights' sha256; preprocessing: what is done to a wave before
    the network; dim: D; emotions: the E outputs, or None; space: what distances may be compared with, in a
    sentence.
    """

    id: str
    preprocessing: str
    dim: int
    emotions: tuple[str, ...] | None
    space: str

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Evaluator:
        """Read the weights of a local folder. Raises MissingModelError in one sentence on any damage."""

    @abstractmethod
    def hear(self, waves: Sequence[np.ndarray]) -> Heard:
        """What `listen` returns, of waves it has checked."""

    def listen(self, waves: Sequence[np.ndarray]) -> Heard:
        """Hear waves [L], float32 mono at `audio.SAMPLE_RATE`, of any lengths.

        A clip gets the same answer alone, in a batch, and from any thread. Raises InputDataError for no waves
        at all, and for a wave that is not mono, not finite, or digital silence.
        """
        if not len(waves):
            raise InputDataError("expected at least one wave to listen to, got none")
        for index, wave in enumerate(waves):
            check_wave(wave, f"wave {index}" if len(waves) > 1 else "the wave")
        return self.hear(waves)


def check_wave(wave: np.ndarray, name: str) -> None:
    if wave.ndim != 1 or not len(wave):
        raise InputDataError(f"{name}: expected mono samples [L], got the shape {wave.shape}")
    if not np.isfinite(wave).all():
        raise InputDataError(f"{name}: holds samples that are not finite numbers")
    if not wave.any():
        raise InputDataError(f"{name}: is digital silence, in which there is nothing to hear")


def weights_hash(paths: Iterable[Path]) -> str:
    """12 hex digits of the sha256 over the bytes of weight files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
