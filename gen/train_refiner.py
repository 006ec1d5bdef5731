"""Train the refiner: what a discriminator misses in sampled mels is added to them.

Samples are pairs of a sampled and a recorded clip's piece. At first the discriminators learn alone.
What happens inside: `refiner_trainer`.
"""

from __future__ import annotations

import sys

from pydantic import Field

from vocalburst.gen.adversarial_config import AdversarialConfig, training_arguments
from vocalburst.gen.cli import run
from vocalburst.gen.config import Section, load_config
from vocalburst.gen.train_config import DataSection


class ModelConfig(Section):
    dim: int = Field(256, ge=1)
    intermediate_dim: int = Field(768, ge=1)
    num_layers: int = Field(4, ge=1)


class SketchConfig(Section):
    n: int = Field(200, ge=1)  # of each emotion
    seed: int = Field(1_000_000, ge=0)
    frames: int = Field(96, ge=16)  # of a piece; a shorter clip is padded


class LossConfig(Section):
    coarse: float = Field(4.0, ge=0)  # weight of the change of the mel's local means
    bins: int = Field(5, ge=1)  # that a local mean is over
    frames: int = Field(8, ge=1)


class OptimiserConfig(Section):
    learning_rate: float = Field(3e-4, gt=0)  # half a cosine to 0, as of the discriminators
    discriminator_rate: float = Field(5e-4, gt=0)
    ramp_samples: int = Field(0, ge=0)
    betas: tuple[float, float] = (0.5, 0.9)
    weight_decay: float = 0.01  # of the refiner
    clip_norm: float = Field(5.0, gt=0)
    ema_decay: float = Field(0.997, ge=0, lt=1)


class RefinerTraining(AdversarialConfig):
    """All settings of a run; see configs/refiner/laptop.yaml."""

    checkpoint: str
    workers: int = Field(0, ge=0)  # loader processes
    data: DataSection
    sketches: SketchConfig = SketchConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    discriminator_width: int = Field(24, ge=1)
    optimiser: OptimiserConfig = OptimiserConfig()


def main() -> None:
    """Entry point of `vocalburst train-refiner` and `python -m vocalburst.gen.train_refiner`."""
    arguments = training_arguments(
        __doc__.split("\n\n")[0],
        """examples:
  torchrun --nproc_per_node 2 -m vocalburst.gen.train_refiner --config configs/refiner/laptop.yaml
  vocalburst train-refiner --config configs/refiner/laptop.yaml --resume latest""",
        "configs/refiner",
    )

    def command() -> None:
        from vocalburst.gen.refiner_trainer import train

        train(load_config(arguments.config, RefinerTraining, arguments.set), arguments.resume)

    sys.exit(run(command))


if __name__ == "__main__":
    main()
