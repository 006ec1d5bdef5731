"""Wav2Small: a network of 72 K parameters that learns from a larger one.

The paper (Wav2Small, arXiv 2408.13920) distils a large transformer into 72 K parameters and a quantised ONNX file. Its
weights may not be used commercially, so neither they nor its layers are taken: this is a network of our own of that
size, after `eval.logmel`. `onnx_export` writes it as a quantised file.

Shape letters: B clips, L wave sample, M mel bin, T mel frame, C channel, F frequency row, D embedding, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import soxr
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import nn
from torch.nn import functional

from vocalburst.eval.augmentation import MelAugmentation
from vocalburst.eval.evaluators import load_evaluator
from vocalburst.eval.logmel import LEVEL_DB, MIN_SAMPLES, Stage, attentive_statistics, keep_valid
from vocalburst.eval.recogniser import active_part
from vocalburst.eval.recognition.lflb import Standard
from vocalburst.eval.recognition.network import Network, NetworkModel
from vocalburst.eval.recognition.recipe import BatchSize, Recipe
from vocalburst.eval.recognition.teacher import lacking, soften, teacher_probabilities
from vocalburst.gen.data.audio import SAMPLE_RATE, rms_db
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.mel import LogMel, MelConfig

MEL = MelConfig(sample_rate=16_000, n_fft=640, hop_length=256, n_mels=64)  # windows of 40 ms every 16 ms
RANGE_DB = 60.0  # of the spectrogram, under its maximum
DEFAULT_TEACHER = "emo18"
LABELS_ALONE = "none"


class Wav2SmallSettings(Recipe):
    """teacher: an evaluator's name or folder; "auto" is emo18 where it knows the task's classes and else "none", which
    trains on the labels alone. The loss is alpha T^2 KL(teacher || student) + (1 - alpha) cross-entropy, where T is the
    temperature of both sides of the divergence (Hinton et al. 2015, section 2).
    """

    teacher: str = "auto"
    alpha: float = Field(0.5, ge=0, le=1)
    temperature: float = Field(1.0, gt=0)
    channels: tuple[int, ...] = Field((16, 24, 40), min_length=1)  # stem, then stages; each halves F and T
    mixed: int = Field(72, ge=1)  # channels over which time is pooled
    embedding_dim: int = Field(96, ge=1)  # D
    dropout: float = Field(0.1, ge=0, lt=1)
    augmentation: MelAugmentation = MelAugmentation(
        max_crop=8, max_bin_shift=2, time_masks=1, max_time_mask=12, frequency_masks=1, max_frequency_mask=8
    )
    lr: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat = 0.01
    schedule: Literal["plateau", "cosine"] = "cosine"
    batch_size: BatchSize = 64


class SmallBody(nn.Module):
    """mel [B, M, T], lengths [B] -> embedding [B, D]. Frames at and after a clip's length change nothing."""

    def __init__(self, settings: Wav2SmallSettings):
        super().__init__()
        widths = settings.channels
        self.standard = Standard(MEL.n_mels)
        self.stem = nn.Conv2d(1, widths[0], 5, stride=2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList(Stage(a, b) for a, b in pairwise(widths))
        rows = math.ceil(MEL.n_mels / 2 ** len(widths))
        self.mix = nn.Conv1d(widths[-1] * rows, settings.mixed, 1, bias=False)
        self.mix_norm = nn.BatchNorm1d(settings.mixed)
        self.attention = nn.Conv1d(settings.mixed, 1, 1)
        self.embedding = nn.Linear(2 * settings.mixed, settings.embedding_dim)
        self.dropout = nn.Dropout(settings.dropout)
        self.dim = settings.embedding_dim
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = keep_valid(self.standard(x)[:, None], lengths).contiguous(memory_format=torch.channels_last)
        lengths = (lengths + 1) // 2
        x = keep_valid(functional.relu(self.stem_norm(self.stem(x))), lengths)
        for stage in self.stages:
            lengths = (lengths + 1) // 2
            x = stage(x, lengths)
        x = functional.relu(self.mix_norm(self.mix(x.flatten(1, 2)))).float()
        pooled = attentive_statistics(x, self.attention(x).float(), lengths)
        return self.dropout(functional.relu(self.embedding(pooled)))


class Wav2SmallModel(NetworkModel):
    title = "Wav2Small: distilled into 72 K parameters"
    source = "A network of our own of the size of Wav2Small (arXiv 2408.13920), taught by an evaluator."
    settings_class = Wav2SmallSettings
    settings: Wav2SmallSettings

    def __init__(self, task: str, *, name: str = "wav2small", seed: int = 0, **settings):
        super().__init__(task, name=name, seed=seed, **settings)
        self.log_mel = LogMel(MEL)

    @property
    def preprocessing(self) -> str:
        grid = f"{MEL.sample_rate}hz-{MEL.n_fft}-{MEL.hop_length}-{MEL.n_mels}"
        return f"active-40db_{LEVEL_DB:g}dbfs_logmel-{grid}_range-{RANGE_DB:g}db"

    def build_body(self) -> nn.Module:
        return SmallBody(self.settings)

    def features(self, wave: np.ndarray) -> torch.Tensor:
        """mel [M, T] of the voice-active part of a wave [L]. Raises InputDataError when it is digital silence."""
        active = soxr.resample(active_part(wave).astype(np.float32), SAMPLE_RATE, MEL.sample_rate)
        active = np.pad(active, (0, max(0, MIN_SAMPLES - len(active))))
        active = active * np.float32(10 ** ((LEVEL_DB - rms_db(active)) / 20))
        mel = self.log_mel(torch.from_numpy(active)[None])[0]
        return mel.clamp(min=float(mel.max()) - RANGE_DB * math.log(10) / 20)

    def fit_scale(self, body: SmallBody, features: Sequence[torch.Tensor]) -> None:
        body.standard.fit(features)

    def augment(self, x: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        return self.settings.augmentation(x, generator)

    def teacher(self) -> str | None:
        """The evaluator that teaches, None for labels alone. Raises InputDataError when a named one cannot."""
        named = self.settings.teacher
        if named == LABELS_ALONE:
            return None
        if self.class_column is None:
            if named == "auto":
                return None
            raise InputDataError(f"{self.task_name} has no class column for the teacher {named} to teach")
        if named != "auto":
            return named
        emotions = load_evaluator(DEFAULT_TEACHER).emotions
        missing = lacking(self.task, self.columns[self.class_column], emotions)
        return None if missing else DEFAULT_TEACHER

    def soft_targets(self, waves: Sequence[np.ndarray]) -> np.ndarray | None:
        teacher = self.teacher()
        if teacher is None:
            return None
        column = self.columns[self.class_column]
        return soften(
            teacher_probabilities(teacher, self.task, column, waves), self.settings.temperature
        ).astype(np.float32)

    def loss(
        self, network: Network, raw: torch.Tensor, y: torch.Tensor, soft: torch.Tensor | None
    ) -> torch.Tensor:
        labels = network.outputs.loss(raw, y)
        if soft is None:
            return labels
        s = self.settings
        own = raw[:, network.outputs.slices[self.class_column]] / s.temperature
        divergence = functional.kl_div(own.log_softmax(dim=1), soft, reduction="batchmean")
        return s.alpha * s.temperature**2 * divergence + (1 - s.alpha) * labels

    def learn(
        self, waves: Sequence[np.ndarray], y: np.ndarray, dev: tuple[Sequence[np.ndarray], np.ndarray] | None
    ) -> dict:
        return {"teacher": self.teacher() or LABELS_ALONE, **super().learn(waves, y, dev)}
