"""Real bursts of EmoGator, straight from a shard; present where the project is developed, not at a user's."""

from __future__ import annotations

import tarfile
from functools import cache

import numpy as np
from conftest import SHARED

from vocalburst.gen.data.audio import read_wave

SHARD = SHARED / "data" / "emogator" / "train-00.tar"


@cache
def real_clips(n: int = 32) -> tuple[list[np.ndarray], np.ndarray]:
    """Waves [L] of n clips of many emotions, and the class [N] of each in the order of EMOGATOR_30.

    A clip is named SPEAKER-EMOTION-REPETITION, with emotions numbered from 1 in that order.
    """
    with tarfile.open(SHARD) as shard:
        members = [member for member in shard if member.name.endswith("-1.opus")][:n]
        waves = [read_wave(shard.extractfile(member).read(), name=member.name) for member in members]
    classes = np.array([int(member.name.split("-")[-2]) - 1 for member in members], dtype=float)
    return waves, classes
