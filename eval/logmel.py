"""A log-mel network that hears which emotion a burst was meant to carry, and embeds bursts for distances.

Shape letters: B clips, L wave sample, M mel bin, T mel frame, C channel, F frequency row, E emotion,
D embedding.

A wave is cut to its voice-active part, so that silence around a burst (a habit of the recorder, not of the
emotion) says nothing; its level is normalised when the config says so. The log-mel spectrogram is floored
`dynamic_range_db` under its maximum, which hides room and codec noise. Inside the network everything after a
clip's last frame is set to zero before each convolution, so a clip's result does not depend on its batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from vocalburst.eval.recogniser import NetworkConfig, Recogniser, active_part
from vocalburst.gen.data.audio import rms_db
from vocalburst.gen.data.mel import LogMel, MelConfig

LEVEL_DB = -23.0  # dBFS of the voice-active part after level normalisation
MIN_SAMPLES = (
    2048  # a shorter active part is continued with zeros: the STFT mirrors half a window at each edge
)


class LogMelConfig(NetworkConfig):
    """Everything that the weights need to mean something."""

    level_normalised: bool = True  # bring the active part to LEVEL_DB before the spectrogram
    dynamic_range_db: float = Field(60.0, gt=0)  # of the spectrogram, under its maximum
    channels: tuple[int, ...] = (24, 48, 96, 192)  # stem, then one stage each; every one halves F and T
    embedding_dim: int = Field(256, gt=0)  # D


class Stage(nn.Module):
    """x [B, C, F, T] -> [B, C', F/2, T/2]: a strided convolution, then a residual one."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.down = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False)
        self.down_norm = nn.BatchNorm2d(n_out)
        self.conv = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.conv_norm = nn.BatchNorm2d(n_out)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """`lengths` [B]: valid frames of the output."""
        x = keep_valid(functional.relu(self.down_norm(self.down(x))), lengths)
        return keep_valid(functional.relu(x + self.conv_norm(self.conv(x))), lengths)


class LogMelRecogniser(Recogniser):
    """wave -> embedding [B, D] and log-odds [B, E]; its features are a spectrogram [M, T]."""

    family = "logmel"
    title = "Log-mel recogniser"
    config_class = LogMelConfig

    def __init__(self, config: LogMelConfig, mel_config: MelConfig | None = None):
        super().__init__()
        self.config = config
        self.log_mel = LogMel(mel_config)
        self.register_buffer("mel_mean", torch.zeros(self.mel_config.n_mels))
        self.register_buffer("mel_std", torch.ones(self.mel_config.n_mels))
        widths = config.channels
        self.stem = nn.Conv2d(1, widths[0], 5, stride=2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList(Stage(a, b) for a, b in pairwise(widths))
        rows = math.ceil(self.mel_config.n_mels / 2 ** len(widths))
        dim = config.embedding_dim
        self.mix = nn.Conv1d(widths[-1] * rows, dim, 1, bias=False)
        self.mix_norm = nn.BatchNorm1d(dim)
        self.attention = nn.Conv1d(dim, 1, 1)
        self.embedding = nn.Linear(2 * dim, dim)
        self.head = nn.Linear(dim, len(config.emotions))
        self.to(memory_format=torch.channels_last)

    @property
    def mel_config(self) -> MelConfig:
        return self.log_mel.config

    @property
    def dim(self) -> int:
        return self.config.embedding_dim

    @property
    def preprocessing(self) -> str:
        mel = self.mel_config
        level = f"{LEVEL_DB:g}dbfs" if self.config.level_normalised else "own-level"
        grid = f"{mel.sample_rate}hz-{mel.n_fft}-{mel.hop_length}-{mel.n_mels}"
        return f"active-40db_{level}_logmel-{grid}_range-{self.config.dynamic_range_db:g}db"

    def description(self) -> dict:
        return {"mel": self.mel_config.to_dict()}

    @classmethod
    def from_config(cls, config: dict) -> LogMelRecogniser:
        return cls(LogMelConfig(**config["network"]), MelConfig.from_dict(config["mel"]))

    def fit_scale(self, features: Sequence[torch.Tensor]) -> None:
        """Mean and deviation of every mel bin over about 2000 of the clips."""
        bins = torch.cat([mel.float() for mel in features[:: max(1, len(features) // 2000)]], dim=1)
        self.mel_mean.copy_(bins.mean(dim=1))
        self.mel_std.copy_(bins.std(dim=1).clamp(min=0.1))  # a bin that never moves stays finite

    def features(self, wave: np.ndarray) -> torch.Tensor:
        """mel [M, T] of the voice-active part of a wave [L] at `mel_config.sample_rate`.

        Raises InputDataError when the wave is digital silence.
        """
        active = active_part(wave)
        if self.config.level_normalised:
            active = active * np.float32(10 ** ((LEVEL_DB - rms_db(active)) / 20))
        active = np.pad(active, (0, max(0, MIN_SAMPLES - len(active))))
        batch = torch.from_numpy(np.ascontiguousarray(active, dtype=np.float32)).to(self.mel_mean.device)[
            None
        ]
        mel = self.log_mel(batch)[0]
        return mel.clamp(min=float(mel.max()) - self.config.dynamic_range_db * math.log(10) / 20)

    def embed_features(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """embedding [B, D] of mel [B, M, T], of which the first `lengths` [B] frames of each clip count."""
        x = (x - self.mel_mean[:, None]) / self.mel_std[:, None]
        x = keep_valid(x[:, None], lengths).contiguous(memory_format=torch.channels_last)
        lengths = (lengths + 1) // 2
        x = keep_valid(functional.relu(self.stem_norm(self.stem(x))), lengths)
        for stage in self.stages:
            lengths = (lengths + 1) // 2
            x = stage(x, lengths)
        x = functional.relu(self.mix_norm(self.mix(x.flatten(1, 2)))).float()
        return self.embedding(attentive_statistics(x, self.attention(x).float(), lengths)).float()

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        return self.head(functional.dropout(functional.relu(embedding), self.config.dropout, self.training))


def keep_valid(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Zero the frames of x [B, ..., T] at and after `lengths` [B], as if the clip ended there."""
    valid = torch.arange(x.shape[-1], device=x.device) < lengths[:, None]
    return x * valid.view(len(x), *[1] * (x.ndim - 2), -1).to(x.dtype)


def attentive_statistics(x: torch.Tensor, scores: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Weighted mean and standard deviation over time, [B, 2 C], of x [B, C, T] with scores [B, 1, T].

    Attentive statistics pooling, Okabe et al. 2018, Eq. 5 and 6; the weights of invalid frames are zero.
    """
    valid = torch.arange(x.shape[-1], device=x.device) < lengths[:, None]
    weights = scores.masked_fill(~valid[:, None], float("-inf")).softmax(dim=-1)
    mean = (weights * x).sum(dim=-1)
    variance = (weights * (x - mean[..., None]).square()).sum(dim=-1)
    return torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)
