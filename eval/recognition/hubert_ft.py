"""HUBERTFT: a pretrained HuBERT, its transformer trained on, the mean over a clip's own time steps.

LoopQ solution, section 3.4 and Table 3. The paper takes the large network (facebook/hubert-large-ll60k); any HuBERT
does. Of a clip the first 4.5 s are heard, as there; a rest after that is cut and counts for nothing.

Shape letters: B clips, L wave sample at 16 kHz, S time step, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import nn

from vocalburst.eval.emo18 import RATE
from vocalburst.eval.pretrained import reads_normalised
from vocalburst.eval.recognition.front_end import PREPARED, prepared
from vocalburst.eval.recognition.masked_hubert import MaskedHubert, unit_variance
from vocalburst.eval.recognition.network import Network, NetworkModel
from vocalburst.eval.recognition.pretrained_network import build_network, config_json, read_network
from vocalburst.eval.recognition.recipe import BatchSize, Divisor, Optimizer, Recipe
from vocalburst.gen.data.errors import MissingModelError

SECONDS = 4.5  # at most


class HubertFtRecipe(Recipe):
    """pretrained: a folder or hub id, of which training starts. `fit` notes the rest, by which the saved weights are
    read: the network's configuration, and whether waves are brought to unit variance for it.
    """

    optimizer: Optimizer = "adam"
    lr: PositiveFloat = 1e-4
    lr_pretrained: PositiveFloat = 1e-5
    rho: Divisor = 10.0
    patience: PositiveInt = 3
    epochs: PositiveInt = 30
    batch_size: BatchSize = 16
    pretrained: str = ""
    hubert_config: dict[str, Any] | None = None
    normalise: bool | None = None


class HubertFt(nn.Module):
    """wave [B, L], lengths [B] -> embedding [B, D], the mean over a clip's own steps."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.hubert = MaskedHubert(network)
        self.dim = self.hubert.dim

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        hidden, own = self.hubert(x, lengths)
        valid = torch.arange(hidden.shape[1], device=hidden.device) < own[:, None]
        return (hidden.float() * valid[..., None]).sum(dim=1) / own[:, None]


class HubertFtModel(NetworkModel):
    """Its features are the wave [L] at 16 kHz."""

    title = "HUBERTFT: HuBERT fine-tuned"
    source = "LoopQ PRIZE 2022, Case A (section 3.4)"
    settings_class = HubertFtRecipe
    settings: HubertFtRecipe

    def __init__(self, task: str, *, name: str = "hubert-ft", seed: int = 0, **settings):
        super().__init__(task, name=name, seed=seed, **settings)
        self.start_: nn.Module | None = None  # the pretrained network while it waits for training

    @property
    def preprocessing(self) -> str:
        return f"{PREPARED}_first-{SECONDS:g}s_{'unit-variance' if self.settings.normalise else 'own-level'}"

    def features(self, wave: np.ndarray) -> torch.Tensor:
        wave = prepared(wave)[: round(SECONDS * RATE)]
        return unit_variance(wave) if self.settings.normalise else wave

    def build_body(self) -> nn.Module:
        stored = self.settings.hubert_config
        return HubertFt(build_network(stored) if self.start_ is None else self.start_)

    def parameter_groups(self, network: Network) -> list[dict]:
        s = self.settings
        encoder = [p for p in network.body.parameters() if p.requires_grad]
        return [
            {"params": encoder, "lr": s.lr_pretrained, "weight_decay": s.weight_decay},
            {"params": list(network.outputs.parameters()), "lr": s.lr, "weight_decay": s.weight_decay},
        ]

    def learn(
        self, waves: Sequence[np.ndarray], y: np.ndarray, dev: tuple[Sequence[np.ndarray], np.ndarray] | None
    ) -> dict:
        if not self.settings.pretrained:
            raise MissingModelError(
                f"{self.name} starts from a pretrained HuBERT: set `pretrained` to its folder or hub id, such as "
                "facebook/hubert-large-ll60k"
            )
        self.start_, folder, weights = read_network(self.settings.pretrained, "hubert")
        self.settings = self.settings.model_copy(
            update={
                "hubert_config": config_json(self.start_),
                "normalise": reads_normalised(folder / "preprocessor_config.json"),
            }
        )
        try:
            return {"started_from": {"hubert": weights}, **super().learn(waves, y, dev)}
        finally:
            self.start_ = None
