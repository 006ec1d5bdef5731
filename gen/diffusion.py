"""Flow matching with a network that predicts clean x: noise levels, noisy samples, loss.

Conventions: x_sigma = (1 - sigma) x + sigma noise, sigma in 0..1 (diffusers' flow-match convention, 1 = pure noise);
velocity v = dx_sigma/dsigma = noise - x. Lipman et al. 2023; logit-normal times: Esser et al. 2024, Eq. 19;
x-prediction under a velocity loss: Li & He 2025. Noise has the standard deviation 1, x has `mel.SIGMA_DATA`.

Shape letters: B batch, M mel bin, T mel frame.
"""

from __future__ import annotations

import torch

SIGMA_MIN = 1e-3  # keeps the division defined; no noise level that matters is below


def sample_sigma(n: int, mean: float, std: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """n noise shares from a logit-normal law: sigmoid(N(mean, std^2))."""
    return torch.sigmoid(mean + std * torch.randn(n, device=device))


def add_noise(x: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """x_sigma [B, M, T]."""
    sigma = sigma[:, None, None]
    return (1 - sigma) * x + sigma * noise


def velocity(x_noisy: torch.Tensor, x_clean: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The velocity that an estimate of clean x stands for: (x_sigma - x) / sigma, sigma [B] or scalar."""
    return (x_noisy - x_clean) / torch.as_tensor(sigma, device=x_noisy.device).reshape(-1, 1, 1)


def velocity_loss(
    x_clean: torch.Tensor, x: torch.Tensor, sigma: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Mean squared velocity error over the frames where mask [B, T] is True.

    The velocity error of an x-prediction is its error over sigma, so noise cancels out of the formula.
    """
    error = ((x_clean - x) / sigma[:, None, None].clamp(min=SIGMA_MIN)).square().mean(dim=1)
    return (error * mask).sum() / mask.sum()
