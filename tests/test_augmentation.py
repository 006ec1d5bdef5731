"""Changes of training clips: what they may do, and what they may not."""

import math

import numpy as np
import pytest
import torch

from vocalburst.eval.augmentation import MelAugmentation, WaveAugmentation, mixed_batch


def test_augment_does_nothing_when_nothing_is_asked():
    mel = torch.randn(100, 60)
    torch.testing.assert_close(MelAugmentation()(mel, np.random.default_rng(0)), mel)


def test_augment_stays_within_its_limits():
    config = MelAugmentation(
        max_crop=10, max_gain_db=3, max_bin_shift=3, time_masks=2, max_time_mask=8, frequency_masks=1,
        max_frequency_mask=9,
    )  # fmt: skip
    mel = torch.randn(100, 60)
    original = mel.clone()
    generator = np.random.default_rng(1)
    lengths = {config(mel, generator).shape[1] for _ in range(200)}
    assert min(lengths) == 40 and max(lengths) == 60
    assert config(mel[:, :5], generator).shape == (100, 5)
    torch.testing.assert_close(mel, original)


def test_gain_and_bin_shift_move_the_spectrogram():
    mel = torch.arange(100.0)[:, None].expand(100, 20).contiguous()
    generator = np.random.default_rng(2)
    louder = MelAugmentation(max_gain_db=6)(mel, generator) - mel
    assert float(louder.std()) < 1e-5
    assert 0 < abs(float(louder.mean())) <= 6 * math.log(10) / 20
    shifts = {
        round(float((MelAugmentation(max_bin_shift=2)(mel, generator) - mel)[50, 0])) for _ in range(50)
    }
    assert shifts == {-2, -1, 0, 1, 2}


def test_mixup_keeps_targets_a_distribution_and_the_shorter_length():
    mels = [torch.full((100, 30), -3.0), torch.full((100, 50), -5.0)]
    labels = torch.tensor([0, 2])
    mel, lengths, targets = mixed_batch(mels, labels, 3, 0.0, np.random.default_rng(0))
    assert targets.tolist() == [[1, 0, 0], [0, 0, 1]] and lengths.tolist() == [30, 50]
    for seed in range(8):
        mel, lengths, targets = mixed_batch(mels, labels, 3, 0.5, np.random.default_rng(seed))
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(2))
        if lengths.tolist() == [30, 30]:  # the other was drawn
            torch.testing.assert_close(mel[:, 0, 0], -3 * targets[:, 0] - 5 * targets[:, 2])
            break
    else:
        pytest.fail("no draw mixed the two clips")


def sine(hz: float, n: int = 16_000) -> torch.Tensor:
    return torch.sin(2 * math.pi * hz * torch.arange(n) / 16_000) * 0.1


def test_a_wave_changes_nothing_but_its_level_when_nothing_is_asked():
    wave = sine(400)
    changed = WaveAugmentation()(wave.half(), np.random.default_rng(0))
    torch.testing.assert_close(changed, wave / wave.square().mean().sqrt(), atol=2e-3, rtol=0)
    assert changed.dtype == torch.float32 and not WaveAugmentation()(0 * wave, np.random.default_rng(0)).any()


def test_a_wave_keeps_its_middle_and_a_short_one_keeps_everything():
    config, generator = WaveAugmentation(max_crop=2000), np.random.default_rng(0)
    wave = torch.arange(1.0, 8001)
    changed = [config(wave, generator) for _ in range(200)]
    assert 4000 <= min(map(len, changed)) < 4800 and max(map(len, changed)) > 7200
    step = changed[0].diff()[0]  # 1 over the root mean square, so samples are places in the wave
    assert 1 <= round(float(changed[0][0] / step)) <= 2001
    assert len(config(wave[:1500], generator)) == 1500


def test_speed_moves_the_pitch_within_its_limits():
    config, generator = WaveAugmentation(max_speed=0.1), np.random.default_rng(1)
    for _ in range(20):
        changed = config(sine(400), generator).numpy()
        speed = 16_000 / len(changed)
        assert 0.9 - 1e-3 <= speed <= 1.1 + 1e-3
        peak = np.abs(np.fft.rfft(changed, 160_000)).argmax() * 16_000 / 160_000
        assert peak == pytest.approx(400 * speed, abs=0.5)


def test_tilt_noise_and_polarity():
    generator = np.random.default_rng(2)
    white = torch.from_numpy(generator.standard_normal(16_000).astype(np.float32))
    tilts = []
    for _ in range(40):
        changed = WaveAugmentation(max_tilt=0.4)(white, generator).numpy()
        tilts.append(float(np.corrcoef(changed[1:], changed[:-1])[0, 1]))  # a / (1 + a^2)
    limit = 0.4 / 1.16 + 0.03
    assert -limit < min(tilts) < -0.2 and 0.2 < max(tilts) < limit
    wave = sine(400) / sine(400).square().mean().sqrt()
    levels = [
        10
        * math.log10(float((WaveAugmentation(noise_db=(-30, -20))(wave, generator) - wave).square().mean()))
        for _ in range(40)
    ]
    assert -30.5 < min(levels) < -27 and -23 < max(levels) < -19.5
    signs = {
        float((WaveAugmentation(polarity=True)(wave, generator) * wave).mean().sign()) for _ in range(40)
    }
    assert signs == {-1.0, 1.0}
