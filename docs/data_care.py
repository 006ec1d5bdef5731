"""What leaving train clips out would do: how near the rest is to dev, by both evaluators.

    vocalburst embed emogator:train --evaluator emo18 --out train-emo18.safetensors     # and dev, and logmel
    python docs/data_care.py manifests/emogator/manifest.jsonl train-emo18.safetensors dev-emo18.safetensors

A generator that learnt the train clips perfectly would stand where they stand. So KAD of train against dev clips (mean
over emotions, zero for the same law) says what a choice of clips is worth before anything is trained on it; a random
choice of as many clips stands beside each, because fewer clips alone change nothing in an unbiased distance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vocalburst.eval.embed import EmbeddedClips
from vocalburst.eval.kernel import kernel_audio_distance
from vocalburst.gen.data.manifest import read_manifest

LEVELS = (-60.0, -50.0, -45.0, -40.0, -35.0)  # dBFS of the voice-active part


def mean_distance(train: EmbeddedClips, keep: np.ndarray, dev: EmbeddedClips) -> float:
    """Mean over emotions of KAD between the kept train clips and dev."""
    train_emotions, dev_emotions = np.array(train.clips.emotions), np.array(dev.clips.emotions)
    distances = [
        kernel_audio_distance(
            train.embeddings[(train_emotions == emotion) & keep], dev.embeddings[dev_emotions == emotion]
        )
        for emotion in sorted(set(dev_emotions))
    ]
    return float(np.mean(distances))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("train", type=Path, help="output of `vocalburst embed emogator:train`")
    parser.add_argument("dev", type=Path, help="output of `vocalburst embed emogator:dev`, same evaluator")
    arguments = parser.parse_args()
    clips = {clip.id: clip for clip in read_manifest(arguments.manifest)}
    train, dev = EmbeddedClips.load(arguments.train), EmbeddedClips.load(arguments.dev)
    own = [clips[name] for name in train.clips.names]
    levels = np.array([clip.level_db for clip in own])
    full = np.array([clip.active_seconds >= 0.98 * clip.seconds for clip in own])
    choices = {"all": np.ones(len(own), dtype=bool)}
    choices |= {f"voice-active part at least {level:g} dBFS": levels >= level for level in LEVELS}
    choices["active part shorter than the clip"] = ~full
    rng = np.random.default_rng(0)
    print(f"| train clips kept | share | KAD to dev, {train.evaluator} | as many at random |")
    print("|---|---|---|---|")
    for name, keep in choices.items():
        chance = np.zeros(len(keep), dtype=bool)
        chance[rng.permutation(len(keep))[: keep.sum()]] = True
        print(
            f"| {name} | {keep.mean():.3f} | {mean_distance(train, keep, dev):.3f} "
            f"| {mean_distance(train, chance, dev):.3f} |"
        )


if __name__ == "__main__":
    main()
