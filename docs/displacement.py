"""How far the vocoder moves clips in the spaces of the evaluators, under settings of it.

    python docs/displacement.py '{}' '{"level_corrections": 32}' '{"VOICED": 0.5}' '{"pulses": false}'

Train clips are taken to log-mels and back; each copy is compared with its own clip, which tells far smaller differences
than a comparison of sets can, and hears no dev clip. `together` is the squared displacement that all copies of an
emotion share (the part that moves a distribution, unbiased), `each` the mean squared displacement of a copy; both are
means over emotions. KAD to the dev clips stands beside. Settings are keys of the vocoder's config.json or constants of
gen/models/pulses.py.
Run from the repository root; manifests/emogator must be prepared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sampling_sweep import hear, real_waves

from vocalburst.eval.evaluators import load_evaluators
from vocalburst.eval.kernel import kernel_audio_distance
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.models import pulses
from vocalburst.gen.models.vocoder import BurstVocoder
from vocalburst.gen.pipeline import load_generator
from vocalburst.gen.resynthesise import copy_of


@contextmanager
def under(vocoder: BurstVocoder, settings: dict) -> Iterator[None]:
    """The vocoder with other settings for a while."""
    constants = {name: getattr(pulses, name) for name in settings if name.isupper()}
    shipped = {name: vocoder.config[name] for name in settings.keys() - constants.keys()}
    vocoder.register_to_config(**{name: settings[name] for name in shipped})
    for name in constants:
        setattr(pulses, name, settings[name])
    try:
        yield
    finally:
        vocoder.register_to_config(**shipped)
        for name, value in constants.items():
            setattr(pulses, name, value)


def displacement(clips: np.ndarray, made: np.ndarray) -> tuple[float, float]:
    """`together` and `each` of embeddings [n, D] of the same clips."""
    moved = made - clips
    together = np.square(moved.mean(axis=0)).sum() - moved.var(axis=0, ddof=1).sum() / len(moved)
    return float(together), float(np.square(moved).sum(axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="+", type=json.loads, help="JSON")
    parser.add_argument("--n", type=int, default=12, help="clips of each of thirty emotions")
    parser.add_argument("--vocoder", help="another one than the checkpoint's, folder or hub id")
    parser.add_argument("--manifest", type=Path, default=Path("manifests/emogator/manifest.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("cache/waves"))
    arguments = parser.parse_args()
    evaluators = load_evaluators(["default"])
    train = real_waves(arguments.manifest, "train", arguments.cache, EMOGATOR_30)
    train = {name: waves[: arguments.n] for name, waves in train.items()}
    dev = real_waves(arguments.manifest, "dev", arguments.cache, EMOGATOR_30)
    real = {e.id: {name: hear(e, waves)[0] for name, waves in dev.items()} for e in evaluators}
    clips = {e.id: {name: hear(e, waves)[0] for name, waves in train.items()} for e in evaluators}
    print("| copies | " + " | ".join(f"{e.id}: together | each | KAD" for e in evaluators) + " |")
    print("|---" * (1 + 3 * len(evaluators)) + "|")

    def print_row(name: str, made: dict[str, dict[str, np.ndarray]]) -> None:
        cells = []
        for of_clips, of_made, of_dev in ((clips[e.id], made[e.id], real[e.id]) for e in evaluators):
            moved = np.mean(
                [displacement(of_clips[emotion], of_made[emotion]) for emotion in of_made], axis=0
            )
            kad = np.mean([kernel_audio_distance(of_made[emotion], of_dev[emotion]) for emotion in of_made])
            cells.append(f"{moved[0]:.3f} | {moved[1]:.2f} | {kad:.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)

    print_row("the clips themselves", clips)
    pipeline = load_generator(vocoder=arguments.vocoder)
    for settings in arguments.settings:
        with under(pipeline.vocoder, settings):
            made = {
                name: [np.clip(copy_of(wave, pipeline), -1, 1) for wave in waves]
                for name, waves in train.items()
            }
        heard = {e.id: {name: hear(e, waves)[0] for name, waves in made.items()} for e in evaluators}
        print_row(f"`{json.dumps(settings)}`", heard)


if __name__ == "__main__":
    main()
