"""Features of clips that are computed once per content: of openSMILE, of pretrained networks.

Shape letters: N clips, L wave sample at `audio.SAMPLE_RATE`, D features.

On disk: what `EmbeddingCache` writes; a clip is known by the sha256 of its samples.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tqdm import tqdm

from vocalburst.eval.embedding_cache import EmbeddingCache
from vocalburst.gen.data.errors import InputDataError

CHUNK = 256  # clips between two writes of the cache: what an interrupted extraction loses
WORTH_KEEPING = 32  # fewer clips at once are not looked for: a file for each would slow every later search

Compute = Callable[[np.ndarray], np.ndarray]  # wave [L] -> features [D]
ComputeMany = Callable[[Iterator[tuple[int, np.ndarray]]], Iterator[np.ndarray]]


def content_key(wave: np.ndarray) -> str:
    """sha256 hex of the samples of a wave [L]."""
    return hashlib.sha256(np.ascontiguousarray(wave, np.float32)).hexdigest()


def one_by_one(compute: Compute, items: Iterator[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
    """Features [D] of each (place, wave [L]). Raises InputDataError that begins with the place."""
    for index, wave in items:
        try:
            yield compute(wave)
        except InputDataError as error:
            raise InputDataError(f"wave {index}: {error}") from None


def cached_features(
    waves: Sequence[np.ndarray],
    cache: EmbeddingCache,
    dim: int,
    compute_many: ComputeMany,
    title: str | None = None,
) -> np.ndarray:
    """Features [N, D] float32; a clip that is there twice, or was there before, is computed once.

    title: of the progress bar; None shows none.
    """
    if len(waves) < WORTH_KEEPING:
        rows = list(compute_many((i, waves[i]) for i in range(len(waves))))
        return np.stack(rows) if rows else np.empty((0, dim), np.float32)
    places: dict[str, list[int]] = {}
    for index in range(len(waves)):
        places.setdefault(content_key(waves[index]), []).append(index)
    values = np.empty((len(waves), dim), np.float32)
    lacking = dict(places)
    for found, kept, _ in cache.find(list(places)):
        for key, own in zip(found, kept, strict=True):
            values[lacking.pop(key)] = own
    missing = list(lacking)
    hidden = title is None or not missing
    with tqdm(total=len(missing), desc=title, disable=hidden, file=sys.stderr, mininterval=5) as progress:
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            firsts = [places[key][0] for key in chunk]
            own = np.stack(list(compute_many((i, waves[i]) for i in firsts))).astype(np.float32)
            cache.add(chunk, own, None)
            for key, row in zip(chunk, own, strict=True):
                values[places[key]] = row
            progress.update(len(chunk))
    return values
