"""What a vocoder is trained and judged by: multi-resolution STFT distance, mel L1, discriminators.

Shape letters: B batch, L wave sample, F frequency bin, T frame. Waves are [B, L] in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

# (n_fft, hop) in samples; Hann window of n_fft.
RESOLUTIONS = ((512, 128), (1024, 256), (2048, 512))
# Smallest magnitude that counts: with a Hann window of 1024 a full-scale sine reads 256, so this is -128 dB.
MAGNITUDE_FLOOR = 1e-4


def stft_magnitude(wave: torch.Tensor, n_fft: int, hop_length: int) -> torch.Tensor:
    """wave [B, L] -> magnitude [B, F, T] of at least `MAGNITUDE_FLOOR`; centred frames, zeros outside."""
    window = torch.hann_window(n_fft, device=wave.device)
    spectrum = torch.stft(
        wave.float(), n_fft, hop_length, window=window, center=True, pad_mode="constant", return_complex=True
    )
    # The clamp comes before the root: the root has no finite slope at 0.
    power = spectrum.real.square() + spectrum.imag.square()
    return power.clamp(min=MAGNITUDE_FLOOR**2).sqrt()


def multi_resolution_stft(
    wave_hat: torch.Tensor, wave: torch.Tensor, resolutions: Sequence[tuple[int, int]] = RESOLUTIONS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spectral convergence and log-magnitude L1 (natural log), each the mean over the resolutions.

    The auxiliary losses of Yamamoto, Song and Kim 2020 (Parallel WaveGAN); their sum is the distance that
    `vocalburst copy-synthesis` reports. With S the magnitude of `wave` and S_hat that of `wave_hat`:
    ||S - S_hat||_F / ||S||_F for each clip (the floor of the magnitude keeps a silent one from dividing by
    zero), and mean |ln S - ln S_hat|.
    """
    convergence = log_magnitude = torch.zeros((), device=wave.device)
    for n_fft, hop_length in resolutions:
        magnitude_hat = stft_magnitude(wave_hat, n_fft, hop_length)
        magnitude = stft_magnitude(wave, n_fft, hop_length)
        error = torch.linalg.matrix_norm(magnitude - magnitude_hat)  # [B], Frobenius
        convergence = convergence + (error / torch.linalg.matrix_norm(magnitude)).mean()
        log_magnitude = log_magnitude + (magnitude.log() - magnitude_hat.log()).abs().mean()
    return convergence / len(resolutions), log_magnitude / len(resolutions)


@dataclass
class Verdict:
    """One family of discriminators on a pair of waves: scores and feature maps of each member."""

    weight: float
    scores: list[torch.Tensor]
    scores_hat: list[torch.Tensor]
    features: list[list[torch.Tensor]]
    features_hat: list[list[torch.Tensor]]


class Discriminators(nn.Module):
    """The multi-period and multi-resolution discriminators of `vocos`, in the sizes that the machine affords.

    periods: samples; empty leaves the multi-period family out. period_divisor divides its channel numbers
    (32, 128, 512, 1024, 1024 in full). fft_sizes: samples; empty leaves the multi-resolution family out.
    resolution_channels: 32 in full. resolution_weight: of that family in every loss.
    """

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        period_divisor: int = 1,
        fft_sizes: Sequence[int] = (2048, 1024, 512),
        resolution_channels: int = 32,
        resolution_weight: float = 1.0,
    ):
        super().__init__()
        from vocos.discriminators import (
            DiscriminatorR,
            MultiPeriodDiscriminator,
            MultiResolutionDiscriminator,
        )

        self.resolution_weight = resolution_weight
        self.multi_period = MultiPeriodDiscriminator(tuple(periods)) if periods else None
        if periods and period_divisor > 1:
            for discriminator in self.multi_period.discriminators:
                _narrow(discriminator, period_divisor)
        self.multi_resolution = MultiResolutionDiscriminator(()) if fft_sizes else None
        if fft_sizes:
            # The package's family takes no channel number, its members do.
            self.multi_resolution.discriminators.extend(
                DiscriminatorR(size, channels=resolution_channels) for size in fft_sizes
            )

    def forward(self, wave: torch.Tensor, wave_hat: torch.Tensor) -> list[Verdict]:
        both, n = torch.cat([wave, wave_hat]), len(wave)  # one pass over twice as many is faster than two
        verdicts = []
        for family, weight in ((self.multi_period, 1.0), (self.multi_resolution, self.resolution_weight)):
            if family is None:
                continue
            verdict = Verdict(weight, [], [], [], [])
            for discriminator in family.discriminators:
                scores, features = discriminator(x=both)
                verdict.scores.append(scores[:n])
                verdict.scores_hat.append(scores[n:])
                verdict.features.append([feature[:n] for feature in features])
                verdict.features_hat.append([feature[n:] for feature in features])
            verdicts.append(verdict)
        return verdicts


def _narrow(discriminator: nn.Module, divisor: int) -> None:
    """Replace the convolutions of a period discriminator by ones with `divisor` times fewer channels."""
    from torch.nn.utils import weight_norm

    def narrower(conv: nn.Conv2d) -> nn.Conv2d:
        channels = [
            size if size == 1 else max(1, size // divisor) for size in (conv.in_channels, conv.out_channels)
        ]
        return weight_norm(nn.Conv2d(*channels, conv.kernel_size, conv.stride, conv.padding))

    discriminator.convs = nn.ModuleList(map(narrower, discriminator.convs))
    discriminator.conv_post = narrower(discriminator.conv_post)


def discriminator_loss(verdicts: Sequence[Verdict]) -> torch.Tensor:
    """Hinge loss: real waves should score above 1, made ones below -1; mean over each family's members."""
    from vocos.loss import DiscriminatorLoss

    losses = [DiscriminatorLoss()(v.scores, v.scores_hat)[0] * v.weight / len(v.scores) for v in verdicts]
    return torch.cat(losses).sum()


def generator_losses(verdicts: Sequence[Verdict]) -> tuple[torch.Tensor, torch.Tensor]:
    """(adversarial hinge loss, feature matching loss), each the mean over a family's members."""
    from vocos.loss import FeatureMatchingLoss, GeneratorLoss

    adversarial = [GeneratorLoss()(v.scores_hat)[0] * v.weight / len(v.scores) for v in verdicts]
    matching = [
        FeatureMatchingLoss()(v.features, v.features_hat) * v.weight / len(v.scores) for v in verdicts
    ]
    return torch.cat(adversarial).sum(), torch.cat(matching).sum()
