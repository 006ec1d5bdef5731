"""Spectra back to waves: against torch's own, which is slower, and against sums by hand."""

import pytest
import torch

from vocalburst.gen.models.spectrum import inverse_stft, magnitude, overlap_add, window_envelope


def noise(*shape: int, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("hop_length", [1, 3, 4, 6, 8])  # also hops that do not divide a frame
def test_overlap_add_is_the_sum_of_shifted_frames(hop_length):
    frames = noise(2, 5, 8)
    by_hand = torch.zeros(2, 4 * hop_length + 8)
    for t in range(5):
        by_hand[:, t * hop_length : t * hop_length + 8] += frames[:, t]
    torch.testing.assert_close(overlap_add(frames, hop_length), by_hand)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(1024, 256), (1024, 200), (64, 16)])
@pytest.mark.parametrize("n_frames", [6, 31])
def test_inverse_is_that_of_torch_for_spectra_that_no_wave_has(n_fft, hop_length, n_frames):
    spectrum = noise(2, n_fft // 2 + 1, n_frames, dtype=torch.complex64)
    window = torch.hann_window(n_fft)
    own = inverse_stft(spectrum, window, hop_length, window_envelope(window, n_frames, hop_length))
    torch.testing.assert_close(own, torch.istft(spectrum, n_fft, hop_length, window=window))


def test_a_wave_comes_back():
    window, wave = torch.hann_window(1024), noise(2, 256 * 20)
    spectrum = torch.stft(wave, 1024, 256, window=window, return_complex=True)
    torch.testing.assert_close(
        inverse_stft(spectrum, window, 256, window_envelope(window, 21, 256)), wave, rtol=0, atol=1e-5
    )


def test_magnitude_is_the_absolute_value_and_has_a_slope_at_zero():
    spectrum = noise(3, 7, dtype=torch.complex64)
    torch.testing.assert_close(magnitude(spectrum), spectrum.abs())
    silent = torch.zeros(4, dtype=torch.complex64, requires_grad=True)
    magnitude(silent).sum().backward()
    assert torch.equal(silent.grad, torch.zeros_like(silent))
