"""How a network is trained: the optimiser table of its paper, and what a user may change of it.

The learning rate is divided by `rho` after `patience` epochs in which the dev loss did not improve, and the weights of
the best epoch are kept (LoopQ solution, section 3.7).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vocalburst.eval.recognition.estimator import Settings


class Recipe(Settings):
    """Settings that every network has; a model overrides the defaults by those of its paper."""

    optimizer: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0)  # of what starts from random weights
    lr_pretrained: float = Field(1e-5, gt=0)  # of what does not
    weight_decay: float = Field(0.0, ge=0)
    rho: float = Field(10.0, gt=1)
    patience: int = Field(10, ge=1)  # epochs
    schedule: Literal["plateau", "cosine"] = "plateau"  # cosine: to zero at the last epoch, for short budgets
    epochs: int = Field(30, ge=1)  # at most
    batch_size: int = Field(32, ge=2)  # over all processes
    clip_norm: float = Field(5.0, gt=0)
    bf16: bool = False  # autocast; faster where the machine has the units
