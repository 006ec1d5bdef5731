"""What the official protocol of ExVo 2022 says about an entry: a record, its JSON and its table."""

from __future__ import annotations

from typing import Literal

import numpy as np

from vocalburst.eval.printing import DASH, markdown, show, show_measure
from vocalburst.eval.scores import Measure, Record

FORMAT = "vocalburst-exvo2022-1"


class EmotionDistance(Record):
    """One emotion: n clips against the official validation statistics; None where there are none of it.

    fid: at this n, biased upwards; fid_infinity: extrapolated to many clips, None below 8; emotion_blind: what
    real clips of all emotions together score.
    """

    n: int
    fid: Measure | None
    fid_infinity: float | None
    emotion_blind: float | None


class ExvoScores(Record):
    """The whole result; `space` names the network, and no number compares with one of the other space."""

    format: str = FORMAT
    entry: str
    clips_sha256: str
    space: Literal["wav", "webm"]
    weights_sha256: str
    seed: int
    emotions: dict[str, EmotionDistance]
    not_submitted: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def mean_fid(self) -> float | None:
        """Mean over the emotions that have official statistics."""
        values = [one.fid.value for one in self.emotions.values() if one.fid is not None]
        return float(np.mean(values)) if values else None

    def to_json(self) -> str:
        return self.model_dump_json(indent=1) + "\n"

    def markdown(self) -> str:
        """The table, and below it all that its reader must know."""
        titles = ["emotion", "clips", "FID ↓", "FID∞ ↓", "emotion-blind FID"]
        rows = [
            [emotion, str(one.n), show_measure(one.fid), show(one.fid_infinity), show(one.emotion_blind)]
            for emotion, one in self.emotions.items()
        ]
        rows.append(
            ["**mean**", str(sum(one.n for one in self.emotions.values())), show(self.mean_fid), DASH, DASH]
        )
        lines = [
            f"{self.entry}, official ExVo 2022 distance in the **{self.space}** space "
            f"(weights {self.weights_sha256[:12]})",
            "",
            markdown(titles, rows),
            "",
        ]
        return "\n".join(lines + [f"* {sentence}" for sentence in (*self.warnings(), *self.notes)])

    def warnings(self) -> list[str]:
        """What holds for every result of this protocol, and what this one lacks."""
        other = "webm" if self.space == "wav" else "wav"
        found = [
            f"These numbers are in the {self.space} space. They do not compare with those of the {other} space, nor "
            "with distances of any other evaluator; the baseline of the organisers is in the wav space.",
            "A distance is too large by about b/n for n clips; compare it at equal n only. 95 % intervals resample "
            "clips. The reference is the validation split, whose number of clips is not published.",
            "A distance says nothing about the emotion heard: real clips of all emotions together would score the "
            "column emotion-blind. S_GEN also needs HEEP, from people's ratings, and is not given here.",
        ]
        without = [emotion for emotion, one in self.emotions.items() if one.fid is None]
        if without:
            found.append(f"There are no official statistics of {', '.join(without)} in this space.")
        if self.not_submitted:
            found.append(
                f"Not submitted, and 0 in an S_GEN of the ten emotions: {', '.join(self.not_submitted)}."
            )
        return found
