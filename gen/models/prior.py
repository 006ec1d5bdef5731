"""The recordings' attributes as the training clips had them: how long, how loud, whose voice, for each emotion.

A generated clip draws one training clip's row (never its sound), so that lengths, levels and voices keep their joint
distribution; what the user asks for replaces what was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

OTHER = 0.75  # of another clip's outline beside a clip's own, so that outline and voice together name no train clip


@dataclass(frozen=True)
class Attributes:
    """seconds: of the whole clip; active_seconds: of its voice-active part; level_db: dBFS of that part; voice: row.

    onset: seconds before that part; outline [K]: of that part, empty for a model without. place: row of the prior that
    all this is from, None if it is from elsewhere.
    """

    seconds: float
    active_seconds: float
    level_db: float
    voice: int
    onset: float = 0.0
    outline: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32), compare=False)
    place: int | None = None

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

    def draw(
        self,
        weights: Mapping[int, float],
        voice: int | None,
        active_seconds: float | None,
        rng: np.random.Generator,
        other_than: int | None = None,
        quantile: float | None = None,
    ) -> Attributes:
        """One row: its emotion drawn by `weights` (index -> weight), of `voice` if one is asked for.

        A duration that is asked for picks among the rows (at most 16) whose voice-active length is nearest to it.
        other_than: a row that is only taken when there is no other. quantile: which of the rows, 0 to 1 in the order
        of their voices; None draws one.
        """
        rows, places = self.rows.cpu().numpy(), np.arange(len(self.rows))
        indices = list(weights)
        share = np.array([weights[index] for index in indices], dtype=np.float64)
        emotion = indices[int(rng.choice(len(indices), p=share / share.sum()))]
        for keep in (
            (rows[:, 0] == emotion) & (rows[:, 1] == voice) if voice is not None else rows[:, 0] == emotion,
            rows[:, 1] == voice if voice is not None else np.zeros(len(rows), dtype=bool),
        ):
            if keep.any():
                places = places[keep]
                break
        if (places != other_than).any():
            places = places[places != other_than]
        if active_seconds is not None:
            places = places[np.argsort(np.abs(rows[places, 3] - active_seconds), kind="stable")[:16]]
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

    def mixed_outline(
        self,
        weights: Mapping[int, float],
        drawn: Attributes,
        drawn_by: set[int],
        voice: int | None,
        seed: int,
    ) -> np.ndarray:
        """[K]: outlines of training clips about as long as `drawn`, mixed as the emotions are (index -> weight).

        One of each emotion by its weight, and one of any clip by what the weights leave to 1, so that a mix, a weak
        intensity and every point between two emotions have an outline of their own; of variance 1 like those it is
        made of. An emotion that alone decided what was drawn (`drawn_by`) has the row's own and `OTHER` of another's.
        """

        def another(emotions: Mapping[int, float], *stream: int) -> Attributes:
            rng = np.random.default_rng([seed, *stream])
            return self.draw(emotions, voice, drawn.active_seconds, rng, drawn.place)

        def of_emotion(index: int) -> np.ndarray:
            other = another({index: 1.0}, 3, index)
            if drawn_by != {index}:
                return other.outline
            if other.place == drawn.place:  # the only one
                return drawn.outline
            return (drawn.outline + OTHER * other.outline) / math.hypot(1, OTHER)

        rest = max(0.0, 1 - sum(weights.values()))
        mixed = sum(weight * of_emotion(index) for index, weight in weights.items())
        if rest:
            every = dict.fromkeys(self.rows[:, 0].unique().int().tolist(), 1.0)
            mixed = mixed + rest * another(every, 4).outline
        return mixed / math.sqrt(sum(weight**2 for weight in weights.values()) + rest**2)

    def varied_outline(
        self, weights: Mapping[int, float], own: Attributes, strength: float, voice: int | None, seed: int
    ) -> np.ndarray:
        """The outline of a varied clip: its own at a strength near 0, `mixed_outline` of what is asked for at 1."""
        other = self.mixed_outline(weights, own, set(), voice, seed)
        kept = math.sqrt(1 - strength**2)  # both have the variance 1, and so has their mix
        return (kept * own.outline + strength * other).astype(np.float32)
