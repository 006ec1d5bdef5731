"""Train the vocoder: a warm-up on mel and multi-resolution STFT distance, then against discriminators.

Samples are pieces of recordings. What happens inside: `vocoder_trainer`.
"""

from __future__ import annotations

import sys

from pydantic import Field, model_validator

from vocalburst.gen.adversarial_config import AdversarialConfig, training_arguments
from vocalburst.gen.cli import run
from vocalburst.gen.config import Section, load_config


class ModelConfig(Section):
    dim: int = 512  # channels of the ConvNeXt blocks
    intermediate_dim: int = 1536
    num_layers: int = Field(8, ge=1)
    magnitude_skip: bool = True  # False gives the plain Vocos
    level_corrections: int = Field(16, ge=0)  # of the exported vocoder
    pulses: bool = True  # of the exported vocoder


class DataConfig(Section):
    manifest: str
    split: str = "train"
    cache: str  # folder for the decoded waves
    segment_samples: int = Field(16384, ge=2048)  # a multiple of the hop
    candidates: int = Field(2, ge=1)  # of so many random pieces the loudest is taken
    gain_db: tuple[float, float] = (-12.0, 3.0)
    workers: int = Field(0, ge=0)  # loader processes


class LossConfig(Section):
    mel: float = 45.0
    warmup_stft: float = 15.0
    adversarial_stft: float = 5.0
    matching: float = 1.0


class DiscriminatorConfig(Section):
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_divisor: int = Field(1, ge=1)  # of the channel numbers
    fft_sizes: tuple[int, ...] = (2048, 1024, 512)
    resolution_channels: int = Field(32, ge=1)
    resolution_weight: float = 1.0

    @model_validator(mode="after")
    def _one_at_least(self) -> DiscriminatorConfig:
        if not self.periods and not self.fft_sizes:
            raise ValueError("expected periods or fft_sizes, found neither")
        return self


class OptimiserConfig(Section):
    warmup_learning_rate: float = Field(5e-4, gt=0)  # after the ramp; half a cosine down to learning_rate
    learning_rate: float = Field(5e-4, gt=0)  # of the second stage, discriminators too; half a cosine to 0
    ramp_samples: int = Field(0, ge=0)
    betas: tuple[float, float] = (0.8, 0.9)
    weight_decay: float = 0.01
    clip_norm: float = Field(1000.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)


class VocoderTraining(AdversarialConfig):
    """All settings of a run; see configs/vocoder/base.yaml."""

    init: str | None = None  # a vocoder of these sizes to begin with, a folder or hub id
    data: DataConfig
    training_corrections: int = Field(4, ge=0)  # while training, for speed
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    discriminators: DiscriminatorConfig = DiscriminatorConfig()
    optimiser: OptimiserConfig = OptimiserConfig()


def main() -> None:
    """Entry point of `vocalburst train-vocoder` and `python -m vocalburst.gen.train_vocoder`."""
    arguments = training_arguments(
        __doc__.split("\n\n")[0],
        """examples:
  accelerate launch -m vocalburst.gen.train_vocoder --config configs/vocoder/base.yaml
  python -m vocalburst.gen.train_vocoder --config configs/vocoder/laptop.yaml --resume latest
  vocalburst train-vocoder --config configs/vocoder/laptop.yaml --set out=runs/small""",
        "configs/vocoder",
    )

    def command() -> None:
        from vocalburst.gen.vocoder_trainer import train

        train(load_config(arguments.config, VocoderTraining, arguments.set), arguments.resume)

    sys.exit(run(command))


if __name__ == "__main__":
    main()
