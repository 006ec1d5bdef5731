"""The grain of noise: its statistics are those of real noise, it spares voices, and it is the clip's own."""

import numpy as np
import pytest
import torch

from vocalburst.gen import load_generator
from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.mel import LogMel, MelConfig
from vocalburst.gen.sampling import build_scheduler, last_sigma
from vocalburst.gen.texture import add_texture, mean_of_noise, noise_texture

CONFIG = MelConfig()
FRAMES = 2000


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_smooth_mel_of_noise_becomes_that_of_a_stretch_of_noise():
    """Mean, deviation and movement from frame to frame of every band are those of another stretch of white noise."""
    smooth = mean_of_noise(CONFIG).expand(-1, FRAMES)
    made = add_texture(smooth, torch.zeros(FRAMES), 1.0, CONFIG, rng())
    wave = 0.1 * torch.randn(CONFIG.hop_length * (FRAMES - 1), generator=torch.Generator().manual_seed(5))
    real = LogMel(CONFIG)(wave)
    torch.testing.assert_close(made.mean(-1), real.mean(-1), atol=0.08, rtol=0)
    torch.testing.assert_close(made.std(-1), real.std(-1), atol=0, rtol=0.12)
    torch.testing.assert_close(made.diff(dim=-1).std(-1), real.diff(dim=-1).std(-1), atol=0, rtol=0.12)
    # A band of one bin fluctuates like a Rayleigh magnitude, whose logarithm deviates by pi / sqrt(24); no band more.
    assert float(made.std(-1).max()) == pytest.approx(np.pi / np.sqrt(24), rel=0.1)
    assert float(made[-1].std()) < 0.3


def test_its_level_changes_nothing():
    texture = noise_texture(CONFIG, 50, rng())
    assert float(texture.mean()) == pytest.approx(0, abs=0.05)
    mel = torch.full((CONFIG.n_mels, 50), -3.0)
    higher = add_texture(mel + 2, torch.zeros(50), 1.0, CONFIG, rng())
    torch.testing.assert_close(add_texture(mel, torch.zeros(50), 1.0, CONFIG, rng()) + 2, higher)


def test_a_voice_keeps_its_mel_and_silence_its_floor():
    mel = torch.full((CONFIG.n_mels, 40), -3.0)
    periodicity = torch.tensor([0.0] * 20 + [1.0] * 19 + [1.2])
    made = add_texture(mel, periodicity, 1.0, CONFIG, rng())
    assert torch.equal(made[:, 20:], mel[:, 20:])
    torch.testing.assert_close(made[:, :20] - mel[:, :20], noise_texture(CONFIG, 40, rng())[:, :20])
    half = add_texture(mel, torch.full((40,), np.sqrt(0.5)), 1.0, CONFIG, rng())
    torch.testing.assert_close(half - mel, 0.5 * noise_texture(CONFIG, 40, rng()))
    silent = torch.full((CONFIG.n_mels, 40), CONFIG.floor)
    assert float(add_texture(silent, torch.zeros(40), 1.0, CONFIG, rng()).min()) >= CONFIG.floor


@pytest.mark.parametrize("n_frames", [2, 3, 4, 5])
def test_the_shortest_clips_have_texture_too(n_frames):
    texture = noise_texture(CONFIG, n_frames, rng())
    assert texture.shape == (CONFIG.n_mels, n_frames) and float(texture.std()) > 0.1


@pytest.mark.parametrize("name", ["euler", "heun", "dpm++"])
def test_the_last_call_takes_less_away_the_more_steps_there_are(name):
    sigmas = [last_sigma(build_scheduler(name, 2.0), steps) for steps in (4, 8, 16, 64)]
    assert sigmas == sorted(sigmas, reverse=True) and 0 < sigmas[-1] < 0.1 < sigmas[0] < 0.6


def test_euler_ends_where_its_formula_says():
    """The last of n even steps, 1 / n, shifted: s t / (1 + (s - 1) t) (Esser et al. 2024, Eq. 23)."""
    for steps in (4, 8):
        expected = 2 / steps / (1 + 1 / steps)
        assert last_sigma(build_scheduler("euler", 2.0), steps) == pytest.approx(expected, rel=1e-5)


def test_a_clip_has_its_own_texture_and_more_steps_need_less(tiny_checkpoint):
    pipeline = load_generator(tiny_checkpoint)

    def spec(**changes) -> BurstSpec:
        return BurstSpec(
            {"awe": 1.0}, **{"seed": 3, "steps": 3, "guidance": 1.0, "scheduler": "euler"} | changes
        )

    def wave(texture: float, **changes) -> bytes:
        pipeline.defaults["texture"] = texture
        return pipeline.synthesise([spec(**changes)])[0].wave.tobytes()

    assert wave(1.0) == wave(1.0) != wave(0.0)
    pipeline.defaults |= {"steps": 3, "scheduler": "euler", "texture": 0.8}
    assert pipeline.texture(spec()) == pipeline.texture(spec(steps=2)) == 0.8
    assert pipeline.texture(spec(steps=6)) == pytest.approx(0.4, rel=1e-4)
    assert pipeline.texture(spec(steps=6, scheduler="heun")) < 0.8
    pipeline.defaults["texture"] = 0.0
    assert pipeline.texture(spec(steps=6)) == 0
