"""Train the diffusion model: `accelerate launch -m vocalburst.gen.train --config configs/train/base.yaml`.

Runs the same under plain `python -m`, on one CPU, one GPU, or many processes and machines. A run folder holds

    config.yaml          the resolved configuration
    metrics.jsonl        one line per log and per validation
    samples/<seen>/      PNG of mels and WAV files of each validation
    checkpoints/<seen>/  everything needed to continue exactly; the folder appears whole or not at all
    model/               normaliser, prior and averaged weights of the last save, for `vocalburst export`
    snapshots/<seen>/    averaged weights of early moments, for autoguidance

`seen` counts samples, over all processes. What happens inside: `trainer`.
"""

from __future__ import annotations

import argparse

from vocalburst.gen.cli import run


def main() -> None:
    """Entry point of `vocalburst train` and `python -m vocalburst.gen.train`."""
    parser = argparse.ArgumentParser(
        description="Train the diffusion model.",
        epilog="example: accelerate launch -m vocalburst.gen.train --config configs/train/base.yaml "
        "--set samples.total=100000",
    )
    parser.add_argument("--config", required=True, help="YAML file, see configs/train/")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_argument("--resume", metavar="latest|FOLDER", help="continue exactly from a checkpoint")
    arguments = parser.parse_args()

    def command() -> None:
        from vocalburst.gen.config import load_config
        from vocalburst.gen.train_config import TrainConfig
        from vocalburst.gen.trainer import train

        config = load_config(arguments.config, TrainConfig, arguments.set)
        print(train(config, arguments.resume))

    raise SystemExit(run(command))


if __name__ == "__main__":
    main()
