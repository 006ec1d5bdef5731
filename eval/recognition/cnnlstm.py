"""CNNLSTM: five convolutional blocks over the mel spectrogram of five seconds, then an LSTM.

LoopQ solution, section 3.1 and Table 3. The blocks leave 256 channels, one row and two steps of 128 x 313; row and
channel are flattened into one, and the embedding is what the LSTM holds after the last step. The paper does not print
the rates of its two dropouts.

Shape letters: B clips, M mel bin, T frame, C channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import nn

from vocalburst.eval.recognition.front_end import GRID, N_MELS, PREPARED, MelSpectrogram, fixed, prepared
from vocalburst.eval.recognition.lflb import Lflb, Standard, as_image
from vocalburst.eval.recognition.network import NetworkModel
from vocalburst.eval.recognition.recipe import BatchSize, Divisor, Optimizer, Recipe

SECONDS = 5.0
CHANNELS = (1, 32, 48, 64, 128, 256)
POOLS = (2, 2, 2, 4, 4)
DIM = 256


class CnnLstmRecipe(Recipe):
    optimizer: Optimizer = "adam"
    lr: PositiveFloat = 1e-4
    rho: Divisor = 2.0
    patience: PositiveInt = 5
    epochs: PositiveInt = 100
    batch_size: BatchSize = 64
    dropout: float = Field(0.3, ge=0, lt=1)


class CnnLstm(nn.Module):
    """mel [B, M, T] of five seconds -> embedding [B, 256]; the lengths are all the same."""

    dim = DIM

    def __init__(self, dropout: float):
        super().__init__()
        self.standard = Standard(N_MELS)
        self.blocks = nn.Sequential(
            *[
                Lflb(*sizes, pool=nn.MaxPool2d(pool))
                for sizes, pool in zip(pairwise(CHANNELS), POOLS, strict=True)
            ]
        )
        self.rnn = nn.LSTM(CHANNELS[-1], DIM, num_layers=2, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = as_image(self.standard(x))
        sequence = self.blocks(x).flatten(1, 2).transpose(1, 2)  # [B, 2, C]
        return self.dropout(self.rnn(sequence)[0][:, -1].float())


class CnnLstmModel(NetworkModel):
    """Its features are mel spectrograms [M, T] of five seconds."""

    title = "CNNLSTM: mel blocks, LSTM"
    source = "LoopQ PRIZE 2022, Case A (section 3.1)"
    settings_class = CnnLstmRecipe
    settings: CnnLstmRecipe

    @cached_property
    def mel(self) -> MelSpectrogram:
        return MelSpectrogram()

    @property
    def preprocessing(self) -> str:
        return f"{PREPARED}_fixed-{SECONDS:g}s_mel-{GRID}"

    def features(self, wave: np.ndarray) -> torch.Tensor:
        return self.mel(fixed(prepared(wave), SECONDS)[None])[0]

    def build_body(self) -> nn.Module:
        return CnnLstm(self.settings.dropout)

    def fit_scale(self, body: CnnLstm, features: Sequence[torch.Tensor]) -> None:
        body.standard.fit(features)
