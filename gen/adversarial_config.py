"""What the vocoder's and the refiner's training are told alike, by configuration and by command line."""

from __future__ import annotations

import argparse

from pydantic import Field

from vocalburst.gen.config import Precision, Section


class AdversarialConfig(Section):
    """What every adversarial run is told; its own configuration adds the rest, `optimiser` and `data` among it."""

    out: str
    seed: int = Field(0, ge=0)
    batch_size: int = Field(16, ge=1)  # over all processes together
    warmup_samples: int = Field(ge=0)
    total_samples: int = Field(ge=1)
    save_samples: int = Field(ge=1)
    log_samples: int = Field(ge=1)
    keep: int = Field(2, ge=1)  # checkpoints
    precision: Precision = "no"
    threads: int | None = Field(None, ge=1)  # None leaves torch's choice


def training_arguments(description: str, examples: str, configs: str) -> argparse.Namespace:
    """--config, --resume and --set of a training command."""
    parser = argparse.ArgumentParser(
        description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help=f"YAML file, see {configs}")
    parser.add_argument("--resume", metavar="latest|FOLDER", help="continue exactly from a checkpoint")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    return parser.parse_args()
