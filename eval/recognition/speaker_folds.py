"""Speakers dealt out by a hash of their names, as the split `emogator-v1` is: no speaker is on both sides.

Shape letters: N clips, K folds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from vocalburst.gen.data.errors import InputDataError

HELD_OUT = 0.1  # share of the train speakers that choose epochs and settings
HELD_OUT_SALT = "recognition-held-out-v1"
FOLDS_SALT = "recognition-folds-v1"


def ranked(names: Sequence[str], salt: str) -> list[str]:
    """Different names in the order of SHA-256(salt + ":" + name)."""
    return sorted(set(names), key=lambda name: hashlib.sha256(f"{salt}:{name}".encode()).hexdigest())


def held_out(names: Sequence[str], share: float = HELD_OUT) -> np.ndarray:
    """Which of the clips [N] of speakers `names` [N] are held out: about `share` of the speakers, at least one.

    Raises InputDataError when there is but one speaker.
    """
    order = ranked(names, HELD_OUT_SALT)
    if len(order) < 2:
        raise InputDataError("holding out train speakers needs at least two of them, got one")
    chosen = set(order[: max(1, round(share * len(order)))])
    return np.array([name in chosen for name in names])


def speaker_folds(names: Sequence[str], folds: int) -> np.ndarray:
    """Fold [N] of the clips of speakers `names` [N]; folds differ by one speaker at most.

    Raises InputDataError for fewer speakers than folds.
    """
    order = ranked(names, FOLDS_SALT)
    if len(order) < folds:
        raise InputDataError(f"{folds} folds need at least as many speakers, got {len(order)}")
    fold = {name: index * folds // len(order) for index, name in enumerate(order)}
    return np.array([fold[name] for name in names])
