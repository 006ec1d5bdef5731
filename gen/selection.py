"""Best of k: several candidates for a clip, of which the one that carries the asked emotion most clearly is kept.

What judges is a `Selector`: anything that listens to waves and answers with probabilities. This half of the package
neither imports nor names one, so that a generator can be installed, trained and used without the other half. The
command line, which knows both halves (`cli`), loads the one that the user names and hands it in here.

Selecting makes clips more typical and less varied and it fits the selector's own ear, so it is never a default, it is
written into every row and file, and a set of clips must not be scored by the evaluator that chose it.

Shape letters: B candidate, L wave sample, E emotion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from vocalburst.gen.data.errors import InputDataError


class Selector(Protocol):
    """id: names the weights; emotions: of the probabilities, None where it gives none."""

    id: str
    emotions: tuple[str, ...] | None

    def listen(self, waves: Sequence[np.ndarray]):
        """An object whose `probabilities` are [B, E] for waves [L]; raises InputDataError for a silent wave."""


def candidate_seeds(seed: int, count: int) -> list[int]:
    """The seeds of a clip's candidates: its own first, then 63 bits of SHA-256 over it and the candidate's number."""
    digests = [hashlib.sha256(f"{seed}|candidate|{k}".encode()).digest() for k in range(1, count)]
    return [seed, *(int.from_bytes(digest[:8], "big") >> 1 for digest in digests)]


def evidence(probabilities: np.ndarray, emotions: Sequence[str], vector: Mapping[str, float]) -> np.ndarray:
    """How clearly [B] the emotions of `vector` are heard: the mean of their log-probabilities, weighted by the vector.

    probabilities: [B, E] over `emotions`. For one emotion the order is that of its probability; of a mix every part has
    to be heard, which a mean of probabilities would not ask for.
    """
    columns = [list(emotions).index(name) for name in vector]
    weights = np.array(list(vector.values()))
    logarithms = np.log(np.maximum(probabilities[:, columns], np.finfo(float).tiny))
    return logarithms @ weights / weights.sum()


def check_selector(selector: Selector, emotions: Sequence[str]) -> None:
    """Raise InputDataError when `selector` cannot tell one of `emotions`."""
    unknown = [name for name in emotions if name not in (selector.emotions or ())]
    if unknown:
        raise InputDataError(
            f"the evaluator {selector.id} cannot choose among clips of {unknown[0]}: it gives no probability of it"
        )


class BestOf:
    """A pipeline that makes `count` candidates of every clip and returns the best one, with its own seed."""

    def __init__(self, pipeline, selector: Selector, count: int):
        self.pipeline, self.selector, self.count = pipeline, selector, count

    def synthesise(self, specs: Sequence) -> list:
        """One burst per spec, in order, as of `BurstPipeline.synthesise`."""
        return [self._best(spec) for spec in specs]

    def _best(self, spec):
        from vocalburst.gen.determinism import one_thread

        seeds = candidate_seeds(spec.seed, self.count)
        bursts = self.pipeline.synthesise([replace(spec, seed=seed) for seed in seeds])
        audible = [place for place, burst in enumerate(bursts) if np.any(burst.wave)]
        if not audible:
            return bursts[0]
        with one_thread():
            heard = self.selector.listen([bursts[place].wave for place in audible])
        values = evidence(np.asarray(heard.probabilities), self.selector.emotions, spec.vector)
        return bursts[audible[int(values.argmax())]]


def load_best_of(load: Callable[[], object], load_selector: Callable[[], Selector], count: int) -> BestOf:
    """`BestOf` of what two loaders give; picklable as a partial, so that every worker process loads its own."""
    return BestOf(load(), load_selector(), count)
