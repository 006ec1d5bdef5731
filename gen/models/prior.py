"""The recordings' attributes as the training clips had them: how long, how loud, whose voice, for each emotion.

A generated clip draws one training clip's row (never its sound), so that lengths, levels and voices keep their joint
distribution; what the user asks for replaces what was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from vocalburst.gen.data.errors import InputDataError

MIXED_IN = 0.75  # of another clip's outline and voice beside a clip's own, so that they name no train clip
Array = TypeVar("Array", np.ndarray, torch.Tensor)
NEAR = 16  # rows that are about as long as a clip


def mixed_with(own: Array, other: Array) -> Array:
    """`own` and `MIXED_IN` of `other`: of the same variance where the two are independent and have it both."""
    return (own + MIXED_IN * other) / math.hypot(1, MIXED_IN)


@dataclass(frozen=True)
class Attributes:
    """seconds: of the whole clip; active_seconds: of its voice-active part; level_db: dBFS of that part; voice: row.

    onset: seconds before that part; outline [K]: of that part, empty for a model without. place: row of the prior that
    all this is from, None if it is from elsewhere. second_voice: row of the voice that is mixed in, None without.
    """

    seconds: float
    active_seconds: float
    level_db: float
    voice: int
    onset: float = 0.0
    outline: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32), compare=False)
    place: int | None = None
    second_voice: int | None = None

    def span(self, seconds_a_frame: float) -> torch.Tensor:
        """[1, 2]: first and last-plus-one mel frame of the voice-active part."""
        return torch.tensor([[self.onset, self.onset + self.active_seconds]]) / seconds_a_frame


class ClipPrior(ModelMixin, ConfigMixin):
    """A table [N, 5] of (emotion, voice, seconds, active_seconds, level_db), one row a training clip.

    outline: numbers of the clips' outlines [N, K], with `onsets` [N] in seconds; 0: neither is there.
    """

    @register_to_config
    def __init__(self, n_rows: int, outline: int = 0):
        super().__init__()
        self.register_buffer("rows", torch.zeros(n_rows, 5))
        if outline:
            self.register_buffer("outlines", torch.zeros(n_rows, outline))
            self.register_buffer("onsets", torch.zeros(n_rows))

    @classmethod
    def from_rows(
        cls, rows: np.ndarray, outlines: np.ndarray | None = None, onsets: np.ndarray | None = None
    ) -> ClipPrior:
        prior = cls(len(rows), 0 if outlines is None else outlines.shape[1])
        tables = {"rows": rows, "outlines": outlines, "onsets": onsets}
        for name, table in tables.items():
            if table is not None:
                getattr(prior, name).copy_(torch.from_numpy(np.asarray(table, dtype=np.float32)))
        return prior

    def at_least(self, level_db: float) -> ClipPrior:
        """The rows whose voice-active part has that level, in dBFS, or more; raises InputDataError if there is none."""
        keep = self.rows[:, 4] >= level_db
        if not keep.any():
            raise InputDataError(
                f"no train clip of the prior reaches {level_db:g} dBFS; "
                f"the loudest has {self.rows[:, 4].max():g} dBFS"
            )
        tables = {name: table[keep].cpu().numpy() for name, table in self.named_buffers()}
        return ClipPrior.from_rows(**tables)

    def places(
        self,
        emotion: int,
        voice: int | None = None,
        active_seconds: float | None = None,
        other_than: int | None = None,
    ) -> np.ndarray:
        """[R]: rows of an emotion, of `voice` if one is asked for, in the order of the table.

        A voice without a row of that emotion has those of others, and one without any row has anybody's of the emotion.
        active_seconds: only the `NEAR` rows whose voice-active length is nearest to it, the nearest first.
        other_than: a row that is only there when there is no other.
        """
        rows = self.rows.cpu().numpy()
        of_emotion, of_voice = rows[:, 0] == emotion, rows[:, 1] == voice
        wanted = [of_emotion] if voice is None else [of_emotion & of_voice, of_voice, of_emotion]
        found = next((np.flatnonzero(keep) for keep in wanted if keep.any()), np.arange(len(rows)))
        if (found != other_than).any():
            found = found[found != other_than]
        if active_seconds is not None:
            found = found[np.argsort(np.abs(rows[found, 3] - active_seconds), kind="stable")[:NEAR]]
        return found

    def draw(
        self,
        weights: Mapping[int, float],
        voice: int | None,
        active_seconds: float | None,
        rng: np.random.Generator,
        other_than: int | None = None,
        quantile: float | None = None,
    ) -> Attributes:
        """One of the rows at `places`, its emotion drawn by `weights` (index -> weight).

        quantile: which of the rows, 0 to 1 in the order of their voices; None draws one.
        """
        indices = list(weights)
        share = np.array([weights[index] for index in indices], dtype=np.float64)
        emotion = indices[int(rng.choice(len(indices), p=share / share.sum()))]
        rows, places = self.rows.cpu().numpy(), self.places(emotion, voice, active_seconds, other_than)
        if quantile is None:
            place = int(places[rng.integers(len(places))])
        else:
            by_voice = places[np.argsort(rows[places, 1], kind="stable")]
            place = int(by_voice[int(quantile * len(places))])
        row = rows[place]
        drawn = Attributes(
            float(row[2]),
            float(row[3]),
            float(row[4]),
            int(row[1]) if voice is None else voice,
            place=place,
        )
        if not self.config.outline:
            return drawn
        return replace(drawn, onset=float(self.onsets[place]), outline=self.outlines[place].cpu().numpy())

    def mixed(
        self,
        weights: Mapping[int, float],
        drawn: Attributes,
        drawn_by: set[int],
        voice: int | None,
        seed: int,
    ) -> Attributes:
        """`drawn` with outlines of training clips about as long, mixed as the emotions are (index -> weight).

        One of each emotion by its weight, and one of any clip by what the weights leave to 1, so that a mix, a weak
        intensity and every point between two emotions have an outline of their own; of variance 1 like those it is
        made of. An emotion that alone decided what was drawn (`drawn_by`) has the row's own outline and `MIXED_IN` of
        another clip's, and so much of that clip's voice too (`second_voice`), unless a `voice` is asked for. What two
        clips of an emotion have in common adds up, so such an outline has 1.4 times the emotion's mean.
        """

        def another(emotions: Mapping[int, float], *stream: int) -> Attributes:
            rng = np.random.default_rng([seed, *stream])
            return self.draw(emotions, voice, drawn.active_seconds, rng, drawn.place)

        others = {index: another({index: 1.0}, 3, index) for index in weights}
        outlines = {index: other.outline for index, other in others.items()}
        second_voice = None
        for index, other in others.items():
            if drawn_by == {index}:
                outlines[index] = drawn.outline
                if other.place != drawn.place:  # else it is the only one
                    outlines[index] = mixed_with(drawn.outline, other.outline)
                    if other.voice != drawn.voice and min(other.voice, drawn.voice) >= 0:
                        second_voice = other.voice
        outline = sum(weight * outlines[index] for index, weight in weights.items())
        rest = max(0.0, 1 - sum(weights.values()))
        if rest:
            every = dict.fromkeys(self.rows[:, 0].unique().int().tolist(), 1.0)
            outline = outline + rest * another(every, 4).outline
        outline = outline / math.sqrt(sum(weight**2 for weight in weights.values()) + rest**2)
        return replace(drawn, outline=outline, second_voice=second_voice)

    def varied_outline(
        self, weights: Mapping[int, float], own: Attributes, strength: float, voice: int | None, seed: int
    ) -> np.ndarray:
        """The outline of a varied clip: its own at a strength near 0, a mixed one of what is asked for at 1."""
        other = self.mixed(weights, own, set(), voice, seed).outline
        kept = math.sqrt(1 - strength**2)  # both have the variance 1, and so has their mix
        return (kept * own.outline + strength * other).astype(np.float32)
