"""Embeddings that were computed before, kept per clip, so that sets which share clips share the work.

Shape letters: N clips, D embedding, E emotions. A clip is known by its key, a sha256 of its content, and an
evaluator by its id (which holds a hash of the weights) and its preprocessing: a change of any of them misses the
cache and never meets a stale number. Embeddings are kept as float32, which is what evaluators give.

On disk: CACHE/EVALUATOR-HASH/*.safetensors, each written once under a name of its own, all of it or nothing, so
any number of processes may read and write at the same time; at worst a clip is there twice. Each file carries a
hash of its content. One that is damaged is removed with a note on stderr, and its clips are embedded anew.
"""

from __future__ import annotations

import hashlib
import re
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from vocalburst.gen.data.audio import write_file

if TYPE_CHECKING:
    from vocalburst.eval.hearing import Evaluator

FORMAT = "vocalburst-embeddings-1"


class EmbeddingCache:
    """The embeddings of one evaluator below `cache`; with None nothing is found and nothing is kept."""

    def __init__(self, cache: Path | None, evaluator: Evaluator):
        emotions = evaluator.emotions
        self.shapes = {"embeddings": evaluator.dim}
        if emotions is not None:
            self.shapes["probabilities"] = len(emotions)
        self.identity = {
            "format": FORMAT,
            "evaluator": evaluator.id,
            "preprocessing": evaluator.preprocessing,
            "emotions": " ".join(emotions or ()),
        }
        name = hashlib.sha256("\n".join(self.identity.values()).encode()).hexdigest()[:12]
        self.folder = cache and cache / f"{re.sub(r'[^A-Za-z0-9._-]', '_', evaluator.id)}-{name}"

    def find(self, keys: Sequence[str]) -> Iterator[tuple[list[str], np.ndarray, np.ndarray | None]]:
        """(keys, embeddings [N, D], probabilities [N, E] or None) of those that are kept, each key once."""
        wanted = set(keys)
        for path in sorted(self.folder.glob("*.safetensors")) if self.folder else ():
            if not wanted:
                return
            try:
                stored, tensors = self.read(path, wanted)
            except (OSError, SafetensorError, ValueError) as error:
                print(
                    f"note: {path} is damaged ({error}); it is removed, its clips are embedded anew",
                    file=sys.stderr,
                )
                path.unlink(missing_ok=True)
                continue
            rows = {key: row for row, key in enumerate(stored) if key in wanted}
            if rows:
                wanted -= set(rows)
                chosen = list(rows.values())
                probabilities = tensors.get("probabilities")
                yield (
                    list(rows),
                    tensors["embeddings"][chosen],
                    None if probabilities is None else probabilities[chosen],
                )

    def read(self, path: Path, wanted: set[str]) -> tuple[list[str], dict[str, np.ndarray]]:
        """Keys and tensors of a file, no tensors if it has nothing that is wanted. ValueError if damaged."""
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            expected = metadata.pop("sha256", "")
            if metadata != self.identity or set(file.keys()) != {"keys", *self.shapes}:
                raise ValueError("it belongs to another evaluator")
            keys = file.get_tensor("keys")
            stored = [row.tobytes().hex() for row in keys]
            if wanted.isdisjoint(stored):
                return stored, {}
            tensors = {name: file.get_tensor(name) for name in self.shapes}
        if digest(keys, tensors) != expected:
            raise ValueError("its hash is another one")
        return stored, tensors

    def add(self, keys: Sequence[str], embeddings: np.ndarray, probabilities: np.ndarray | None) -> None:
        """Keep float32 [N, D] and float64 [N, E] of N clips."""
        if self.folder is None or not len(keys):
            return
        tensors = {"embeddings": embeddings} | (
            {} if probabilities is None else {"probabilities": probabilities}
        )
        tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
        binary = np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(len(keys), -1)
        metadata = self.identity | {"sha256": digest(binary, tensors)}
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{uuid.uuid4().hex}.safetensors"
        write_file(self.folder / name, to_safetensors({"keys": binary, **tensors}, metadata))


def digest(keys: np.ndarray, tensors: dict[str, np.ndarray]) -> str:
    parts = [keys, *(tensors[name] for name in sorted(tensors))]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
