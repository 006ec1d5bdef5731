"""The phase of voiced sound: pulses of the glottis through a filter of minimum phase.

A log-mel tells how strong the partials of a voice are, not how they stand to one another. In a voice they rise together
at every pulse of the glottis, which a network that learnt its phases frame by frame, or Griffin-Lim, misses: the sound
is hollow, and whoever hears waves knows it from a recording. So the phases of voiced frames are those of the classic
source-filter vocoders (Kawahara et al. 1999; Morise et al. 2016): a train of pulses at the pitch of the wave so far,
through the minimum-phase filter of the frame's envelope. Unvoiced frames and high frequencies keep theirs.

Shape letters: B batch, L wave sample, F STFT bin, T frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

LOWEST, HIGHEST = 60.0, 1500.0  # pitch in Hz
# Periodicity (0 to 1) from which on a frame is voiced, and the half width of the ramp around it.
VOICED, RAMP = 0.6, 0.2
# Of peaks nearly as high, the one of the shortest period is the pitch; the others are its multiples.
PEAK_SHARE = 0.85
# Hz: pulses up to the first, the phases that were there from the second on, as breath covers the pulses there.
PULSES_TO = (4000.0, 8000.0)
ENVELOPE_SECONDS = 40 / 24000  # quefrencies below this are the filter's, above them the pitch's
FAINT = 1e-4  # magnitude


def pitch(
    wave: torch.Tensor, n_fft: int, hop_length: int, sample_rate: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """wave [B, L] -> pitch in Hz [B, T] and periodicity in about 0..1 [B, T] of centred frames.

    Peak of the autocorrelation of a Hann-windowed frame over the window's own (Boersma 1993, Eq. 9). The ear for voices
    (`eval.voice`) has a detector of its own, so that it shares nothing with what it judges.
    """
    window = torch.hann_window(n_fft, device=wave.device)
    frames = F.pad(wave, (n_fft // 2, n_fft // 2)).unfold(-1, n_fft, hop_length) * window

    def autocorrelation(x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(torch.fft.rfft(x, 2 * n_fft).abs().square())[..., :n_fft]

    shortest, longest = int(sample_rate / HIGHEST), int(sample_rate / LOWEST)
    own = autocorrelation(window)
    r = autocorrelation(frames) * (own[0] / own)
    r = r[..., : longest + 1] / r[..., :1].clamp(min=1e-8)
    before, here, after = r[..., shortest - 1 : -2], r[..., shortest:-1], r[..., shortest + 1 :]
    best = here.amax(-1, keepdim=True)
    peak = (here > before) & (here >= after) & (here >= PEAK_SHARE * best)
    place = peak.int().argmax(-1, keepdim=True)  # the first
    a, b, c = (values.gather(-1, place)[..., 0] for values in (before, here, after))
    offset = (0.5 * (a - c) / (a - 2 * b + c).clamp(max=-1e-9)).clamp(-0.5, 0.5)  # of the parabola's top
    periodicity = torch.where(peak.any(-1), b, torch.zeros_like(b))
    return sample_rate / (place[..., 0] + shortest + offset), periodicity


def bridged(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """values [B, T] where known [B, T], straight lines between, the nearest known one at the ends.

    Rows in which nothing is known come back as they are.
    """
    n = values.shape[-1]
    places = torch.arange(n, device=values.device).expand_as(known)
    left = torch.where(known, places, -1).cummax(-1).values
    right = torch.where(known, places, n).flip(-1).cummin(-1).values.flip(-1)
    left, right = torch.where(left < 0, right, left), torch.where(right >= n, left, right)
    left, right = left.clamp(0, n - 1), right.clamp(0, n - 1)
    share = ((places - left) / (right - left).clamp(min=1)).to(values.dtype)
    line = torch.lerp(values.gather(-1, left), values.gather(-1, right), share)
    return torch.where(known.any(-1, keepdim=True), line, values)


def pulse_train(frequency: torch.Tensor, n_samples: int, hop_length: int, sample_rate: int) -> torch.Tensor:
    """Pulse rate in Hz of each frame [B, T] -> pulses of area 1 [B, L], each shared by two samples."""
    places = torch.arange(n_samples, device=frequency.device) / hop_length
    low = places.long().clamp(max=frequency.shape[-1] - 1)
    high = (low + 1).clamp(max=frequency.shape[-1] - 1)
    # float64: after two seconds a phase in float32 would be wrong by a hundredth of a sample.
    rate = torch.lerp(frequency[..., low].double(), frequency[..., high].double(), (places - low).double())
    turns = (rate / sample_rate).cumsum(-1)
    whole = turns.floor()
    crossed = F.pad(whole[..., 1:] > whole[..., :-1], (1, 0))
    # A pulse lies where the turn is full: `late` samples before the sample that finds it so.
    late = ((turns - whole) / (rate / sample_rate)).clamp(0, 1)
    train = torch.where(crossed, 1 - late, 0.0)
    return (train + F.pad(torch.where(crossed, late, 0.0)[..., 1:], (0, 1))).to(frequency.dtype)


def minimum_phase(log_magnitude: torch.Tensor, n_quefrencies: int) -> torch.Tensor:
    """Natural log magnitude [B, F, T] -> phase in radians [B, F, T] of the minimum-phase filter of its envelope.

    The folded cepstrum (Oppenheim & Schafer, "Discrete-Time Signal Processing", section 13.5), of which the first
    `n_quefrencies` samples are kept.
    """
    n_fft = 2 * (log_magnitude.shape[1] - 1)
    cepstrum = torch.fft.irfft(log_magnitude, n=n_fft, dim=1)
    fold = torch.zeros(n_fft, device=log_magnitude.device)
    fold[0], fold[1:n_quefrencies] = 1.0, 2.0
    return torch.fft.rfft(cepstrum * fold[:, None], dim=1).imag


def pulse_spectrum(
    wave: torch.Tensor, spectrum: torch.Tensor, window: torch.Tensor, hop_length: int, sample_rate: int
) -> torch.Tensor:
    """The spectrum [B, F, T] of wave [B, L] with the phases of pulses wherever the wave is voiced.

    spectrum: of centred frames of the Hann `window`. A magnitude falls where the two phases meet and disagree.
    """
    n_fft = len(window)
    frequency, periodicity = pitch(wave, n_fft, hop_length, sample_rate)
    frequency = bridged(frequency, periodicity > VOICED)
    train = pulse_train(frequency, wave.shape[-1], hop_length, sample_rate)
    pulses = torch.stft(train, n_fft, hop_length, window=window, return_complex=True)
    magnitude = spectrum.abs()
    filtered = minimum_phase(magnitude.clamp(min=FAINT).log(), round(ENVELOPE_SECONDS * sample_rate))
    voiced = ((periodicity - VOICED + RAMP) / (2 * RAMP)).clamp(0, 1)[:, None]
    bins = torch.linspace(0, sample_rate / 2, spectrum.shape[1], device=wave.device)
    share = voiced * ((PULSES_TO[1] - bins) / (PULSES_TO[1] - PULSES_TO[0])).clamp(0, 1)[:, None]
    in_step = torch.polar(magnitude, pulses.angle() + filtered)
    return torch.lerp(spectrum, in_step, share.to(spectrum.dtype))
