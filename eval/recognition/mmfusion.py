"""MMFUSION: mel spectrogram, MFCCs and wave of a clip, each by a network of its own, fused by unified attention.

LoopQ solution, section 3.5 and Table 3. With the networks of the paper, ConvNeXt base and HuBERT base, the mel
spectrogram gives 36 places of 1024 channels, the MFCCs 313 of 512 and the wave 249 of 768; they are embedded in 144
channels and set side by side to 598 places. The paper says "finetuned HuBERT"; as in its HUBERTFT that is the
transformer, the convolutions stay as they are. A clip is cut or continued with zeros to exactly 5 s before anything
else, so all places count and there is no mask.

Shape letters: B clips, L wave sample at 16 kHz, M mel bin, K cepstral coefficient, T frame, S place, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from vocalburst.eval.emo18 import RATE
from vocalburst.eval.pretrained import reads_normalised
from vocalburst.eval.recognition.front_end import (
    GRID,
    HOP,
    N_MELS,
    N_MFCC,
    PREPARED,
    Mfcc,
    fixed,
    prepared,
)
from vocalburst.eval.recognition.gated_attention import UnifiedAttentionBlock
from vocalburst.eval.recognition.lflb import Standard
from vocalburst.eval.recognition.masked_hubert import MaskedHubert, unit_variance
from vocalburst.eval.recognition.network import Network, NetworkModel
from vocalburst.eval.recognition.pretrained_network import build_network, config_json, read_network
from vocalburst.eval.recognition.recipe import BatchSize, Divisor, Optimizer, Recipe
from vocalburst.gen.data.errors import MissingModelError

SECONDS = 5.0
N_FRAMES = round(SECONDS * RATE) // HOP + 1  # T
SCALE_CLIPS = 500  # of the train clips tell mean and deviation of mel bins and coefficients
KINDS = ("hubert", "convnext")


class MmFusionRecipe(Recipe):
    """hubert, convnext: folders or hub ids, of which training starts. `fit` notes their configurations and whether
    HuBERT's waves are brought to unit variance, by which the saved weights are read. The dropout is not in the paper.
    """

    optimizer: Optimizer = "adamw"
    lr: PositiveFloat = 1e-5
    lr_pretrained: PositiveFloat = 1e-6
    weight_decay: NonNegativeFloat = 1e-6
    rho: Divisor = 10.0
    patience: PositiveInt = 5
    epochs: PositiveInt = 30
    batch_size: BatchSize = 16
    hubert: str = ""
    convnext: str = ""
    hubert_config: dict[str, Any] | None = None
    convnext_config: dict[str, Any] | None = None
    normalise: bool | None = None
    lstm_dim: PositiveInt = 256  # each way
    heads: PositiveInt = 3
    head_channels: PositiveInt = 48  # d_out; d_z is as many for each head
    gate_channels: PositiveInt = 48  # d_g
    hidden_dim: PositiveInt = 128  # D
    dropout: float = Field(0.1, ge=0, lt=1)


def convnext_places(config) -> int:
    """S that a ConvNeXt leaves of a spectrogram [M, T]: each stage takes whole windows alone."""
    rows, columns = N_MELS // config.patch_size, N_FRAMES // config.patch_size
    for _ in config.depths[1:]:
        rows, columns = rows // 2, columns // 2
    return rows * columns


class MmFusion(nn.Module):
    """wave [B, up to 5 s] -> embedding [B, D]; the rest to 5 s is zeros, whoever pads them."""

    def __init__(self, settings: MmFusionRecipe, hubert: nn.Module, convnext: nn.Module):
        super().__init__()
        s = settings
        self.normalise, self.dim = bool(s.normalise), s.hidden_dim
        self.mfcc = Mfcc()
        self.mel_standard, self.mfcc_standard = Standard(N_MELS), Standard(N_MFCC)
        self.hubert = MaskedHubert(hubert)
        self.convnext = convnext
        convnext.layernorm = nn.Identity()  # it is of the pooled output, which is not used
        self.lstm = nn.LSTM(N_MFCC, s.lstm_dim, num_layers=2, batch_first=True, bidirectional=True)
        self.places = (convnext_places(convnext.config), N_FRAMES, self.hubert.steps(round(SECONDS * RATE)))
        sizes = (sum(self.places), s.heads, s.head_channels, s.gate_channels, s.dropout)
        channels = (convnext.config.hidden_sizes[-1], 2 * s.lstm_dim, self.hubert.dim)
        self.blocks = nn.ModuleList(
            [UnifiedAttentionBlock(*sizes, inputs=channels), UnifiedAttentionBlock(*sizes)]
        )
        self.dropout = nn.Dropout(s.dropout)
        self.hidden = nn.Linear(s.heads * s.head_channels, s.hidden_dim)

    def spectra(self, wave: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """mel [B, M, T] and mfcc [B, K, T] in dB of wave [B, L]."""
        with torch.no_grad(), torch.autocast(wave.device.type, enabled=False):
            mel = self.mfcc.mel(wave.float())
            return mel, self.mfcc.from_mel(mel)

    def modalities(
        self, mel: torch.Tensor, mfcc: torch.Tensor, wave: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x_s, x_m and x_w [B, S_i, C_i] of mel [B, M, T], mfcc [B, K, T] and wave [B, L] of exactly 5 s."""
        image = self.mel_standard(mel)[:, None].expand(-1, self.convnext.config.num_channels, -1, -1)
        x_s = self.convnext(image).last_hidden_state.flatten(2).transpose(1, 2)
        x_m, _ = self.lstm(self.mfcc_standard(mfcc).transpose(1, 2))
        x_w = self.hubert.forward_whole(unit_variance(wave) if self.normalise else wave)
        return x_s, x_m, x_w

    def fuse(self, *modalities: torch.Tensor) -> torch.Tensor:
        """[B, S, Z] of sequences [B, S_i, C_i]."""
        first, second = self.blocks
        return second(first(*modalities))

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        wave = fixed(x, SECONDS)
        pooled = self.fuse(*self.modalities(*self.spectra(wave), wave)).mean(dim=1)
        return self.hidden(self.dropout(pooled)).relu()


class MmFusionModel(NetworkModel):
    """Its features are the wave at 16 kHz, of at most 5 s; the network continues it with zeros."""

    title = "MMFUSION: ConvNeXt, BiLSTM and HuBERT fused"
    source = "LoopQ PRIZE 2022, Case A (section 3.5)"
    settings_class = MmFusionRecipe
    settings: MmFusionRecipe

    def __init__(self, task: str, *, name: str = "mmfusion", seed: int = 0, **settings):
        super().__init__(task, name=name, seed=seed, **settings)
        self.start_: dict[str, nn.Module] | None = (
            None  # the pretrained networks while they wait for training
        )

    @property
    def preprocessing(self) -> str:
        level = "unit-variance" if self.settings.normalise else "own-level"
        return f"{PREPARED}_fixed-{SECONDS:g}s_mel-mfcc-{N_MFCC}-{GRID}_{level}"

    def features(self, wave: np.ndarray) -> torch.Tensor:
        return prepared(wave)[: round(SECONDS * RATE)]

    def build_body(self) -> nn.Module:
        s = self.settings
        networks = self.start_ or {
            "hubert": build_network(s.hubert_config),
            "convnext": build_network(s.convnext_config),
        }
        return MmFusion(s, **networks)

    def fit_scale(self, body: MmFusion, features: Sequence[torch.Tensor]) -> None:
        waves = [fixed(x.float(), SECONDS)[None] for x in features[:: max(1, len(features) // SCALE_CLIPS)]]
        mels, mfccs = zip(*(body.spectra(wave) for wave in waves), strict=True)
        body.mel_standard.fit([mel[0] for mel in mels])
        body.mfcc_standard.fit([mfcc[0] for mfcc in mfccs])

    def parameter_groups(self, network: Network) -> list[dict]:
        s, body = self.settings, network.body
        pretrained = [
            p for part in (body.hubert, body.convnext) for p in part.parameters() if p.requires_grad
        ]
        known = {id(p) for p in pretrained}
        new = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
        return [
            {"params": pretrained, "lr": s.lr_pretrained, "weight_decay": s.weight_decay},
            {"params": new, "lr": s.lr, "weight_decay": s.weight_decay},
        ]

    def learn(
        self, waves: Sequence[np.ndarray], y: np.ndarray, dev: tuple[Sequence[np.ndarray], np.ndarray] | None
    ) -> dict:
        missing = [kind for kind in KINDS if not getattr(self.settings, kind)]
        if missing:
            raise MissingModelError(
                f"{self.name} starts from pretrained networks: set `{missing[0]}` to a folder or hub id, such as "
                f"{'facebook/hubert-base-ls960' if missing[0] == 'hubert' else 'facebook/convnext-base-224'}"
            )
        read = {kind: read_network(getattr(self.settings, kind), kind) for kind in KINDS}
        self.start_ = {kind: network for kind, (network, _, _) in read.items()}
        noted = {f"{kind}_config": config_json(network) for kind, network in self.start_.items()}
        noted["normalise"] = reads_normalised(read["hubert"][1] / "preprocessor_config.json")
        self.settings = self.settings.model_copy(update=noted)
        try:
            started_from = {kind: weights for kind, (_, _, weights) in read.items()}
            return {"started_from": started_from, **super().learn(waves, y, dev)}
        finally:
            self.start_ = None
