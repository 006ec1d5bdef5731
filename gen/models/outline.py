"""A clip's outline: a few numbers that say how its loudness, colour and movement run over its voice-active part.

What decides a burst at first, its rhythm and its shape, is in the few largest directions of the mel, and a sampler
finds them in its very first step. So the denoiser is told them: trained with the outline of each clip (as a
representation that is generated first, Li et al. 2024, "Return of unconditional generation"), sampled with that of a
training clip of the asked emotion. Both times noise is added (`jitter`), so that an outline names a neighbourhood and
not a clip.

Shape letters: B batch, D number of a description, K number of an outline, M mel bin, T mel frame, N token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

BANDS, SEGMENTS, COARSE = 8, 16, 4  # bands of mel bins; equal parts of the voice-active part, fine and coarse


def describe(mel: torch.Tensor) -> list[torch.Tensor]:
    """Log-mel [M, T] of a voice-active part -> four groups of numbers.

    Level of bands over time, mean change of bands from frame to frame over time, spectrum, lower half of the spectrum
    over time.
    """
    mel = mel[None]
    change = mel.diff(dim=-1).abs() if mel.shape[-1] > 1 else torch.zeros_like(mel)
    low = mel[:, : mel.shape[1] // 2]
    groups = (
        F.adaptive_avg_pool2d(mel, (BANDS, SEGMENTS)),
        F.adaptive_avg_pool2d(change, (BANDS, COARSE)),
        mel.mean(dim=-1),
        F.adaptive_avg_pool2d(low, (low.shape[1], COARSE)),
    )
    return [group.flatten() for group in groups]


class OutlineEncoder(ModelMixin, ConfigMixin):
    """Log-mel [M, T] of a voice-active part -> its outline [K]: uncorrelated numbers of mean 0 and variance 1.

    The largest principal axes of descriptions whose groups count alike. jitter: standard deviation of the noise that
    training and generation add.
    """

    @register_to_config
    def __init__(self, n_mels: int, size: int, jitter: float = 0.0):
        super().__init__()
        n = sum(len(group) for group in describe(torch.zeros(n_mels, 1)))
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("axes", torch.zeros(n, size))

    def fit(self, mels: list[torch.Tensor]) -> OutlineEncoder:
        """Set mean and axes from the voice-active parts of clips (float64 sums)."""
        size = self.config.size
        if len(mels) <= size:
            raise ValueError(f"outlines of {size} numbers: expected more than {size} clips, got {len(mels)}")
        groups = [
            torch.stack(list(group)).double() for group in zip(*(describe(mel) for mel in mels), strict=True)
        ]
        scale = torch.cat([g.var(dim=0).sum().sqrt().clamp(min=1e-6).expand(g.shape[1]) for g in groups])
        descriptions = torch.cat(groups, dim=1)
        mean = descriptions.mean(dim=0)
        _, values, axes = torch.linalg.svd((descriptions - mean) / scale, full_matrices=False)
        deviation = (values[:size] / (len(mels) - 1) ** 0.5).clamp(min=1e-6)
        self.mean.copy_(mean)
        self.axes.copy_(axes[:size].T / scale[:, None] / deviation)
        return self

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return (torch.cat(describe(mel)) - self.mean) @ self.axes


class OutlineTrack(nn.Module):
    """Outlines [B, K] and where they lie -> what each token is told [B, N, D]; nothing where an outline is NaN."""

    WIDTH = 32

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.knots = nn.Linear(size, (SEGMENTS + 2) * self.WIDTH)  # one a segment, one before and one after
        self.out = nn.Linear(self.WIDTH, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, outline: torch.Tensor, span: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """span [B, 2]: first and last-plus-one frame of the voice-active part; frames [N]: middle of each token."""
        known = ~outline.isnan().any(dim=1)
        first, last = span[:, :1], span[:, 1:]
        place = (frames - first) / (last - first).clamp(min=1.0) * SEGMENTS + 0.5
        place = place.clamp(0, SEGMENTS + 1)
        weights = F.relu(1 - (place[..., None] - torch.arange(SEGMENTS + 2, device=place.device)).abs())
        knots = self.knots(outline.nan_to_num(0.0)).unflatten(1, (SEGMENTS + 2, self.WIDTH))
        return self.out((weights * known[:, None, None]) @ knots.to(weights.dtype))
