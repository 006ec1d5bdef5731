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

from vocalburst.gen.diffusion import add_noise, velocity
from vocalburst.gen.models.conditioning import Condition

NEGLIGIBLE = 0.01  # noise share; schedules of heun end below it, with a step that changes nothing to speak of

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


def sample(
    denoiser: Denoiser,
    noise: torch.Tensor,
    scheduler: SchedulerMixin,
    steps: int,
    *,
    stretch: float = 1.0,
    like: torch.Tensor | None = None,
    strength: float = 1.0,
) -> torch.Tensor:
    """Solve the flow from noise [B, M, T] (standard deviation 1) to x [B, M, T] in `steps` solver steps.

    scheduler: any diffusers scheduler with flow sigmas and velocity predictions; it is copied, not changed.
    stretch: of its noise levels, see `stretched`.
    like: x [B, M, T] to vary (SDEdit, Meng et al. 2022, Alg. 1): noised to the level nearest to `strength` among those
    of the `steps` steps and solved from there, in the steps that are left. At the first level, which strength 1 is
    nearest to, there is nothing left of `like`: the result is that of noise alone.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    solver = scheduled(scheduler, steps, stretch)
    entry = 0 if like is None else entry_index(solver, strength)
    solver.set_begin_index(entry)
    x = noise if entry == 0 else add_noise(like, noise, solver.sigmas[entry].to(noise).expand(len(noise)))
    for index, timestep in enumerate(solver.timesteps[entry:], entry):
        sigma = solver.sigmas[index].to(
            x
        )  # not timestep / 1000, which some schedulers round to whole numbers
        v = velocity(x, denoiser(x, sigma.expand(x.shape[0])), sigma)
        x = solver.step(v, timestep, x, return_dict=False)[0]
    return x


def stretched(sigmas: torch.Tensor, stretch: float) -> torch.Tensor:
    """Noise shares whose log((1 - sigma) / sigma) is `stretch` times theirs.

    Above 1, more of the steps lie near pure noise and near none: a first step of the usual size is blind to a clip's
    outline, which arises between 0.99 and 0.95 (docs/sound.md). 0 and 1 stay.
    """
    noise, clean = sigmas.double() ** stretch, (1 - sigmas.double()) ** stretch
    return (noise / (noise + clean)).to(sigmas.dtype)


def scheduled(scheduler: SchedulerMixin, steps: int, stretch: float = 1.0) -> SchedulerMixin:
    """A copy of `scheduler` with the noise levels of `steps` steps set, `stretched`."""
    solver = type(scheduler).from_config(scheduler.config)
    if isinstance(solver, FlowMatchEulerDiscreteScheduler):
        # From pure noise down to 1 / steps: the default ends at 0.001 and wastes the last call.
        solver.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps))
    else:
        solver.set_timesteps(steps)
    if stretch != 1:
        solver.sigmas = stretched(solver.sigmas, stretch)
        solver.timesteps = solver.sigmas[: len(solver.timesteps)] * solver.config.num_train_timesteps
    return solver


def last_sigma(scheduler: SchedulerMixin, steps: int, stretch: float = 1.0) -> float:
    """The noise share that the last call takes away; a rest below `NEGLIGIBLE` does not count."""
    return min(sigma for sigma in scheduled(scheduler, steps, stretch).sigmas.tolist() if sigma >= NEGLIGIBLE)


def entry_index(solver: SchedulerMixin, strength: float) -> int:
    """Where a schedule is entered at `strength`, its noise share in (0, 1]: the step of the nearest sigma.

    solver: a scheduler whose timesteps are set; an index into these. A step of a solver of order 2 has two of them and
    can only be entered at the first.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 and at most 1, got {strength:g}")
    starts = range(0, len(solver.timesteps), solver.order)
    return min(starts, key=lambda index: abs(float(solver.sigmas[index]) - strength))


def guided(
    model: Callable[..., torch.Tensor],
    condition: Condition,
    guidance: float,
    *,
    mask: torch.Tensor | None = None,
    guide: Callable[..., torch.Tensor] | None = None,
    interval: tuple[float, float] = (0.0, 1.0),
    learnt: float = 1.0,
    learnt_interval: tuple[float, float] = (0.0, 1.0),
) -> Denoiser:
    """A denoiser pushed away from a weaker answer: D = D_weak + guidance (D_model - D_weak).

    The weaker answer is the model's own without the emotion (Ho & Salimans 2022) or, when `guide` is given, that of
    a less trained network under the same condition (autoguidance, Karras et al. 2024). Guidance 1 calls the model
    alone; outside `interval` of sigma it counts as 1 (Kynkaanniemi et al. 2024). A model that was taught by a guided
    one (`teacher`) answers with the guidance `learnt` inside `learnt_interval`; it is called alone where that is what
    is asked for, and pushed by the quotient where it is not.
    """
    both = None if guide is not None else condition.cat(condition.without_emotion())

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        level = float(sigma[0])
        asked = guidance if interval[0] <= level <= interval[1] else 1.0
        scale = asked / learnt if learnt_interval[0] <= level <= learnt_interval[1] else asked
        if scale == 1:
            return model(x, sigma, condition, mask)
        if guide is not None:
            strong, weak = model(x, sigma, condition, mask), guide(x, sigma, condition, mask)
        else:
            masks = None if mask is None else torch.cat([mask, mask])
            strong, weak = model(torch.cat([x, x]), torch.cat([sigma, sigma]), both, masks).chunk(2)
        return weak + scale * (strong - weak)

    return denoise
