"""Samplers against the closed form of Gaussian data, and guidance against its formula.

For x ~ N(m, s^2) and x_t = (1 - t) x + t noise, the best estimate of x is
D(x_t, t) = m + (1 - t) s^2 / ((1 - t)^2 s^2 + t^2) (x_t - (1 - t) m),
and the flow maps noise z to m + s z exactly.
"""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from test_conditioning import conditions

from vocalburst.gen.sampling import (
    SCHEDULERS,
    build_scheduler,
    entry_index,
    guided,
    sample,
    scheduled,
    stretched,
)

MEAN, STD = 0.7, 0.5


def gaussian_denoiser(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    t = sigma[:, None, None]
    gain = (1 - t) * STD**2 / ((1 - t) ** 2 * STD**2 + t**2)
    return MEAN + gain * (x - (1 - t) * MEAN)


def noise(n: int = 1, bins: int = 40, frames: int = 500) -> torch.Tensor:
    return torch.randn(n, bins, frames, generator=torch.Generator().manual_seed(0))


def flow_error(name: str, steps: int, shift: float = 1.0) -> float:
    """Root mean square distance to the exact flow."""
    z = noise(frames=50)
    x = sample(gaussian_denoiser, z, build_scheduler(name, shift), steps)
    return float((x - (MEAN + STD * z)).square().mean().sqrt())


@pytest.mark.parametrize("shift", [1.0, 2.0])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_carries_noise_to_the_data(name, shift):
    z = noise()
    x = sample(gaussian_denoiser, z, build_scheduler(name, shift), 100)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(x.std()) == pytest.approx(STD, rel=0.03)
    assert flow_error(name, 100, shift) < 0.02


@pytest.mark.parametrize("name", SCHEDULERS)
def test_more_steps_are_better(name):
    assert flow_error(name, 32) < 0.6 * flow_error(name, 8)


def test_the_error_of_euler_falls_with_the_steps():
    few, many = flow_error("euler", 16), flow_error("euler", 64)
    assert 3.0 < few / many < 5.5


@pytest.mark.parametrize("name", ["heun", "dpm++"])
def test_second_order_beats_euler(name):
    assert flow_error(name, 16) < 0.35 * flow_error("euler", 16)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_certain_denoiser_is_reached_exactly(name, steps):
    target = noise(2, 3, 5).flip(-1)
    x = sample(lambda x, sigma: target, noise(2, 3, 5), build_scheduler(name), steps)
    torch.testing.assert_close(x, target, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_noise_levels_that_a_denoiser_meets(name):
    seen = []

    def denoiser(x, sigma):
        assert sigma.shape == (2,)
        seen.append(float(sigma[0]))
        return gaussian_denoiser(x, sigma)

    scheduler = build_scheduler(name)
    sample(denoiser, noise(2, 3, 5), scheduler, 8)
    assert len(seen) == (15 if name == "heun" else 8)
    assert 0.99 < seen[0] <= 1 and seen == sorted(seen, reverse=True) and seen[-1] > 0
    if name == "euler":
        assert seen == pytest.approx([k / 8 for k in range(8, 0, -1)], abs=1e-6)


def levels(name: str, steps: int, **entered) -> list[float]:
    """Noise shares at which a denoiser is asked."""
    seen = []
    sample(
        lambda x, sigma: seen.append(float(sigma[0])) or gaussian_denoiser(x, sigma),
        noise(1, 3, 5),
        build_scheduler(name),
        steps,
        **entered,
    )
    return seen


@pytest.mark.parametrize("strength", [0.1, 0.3, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_is_entered_at_the_nearest_of_its_own_levels(name, strength):
    whole = levels(name, 8)
    entered = levels(name, 8, like=noise(1, 3, 5), strength=strength)
    assert entered == whole[len(whole) - len(entered) :]  # the spacing of the rest is untouched
    assert abs(entered[0] - strength) == min(abs(level - strength) for level in whole)
    if name == "heun":
        assert len(entered) % 2 == 1  # both calls of every step but the last, which has one


@pytest.mark.parametrize("name", SCHEDULERS)
def test_at_strength_one_nothing_is_left_of_the_clip(name):
    z, like = noise(1, 3, 5), 100 + noise(1, 3, 5)
    alone = sample(gaussian_denoiser, z, build_scheduler(name), 6)
    assert torch.equal(sample(gaussian_denoiser, z, build_scheduler(name), 6, like=like, strength=1.0), alone)


@pytest.mark.parametrize("strength", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_noised_clip_ends_where_the_exact_flow_takes_it(name, strength):
    """The flow keeps (x_t - (1 - t) m) / sqrt((1 - t)^2 s^2 + t^2), so it can be followed to t = 0."""
    z, like = noise(1, 20, 50), MEAN + STD * noise(1, 20, 50).flip(-1)
    t = levels(name, 64, like=noise(1, 3, 5), strength=strength)[0]
    x_t = (1 - t) * like + t * z
    exact = MEAN + STD * (x_t - (1 - t) * MEAN) / ((1 - t) ** 2 * STD**2 + t**2) ** 0.5
    x = sample(gaussian_denoiser, z, build_scheduler(name), 64, like=like, strength=strength)
    assert float((x - exact).square().mean().sqrt()) < 0.02
    assert float((like - exact).square().mean().sqrt()) > 0.1


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_stronger_variation_is_further_away(name):
    like = MEAN + STD * noise(1, 20, 50).flip(-1)
    away = [
        float((sample(gaussian_denoiser, noise(1, 20, 50), build_scheduler(name), 10, like=like, strength=s) - like)
              .square().mean())
        for s in (0.1, 0.3, 0.5, 0.7, 1.0)
    ]  # fmt: skip
    assert away == sorted(away) and away[0] < 0.1 * away[-1]


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.01])
def test_a_strength_outside_its_range(strength):
    solver = build_scheduler("euler")
    solver.set_timesteps(4)
    with pytest.raises(ValueError, match="strength must be above 0 and at most 1"):
        entry_index(solver, strength)


def test_shift_spends_steps_at_high_noise():
    def middle(shift: float) -> float:
        seen = []
        sample(
            lambda x, sigma: seen.append(float(sigma[0])) or x,
            noise(1, 2, 3),
            build_scheduler("euler", shift),
            9,
        )
        return seen[4]

    t = middle(1.0)
    assert middle(3.0) == pytest.approx(3 * t / (1 + 2 * t), abs=1e-4)  # Esser et al. 2024, Eq. 23


def test_stretched_noise_levels():
    """The log of signal over noise is multiplied; pure noise and none stay what they are."""
    sigmas = torch.tensor([0.0, 0.1, 0.5, 0.9, 0.97, 1.0])
    wide = stretched(sigmas, 1.4)
    torch.testing.assert_close(torch.logit(wide[1:-1]), 1.4 * torch.logit(sigmas[1:-1]), rtol=1e-5, atol=1e-6)
    assert wide[0] == 0 and wide[-1] == 1
    assert torch.equal(stretched(sigmas, 1.0), sigmas)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_can_be_stretched(name):
    seen = []

    def denoiser(x, sigma):
        seen.append(float(sigma[0]))
        return gaussian_denoiser(x, sigma)

    z = noise(frames=50)
    x = sample(denoiser, z, build_scheduler(name, 3.0), 60, stretch=1.4)
    plain = scheduled(build_scheduler(name, 3.0), 60).sigmas[: len(seen)]
    assert seen == pytest.approx(stretched(plain, 1.4).tolist(), abs=1e-6)
    assert float((x - (MEAN + STD * z)).square().mean().sqrt()) < 0.03
    target = z.flip(-1)
    reached = sample(lambda x, sigma: target, z, build_scheduler(name, 3.0), 7, stretch=1.4)
    torch.testing.assert_close(reached, target, atol=1e-4, rtol=0)


def test_stretched_steps_keep_the_large_directions():
    """Data of standard deviation 30 show through 97 % of noise: a first step to 0.93 comes too late for them."""

    def denoiser(x, sigma):
        t = sigma[:, None, None]
        return (1 - t) * 900 / ((1 - t) ** 2 * 900 + t**2) * x

    z = noise(frames=50)
    plain = sample(denoiser, z, build_scheduler("dpm++", 2.0), 8).std() / 30
    wide = sample(denoiser, z, build_scheduler("dpm++", 3.0), 8, stretch=1.4).std() / 30
    assert plain < 0.7 and abs(wide - 1) < 0.5 * (1 - plain)


def test_the_scheduler_is_left_as_it_was():
    scheduler = build_scheduler("dpm++")
    first = sample(gaussian_denoiser, noise(1, 3, 5), scheduler, 5)
    assert torch.equal(sample(gaussian_denoiser, noise(1, 3, 5), scheduler, 5), first)


def test_any_stock_flow_scheduler_fits():
    x = sample(gaussian_denoiser, noise(frames=50), FlowMatchEulerDiscreteScheduler(shift=1.7), 60)
    assert float(x.std()) == pytest.approx(STD, rel=0.05)


def test_refusals():
    with pytest.raises(ValueError, match="unknown scheduler 'ddim'; known: euler, heun, dpm"):
        build_scheduler("ddim")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        sample(gaussian_denoiser, noise(1, 2, 2), build_scheduler("euler"), 0)


class CountingModel:
    """Answers 2 x with the emotion and x without; remembers how many rows it was asked for."""

    def __init__(self):
        self.rows = []

    def __call__(self, x, sigma, condition, mask=None):
        self.rows.append(len(x))
        assert mask is None or mask.shape == (len(x), x.shape[-1])
        assert sigma.shape == condition.voice.shape == (len(x),)
        return x * (1 + condition.emotion_known.any(1).float())[:, None, None]


def denoised(
    guidance: float, sigma: float = 0.5, guide=None, **options
) -> tuple[torch.Tensor, CountingModel]:
    model = CountingModel()
    x = noise(2, 3, 4)
    answer = guided(model, conditions(2), guidance, guide=guide, **options)(x, torch.full((2,), sigma))
    return answer / x, model


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.5, 4.0])
def test_guidance_is_linear(guidance):
    ratio, model = denoised(guidance)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 1 + guidance))  # x + g (2 x - x)
    assert model.rows == [4]  # both halves in one call


def test_guidance_one_asks_the_model_alone():
    ratio, model = denoised(1.0)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 2.0))
    assert model.rows == [2]


@pytest.mark.parametrize(("sigma", "expected"), [(0.1, 2.0), (0.3, 4.0), (0.5, 4.0), (0.7, 4.0), (0.8, 2.0)])
def test_guidance_stays_in_its_interval(sigma, expected):
    ratio, _ = denoised(3.0, sigma, interval=(0.25, 0.75))
    torch.testing.assert_close(ratio, torch.full_like(ratio, expected))


@pytest.mark.parametrize(
    ("guidance", "sigma", "scale"),
    [(2.5, 0.9, 1.0), (5.0, 0.9, 2.0), (1.0, 0.9, 0.4), (2.5, 0.6, 2.5), (2.5, 0.3, 1.0), (1.0, 0.6, 1.0)],
)
def test_guidance_that_the_model_has_learnt(guidance, sigma, scale):
    """Asked for from sigma 0.5 on, learnt from 0.8 on: there only the quotient is left to add."""
    ratio, model = denoised(guidance, sigma, interval=(0.5, 1.0), learnt=2.5, learnt_interval=(0.8, 1.0))
    torch.testing.assert_close(ratio, torch.full_like(ratio, 1 + scale))
    assert model.rows == [2 if scale == 1 else 4]


def test_autoguidance():
    weaker_conditions = []

    def guide(x, sigma, condition, mask):
        weaker_conditions.append(condition)
        return 0.5 * x

    ratio, model = denoised(3.0, guide=guide)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.5 + 3 * (2 - 0.5)))
    assert model.rows == [2] and weaker_conditions[0].emotion_known.all()  # under the same condition


def test_guidance_hands_the_mask_on():
    mask = torch.ones(2, 4, dtype=torch.bool)
    assert denoised(2.0, mask=mask)[1].rows == [4]
    assert denoised(1.0, mask=mask)[1].rows == [2]
