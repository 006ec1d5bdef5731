"""END2YOU, the end-to-end baseline of A-VB and ExVo 2022: Emo18 over the wave in frames of 100 ms.

The network is that of `eval.emo18`; the recipe is the released command of A-VB 2022 (batches of 8, 30 epochs, one
learning rate). Its squared error of intensities is not taken over: as in all networks here, losses follow the metrics.

Shape letters: B clips, L wave sample at 16 kHz, H hidden unit.
"""

from __future__ import annotations

import numpy as np
import soxr
import torch
from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from torch import nn
from torch.nn import functional

from vocalburst.eval.augmentation import WaveAugmentation
from vocalburst.eval.emo18 import DIM, FRAME, RATE, Emo18, frame_clips, open_forget_gates
from vocalburst.eval.recogniser import active_part
from vocalburst.eval.recognition.network import NetworkModel
from vocalburst.eval.recognition.recipe import BatchSize, Optimizer, Recipe
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.errors import InputDataError


class End2YouRecipe(Recipe):
    optimizer: Optimizer = "adam"
    lr: PositiveFloat = 1e-4
    patience: PositiveInt = 30  # as many as there are epochs: never divided
    epochs: PositiveInt = 30
    batch_size: BatchSize = 8
    dropout: float = Field(0.0, ge=0, lt=1)  # of the embedding, before the outputs
    augmentation: WaveAugmentation = WaveAugmentation()  # none

    @field_validator("augmentation")
    @classmethod
    def check_no_mixup(cls, augmentation: WaveAugmentation) -> WaveAugmentation:
        if augmentation.mixup_alpha:
            raise ValueError("mixup_alpha is of evaluators only; labels of a task may be missing, expected 0")
        return augmentation


class End2You(nn.Module):
    """wave [B, L], lengths [B] -> embedding [B, H]."""

    dim = DIM

    def __init__(self, dropout: float):
        super().__init__()
        self.network = Emo18()
        self.dropout = dropout
        open_forget_gates(self.network.rnn)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return functional.dropout(self.network(frame_clips(x, lengths)), self.dropout, self.training)


class End2YouModel(NetworkModel):
    """Its features are the voice-active wave [L] at 16 kHz, as those of the Emo18 evaluator."""

    title = "END2YOU: wave frames, convolutions, LSTM"
    source = (
        "A-VB 2022, arXiv 2207.03572; ExVo 2022, arXiv 2205.01780; Tzirakis et al. 2018, arXiv 1802.07015"
    )
    settings_class = End2YouRecipe
    settings: End2YouRecipe

    @property
    def preprocessing(self) -> str:
        return f"active-40db_{RATE}hz_signed-max_frames-{FRAME}"

    def features(self, wave: np.ndarray) -> torch.Tensor:
        if len(wave) * RATE < FRAME * SAMPLE_RATE:
            raise InputDataError(
                f"a wave of {1000 * len(wave) / SAMPLE_RATE:.0f} ms is shorter than one frame of "
                f"{1000 * FRAME / RATE:.0f} ms"
            )
        return torch.from_numpy(soxr.resample(active_part(wave).astype(np.float32), SAMPLE_RATE, RATE))

    def augment(self, x: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        return self.settings.augmentation(x, generator)

    def build_body(self) -> nn.Module:
        return End2You(self.settings.dropout)
