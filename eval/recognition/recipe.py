"""How a network is trained: the optimiser table of its paper, and what a user may change of it.

The learning rate is divided by `rho` after `patience` epochs in which the dev loss did not improve, and the weights of
the best epoch are kept (LoopQ solution, section 3.7).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from vocalburst.eval.recognition.estimator import Settings

Optimizer = Literal["adam", "adamw"]
Divisor = Annotated[float, Field(gt=1)]
BatchSize = Annotated[int, Field(ge=2)]


class Recipe(Settings):
    """Settings that every network has; a model overrides the defaults by those of its paper."""

    optimizer: Optimizer = "adamw"
    lr: PositiveFloat = 1e-3  # of what starts from random weights
    lr_pretrained: PositiveFloat = 1e-5  # of what does not
    weight_decay: NonNegativeFloat = 0.0
    rho: Divisor = 10.0
    patience: PositiveInt = 10  # epochs
    schedule: Literal["plateau", "cosine"] = "plateau"  # cosine: to zero at the last epoch, for short budgets
    epochs: PositiveInt = 30  # at most
    batch_size: BatchSize = 32  # over all processes
    clip_norm: PositiveFloat = 5.0
    bf16: bool = False  # autocast; faster where the machine has the units
