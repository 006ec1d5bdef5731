"""The recordings' attributes as the training clips had them: how long, how loud, whose voice, for each emotion.

A generated clip draws one training clip's row (never its sound), so that lengths, levels and voices keep their joint
distribution; what the user asks for replaces what was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config


@dataclass(frozen=True)
class Attributes:
    """seconds: of the whole clip; active_seconds: of its voice-active part; level_db: dBFS of that part; voice: row."""

    seconds: float
    active_seconds: float
    level_db: float
    voice: int


class ClipPrior(ModelMixin, ConfigMixin):
    """A table [N, 5] of (emotion, voice, seconds, active_seconds, level_db), one row a training clip."""

    @register_to_config
    def __init__(self, n_rows: int):
        super().__init__()
        self.register_buffer("rows", torch.zeros(n_rows, 5))

    @classmethod
    def from_rows(cls, rows: np.ndarray) -> ClipPrior:
        prior = cls(len(rows))
        prior.rows.copy_(torch.from_numpy(np.asarray(rows, dtype=np.float32)))
        return prior

    def draw(
        self,
        weights: Mapping[int, float],
        voice: int | None,
        active_seconds: float | None,
        rng: np.random.Generator,
    ) -> Attributes:
        """One row: its emotion drawn by `weights` (index -> weight), of `voice` if one is asked for.

        A duration that is asked for picks among the rows (at most 16) whose voice-active length is nearest to it.
        """
        rows = self.rows.cpu().numpy()
        indices = list(weights)
        share = np.array([weights[index] for index in indices], dtype=np.float64)
        emotion = indices[int(rng.choice(len(indices), p=share / share.sum()))]
        for keep in (
            (rows[:, 0] == emotion) & (rows[:, 1] == voice) if voice is not None else rows[:, 0] == emotion,
            rows[:, 1] == voice if voice is not None else np.zeros(len(rows), dtype=bool),
        ):
            if keep.any():
                rows = rows[keep]
                break
        if active_seconds is not None:
            rows = rows[np.argsort(np.abs(rows[:, 3] - active_seconds), kind="stable")[:16]]
        row = rows[int(rng.integers(len(rows)))]
        return Attributes(
            float(row[2]), float(row[3]), float(row[4]), int(row[1]) if voice is None else voice
        )
