"""Parts that the convolutional networks of the LoopQ solution share.

Shape letters: B clips, C channel, F frequency row, T time step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


class Lflb(nn.Module):
    """Local feature learning block, x [B, C, F, T] -> [B, C', F // f, T // t] for a pool (f, t).

    Convolution with "same" padding, batch norm, ReLU, pool (LoopQ solution, section 3.1); None is no pool.
    """

    def __init__(
        self, n_in: int, n_out: int, kernel: tuple[int, int] = (3, 3), pool: nn.Module | None = None
    ):
        super().__init__()
        # The batch norm brings its own bias.
        self.conv = nn.Conv2d(n_in, n_out, kernel, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(n_out)
        self.pool = nn.Identity() if pool is None else pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(functional.relu(self.norm(self.conv(x)), inplace=True))


def as_image(x: torch.Tensor) -> torch.Tensor:
    """x [B, F, T] as [B, 1, F, T] in the layout "channels last", whose pools are fast.

    Of one channel `contiguous` cannot tell the layouts apart; a convolution goes by the strides.
    """
    return x.contiguous()[..., None].movedim(3, 1)


class Standard(nn.Module):
    """x [B, F, T] with mean 0 and deviation 1 in every row, by those of train clips."""

    def __init__(self, n_rows: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_rows))
        self.register_buffer("std", torch.ones(n_rows))

    def fit(self, features: Sequence[torch.Tensor]) -> None:
        """Take both from about 2000 of the features [F, T] of train clips."""
        rows = torch.cat([x.float() for x in features[:: max(1, len(features) // 2000)]], dim=1)
        self.mean.copy_(rows.mean(dim=1))
        self.std.copy_(rows.std(dim=1).clamp(min=0.1))  # a row that never moves stays finite

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean[:, None]) / self.std[:, None]
