"""How clips of one corpus's emotions are judged by the protocol of another.

Shape letters: N clips, E emotions.

A protocol is a list of emotions (`data.emotions.LABEL_SETS`). EmoGator's clips answer it by name, or by the stand-in
of `data.emotions.STAND_INS`: `excitement` by elation, `awkwardness` by embarrassment, `surprise` by both surprises
together. `horror` (ExVo) and `hype` (SONATA) have no counterpart and stay missing; what the protocol does not ask
for (guilt, neutral, pride, romantic love, serenity, shame in SONATA-25) is not judged by it.

A recogniser of other emotions rates a clip by the protocol's list as far as it knows it: the probabilities of the
counterparts, divided by their sum, are what it hears when only these can be answered. Intensities, which need not
sum to one, are taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vocalburst.gen.data.emotions import LABEL_SETS, STAND_INS
from vocalburst.gen.data.errors import InputDataError


def counterparts(emotion: str, available: Iterable[str]) -> tuple[str, ...]:
    """The names among `available` whose clips, all together, answer for `emotion`; none where there are none."""
    known = set(available)
    if emotion in known:
        return (emotion,)
    parts = tuple(STAND_INS.get(emotion, ()))
    return parts if parts and known.issuperset(parts) else ()


def protocol_emotions(protocol: str, available: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Emotion of the protocol -> its counterparts among `available`, in the protocol's order, missing ones left out.

    Raises InputDataError for an unknown protocol.
    """
    if protocol not in LABEL_SETS:
        raise InputDataError(f"unknown protocol {protocol!r}; known: {', '.join(LABEL_SETS)}")
    available = tuple(available)
    found = {emotion: counterparts(emotion, available) for emotion in LABEL_SETS[protocol]}
    return {emotion: parts for emotion, parts in found.items() if parts}


def protocol_names(protocol: str, available: Iterable[str]) -> dict[str, str]:
    """Name among `available` -> the emotion of the protocol that it answers for; others are left out."""
    pairs = protocol_emotions(protocol, available).items()
    return {part: emotion for emotion, parts in pairs for part in parts}


def protocol_ratings(
    probabilities: np.ndarray, emotions: Sequence[str], protocol: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Ratings [N, E'] of the protocol's emotions that a recogniser of `emotions` [E] knows, and their names [E'].

    probabilities: [N, E]. Raises InputDataError when it knows fewer than two of them.
    """
    found = protocol_emotions(protocol, emotions)
    if len(found) < 2:
        raise InputDataError(f"the recogniser knows fewer than two emotions of the protocol {protocol!r}")
    place = {emotion: index for index, emotion in enumerate(emotions)}
    columns = [probabilities[:, [place[part] for part in parts]].sum(axis=1) for parts in found.values()]
    ratings = np.stack(columns, axis=1)
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-6):
        return np.clip(ratings, 0, 1), tuple(found)
    total = ratings.sum(axis=1, keepdims=True)
    # A clip that is heard as none of them is rated the same on all.
    ratings = np.divide(ratings, total, out=np.full_like(ratings, 1 / len(found)), where=total > 0)
    return np.clip(ratings, 0, 1), tuple(found)
