"""A log-mel network that hears which emotion a burst was meant to carry, and embeds bursts for distances.

Shape letters: B clips, L wave sample, M mel bin, T mel frame, C channel, F frequency row, E emotion,
D embedding.

A wave is cut to its voice-active part, so that silence around a burst (a habit of the recorder, not of the
emotion) says nothing; its level is normalised when the config says so. The log-mel spectrogram is floored
`dynamic_range_db` under its maximum, which hides room and codec noise. Inside the network everything after a
clip's last frame is set to zero before each convolution, so a clip's result does not depend on its batch.

On disk: `model.safetensors` (matrices float16, vectors float32), `config.json` and `README.md`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import nn
from torch.nn import functional

from vocalburst.gen.data.audio import active_span, rms_db, write_file
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.data.manifest import first_problem
from vocalburst.gen.data.mel import LogMel, MelConfig

LEVEL_DB = -23.0  # dBFS of the voice-active part after level normalisation
MIN_SAMPLES = (
    2048  # a shorter active part is continued with zeros: the STFT mirrors half a window at each edge
)


class NetworkConfig(BaseModel):
    """Everything that the weights need to mean something."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    emotions: tuple[str, ...] = Field(min_length=2)  # order of the E outputs
    level_normalised: bool = True  # bring the active part to LEVEL_DB before the spectrogram
    dynamic_range_db: float = Field(60.0, gt=0)  # of the spectrogram, under its maximum
    channels: tuple[int, ...] = (24, 48, 96, 192)  # stem, then one stage each; every one halves F and T
    embedding_dim: int = Field(256, gt=0)  # D
    dropout: float = Field(0.2, ge=0, lt=1)


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


class Recogniser(nn.Module):
    """wave -> embedding [B, D] and log-odds [B, E] over `config.emotions`."""

    def __init__(self, config: NetworkConfig, mel_config: MelConfig | None = None):
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

    @property
    def mel_config(self) -> MelConfig:
        return self.log_mel.config

    def features(self, wave: np.ndarray) -> torch.Tensor:
        """mel [M, T] of the voice-active part of a wave [L] at `mel_config.sample_rate`.

        Raises InputDataError when the wave is digital silence.
        """
        first, last = active_span(wave)
        if last == 0:
            raise InputDataError(f"a wave of {len(wave)} samples is silent; there is no burst to recognise")
        active = wave[first:last]
        if self.config.level_normalised:
            active = active * np.float32(10 ** ((LEVEL_DB - rms_db(active)) / 20))
        active = np.pad(active, (0, max(0, MIN_SAMPLES - len(active))))
        device = self.mel_mean.device
        mel = self.log_mel(torch.from_numpy(np.ascontiguousarray(active, dtype=np.float32)).to(device)[None])[
            0
        ]
        return mel.clamp(min=float(mel.max()) - self.config.dynamic_range_db * math.log(10) / 20)

    def embed_mel(self, mel: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """embedding [B, D] of mel [B, M, T], of which the first `lengths` [B] frames of each clip count."""
        x = (mel - self.mel_mean[:, None]) / self.mel_std[:, None]
        x = keep_valid(x[:, None], lengths).contiguous(memory_format=torch.channels_last)
        lengths = (lengths + 1) // 2
        x = keep_valid(functional.relu(self.stem_norm(self.stem(x))), lengths)
        for stage in self.stages:
            lengths = (lengths + 1) // 2
            x = stage(x, lengths)
        x = functional.relu(self.mix_norm(self.mix(x.flatten(1, 2)))).float()
        return self.embedding(attentive_statistics(x, self.attention(x).float(), lengths)).float()

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        """Log-odds [B, E] of embeddings [B, D]."""
        return self.head(functional.dropout(functional.relu(embedding), self.config.dropout, self.training))

    @torch.no_grad()
    def embed(self, wave: torch.Tensor | np.ndarray, lengths: Sequence[int] | None = None) -> torch.Tensor:
        """embedding [B, D] of wave [B, L]; with `lengths` [B] only the first samples of each wave count."""
        wave = torch.as_tensor(wave).detach().cpu().numpy().astype(np.float32)
        ends = [wave.shape[1]] * len(wave) if lengths is None else lengths
        return self.embed_waves([row[:end] for row, end in zip(wave, ends, strict=True)])

    @torch.no_grad()
    def embed_waves(self, waves: Sequence[np.ndarray]) -> torch.Tensor:
        """embedding [B, D] of waves [L] of any lengths, as one batch."""
        mels = [self.features(wave) for wave in waves]
        return self.embed_mel(*pad_mels(mels))

    @torch.no_grad()
    def probabilities(self, waves: Sequence[np.ndarray], batch_size: int = 32) -> np.ndarray:
        """Probability [B, E] of every emotion for waves [L], float64; rows sum to one."""
        logits = [self.classify(self.embed_waves(part)) for part in batches(waves, batch_size)]
        return torch.cat(logits).double().softmax(dim=1).cpu().numpy()

    def stored_tensors(self) -> dict[str, torch.Tensor]:
        """What the file holds: matrices float16, vectors float32."""
        return {
            name: (value.half() if value.ndim > 1 else value.float()).contiguous().cpu()
            for name, value in self.state_dict().items()
            if is_stored(name)
        }

    def load_tensors(self, tensors: dict[str, torch.Tensor]) -> Recogniser:
        """Take over tensors of `stored_tensors`, in evaluation mode."""
        self.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
        return self.eval()

    def save(self, folder: Path, card: str, training: dict) -> None:
        """Write the folder; `training` (JSON values) says how the weights were made, `card` is its README."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "format": "vocalburst-recogniser-1",
            "network": self.config.model_dump(mode="json"),
            "mel": self.mel_config.to_dict(),
            "training": training,
        }
        write_file(folder / "model.safetensors", to_safetensors(self.stored_tensors()))
        write_file(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())
        write_file(folder / "README.md", card.encode())

    @classmethod
    def load(cls, folder: str | Path) -> Recogniser:
        """Read a folder written by `save`, in evaluation mode. Raises MissingModelError on any damage."""
        folder = Path(folder)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            network, mel = NetworkConfig(**config["network"]), MelConfig.from_dict(config["mel"])
            tensors = load_file(folder / "model.safetensors")
        except ValidationError as error:
            raise MissingModelError(f"{folder / 'config.json'}: {first_problem(error)}") from None
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError):
            raise MissingModelError(f"{folder / 'config.json'}: is not the config of a recogniser") from None
        except (OSError, SafetensorError) as error:
            raise MissingModelError(f"{folder}: cannot be read as a recogniser ({error})") from None
        model = cls(network, mel)
        expected = {name: value.shape for name, value in model.state_dict().items() if is_stored(name)}
        if expected != {name: value.shape for name, value in tensors.items()}:
            raise MissingModelError(
                f"{folder / 'model.safetensors'}: its tensors are not those that config.json names"
            )
        return model.load_tensors(tensors)


def is_stored(name: str) -> bool:
    """The front end is rebuilt from the mel config, and the step count of a batch norm is of no use later."""
    return not name.startswith("log_mel.") and not name.endswith("num_batches_tracked")


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


def pad_mels(mels: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """mel [B, M, T] of the longest T, and lengths [B] in frames, of mels [M, T]."""
    lengths = torch.tensor([mel.shape[1] for mel in mels], device=mels[0].device)
    longest = int(lengths.max())
    return torch.stack([functional.pad(mel, (0, longest - mel.shape[1])) for mel in mels]), lengths


def batches(waves: Sequence[np.ndarray], size: int) -> Iterator[Sequence[np.ndarray]]:
    for start in range(0, len(waves), size):
        yield waves[start : start + size]
