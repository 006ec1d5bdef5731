"""CNNATT: convolutions over the MFCCs of a clip of any length, then attention with averaged heads.

LoopQ solution, section 3.3 and Table 3. Its dot attention is taken as printed: with queries, keys and values of
o x s, the product K Q^T is o x o, so channels attend to channels, in sums over all places of a clip. The maps have no
bias; places after a clip's end are zero and add nothing to those sums.

Shape letters: B clips, K coefficient, T frame, C channel, S place (row and frame) of a map, H head, O channels of the
attention (k, q, o in products).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from vocalburst.eval.logmel import keep_valid
from vocalburst.eval.recognition.front_end import GRID, N_MFCC, PREPARED, Mfcc, prepared
from vocalburst.eval.recognition.lflb import Lflb, Standard, as_image
from vocalburst.eval.recognition.network import NetworkModel
from vocalburst.eval.recognition.recipe import BatchSize, Divisor, Optimizer, Recipe

PATHS = ((11, 3), (3, 9))  # kernels of 8 channels each
PATH_CHANNELS = 8
CHANNELS = (32, 48, 64, 80)
N_POOLED = 2  # of the blocks, the first ones
HEADS = 3
DIM = 128  # O


class CnnAttRecipe(Recipe):
    optimizer: Optimizer = "adamw"
    lr: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 1e-7
    rho: Divisor = 10.0
    patience: PositiveInt = 20
    epochs: PositiveInt = 200
    batch_size: BatchSize = 32


class AveragedAttention(nn.Module):
    """Attention and the mean over places of its output: x [B, C, S], `places` [B] that count -> [B, O].

    With Q = W_q X, K = W_k X and V = W_v X of each head, it is the mean over heads and places of
    softmax(K Q^T / sqrt(C)) V. Nothing of the length S is computed: K Q^T = W_k (X X^T) W_q^T, and the mean of V is
    W_v times that of X.
    """

    def __init__(self, n_in: int, n_out: int, heads: int):
        super().__init__()
        self.query, self.key, self.value = (
            nn.Parameter(nn.init.kaiming_uniform_(torch.empty(heads, n_out, n_in), a=math.sqrt(5)))
            for _ in range(3)
        )

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):  # sums of many products
            x = x.float()
            products = x @ x.transpose(1, 2)  # [B, C, C]
            scores = torch.einsum("hkc,bcd,hqd->bhkq", self.key, products, self.query)
            values = torch.einsum("hoc,bc->bho", self.value, x.sum(dim=2) / places[:, None])
            weights = (scores / math.sqrt(x.shape[1])).softmax(dim=-1)  # [B, H, O, O]
            return torch.einsum("bhko,bho->bhk", weights, values).mean(dim=1)


class CnnAtt(nn.Module):
    """mfcc [B, K, T], lengths [B] -> embedding [B, O]."""

    dim = DIM

    def __init__(self) -> None:
        super().__init__()
        self.standard = Standard(N_MFCC)
        self.paths = nn.ModuleList([Lflb(1, PATH_CHANNELS, kernel) for kernel in PATHS])
        sizes = (PATH_CHANNELS * len(PATHS), *CHANNELS)
        self.blocks = nn.ModuleList(
            [
                Lflb(n_in, n_out, pool=nn.AvgPool2d(2) if i < N_POOLED else None)
                for i, (n_in, n_out) in enumerate(pairwise(sizes))
            ]
        )
        self.attention = AveragedAttention(CHANNELS[-1], DIM, HEADS)
        self.norm = nn.LayerNorm(DIM)

    def convolve(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x [B, C, K // 4, T // 4] of mfcc [B, K, T], zero after a clip's end, and lengths [B] of x."""
        x = as_image(keep_valid(self.standard(x), lengths))
        x = keep_valid(torch.cat([path(x) for path in self.paths], dim=1), lengths)
        for i, block in enumerate(self.blocks):
            if i < N_POOLED:
                lengths = lengths // 2  # of two frames one of which is padding nothing is kept
            x = keep_valid(block(x), lengths)
        return x, lengths

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x, lengths = self.convolve(x, lengths)
        return self.norm(self.attention(x.flatten(2), lengths * x.shape[2]))


class CnnAttModel(NetworkModel):
    """Its features are MFCCs [K, T] of the whole clip."""

    title = "CNNATT: MFCC, averaged dot attention"
    source = "LoopQ PRIZE 2022, Case A (section 3.3)"
    settings_class = CnnAttRecipe

    @cached_property
    def mfcc(self) -> Mfcc:
        return Mfcc()

    @property
    def preprocessing(self) -> str:
        return f"{PREPARED}_mfcc-{N_MFCC}-{GRID}"

    def features(self, wave: np.ndarray) -> torch.Tensor:
        return self.mfcc(prepared(wave)[None])[0]

    def build_body(self) -> nn.Module:
        return CnnAtt()

    def fit_scale(self, body: CnnAtt, features: Sequence[torch.Tensor]) -> None:
        body.standard.fit(features)
