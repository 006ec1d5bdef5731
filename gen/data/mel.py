"""The front end: the only STFT numbers of the project, and the three named spaces a clip lives in.

Shape letters: B batch, M mel bin, T mel frame, L wave sample.

wave  [B, L]     float in [-1, 1] at `MelConfig.sample_rate`
mel   [B, M, T]  natural log of the mel magnitude, floored at `log(log_floor)`
x     [B, M, T]  mel normalised per bin to zero mean and standard deviation `SIGMA_DATA`

The defaults are those of `charactr/vocos-mel-24khz`, so that its weights drop in.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import torch
import torchaudio
from torch import nn

from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.errors import MissingModelError

SIGMA_DATA = 0.5  # standard deviation of x, the value EDM2 whitens to


@dataclass(frozen=True)
class MelConfig:
    """Numbers of the log-mel spectrogram (HTK mel scale, no area normalisation, magnitude, centred frames)."""

    sample_rate: int = SAMPLE_RATE  # Hz
    n_fft: int = 1024  # samples; also the window length (Hann)
    hop_length: int = 256  # samples per frame
    n_mels: int = 100
    log_floor: float = 1e-7  # smallest mel magnitude

    def n_frames(self, n_samples: int) -> int:
        """Frames of a wave of `n_samples` samples (centred STFT)."""
        return n_samples // self.hop_length + 1

    def seconds(self, n_frames: int) -> float:
        """Length in seconds of the wave that a vocoder makes of `n_frames` frames."""
        return (n_frames - 1) * self.hop_length / self.sample_rate

    @property
    def floor(self) -> float:
        """The log-mel value of digital silence, about -16.1."""
        return math.log(self.log_floor)

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> MelConfig:
        """Inverse of `to_dict`; a missing or unknown key is an error, since a silent default would change sounds."""
        names = {f.name for f in fields(cls)}
        if set(values) != names:
            raise MissingModelError(f"mel config: expected the keys {sorted(names)}, got {sorted(values)}")
        return cls(**values)

    def check_equal(self, other: MelConfig, what: str) -> None:
        """Raise when `what` (the owner of `other`) was made for another front end."""
        theirs = other.to_dict()
        wrong = [f"{k} {theirs[k]} instead of {v}" for k, v in self.to_dict().items() if theirs[k] != v]
        if wrong:
            raise MissingModelError(f"{what} has another mel config: {', '.join(wrong)}")


class LogMel(nn.Module):
    """wave [B, L] -> mel [B, M, T] with T = L // hop_length + 1; the same numbers as the extractor of `vocos`."""

    def __init__(self, config: MelConfig | None = None):
        super().__init__()
        self.config = config or MelConfig()
        self.spectrogram = torchaudio.transforms.MelSpectrogram(
            sample_rate=self.config.sample_rate,
            n_fft=self.config.n_fft,
            hop_length=self.config.hop_length,
            n_mels=self.config.n_mels,
            center=True,
            power=1,
        )

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return self.spectrogram(wave).clamp(min=self.config.log_floor).log()
