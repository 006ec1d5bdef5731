"""The ear for voices: pitch of tones, spectra without level, and separation against a slow reference."""

import numpy as np
import pytest
from conftest import RATE, synthetic_burst

from vocalburst.eval.voice import (
    BANDS,
    average_spectrum,
    distances,
    features,
    pitch,
    pitch_statistics,
    separation,
)
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.mel import LogMel


def tone(hertz: float, seconds: float = 0.5) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * k * hertz * time) / k for k in range(1, 6)).astype(np.float32) * 0.2


@pytest.mark.parametrize("hertz", [80, 150, 220, 440, 900])
def test_pitch_of_a_tone(hertz):
    found, clarity = pitch(tone(hertz))
    assert np.median(found) == pytest.approx(hertz, rel=0.02)
    assert np.median(clarity) > 0.95


def test_pitch_of_a_pure_tone_is_not_a_fraction_of_it():
    time = np.arange(RATE) / RATE
    found, _ = pitch(np.sin(2 * np.pi * 500 * time).astype(np.float32))
    assert np.median(found) == pytest.approx(500, rel=0.02)


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert pitch(noise)[1].mean() < 0.4
    statistics = pitch_statistics(noise)
    assert statistics[3] < 0.1 or np.isnan(statistics[:3]).all()


def test_autocorrelation_against_its_definition():
    """Clarity 2 r / m of McLeod & Wyvill 2005, Eq. 9, one frame and lag at a time."""
    wave = synthetic_burst(3)[4000:5000]
    frame = wave[:960].astype(float) - wave[:960].astype(float).mean()

    def height(lag: int) -> float:
        one, two = frame[: 960 - lag], frame[lag:]
        return 2 * np.sum(one * two) / np.sum(one**2 + two**2)

    found, clarity = pitch(wave[:960])
    peaks = {
        lag: height(lag)
        for lag in range(20, 401)
        if height(lag) >= height(lag - 1) and height(lag) > height(lag + 1)
    }
    assert clarity[0] == pytest.approx(max(peaks.values()), abs=1e-9)
    first = min(lag for lag, value in peaks.items() if value >= 0.9 * max(peaks.values()))
    assert found[0] == pytest.approx(RATE / first)


def test_features_do_not_hear_the_level_or_the_silence_around():
    wave = synthetic_burst(1)
    np.testing.assert_allclose(features(0.1 * wave), features(wave), atol=1e-2)
    quiet = np.zeros(RATE // 2, dtype=np.float32)
    padded = features(np.concatenate([quiet, wave, quiet]))
    np.testing.assert_allclose(padded[BANDS:], features(wave)[BANDS:], atol=0.1)
    assert features(wave).shape == (BANDS + 4,)


def test_a_brighter_sound_has_a_brighter_spectrum():
    wave, log_mel = synthetic_burst(1), LogMel()
    plain = average_spectrum(wave, log_mel)
    bright = average_spectrum(np.append(0, np.diff(wave)).astype(np.float32), log_mel)
    bands = np.arange(BANDS)
    assert np.polyfit(bands, bright, 1)[0] > np.polyfit(bands, plain, 1)[0]
    assert plain.mean() == pytest.approx(0, abs=1e-5)


def test_silence_and_a_click():
    with pytest.raises(InputDataError, match="expected a voice, got silence"):
        features(np.zeros(RATE, dtype=np.float32))
    click = np.zeros(100, dtype=np.float32)
    click[50] = 1.0
    assert np.isfinite(features(click)[:BANDS]).all()


def slow_separation(distance, voices, emotions) -> list[float]:
    areas = []
    for name in sorted(set(voices)):
        parts = []
        for i, voice in enumerate(voices):
            if voice != name:
                continue
            own = [distance[i, j] for j, v in enumerate(voices) if v == name and emotions[j] != emotions[i]]
            other = [distance[i, j] for j, v in enumerate(voices) if v != name and emotions[j] != emotions[i]]
            parts.append(np.mean([(a < b) + (a == b) / 2 for a in own for b in other]))
        areas.append(np.mean(parts))
    return areas


def random_set(rng, n_voices=5, n_emotions=4, dim=6):
    voices = [f"v{v}" for v in range(n_voices) for _ in range(n_emotions)]
    emotions = [f"e{e}" for _ in range(n_voices) for e in range(n_emotions)]
    return rng.standard_normal((len(voices), dim)), voices, emotions


def test_separation_against_its_definition():
    x, voices, emotions = random_set(np.random.default_rng(0))
    distance = np.round(distances(x, emotions), 1)  # with ties
    np.testing.assert_allclose(
        separation(distance, voices, emotions), slow_separation(distance, voices, emotions)
    )


def test_separation_of_clear_voices_and_of_none():
    rng = np.random.default_rng(1)
    x, voices, emotions = random_set(rng, 12, 10, 8)
    chance = separation(distances(x, emotions), voices, emotions)
    assert abs(chance.mean() - 0.5) < 0.03
    throats = np.repeat(rng.standard_normal((12, 8)), 10, axis=0)
    clear = separation(distances(0.1 * x + throats, emotions), voices, emotions)
    assert clear.mean() > 0.99
    dealt = rng.permutation(voices)
    assert abs(separation(distances(0.1 * x + throats, emotions), dealt, emotions).mean() - 0.5) < 0.05


def test_what_an_emotion_does_is_taken_out():
    rng = np.random.default_rng(2)
    x, _, emotions = random_set(rng, 8, 6, 8)
    throats = np.repeat(rng.standard_normal((8, 8)), 6, axis=0)
    moods = np.tile(10 * rng.standard_normal((6, 8)), (8, 1))
    without = distances(0.3 * x + throats, emotions)
    np.testing.assert_allclose(distances(0.3 * x + throats + moods, emotions), without, atol=1e-9)


def test_a_clip_without_pitch_counts_by_its_spectrum():
    x, voices, emotions = random_set(np.random.default_rng(3))
    x[0, -1] = np.nan
    assert (
        np.isfinite(distances(x, emotions)).all()
        and np.isfinite(separation(distances(x, emotions), voices, emotions)).all()
    )


def test_too_few_voices_or_emotions():
    with pytest.raises(InputDataError, match="at least two voices, got 1"):
        separation(np.zeros((2, 2)), ["a", "a"], ["x", "y"])
    with pytest.raises(InputDataError, match="at least two emotions of the voice a"):
        separation(np.zeros((3, 3)), ["a", "a", "b"], ["x", "x", "x"])
