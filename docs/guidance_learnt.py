"""How much of the guidance that it was taught a student has learnt.

    python docs/guidance_learnt.py configs/train/guidance.yaml checkpoints/default

A teacher's answer lies on the line D_blind + guidance (D - D_blind) of its network with and without the emotion. The
student's answers to the same noisy train clips are laid on that line by least squares: `learnt` is the guidance where
they land, `beside` the root mean square distance from it in units of |D - D_blind|, what the student does besides. Both
are of 32 clips of each emotion at two noise levels. For a student whose teacher has neither autoguidance nor another
network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from vocalburst.gen.checkpoint import load_part
from vocalburst.gen.config import load_config
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.train_config import TrainConfig
from vocalburst.gen.training_data import load_training_data

SIGMAS = (0.6, 0.9)
CLIPS = 32  # of each emotion


def on_the_line(made: torch.Tensor, seeing: torch.Tensor, blind: torch.Tensor) -> tuple[float, float]:
    """Guidance g nearest to made = blind + g (seeing - blind), and the distance from there over |seeing - blind|."""
    way = seeing - blind
    power = way.square().sum()
    guidance = ((made - blind) * way).sum() / power
    beside = (made - blind - guidance * way).square().sum() / power
    return float(guidance), float(beside.sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("student", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    arguments = parser.parse_args()
    config = load_config(arguments.config, TrainConfig, arguments.set)
    data = load_training_data(config, show=False)
    network = load_part(BurstTransformer, Path(config.teacher.checkpoint) / "transformer").eval()
    student = load_part(BurstTransformer, arguments.student / "transformer").eval()
    source, rng = data.train.sources[0], np.random.default_rng(0)
    print("| emotion | asked | learnt | beside |\n|---|---|---|---|")
    rows = []
    for emotion in data.emotions:
        own = [row for row, clip in enumerate(source.clips) if emotion in clip.emotions]
        chosen = rng.permutation(own)[:CLIPS]
        batch = data.train.collate([data.train.example(source, int(row)) for row in chosen])
        clean, mask = data.normalizer.normalize(batch.mel), batch.mask
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        found = []
        for level in SIGMAS:
            x, sigma = (1 - level) * clean + level * noise, torch.full((len(clean),), level)
            with torch.inference_mode():
                answers = (
                    student(x, sigma, batch.condition, mask),
                    network(x, sigma, batch.condition, mask),
                    network(x, sigma, batch.condition.without_emotion(), mask),
                )
            found.append(on_the_line(*(answer * mask[:, None] for answer in answers)))
        asked = config.teacher.guidance_of.get(emotion, config.teacher.guidance)
        rows.append((asked, *np.mean(found, axis=0)))
        print(f"| {emotion} | {asked:g} | {rows[-1][1]:.2f} | {rows[-1][2]:.2f} |", flush=True)
    for asked in sorted({row[0] for row in rows}):
        same = np.array([row for row in rows if row[0] == asked])
        print(
            f"| **{len(same)} of {asked:g}** | {asked:g} | {same[:, 1].mean():.2f} | {same[:, 2].mean():.2f} |"
        )


if __name__ == "__main__":
    main()
