"""What can be asked of a checkpoint, and the sentence for what cannot."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.sampling import SCHEDULERS


def check_spec(
    spec: BurstSpec, emotions: Collection[str], n_voices: int, durations: tuple[float, float]
) -> None:
    """Raise InputDataError for a spec that a checkpoint of these emotions, voices and seconds cannot answer."""
    unknown = [name for name in (*spec.vector, *(spec.prior_vector or ())) if name not in emotions]
    if not spec.vector or unknown:
        raise InputDataError(f"expected emotions of this checkpoint, got {unknown or 'none'}")
    for voice in (spec.voice, spec.second_voice):
        if voice is not None and not 0 <= voice < n_voices:
            raise InputDataError(f"voice {voice}: this checkpoint has the voices 0 to {n_voices - 1}")
    if spec.second_voice is not None and spec.voice in (None, spec.second_voice):
        raise InputDataError(
            f"a second voice is mixed into another one, got {spec.second_voice} into {spec.voice}"
        )
    if spec.duration is not None and not durations[0] <= spec.duration <= durations[1]:
        raise InputDataError(
            f"duration {spec.duration:g} s: this checkpoint makes {durations[0]:g} to {durations[1]:.2f} s"
        )
    if spec.quantile is not None and not 0 <= spec.quantile < 1:
        raise InputDataError(f"quantile must be at least 0 and below 1, got {spec.quantile:g}")
    if spec.scheduler not in SCHEDULERS:
        raise InputDataError(f"unknown scheduler {spec.scheduler!r}; known: {', '.join(SCHEDULERS)}")
    if spec.steps < 1:
        raise InputDataError(f"steps must be at least 1, got {spec.steps}")
    if not 0 < spec.strength <= 1:
        raise InputDataError(f"strength must be above 0 and at most 1, got {spec.strength:g}")
    if spec.like is not None:
        check_like(spec, durations)


def check_like(spec: BurstSpec, durations: tuple[float, float]) -> None:
    """Raise InputDataError for a clip to vary that is too short, too long or without sound."""
    if spec.duration is not None:
        raise InputDataError("a varied clip keeps its own length, so no duration can be asked for")
    seconds = len(spec.like) / SAMPLE_RATE
    if not durations[0] <= seconds <= durations[1]:
        raise InputDataError(
            f"expected a clip of {durations[0]:g} to {durations[1]:.2f} s to vary, got {seconds:.2f} s"
        )
    if not (np.isfinite(spec.like).all() and np.any(spec.like)):
        raise InputDataError("expected a clip with sound to vary, got silence or samples that are not finite")
