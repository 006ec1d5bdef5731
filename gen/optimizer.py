"""Optimisers and learning-rate schedule of the diffusion model.

Muon (Jordan et al. 2024; PyTorch's own implementation) for the matrices inside the blocks, AdamW for everything
else: on two cores a run sees few samples, and Muon learns more from each.
"""

from __future__ import annotations

import torch

from vocalburst.gen.models.transformer import BurstTransformer


def build_optimizers(
    model: BurstTransformer, lr: float, lr_matrices: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """[Muon, AdamW] over all parameters of `model`; `lr_matrices` 0 leaves everything to AdamW."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        # The modulations are wide, act once a clip, and start at zero: AdamW serves them as well for less work.
        inner = name.startswith("blocks.") and parameter.ndim == 2 and ".modulation." not in name
        (matrices if inner and lr_matrices > 0 else rest).append(parameter)
    adamw = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay)
    if not matrices:
        return [adamw]
    muon = torch.optim.Muon(
        matrices, lr=lr_matrices, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, adamw]


def learning_rate_factor(seen: int, total: int, warmup: int, decay: int) -> float:
    """Share of the peak learning rate after `seen` samples: linear warm-up, constant, linear decay to 0 at `total`."""
    rise = min(1.0, (seen + 1) / warmup) if warmup else 1.0
    fall = min(1.0, max(0.0, (total - seen) / decay)) if decay else 1.0
    return min(rise, fall)
