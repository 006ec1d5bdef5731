"""The front end: the numbers of `vocos`, a frame by hand, and a configuration that never changes silently."""

import math

import numpy as np
import pytest
import torch
from conftest import RATE, synthetic_burst

from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.data.mel import LogMel, MelConfig


def htk_filters(config: MelConfig) -> np.ndarray:
    """[F, M] triangles on the HTK mel scale, written from its definition, mel = 2595 log10(1 + Hz / 700)."""
    top = 2595 * math.log10(1 + config.sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, config.n_mels + 2) / 2595) - 1)
    bins = np.linspace(0, config.sample_rate / 2, config.n_fft // 2 + 1)
    filters = np.zeros((len(bins), config.n_mels))
    for m in range(config.n_mels):
        low, middle, high = edges[m : m + 3]
        for f, hertz in enumerate(bins):
            filters[f, m] = max(0.0, min((hertz - low) / (middle - low), (high - hertz) / (high - middle)))
    return filters


def test_same_numbers_as_the_extractor_of_vocos():
    from vocos.feature_extractors import MelSpectrogramFeatures

    waves = torch.from_numpy(np.stack([synthetic_burst(1, 0.7), synthetic_burst(2, 0.7, 400)]))
    extractor = MelSpectrogramFeatures(
        sample_rate=24_000, n_fft=1024, hop_length=256, n_mels=100, padding="center"
    )
    torch.testing.assert_close(LogMel()(waves), extractor(waves), atol=1e-5, rtol=0)


@pytest.mark.parametrize("frame", [5, 20])
def test_a_frame_equals_its_definition(frame):
    config = MelConfig()
    wave = synthetic_burst(3)
    start = frame * config.hop_length - config.n_fft // 2  # frames are centred
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
    magnitude = np.abs(np.fft.rfft(hann * wave[start : start + config.n_fft].astype(np.float64)))
    expected = np.log(np.maximum(htk_filters(config).T @ magnitude, config.log_floor))
    mel = LogMel(config)(torch.from_numpy(wave)[None])[0, :, frame]
    np.testing.assert_allclose(mel.numpy(), expected, atol=2e-3)


def test_silence_is_the_floor():
    mel = LogMel()(torch.zeros(1, 5000))
    assert MelConfig().floor == pytest.approx(math.log(1e-7))
    torch.testing.assert_close(mel, torch.full_like(mel, MelConfig().floor))


@pytest.mark.parametrize("n_samples", [1024, 1279, 1280, 14_400])
def test_frames_and_seconds(n_samples):
    config = MelConfig()
    frames = LogMel(config)(torch.zeros(1, n_samples)).shape[-1]
    assert frames == config.n_frames(n_samples)
    # The vocoder's wave is the part of the clip that whole hops cover.
    assert config.seconds(frames) == pytest.approx(n_samples // 256 * 256 / RATE)


def test_config_round_trip():
    config = MelConfig(sample_rate=16_000, n_fft=512, hop_length=128, n_mels=64, log_floor=1e-5)
    assert MelConfig.from_dict(config.to_dict()) == config


def test_config_with_a_missing_key():
    values = MelConfig().to_dict()
    del values["log_floor"]
    with pytest.raises(MissingModelError, match=r"expected the keys .*'log_floor'"):
        MelConfig.from_dict(values)


def test_config_with_an_unknown_key():
    with pytest.raises(MissingModelError, match=r"got .*'f_min'"):
        MelConfig.from_dict(MelConfig().to_dict() | {"f_min": 0})


def test_check_equal_names_what_differs():
    MelConfig().check_equal(MelConfig(), "the vocoder v")
    with pytest.raises(MissingModelError) as caught:
        MelConfig().check_equal(MelConfig(hop_length=300, n_mels=80), "the vocoder v")
    assert (
        str(caught.value)
        == "the vocoder v has another mel config: hop_length 300 instead of 256, n_mels 80 instead of 100"
    )
