"""The last look at a mel: what a few sampler steps leave too smooth gets the grain of real recordings.

A denoiser of few steps ends with a mean over all that could be there. The refiner draws one of them: it hears the
sampled x and fresh noise and adds what a discriminator misses (adversarially trained, `train_refiner`), at the
resolution of single frames, where the denoiser has patches. Guidance on the other hand makes loud louder and soft
softer, so every mel bin first gets the mean and the standard deviation of recordings.

Shape letters: B batch, E emotion, H hidden channel, M mel bin, T mel frame.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from vocalburst.gen.models.normalizer import moments


class MelRefiner(ModelMixin, ConfigMixin):
    """x [B, M, T], noise [B, M, T], emotion [B, E] -> x [B, M, T]; before training it does what `match` has set.

    dim, intermediate_dim, num_layers: channels, inner channels and number of the ConvNeXt blocks (those of Vocos).
    """

    @register_to_config
    def __init__(
        self,
        emotions: list[str],
        n_mels: int = 100,
        dim: int = 256,
        intermediate_dim: int = 768,
        num_layers: int = 4,
    ):
        super().__init__()
        # Here, not above: vocos imports encodec, which takes seconds.
        from vocos.modules import ConvNeXtBlock

        self.register_buffer("scale", torch.ones(n_mels))
        self.register_buffer("shift", torch.zeros(n_mels))
        self.embed = nn.Conv1d(2 * n_mels, dim, 7, padding=3)
        self.emotion = nn.Linear(len(emotions), dim)
        self.blocks = nn.ModuleList(
            [
                ConvNeXtBlock(dim, intermediate_dim, layer_scale_init_value=1 / num_layers)
                for _ in range(num_layers)
            ]
        )
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, n_mels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def match(self, sampled: Iterable[torch.Tensor], recorded: Iterable[torch.Tensor]) -> MelRefiner:
        """Set the line of each bin that gives sampled x [M, T] the mean and standard deviation of recorded x."""
        (mean, deviation), (wanted_mean, wanted_deviation) = moments(sampled), moments(recorded)
        scale = wanted_deviation / deviation.clamp(min=1e-6)
        self.scale.copy_(scale)
        self.shift.copy_(wanted_mean - scale * mean)
        return self

    def matched(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, M, T] on the line of each bin."""
        return x * self.scale[:, None] + self.shift[:, None]

    def forward(
        self, x: torch.Tensor, noise: torch.Tensor, emotion: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """mask [B, T]: False where a clip has ended; nothing from there is heard, and x is 0 there."""
        inside = 1.0 if mask is None else mask[:, None].to(x.dtype)
        x = self.matched(x) * inside
        hidden = (
            self.embed(torch.cat([x, noise], dim=1) * inside) + self.emotion(emotion)[:, :, None]
        ) * inside
        for block in self.blocks:
            hidden = block(hidden) * inside
        change = self.out(self.norm(hidden.transpose(1, 2))).transpose(1, 2)
        return x + change * inside


def frame_level(mel: torch.Tensor) -> torch.Tensor:
    """Log-mel [B, M, T] -> [B, 1, T]: natural log of the root of the sum of squares over bins."""
    return mel.mul(2).logsumexp(dim=1, keepdim=True) / 2


def steadied(mel: torch.Tensor, amount: float, mask: torch.Tensor) -> torch.Tensor:
    """Log-mel [B, M, T] whose frame levels l have become l + amount (left + right - 2 l), the colours as they were.

    mask [B, T]: False where a clip has ended; the first and the last frame of a clip are their own outer neighbours.
    """
    level = frame_level(mel)[:, 0]
    left = torch.cat([level[:, :1], level[:, :-1]], dim=1)
    right = torch.cat([level[:, 1:], level[:, -1:]], dim=1)
    last = mask & ~torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    right = torch.where(last, level, right)
    return mel + amount * ((left + right - 2 * level) * mask)[:, None]
