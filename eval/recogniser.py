"""What every recogniser is: waves in, an embedding and a probability of each emotion out, and a folder on disk.

Shape letters: B clips, L wave sample, T time step of a clip's features, E emotion, D embedding.

A family (`logmel`, `emo18`) says what it takes from a wave, `features` [..., T], and what a network makes of
a padded batch of those, `embed_features`. The result for a clip may not depend on its batch or its padding.

On disk: `model.safetensors` (matrices float16, vectors float32), `config.json` and `README.md`.
"""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import nn
from torch.nn import functional

from vocalburst.gen.data.audio import active_span, write_file
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.data.manifest import first_problem

FORMAT = "vocalburst-recogniser-1"
# Family -> (module, class), imported when it is needed.
FAMILIES = {
    "emo18": ("vocalburst.eval.emo18", "Emo18Recogniser"),
    "logmel": ("vocalburst.eval.logmel", "LogMelRecogniser"),
}


class NetworkConfig(BaseModel):
    """What the weights of every family need to mean something."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    emotions: tuple[str, ...] = Field(min_length=2)  # order of the E outputs
    dropout: float = Field(0.2, ge=0, lt=1)  # of the embedding, before the outputs


class Recogniser(nn.Module, ABC):
    """wave -> embedding [B, D] and log-odds [B, E] over `config.emotions`. Constructed from its config."""

    family: ClassVar[str]
    title: ClassVar[str]  # of the card
    config_class: ClassVar[type[NetworkConfig]]
    config: NetworkConfig

    @property
    @abstractmethod
    def dim(self) -> int:
        """D."""

    @property
    @abstractmethod
    def preprocessing(self) -> str:
        """An id of all that is done to a wave before the network; another id, another space."""

    @abstractmethod
    def features(self, wave: np.ndarray) -> torch.Tensor:
        """Features [..., T] of a wave [L] at `audio.SAMPLE_RATE`. Raises InputDataError on digital silence."""

    @abstractmethod
    def embed_features(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """embedding [B, D] of features [B, ..., T], of which the first `lengths` [B] steps of each clip count."""

    def fit_scale(self, features: Sequence[torch.Tensor]) -> None:
        """Take from the features of train clips what the network needs to know before its first step."""

    def description(self) -> dict:
        """Sections of config.json beside `network`; JSON values."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> Recogniser:
        """The network of a config.json, weights not loaded yet."""
        return cls(cls.config_class(**config["network"]))

    @abstractmethod
    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        """Log-odds [B, E] of embeddings [B, D]."""

    @torch.no_grad()
    def embed(self, wave: torch.Tensor | np.ndarray, lengths: Sequence[int] | None = None) -> torch.Tensor:
        """embedding [B, D] of wave [B, L]; with `lengths` [B] only the first samples of each wave count."""
        wave = torch.as_tensor(wave).detach().cpu().numpy().astype(np.float32)
        ends = [wave.shape[1]] * len(wave) if lengths is None else lengths
        return self.embed_waves([row[:end] for row, end in zip(wave, ends, strict=True)])

    @torch.no_grad()
    def embed_waves(self, waves: Sequence[np.ndarray]) -> torch.Tensor:
        """embedding [B, D] of waves [L] of any lengths, as one batch."""
        return self.embed_features(*pad_features([self.features(wave) for wave in waves]))

    @torch.no_grad()
    def probabilities(self, waves: Sequence[np.ndarray], batch_size: int = 32) -> np.ndarray:
        """Probability [B, E] of every emotion for waves [L], float64; rows sum to one."""
        return np.concatenate(
            [self.probabilities_of(self.embed_waves(part)) for part in batches(waves, batch_size)]
        )

    @torch.no_grad()
    def probabilities_of(self, embedding: torch.Tensor) -> np.ndarray:
        """Probability [B, E] of every emotion for embeddings [B, D], float64; rows sum to one."""
        return self.classify(embedding).double().softmax(dim=1).cpu().numpy()

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
            "format": FORMAT,
            "family": self.family,
            "network": self.config.model_dump(mode="json"),
            **self.description(),
            "training": training,
        }
        write_file(folder / "model.safetensors", to_safetensors(self.stored_tensors()))
        write_file(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())
        write_file(folder / "README.md", card.encode())

    @classmethod
    def load(cls, folder: str | Path) -> Recogniser:
        """Read a folder written by `save`, in evaluation mode; the class is the one its config.json names.

        Raises MissingModelError on any damage.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            model = recogniser_class(config["family"]).from_config(config)
            tensors = load_file(folder / "model.safetensors")
        except ValidationError as error:
            raise MissingModelError(f"{folder / 'config.json'}: {first_problem(error)}") from None
        except InputDataError as error:
            raise MissingModelError(f"{folder / 'config.json'}: {error}") from None
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError):
            raise MissingModelError(f"{folder / 'config.json'}: is not the config of a recogniser") from None
        except (OSError, SafetensorError) as error:
            raise MissingModelError(f"{folder}: cannot be read as a recogniser ({error})") from None
        expected = {name: value.shape for name, value in model.state_dict().items() if is_stored(name)}
        if expected != {name: value.shape for name, value in tensors.items()}:
            raise MissingModelError(
                f"{folder / 'model.safetensors'}: its tensors are not those that config.json names"
            )
        return model.load_tensors(tensors)


def recogniser_class(family: str) -> type[Recogniser]:
    """The class of a family. Raises InputDataError when there is none of that name."""
    if family not in FAMILIES:
        raise InputDataError(f"unknown family of recognisers {family!r}; known: {', '.join(FAMILIES)}")
    module, name = FAMILIES[family]
    return getattr(importlib.import_module(module), name)


def active_part(wave: np.ndarray) -> np.ndarray:
    """The voice-active part of a wave [L] at `audio.SAMPLE_RATE`. Raises InputDataError on digital silence."""
    first, last = active_span(wave)
    if last == 0:
        raise InputDataError(f"a wave of {len(wave)} samples is silent; there is no burst to recognise")
    return wave[first:last]


def is_stored(name: str) -> bool:
    """The front end is rebuilt from the config, and the step count of a batch norm is of no use later."""
    return not name.startswith("log_mel.") and not name.endswith("num_batches_tracked")


def pad_features(features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [B, ..., T] of the longest T, filled with zeros, and lengths [B], of features [..., T]."""
    lengths = torch.tensor([x.shape[-1] for x in features], device=features[0].device)
    longest = int(lengths.max())
    return torch.stack([functional.pad(x, (0, longest - x.shape[-1])) for x in features]), lengths


def batches(waves: Sequence[np.ndarray], size: int) -> Iterator[Sequence[np.ndarray]]:
    for start in range(0, len(waves), size):
        yield waves[start : start + size]
