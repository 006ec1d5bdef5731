"""Flow matching: noise, velocity, loss and the law of the noise levels."""

import pytest
import torch

from vocalburst.gen.diffusion import SIGMA_MIN, add_noise, sample_sigma, velocity, velocity_loss


def tensors(n: int = 3, frames: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return tuple(torch.randn(n, 4, frames, generator=g, dtype=torch.float64) for _ in range(2))


def test_ends_of_the_path():
    x, noise = tensors()
    assert torch.equal(add_noise(x, noise, torch.zeros(3)), x)
    assert torch.equal(add_noise(x, noise, torch.ones(3)), noise)


def test_velocity_is_the_derivative_of_the_path():
    x, noise = tensors()
    sigma = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    step = 1e-6
    difference = (add_noise(x, noise, sigma + step) - add_noise(x, noise, sigma - step)) / (2 * step)
    torch.testing.assert_close(velocity(add_noise(x, noise, sigma), x, sigma), difference, atol=1e-8, rtol=0)
    torch.testing.assert_close(difference, noise - x, atol=1e-8, rtol=0)
    torch.testing.assert_close(velocity(add_noise(x, noise, sigma[:1]), x, 0.2), noise - x)


def test_loss_equals_a_slow_loop():
    x, guess = tensors()
    sigma = torch.tensor([SIGMA_MIN / 10, 0.4, 1.0], dtype=torch.float64)
    lengths = (7, 3, 5)
    mask = torch.arange(7)[None] < torch.tensor(lengths)[:, None]
    total, count = 0.0, 0
    for row, length in enumerate(lengths):
        for frame in range(length):
            error = (guess[row, :, frame] - x[row, :, frame]) / max(float(sigma[row]), SIGMA_MIN)
            total += sum(float(e) ** 2 for e in error) / len(error)
            count += 1
    loss = velocity_loss(guess, x, sigma, mask)
    assert float(loss) == pytest.approx(total / count, rel=1e-9)
    guess[~mask[:, None].expand_as(guess)] = 1e6
    assert float(velocity_loss(guess, x, sigma, mask)) == float(loss)


def test_loss_is_the_velocity_error():
    """Above SIGMA_MIN the formula without noise is the squared error of the velocities."""
    x, noise = tensors()
    guess = x + 0.1 * noise.flip(0)
    sigma = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    x_sigma = add_noise(x, noise, sigma)
    expected = (velocity(x_sigma, guess, sigma) - (noise - x)).square().mean()
    loss = velocity_loss(guess, x, sigma, torch.ones(3, 7, dtype=torch.bool))
    assert float(loss) == pytest.approx(float(expected), rel=1e-9)


def test_noise_levels_are_logit_normal():
    torch.manual_seed(0)
    sigma = sample_sigma(100_000, mean=-0.4, std=1.3)
    for z in (-1.6449, 0.0, 1.0):
        share = torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(z))
        expected = torch.sigmoid(torch.tensor(-0.4 + 1.3 * z))
        assert float(sigma.quantile(share)) == pytest.approx(float(expected), abs=0.006)
    assert sigma.min() > 0 and sigma.max() < 1
