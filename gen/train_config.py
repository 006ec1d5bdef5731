"""Settings of the diffusion trainer; every key is explained once, in configs/train/base.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from vocalburst.gen.config import Precision, Section

SHIPPED_VOCODER = "shipped"  # in place of a folder: the vocoder of the checkpoint that ships


class ManifestSection(Section):
    path: str
    weight: float = Field(1.0, gt=0)


class DataSection(Section):
    manifests: tuple[ManifestSection, ...] = Field(min_length=1)
    cache: str = "cache"
    max_seconds: float = Field(4.0, gt=0)
    min_level_db: float | None = None
    kept_epochs: int = Field(0, ge=0)
    p_pitch: float = Field(0.0, ge=0, le=1)
    p_crop: float = Field(0.0, ge=0, le=1)


class ModelSection(Section):
    patch: int = Field(4, ge=1)
    dim: int = Field(256, ge=8)
    n_layers: int = Field(8, ge=1)
    n_heads: int = Field(4, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    bottleneck: int = Field(128, ge=1)

    @model_validator(mode="after")
    def _even_heads(self) -> ModelSection:
        if self.dim % (2 * self.n_heads):
            raise ValueError(f"dim {self.dim} is not a multiple of twice n_heads {self.n_heads}")
        return self


class OutlineSection(Section):
    size: int = Field(0, ge=0)
    jitter: float = Field(0.4, ge=0)


class NoiseSection(Section):
    mean: float = 1.5
    std: float = Field(1.4, gt=0)


class DropoutSection(Section):
    emotion: float = Field(0.1, ge=0, le=1)
    attribute: float = Field(0.1, ge=0, le=1)


class OptimizerSection(Section):
    lr: float = Field(1e-3, gt=0)
    lr_matrices: float = Field(1e-3, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, gt=0)


class EmaSection(Section):
    decay: float = Field(0.999, ge=0, lt=1)
    power: float = Field(0.75, gt=0)


class TeacherSection(Section):
    checkpoint: str
    guidance: float = Field(1.0, ge=0)
    guidance_of: dict[str, Annotated[float, Field(ge=0)]] = Field({})  # emotions that have another one
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    weak: str | None = None
    autoguidance: float = Field(0.0, ge=0)
    autoguidance_interval: tuple[float, float] = (0.0, 1.0)

    @model_validator(mode="after")
    def _weak_for_autoguidance(self) -> TeacherSection:
        if (self.weak is None) != (self.autoguidance == 0):
            raise ValueError("weak and autoguidance go together: expected both or neither")
        return self


class SamplesSection(Section):
    total: int = Field(gt=0)
    warmup: int = Field(0, ge=0)
    decay: int = Field(0, ge=0)
    log_every: int = Field(1, ge=0)
    validate_every: int = Field(0, ge=0)
    save_every: int = Field(0, ge=0)
    keep: int = Field(2, ge=1)
    snapshots: tuple[int, ...] = ()


class ValidationSection(Section):
    clips: int = Field(256, ge=1)
    emotions: tuple[str, ...] = ("amusement", "awe", "fear", "sadness", "triumph", "disgust")
    steps: int = Field(16, ge=1)
    guidance: float = Field(1.5, ge=0)
    vocoder: str | None = SHIPPED_VOCODER


class TrainConfig(Section):
    output: str
    init: str | None = None
    seed: int = Field(0, ge=0)
    mixed_precision: Precision = "no"
    batch_size: int = Field(64, ge=1)
    gradient_accumulation: int = Field(1, ge=1)
    workers: int = Field(0, ge=0)
    data: DataSection
    model: ModelSection = ModelSection()
    outline: OutlineSection = OutlineSection()
    noise: NoiseSection = NoiseSection()
    dropout: DropoutSection = DropoutSection()
    optimizer: OptimizerSection = OptimizerSection()
    ema: EmaSection = EmaSection()
    teacher: TeacherSection | None = None
    samples: SamplesSection
    validation: ValidationSection = ValidationSection()
