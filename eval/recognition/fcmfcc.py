"""FCMFCC: three parallel convolutions over the MFCCs of five seconds, then five convolutional blocks.

LoopQ solution, section 3.2 and Table 3. The paper does not print the rate of its dropout.

Shape letters: B clips, K coefficient, T frame, C channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from vocalburst.eval.recognition.front_end import GRID, N_MFCC, PREPARED, Mfcc, fixed, prepared
from vocalburst.eval.recognition.lflb import Lflb, Standard, as_image
from vocalburst.eval.recognition.network import Network, NetworkModel
from vocalburst.eval.recognition.recipe import BatchSize, Divisor, Optimizer, Recipe

SECONDS = 5.0
PATHS = ((3, 3), (9, 1), (1, 11))  # kernels of 32 channels each
PATH_CHANNELS = 32
CHANNELS = (PATH_CHANNELS * len(PATHS), 64, 96, 128, 160, 320)
POOLS = ((2, 2), (2, 2), (2, 1), (2, 1))  # the last block is averaged over all that is left


class FcMfccRecipe(Recipe):
    optimizer: Optimizer = "adamw"
    lr: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 1e-6  # of the feature learning part alone
    rho: Divisor = 10.0
    patience: PositiveInt = 10
    epochs: PositiveInt = 150
    batch_size: BatchSize = 64
    dropout: float = Field(0.3, ge=0, lt=1)


class FcMfcc(nn.Module):
    """mfcc [B, K, T] of five seconds -> embedding [B, 320]; the lengths are all the same."""

    dim = CHANNELS[-1]

    def __init__(self, dropout: float):
        super().__init__()
        self.standard = Standard(N_MFCC)
        self.paths = nn.ModuleList([Lflb(1, PATH_CHANNELS, kernel, nn.AvgPool2d(2)) for kernel in PATHS])
        pools = [*(nn.AvgPool2d(pool) for pool in POOLS), nn.AdaptiveAvgPool2d(1)]
        self.blocks = nn.Sequential(
            *[Lflb(*sizes, pool=pool) for sizes, pool in zip(pairwise(CHANNELS), pools, strict=True)]
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = as_image(self.standard(x))
        x = torch.cat([path(x) for path in self.paths], dim=1)
        return self.dropout(self.blocks(x).flatten(1).float())


class FcMfccModel(NetworkModel):
    """Its features are MFCCs [K, T] of five seconds."""

    title = "FCMFCC: MFCC, inception paths, convolutions"
    source = "LoopQ PRIZE 2022, Case A (section 3.2)"
    settings_class = FcMfccRecipe
    settings: FcMfccRecipe

    @cached_property
    def mfcc(self) -> Mfcc:
        return Mfcc()

    @property
    def preprocessing(self) -> str:
        return f"{PREPARED}_fixed-{SECONDS:g}s_mfcc-{N_MFCC}-{GRID}"

    def features(self, wave: np.ndarray) -> torch.Tensor:
        return self.mfcc(fixed(prepared(wave), SECONDS)[None])[0]

    def build_body(self) -> nn.Module:
        return FcMfcc(self.settings.dropout)

    def fit_scale(self, body: FcMfcc, features: Sequence[torch.Tensor]) -> None:
        body.standard.fit(features)

    def parameter_groups(self, network: Network) -> list[dict]:
        s, blocks = self.settings, list(network.body.blocks.parameters())
        learning = {id(parameter) for parameter in blocks}
        others = [parameter for parameter in network.parameters() if id(parameter) not in learning]
        return [
            {"params": blocks, "lr": s.lr, "weight_decay": s.weight_decay},
            {"params": others, "lr": s.lr, "weight_decay": 0.0},
        ]
