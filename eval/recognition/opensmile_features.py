"""Functionals of openSMILE (Eyben et al. 2010), the features of the competitions' baselines, kept per clip.

Shape letters: N clips, L wave sample at `audio.SAMPLE_RATE`, F features.

A clip becomes what the competitions handed out: 16 kHz, the peak at -3 dBFS, the whole clip with the silence around the
burst, as their baselines used it (`part="active"` leaves the silence out). The peak also keeps openSMILE, whose input
is 16-bit, from wrapping a full-scale sample around.

openSMILE is free for private, research and educational use only, so it is an optional package.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soxr

from vocalburst.eval.embedding_cache import EmbeddingCache
from vocalburst.eval.recognition.feature_cache import cached_features, one_by_one
from vocalburst.gen.data.audio import SAMPLE_RATE, active_span
from vocalburst.gen.data.errors import InputDataError, MissingModelError

RATE = 16_000  # Hz
PEAK = 10 ** (-3 / 20)
SETS = {"compare": "ComParE_2016", "egemaps": "eGeMAPSv02"}  # setting -> name in openSMILE
PARTS = ("whole", "active")
WARNINGS = threading.Lock()  # warnings.catch_warnings changes the whole process


class OpenSmile:
    """The functionals of one feature set; `id`, `preprocessing`, `dim` and `emotions` are what a cache asks for."""

    emotions = None

    def __init__(
        self, feature_set: str, part: str = "whole", *, cache: str | Path | None = None, workers: int = 1
    ):
        """feature_set: key of `SETS`. Raises MissingModelError without the package, InputDataError."""
        if feature_set not in SETS or part not in PARTS:
            raise InputDataError(
                f"expected a feature set of {', '.join(SETS)} and a part of {', '.join(PARTS)}, "
                f"got {feature_set!r} and {part!r}"
            )
        opensmile = import_opensmile()
        self.feature_set, self.part, self.workers = feature_set, part, workers
        self.smile = opensmile.Smile(opensmile.FeatureSet[SETS[feature_set]])
        self.names: tuple[str, ...] = tuple(self.smile.feature_names)
        self.id = f"opensmile-{opensmile.__version__}-{SETS[feature_set]}"
        self.dim = len(self.names)
        self.preprocessing = preprocessing(part)
        self.cache = EmbeddingCache(None if cache is None else Path(cache), self)

    def compute(self, wave: np.ndarray) -> np.ndarray:
        """[F] float32 of a wave [L]. Raises InputDataError for a silent one, or one shorter than a frame."""
        first, last = active_span(wave)
        if last == 0:
            raise InputDataError("a clip is digital silence, of which openSMILE has nothing to say")
        if self.part == "active":
            wave = wave[first:last]
        signal = soxr.resample(np.asarray(wave, np.float32), SAMPLE_RATE, RATE)
        peak = np.abs(signal).max(initial=0.0)
        with WARNINGS, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Segment too short")
            values = self.smile(signal * (PEAK / peak), RATE) if peak > 0 else np.full(self.dim, np.nan)
        values = np.asarray(values, np.float32).reshape(-1)
        if np.isnan(values).all():
            raise InputDataError(
                f"a clip of {1000 * len(wave) / SAMPLE_RATE:.0f} ms is shorter than a frame of openSMILE's "
                f"{SETS[self.feature_set]}"
            )
        if not np.isfinite(values).all():
            name = self.names[int(np.flatnonzero(~np.isfinite(values))[0])]
            raise InputDataError(f"openSMILE gives no finite {name} of a clip")
        return values

    def extract(self, waves: Sequence[np.ndarray], title: str | None = None) -> np.ndarray:
        """[N, F] float32, by several processes where `workers` says so. title: of the progress bar, None for none.

        Raises InputDataError naming the clip's place in `waves`.
        """
        if self.workers == 1:
            return cached_features(waves, self.cache, self.dim, partial(one_by_one, self.compute), title)
        # Spawned: openSMILE and the threads of torch do not survive a fork.
        with ProcessPoolExecutor(
            self.workers, get_context("spawn"), start_worker, (self.feature_set, self.part)
        ) as pool:
            apart = partial(pool.map, compute_in_worker, chunksize=8)
            return cached_features(waves, self.cache, self.dim, apart, title)


def start_worker(feature_set: str, part: str) -> None:
    global worker
    worker = OpenSmile(feature_set, part)


def compute_in_worker(item: tuple[int, np.ndarray]) -> np.ndarray:
    return next(one_by_one(worker.compute, iter([item])))


def import_opensmile():
    """The package. Raises MissingModelError with its licence where it is not installed."""
    try:
        import opensmile
    except ImportError:
        raise MissingModelError(
            "the features of openSMILE need its package, which is free for private, research and educational use "
            "only: pip install 'vocalburst[opensmile]'"
        ) from None
    return opensmile


def preprocessing(part: str) -> str:
    """Id of what is done to a wave before openSMILE."""
    return f"{'active-40db' if part == 'active' else 'whole'}_{RATE}hz_peak-3db"
