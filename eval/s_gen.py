"""S_GEN, the score of the ExVo 2022 generation track (arXiv 2205.01780): close to real, and recognised.

    S_GEN,e = (1 / FID_e + HEEP_e) / 2        S_GEN = mean over the emotions of the protocol

An emotion that was not submitted counts 0 (so do the published 0.174 and Table 6b of arXiv 2403.14048, whose
generator has no Triumph). 1 / FID is unbounded, so a FID is first raised to FID_FLOOR: below it a distance is
sampling noise, and one emotion must not decide the mean. Below a FID of about 1 the first term outweighs the
second, which cannot exceed 1; the two terms are therefore kept in the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vocalburst.gen.data.emotions import LABEL_SETS
from vocalburst.gen.data.errors import InputDataError

FID_FLOOR = 0.01
PROTOCOLS = LABEL_SETS  # a protocol asks for every emotion that its corpus labels


@dataclass(frozen=True)
class EmotionScore:
    """S_GEN,e and its terms; `fid` is as measured, `clipped` tells that FID_FLOOR was used instead."""

    fid: float
    heep: float
    s_gen: float
    clipped: bool


@dataclass(frozen=True)
class Score:
    """`value`: S_GEN over all emotions of the protocol, `missing` ones as 0.

    available: the mean over the submitted emotions only, for reading beside it; never to be ranked by.
    """

    value: float
    available: float
    emotions: dict[str, EmotionScore]
    missing: tuple[str, ...]
    fid_floor: float


def s_gen(
    fid: Mapping[str, float],
    heep: Mapping[str, float],
    emotions: Sequence[str],
    *,
    fid_floor: float = FID_FLOOR,
) -> Score:
    """S_GEN from the distance (> 0, or extrapolated) and HEEP (in [-1, 1]) of every submitted emotion.

    emotions: the protocol's list, e.g. PROTOCOLS["exvo-10"]. Raises InputDataError when an emotion has one of
    the two numbers only, is not in the list, or a number is not finite.
    """
    if not (math.isfinite(fid_floor) and fid_floor > 0):
        raise InputDataError(f"expected a FID floor above 0, got {fid_floor:g}")
    if half := sorted(set(fid) ^ set(heep)):
        raise InputDataError(f"expected a FID and a HEEP for each emotion, {half[0]!r} has only one of them")
    if foreign := sorted(set(fid) - set(emotions)):
        raise InputDataError(f"the emotion {foreign[0]!r} is not in the protocol's list")
    if not fid:
        raise InputDataError("expected scores of at least one emotion, got none")
    scores = {e: emotion_score(e, fid[e], heep[e], fid_floor) for e in emotions if e in fid}
    total = sum(score.s_gen for score in scores.values())
    missing = tuple(e for e in emotions if e not in fid)
    return Score(total / len(emotions), total / len(scores), scores, missing, fid_floor)


def emotion_score(emotion: str, fid: float, heep: float, fid_floor: float = FID_FLOOR) -> EmotionScore:
    """S_GEN,e of one emotion. Raises InputDataError on a FID that is not finite or a HEEP beyond [-1, 1]."""
    if not math.isfinite(fid):
        raise InputDataError(f"the FID of {emotion!r} is {fid:g}; expected a finite number")
    if not -1 <= heep <= 1:
        raise InputDataError(f"the HEEP of {emotion!r} is {heep:g}; expected a correlation from -1 to 1")
    return EmotionScore(fid, heep, (1 / max(fid, fid_floor) + heep) / 2, fid < fid_floor)
