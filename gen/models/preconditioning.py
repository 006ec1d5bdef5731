"""Preconditioning of the denoiser in the principal axes of mel patches.

A log-mel patch has few large and many small directions: of the 400 of a 4-frame patch, 32 hold 98 % of the variance.
For Gaussian data of that covariance the best denoiser is known in closed form (the Wiener filter), direction by
direction. The network only adds what is not Gaussian: its input and its output have unit variance in every direction
and at every noise level (Karras et al. 2022, Table 1 and Appendix B.6, with one variance per direction instead of one
for all). Directions in which it has nothing to say come out as Gaussian texture of the right variance.

Shape letters: B batch, N patch, K value of a patch. x_sigma = (1 - sigma) x + sigma noise.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class PatchPreconditioner(nn.Module):
    """Principal axes [K, K] and variances [K] of clean patches of zero mean; white until `fit`."""

    def __init__(self, size: int, variance: float):
        super().__init__()
        self.register_buffer("axes", torch.eye(size))
        self.register_buffer("variance", torch.full((size,), variance))

    @torch.no_grad()
    def fit(self, patches: Iterable[torch.Tensor]) -> None:
        """Set axes and variances from clean patches [n, K] (float64 sums; the mean is taken to be zero)."""
        n, products = 0, 0.0
        for part in patches:
            part = part.double()
            n += len(part)
            products = products + part.T @ part
        if n < 2:
            raise ValueError(f"expected at least 2 patches, got {n}")
        variance, axes = torch.linalg.eigh(products / n)
        self.axes.copy_(axes.flip(1))
        self.variance.copy_(variance.flip(0).clamp(min=1e-6))

    def encode(self, noisy: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy patches [B, N, K] at sigma [B] -> the network's input of unit variance, and the Wiener estimate."""
        sigma = sigma[:, None, None].float()
        z = noisy.float() @ self.axes
        total = self.variance * (1 - sigma).square() + sigma.square()
        return z / total.sqrt(), z * self.variance * (1 - sigma) / total

    def decode(self, wiener: torch.Tensor, correction: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The Wiener estimate and the network's output of unit variance -> clean patches [B, N, K]."""
        sigma = sigma[:, None, None].float()
        total = self.variance * (1 - sigma).square() + sigma.square()
        return (wiener + sigma * (self.variance / total).sqrt() * correction.float()) @ self.axes.T
