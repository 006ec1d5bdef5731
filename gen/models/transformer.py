"""The denoiser: a 1-D diffusion transformer over patches of mel frames.

Peebles & Xie 2023 (DiT, adaLN-Zero), rotary positions (Su et al. 2021), RMS-normed queries and keys, SwiGLU.
It estimates the clean x; what a linear denoiser of patches can do is done by the preconditioner, the network adds the
rest. Noisy patches pass a narrow bottleneck on their way in, since most of their directions hold noise only (Li & He
2025, "Back to basics").

Shape letters: B batch, M mel bin, T mel frame, N patch (token), D width, H head.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from vocalburst.gen.data.mel import SIGMA_DATA
from vocalburst.gen.models.conditioning import Condition, ConditionEmbedding, sinusoids
from vocalburst.gen.models.outline import OutlineTrack
from vocalburst.gen.models.preconditioning import PatchPreconditioner


def rotary(n: int, dim: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine [N, dim] of rotary positions 0..n-1."""
    inverse = 1.0 / 10_000 ** (torch.arange(0, dim, 2, device=device).float() / dim)
    phase = torch.arange(n, device=device).float()[:, None] * inverse
    return phase.cos().repeat(1, 2), phase.sin().repeat(1, 2)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Apply rotary positions to x [B, H, N, dim]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class Block(nn.Module):
    """Self-attention and a gated feed-forward, both modulated by the condition (adaLN-Zero)."""

    def __init__(self, dim: int, n_heads: int, dropout: float):
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.norm_attention = nn.RMSNorm(dim, elementwise_affine=False, eps=1e-6)
        self.norm_feed = nn.RMSNorm(dim, elementwise_affine=False, eps=1e-6)
        self.norm_q = nn.RMSNorm(dim // n_heads, elementwise_affine=False, eps=1e-6)
        self.norm_k = nn.RMSNorm(dim // n_heads, elementwise_affine=False, eps=1e-6)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        hidden = (8 * dim // 3 + 31) // 32 * 32
        self.feed_in = nn.Linear(dim, 2 * hidden, bias=False)
        self.feed_out = nn.Linear(hidden, dim, bias=False)
        self.modulation = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, h: torch.Tensor, condition: torch.Tensor, positions, mask: torch.Tensor | None
    ) -> torch.Tensor:
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(condition)[:, None].chunk(
            6, dim=-1
        )
        q, k, v = rearrange(
            self.qkv(self.norm_attention(h) * (1 + scale_a) + shift_a), "b n (three h d) -> three b h n d",
            three=3, h=self.n_heads,
        )  # fmt: skip
        positions = [part.to(v.dtype) for part in positions]
        q, k = rotate(self.norm_q(q), *positions), rotate(self.norm_k(k), *positions)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        h = h + gate_a * self._drop(self.out(rearrange(attended, "b h n d -> b n (h d)")))
        value, gate = self.feed_in(self.norm_feed(h) * (1 + scale_f) + shift_f).chunk(2, dim=-1)
        return h + gate_f * self._drop(self.feed_out(value * F.silu(gate)))

    def _drop(self, h: torch.Tensor) -> torch.Tensor:
        return F.dropout(h, self.dropout, self.training)


class BurstTransformer(ModelMixin, ConfigMixin):
    """Predicts clean x from noisy x.

    emotions, voices, countries: the names behind the rows of the condition; they make the checkpoint
    self-sufficient. patch: mel frames per token. outline: numbers of an outline; 0: none is heard.
    """

    @register_to_config
    def __init__(
        self,
        emotions: list[str],
        voices: list[str] | None = None,
        countries: list[str] | None = None,
        n_mels: int = 100,
        patch: int = 4,
        dim: int = 256,
        n_layers: int = 8,
        n_heads: int = 4,
        dropout: float = 0.0,
        bottleneck: int = 128,
        outline: int = 0,
    ):
        super().__init__()
        self.patch = patch
        self.preconditioner = PatchPreconditioner(patch * n_mels, SIGMA_DATA**2)
        self.embed = nn.Sequential(
            nn.Linear(patch * n_mels, bottleneck, bias=False), nn.Linear(bottleneck, dim)
        )
        self.time = nn.Sequential(nn.Linear(128, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.condition = ConditionEmbedding(
            dim, len(emotions), len(voices or ()), len(countries or ()), outline
        )
        self.track = OutlineTrack(outline, dim) if outline else None
        self.blocks = nn.ModuleList([Block(dim, n_heads, dropout) for _ in range(n_layers)])
        self.norm_out = nn.RMSNorm(dim, elementwise_affine=False, eps=1e-6)
        self.modulation_out = nn.Linear(dim, 2 * dim)
        self.project = nn.Linear(dim, patch * n_mels)
        for layer in (self.modulation_out, self.project):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: torch.Tensor, sigma: torch.Tensor, condition: Condition, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Noisy x [B, M, T] at noise share sigma [B] in 0..1 -> estimate of clean x [B, M, T].

        mask [B, T] is True on frames of the clip; the rest is padding that no valid frame sees.
        """
        frames = x.shape[-1]
        padding = -frames % self.patch
        if padding and mask is None:
            mask = torch.ones(x.shape[0], frames, dtype=torch.bool, device=x.device)
        if mask is not None:
            x = x.masked_fill(~mask[:, None], 0.0)
            mask = F.pad(mask, (0, padding))
        with torch.autocast(x.device.type, enabled=False):
            unit, wiener = self.preconditioner.encode(self.patches(F.pad(x, (0, padding))), sigma)
        h = self.embed(unit)
        if self.track is not None:
            middles = (torch.arange(h.shape[1], device=h.device) + 0.5) * self.patch
            h = h + self.track(condition.outline, condition.span, middles).to(h.dtype)
        attend = None
        if mask is not None:
            attend = mask.unflatten(1, (-1, self.patch)).any(dim=-1)[:, None, None]  # [B, 1, 1, N]
            attend = None if attend.all() else attend  # attention without a mask is faster
        c = F.silu(self.time(sinusoids(sigma, 128)) + self.condition(condition))
        positions = rotary(h.shape[1], self.config.dim // self.config.n_heads, h.device)
        for block in self.blocks:
            h = block(h, c, positions, attend)
        shift, scale = self.modulation_out(c)[:, None].chunk(2, dim=-1)
        correction = self.project(self.norm_out(h) * (1 + scale) + shift)
        with torch.autocast(x.device.type, enabled=False):
            y = self.preconditioner.decode(wiener, correction, sigma)
        return rearrange(y, "b n (p m) -> b m (n p)", p=self.patch)[..., :frames]

    def patches(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, M, T], T a multiple of the patch -> [B, N, K]."""
        return rearrange(x, "b m (n p) -> b n (p m)", p=self.patch)
