"""Clips through evaluators, as a stream of blocks: what `embed` collects and `statistics` adds up.

Shape letters: B clips of a block, L wave sample, D embedding, E emotions of the evaluator.

A clip is always heard alone, by one thread of the network: its numbers are the same whatever the set, the number
of processes, and what was cached. Speed comes from hearing several clips at once in threads, and from processes,
which take the distinct clips in turn. Each clip is decoded and resampled once for all evaluators, and only the
waves of a few clips and a block of results are in memory.

A wave is never changed here. Digital silence is refused; the silent control is a dithered wave, see `controls`.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vocalburst.eval.clips import ClipSet
from vocalburst.eval.embedding_cache import EmbeddingCache
from vocalburst.gen.data.errors import InputDataError

if TYPE_CHECKING:
    from vocalburst.eval.hearing import Evaluator

BLOCK = 256  # clips that go into the cache, and out to the caller, at once
AHEAD = 3  # decoded waves per thread that may wait to be heard

Progress = Callable[[Iterable, int], Iterable]  # (items, how many) -> the same items


class Processes(Protocol):
    """What is asked of an `accelerate.Accelerator` or `PartialState`."""

    process_index: int
    num_processes: int


@dataclass(frozen=True, eq=False)
class Block:
    """Some clips as one evaluator hears them.

    evaluator: its place in the list of evaluators; indices: into the set of clips [B]; embeddings: [B, D]
    float32; probabilities: [B, E] float64, or None where the evaluator has no recogniser.
    """

    evaluator: int
    indices: np.ndarray
    embeddings: np.ndarray
    probabilities: np.ndarray | None


def hear(evaluator: Evaluator, wave: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Embedding [D] float32 and probabilities [E] float64 (or None) of one wave [L].

    Raises InputDataError, beginning with `name`, if the evaluator refuses the wave or does not answer with
    finite embeddings and probabilities from 0 to 1.
    """
    try:
        heard = evaluator.listen([wave])
    except InputDataError as error:
        raise type(error)(f"{name}: {error}") from None
    embeddings = np.asarray(heard.embeddings, np.float32)
    if embeddings.shape != (1, evaluator.dim):
        raise ValueError(f"{evaluator.id}: expected embeddings [1, {evaluator.dim}], got {embeddings.shape}")
    if bad := int((~np.isfinite(embeddings)).sum()):
        raise InputDataError(
            f"{name}: {bad} of {evaluator.dim} numbers of {evaluator.id} are NaN or infinite"
        )
    if evaluator.emotions is None:
        return embeddings[0], None
    probabilities = np.asarray(heard.probabilities, np.float64)
    if probabilities.shape != (1, len(evaluator.emotions)):
        shape = (1, len(evaluator.emotions))
        raise ValueError(f"{evaluator.id}: expected probabilities {shape}, got {probabilities.shape}")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise InputDataError(f"{name}: expected probabilities from 0 to 1 of {evaluator.id}, got others")
    return embeddings[0], probabilities[0]


def stream(
    clips: ClipSet,
    evaluators: Sequence[Evaluator],
    *,
    cache: Path | None,
    processes: Processes | None = None,
    progress: Progress | None = None,
) -> Iterator[Block]:
    """Every clip once per evaluator, in blocks; of several processes, each gets its own share of the clips.

    cache: folder of embeddings computed before, see `embedding_cache`; None keeps nothing.
    progress: wraps the clips that have to be heard, so that they can be counted.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(clips.keys):
        places[key].append(index)
    share = list(places)
    if processes is not None:
        share = share[processes.process_index :: processes.num_processes]
    caches = [EmbeddingCache(cache, evaluator) for evaluator in evaluators]
    missing: dict[str, list[int]] = {}  # key -> evaluators that have yet to hear it
    for number, kept in enumerate(caches):
        unheard = dict.fromkeys(share)
        for keys, embeddings, probabilities in kept.find(share):
            for key in keys:
                del unheard[key]
            yield spread(number, keys, embeddings, probabilities, places)
        for key in unheard:
            missing.setdefault(key, []).append(number)
    if missing:
        jobs = heard_clips(clips, evaluators, missing, places, progress)
        yield from blocks(jobs, caches, places)


def spread(
    number: int,
    keys: Sequence[str],
    embeddings: np.ndarray,
    probabilities: np.ndarray | None,
    places: dict[str, list[int]],
) -> Block:
    """The block of distinct contents, each at all its places in the set."""
    rows = [row for row, key in enumerate(keys) for _ in places[key]]
    indices = np.array([index for key in keys for index in places[key]])
    return Block(number, indices, embeddings[rows], None if probabilities is None else probabilities[rows])


def heard_clips(
    clips: ClipSet,
    evaluators: Sequence[Evaluator],
    missing: dict[str, list[int]],
    places: dict[str, list[int]],
    progress: Progress | None,
) -> Iterator[tuple[str, list[tuple[int, tuple]]]]:
    """(key, [(evaluator, what it heard)]) of the clips in `missing`, in the order in which they are read."""
    order = sorted(places[key][0] for key in missing)
    part = clips.take(order)
    part_keys = part.keys
    waves: Iterable = part.waves() if progress is None else progress(part.waves(), len(part))

    def job(index: int, wave: np.ndarray) -> tuple[str, list[tuple[int, tuple]]]:
        key = part_keys[index]
        return key, [(number, hear(evaluators[number], wave, part.names[index])) for number in missing[key]]

    # Here, not above: what only reads the cache needs no torch.
    from vocalburst.gen.determinism import one_thread

    threads = threads_here()
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        running = deque()
        try:
            for index, wave in waves:
                running.append(pool.submit(job, index, wave))
                if len(running) > AHEAD * threads:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:  # after a bad clip, those that wait need not be heard
            for future in running:
                future.cancel()


def blocks(
    jobs: Iterable[tuple[str, list[tuple[int, tuple]]]],
    caches: Sequence[EmbeddingCache],
    places: dict[str, list[int]],
) -> Iterator[Block]:
    """Gather what is heard into blocks; each is in the cache before it is handed on."""
    waiting: list[list[tuple[str, np.ndarray, np.ndarray | None]]] = [[] for _ in caches]

    def flush(number: int) -> Block:
        keys, embeddings, probabilities = zip(*waiting[number], strict=True)
        waiting[number].clear()
        rows = np.stack(embeddings), None if probabilities[0] is None else np.stack(probabilities)
        caches[number].add(keys, *rows)
        return spread(number, keys, *rows, places)

    for key, answers in jobs:
        for number, answer in answers:
            waiting[number].append((key, *answer))
            if len(waiting[number]) == BLOCK:
                yield flush(number)
    yield from (flush(number) for number, rows in enumerate(waiting) if rows)


def threads_here() -> int:
    """Clips that this process hears at once: its share of the cores of the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def exchange(processes: Processes | None, work: Callable[[], Any]) -> list[Any]:
    """Do `work` on every process and return the results of all, in the order of the processes.

    An InputDataError of one is raised by all, so that none waits for a result that will never come.
    """
    if processes is None or processes.num_processes == 1:
        return [work()]
    from accelerate.utils import gather_object

    result = failure = None
    try:
        result = work()
    except InputDataError as error:
        failure = error
    gathered = gather_object([(result, failure)])
    for _, failed in gathered:
        if failed is not None:
            raise failed
    return [result for result, _ in gathered]
