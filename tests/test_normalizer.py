"""Per-bin normalisation: statistics, round trip, floor."""

import pytest
import torch

from vocalburst.gen.data.mel import SIGMA_DATA, MelConfig
from vocalburst.gen.models.normalizer import LEVEL_DB, MelNormalizer


def mels(n: int = 4, bins: int = 100) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    offset, spread = torch.linspace(-8, 0, bins)[:, None], torch.linspace(0.5, 3, bins)[:, None]
    return [torch.randn(bins, 30 + 7 * k, generator=g) * spread + offset + k for k in range(n)]


def test_every_bin_has_mean_zero_and_the_standard_deviation_of_x():
    normalizer = MelNormalizer(MelConfig().to_dict()).fit(iter(mels()))
    frames = torch.cat([normalizer.normalize(mel) for mel in mels()], dim=1)
    torch.testing.assert_close(frames.mean(1), torch.zeros(100), atol=1e-4, rtol=0)
    torch.testing.assert_close(frames.std(1, correction=0), torch.full((100,), SIGMA_DATA), atol=1e-4, rtol=0)


def test_round_trip_and_floor():
    normalizer = MelNormalizer(MelConfig().to_dict()).fit(mels())
    mel = mels(1)[0][None]
    torch.testing.assert_close(normalizer.denormalize(normalizer.normalize(mel)), mel, atol=1e-5, rtol=1e-5)
    below = normalizer.denormalize(torch.full((1, 100, 3), -1e3))
    torch.testing.assert_close(below, torch.full_like(below, MelConfig().floor))


def test_a_bin_that_never_moves_stays_finite():
    constant = torch.full((100, 50), MelConfig().floor)
    normalizer = MelNormalizer(MelConfig().to_dict()).fit([constant])
    assert normalizer.normalize(constant).isfinite().all()


def test_fit_needs_two_frames():
    with pytest.raises(ValueError, match="at least 2 mel frames, got 1"):
        MelNormalizer(MelConfig().to_dict()).fit([torch.zeros(100, 1)])


def test_folder_round_trip(tmp_path):
    config = MelConfig(n_mels=80)
    normalizer = MelNormalizer(config.to_dict()).fit(mels(bins=80))
    normalizer.save_pretrained(tmp_path)
    loaded = MelNormalizer.from_pretrained(tmp_path)
    assert torch.equal(loaded.mean, normalizer.mean) and torch.equal(loaded.std, normalizer.std)
    assert loaded.mel_config == config and loaded.config.level_db == LEVEL_DB
