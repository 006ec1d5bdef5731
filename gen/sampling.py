"""From noise to x: stock diffusers schedulers and guidance as a wrapped callable.

A denoiser here is any callable (x [B, M, T], sigma [B]) -> clean x [B, M, T]. Schedulers are built fresh for every
clip, so they carry no state from one to the next.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    SchedulerMixin,
)

from vocalburst.gen.diffusion import velocity
from vocalburst.gen.models.conditioning import Condition

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _euler(shift: float) -> SchedulerMixin:
    return FlowMatchEulerDiscreteScheduler(shift=shift)


def _heun(shift: float) -> SchedulerMixin:
    return FlowMatchHeunDiscreteScheduler(shift=shift)


def _dpmpp(shift: float) -> SchedulerMixin:
    return DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, final_sigmas_type="zero"
    )


# Network calls: euler and dpm++ one a step, heun two (one in its last). shift > 1 spends more of the steps at high
# noise (Esser et al. 2024, Eq. 23).
SCHEDULERS: dict[str, Callable[[float], SchedulerMixin]] = {"euler": _euler, "heun": _heun, "dpm++": _dpmpp}


def build_scheduler(name: str, shift: float = 1.0) -> SchedulerMixin:
    """A stock diffusers scheduler by its short name."""
    if name not in SCHEDULERS:
        raise ValueError(f"unknown scheduler {name!r}; known: {', '.join(SCHEDULERS)}")
    return SCHEDULERS[name](shift)


def sample(denoiser: Denoiser, noise: torch.Tensor, scheduler: SchedulerMixin, steps: int) -> torch.Tensor:
    """Solve the flow from noise [B, M, T] (standard deviation 1) to x [B, M, T] in `steps` solver steps.

    scheduler: any diffusers scheduler with flow sigmas and velocity predictions; it is copied, not changed.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    solver = type(scheduler).from_config(scheduler.config)
    if isinstance(solver, FlowMatchEulerDiscreteScheduler):
        # From pure noise down to 1 / steps: the default ends at 0.001 and wastes the last call.
        solver.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps))
    else:
        solver.set_timesteps(steps)
    x = noise
    for index, timestep in enumerate(solver.timesteps):
        sigma = solver.sigmas[index].to(
            x
        )  # not timestep / 1000, which some schedulers round to whole numbers
        v = velocity(x, denoiser(x, sigma.expand(x.shape[0])), sigma)
        x = solver.step(v, timestep, x, return_dict=False)[0]
    return x


def guided(
    model: Callable[..., torch.Tensor],
    condition: Condition,
    guidance: float,
    *,
    mask: torch.Tensor | None = None,
    guide: Callable[..., torch.Tensor] | None = None,
    interval: tuple[float, float] = (0.0, 1.0),
) -> Denoiser:
    """A denoiser pushed away from a weaker answer: D = D_weak + guidance (D_model - D_weak).

    The weaker answer is the model's own without the emotion (Ho & Salimans 2022) or, when `guide` is given, that of
    a less trained network under the same condition (autoguidance, Karras et al. 2024). Guidance 1 calls the model
    alone; outside `interval` of sigma it counts as 1 (Kynkaanniemi et al. 2024).
    """
    both = None if guide is not None else condition.cat(condition.without_emotion())

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        if guidance == 1 or not interval[0] <= float(sigma[0]) <= interval[1]:
            return model(x, sigma, condition, mask)
        if guide is not None:
            strong, weak = model(x, sigma, condition, mask), guide(x, sigma, condition, mask)
        else:
            masks = None if mask is None else torch.cat([mask, mask])
            strong, weak = model(torch.cat([x, x]), torch.cat([sigma, sigma]), both, masks).chunk(2)
        return weak + guidance * (strong - weak)

    return denoise
