"""Pitch, pulses and minimum phase: known tones, slow references, and a voice put back in step."""

import numpy as np
import pytest
import scipy.signal
import torch

from vocalburst.gen.data.mel import LogMel
from vocalburst.gen.models.pulses import (
    VOICED,
    bridged,
    minimum_phase,
    pitch,
    pulse_spectrum,
    pulse_train,
)
from vocalburst.gen.models.vocoder import BurstVocoder

RATE, N_FFT, HOP = 24000, 1024, 256
WINDOW = torch.hann_window(N_FFT)


def voice(frequency: float, n: int = RATE // 2, n_partials: int = 12) -> torch.Tensor:
    """[1, L]: a pulse-like tone, partials in step and 6 dB an octave down."""
    time = torch.arange(n, dtype=torch.float64) / RATE
    orders = torch.arange(1, n_partials + 1)[:, None]
    partials = torch.cos(2 * torch.pi * frequency * orders * time) / orders
    return 0.1 * partials[(orders[:, 0] * frequency) < RATE / 2].sum(0)[None].float()


def stft(wave):
    return torch.stft(wave, N_FFT, HOP, window=WINDOW, return_complex=True)


@pytest.mark.parametrize("frequency", [90.0, 143.7, 220.0, 411.0, 987.0])
def test_pitch_of_a_tone(frequency):
    found, periodicity = pitch(voice(frequency), N_FFT, HOP, RATE)
    assert found.shape == periodicity.shape == (1, RATE // 2 // HOP + 1)
    inner = slice(3, -3)  # the first and last frames reach over the edges
    torch.testing.assert_close(
        found[0, inner], torch.full_like(found[0, inner], frequency), rtol=0.01, atol=0
    )
    assert (periodicity[0, inner] > 0.95).all()


def test_noise_and_silence_have_no_pitch():
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    assert (pitch(noise, N_FFT, HOP, RATE)[1] > VOICED).float().mean() < 0.02
    assert (pitch(torch.zeros(1, RATE), N_FFT, HOP, RATE)[1] == 0).all()


def test_pitch_does_not_know_the_level():
    wave = voice(200.0)
    softer = pitch(1e-2 * wave, N_FFT, HOP, RATE)
    torch.testing.assert_close(softer, pitch(wave, N_FFT, HOP, RATE), rtol=1e-4, atol=1e-4)


def test_bridging_is_numpys_interpolation():
    rng = np.random.default_rng(0)
    values, known = rng.normal(size=(8, 40)), rng.random((8, 40)) < 0.3
    known[0] = False
    found = bridged(torch.from_numpy(values), torch.from_numpy(known)).numpy()
    np.testing.assert_array_equal(found[0], values[0])
    for row in range(1, 8):
        places = np.flatnonzero(known[row])
        np.testing.assert_allclose(
            found[row], np.interp(np.arange(40), places, values[row, places]), atol=1e-6
        )


def test_pulses_come_where_a_slow_count_puts_them():
    """One pulse a turn, of area 1, at the place between two samples where the summed rate passes a whole number."""
    rates = torch.tensor([[100.0, 180.0, 150.0, 400.0]])
    train = pulse_train(rates, 3 * HOP + 1, HOP, RATE)[0].double()
    turns, places = 0.0, []
    for n in range(3 * HOP + 1):
        rate = float(np.interp(n / HOP, range(4), rates[0])) / RATE
        if n and int(turns + rate) > int(turns):
            places.append(n - ((turns + rate) % 1) / rate)
        turns += rate
    assert float(train.sum()) == pytest.approx(len(places), abs=1e-5)
    expected = torch.zeros(3 * HOP + 1, dtype=torch.float64)
    for place in places:
        low = int(place)
        expected[low] += 1 - (place - low)
        expected[low + 1] += place - low
    torch.testing.assert_close(train, expected, atol=1e-5, rtol=0)


def test_a_steady_rate_gives_a_steady_train():
    """240 Hz at 24 kHz: a pulse every 100 samples, though one may be shared by two neighbours."""
    train = pulse_train(torch.full((1, 20), 240.0), 19 * HOP, HOP, RATE)[0]
    weights, places = train.double(), torch.arange(19 * HOP, dtype=torch.float64)
    n = 19 * HOP // 100
    bounds = [round(50 + 100 * k) for k in range(n)]
    centres = [
        float((weights * places)[low : low + 100].sum() / weights[low : low + 100].sum())
        for low in bounds[:-1]
    ]
    assert len(centres) == n - 1 == 47
    np.testing.assert_allclose(np.diff(centres), 100.0, atol=0.01)


def test_minimum_phase_of_known_filters():
    """All-pole filters inside the unit circle have their own phase; mirrored outside, the magnitude's twin inside."""
    for pole in (0.5 * np.exp(0.7j), 0.8 * np.exp(1.9j)):
        denominator = np.real(np.poly([pole, pole.conj()]))
        _, response = scipy.signal.freqz([1.0], denominator, worN=np.linspace(0, np.pi, 513))
        log_magnitude = torch.from_numpy(np.log(np.abs(response)))[None, :, None].float()
        found = minimum_phase(log_magnitude, 512)[0, :, 0].numpy()
        np.testing.assert_allclose(found, np.angle(response), atol=1e-3)


def test_a_voice_out_of_step_gets_its_pulses_back():
    """Random phases spread a pulse over its period; afterwards it stands out again, at the same magnitudes."""
    wave = voice(150.0, n_partials=20)
    spectrum = stft(wave)
    # One random phase a partial, the same in all frames: still a tone, but without pulses.
    turns = torch.rand(20, generator=torch.Generator().manual_seed(1)) * 2 * torch.pi
    time = torch.arange(wave.shape[-1]) / RATE
    orders = torch.arange(1, 21)[:, None]
    hollow = (
        0.1 * (torch.cos(2 * torch.pi * 150 * orders * time + turns[:, None]) / orders).sum(0)[None].float()
    )

    def crest(x):
        inner = x[0, 2000:-2000]
        return float(inner.abs().max() / inner.square().mean().sqrt())

    made = torch.istft(pulse_spectrum(hollow, stft(hollow), WINDOW, HOP, RATE), N_FFT, HOP, window=WINDOW)
    # The voice's partials were all in phase; through a filter of minimum phase they are a little less peaked.
    assert 1.5 * crest(hollow) < crest(made) < crest(wave)
    inner = slice(4, -4)
    below = int(4000 / (RATE / N_FFT))
    error = (stft(made)[0, :below, inner].abs() - spectrum[0, :below, inner].abs()).norm()
    assert error < 0.1 * spectrum[0, :below, inner].abs().norm()


def test_noise_keeps_its_phases():
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    spectrum = stft(noise)
    made = pulse_spectrum(noise, spectrum, WINDOW, HOP, RATE)
    assert float((made - spectrum).norm() / spectrum.norm()) < 0.2
    above = int(8000 / (RATE / N_FFT)) + 1
    voiced = stft(voice(150.0, n_partials=79))
    made = pulse_spectrum(voice(150.0, n_partials=79), voiced, WINDOW, HOP, RATE)
    torch.testing.assert_close(made[:, above:], voiced[:, above:])


def test_the_vocoder_puts_a_voice_in_step():
    """Fresh weights know no phases; with pulses the wave is nearly as peaked as the voice whose mel it had."""
    wave = voice(180.0, n_partials=20)
    mel = LogMel()(wave)

    def crest(wave: torch.Tensor) -> float:
        inner = wave[0, 2000:-2000]
        return float(inner.abs().max() / inner.square().mean().sqrt())

    def vocoded(pulses: bool) -> torch.Tensor:
        torch.manual_seed(0)
        vocoder = BurstVocoder(16, 32, 2, magnitude_skip=True, level_corrections=8, pulses=pulses).eval()
        with torch.no_grad():
            return vocoder(mel)

    plain, pulsed = vocoded(False), vocoded(True)
    assert crest(plain) < 0.8 * crest(wave) < crest(pulsed)
    error = [(LogMel()(made) - mel)[..., 4:-4].abs().mean() for made in (plain, pulsed)]
    assert error[1] < 1.5 * error[0]  # and its mel is still the one asked for


def test_a_vocoder_in_training_has_its_own_phases():
    """No pulses while training, so that the network has to learn."""
    vocoder = BurstVocoder(16, 32, 2, magnitude_skip=True, level_corrections=2, pulses=True)
    mel = LogMel()(voice(180.0))
    with torch.no_grad():
        training = vocoder.train()(mel)
        assert not torch.equal(vocoder.eval()(mel), training)
        vocoder.register_to_config(pulses=False)
        torch.testing.assert_close(vocoder(mel), training)
