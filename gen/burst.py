"""A vocal burst, as asked for and as made: what goes into the pipeline and what comes out.

Shape letters: M mel bin, T mel frame, L wave sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

STRENGTH = 0.8  # of a variation; below 0.7 the clip hardly changes (docs/control.md)


@dataclass(frozen=True)
class BurstSpec:
    """Everything that decides the sound of one clip.

    vector: emotion -> weight in (0, 1]. seed: of this clip alone. voice: None draws one from the prior.
    duration: seconds of the voice-active part; None draws length and duration from the prior. stretched: whether the
    voice is brought to that duration where the model misses it.
    second_voice: what is mixed into a voice that is asked for.
    voice_mixed: whether a voice that is drawn is mixed with a second one, see `prior.ClipPrior.mixed`.
    prior_vector: emotions to draw length, level and voice by, if not `vector`, so that a sweep keeps them.
    quantile: which train clip gives length, level and voice, 0 to 1 in the order of their voices; None draws one.
    like: a real clip [L] to vary, whose length, level and outline the result has, with no voice unless one is asked
    for; strength: how far, see `sampling.sample`.
    """

    vector: dict[str, float]
    seed: int
    steps: int
    guidance: float
    scheduler: str
    voice: int | None = None
    second_voice: int | None = None
    duration: float | None = None
    stretched: bool = True
    voice_mixed: bool = True
    prior_vector: dict[str, float] | None = None
    quantile: float | None = None
    like: np.ndarray | None = field(default=None, compare=False, repr=False)
    strength: float = 1.0

    @property
    def sampling(self) -> tuple:
        """What the clips of a batch share."""
        return self.steps, self.guidance, self.scheduler, self.strength, self.like is None


@dataclass(frozen=True)
class Burst:
    """wave [L] float32 at `audio.SAMPLE_RATE`; mel [M, T].

    voice and duration (seconds) were asked, drawn, or are those of the varied clip, whose voice has no number (None).
    second_voice: what is mixed into the voice.
    seed: that it was made with. stretch: factor in time that the voice was given to last as asked; None: not asked.
    """

    wave: np.ndarray
    mel: np.ndarray
    voice: int | None
    duration: float
    seed: int
    stretch: float | None = None
    second_voice: int | None = None
