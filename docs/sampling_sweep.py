"""Screens settings of the sampler: a few clips of some emotions, heard by both evaluators, against dev clips.

    python docs/sampling_sweep.py '{"guidance": 2.5, "guidance_interval": [0.75, 1.0]}' '{"guidance": 4.0}'
    python docs/sampling_sweep.py --weak ../weak/checkpoints/default '{"autoguidance": 1.0}' '{"autoguidance": 2.0}'

prints one row a setting. `autoguidance` is that of a teacher (`gen/teacher.py`), added to the guidance. It is for
choosing, not for reporting: n is far below the dimension, so FID-infinity is large for real clips too (the rows `train`
and `dev`); what is chosen is then judged by `vocalburst evaluate`.
Run from the repository root; manifests/emogator must be prepared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vocalburst.eval.evaluators import load_evaluators
from vocalburst.eval.frechet import frechet_infinity
from vocalburst.eval.gaussian import Identity, gaussian_statistics
from vocalburst.eval.heep import heep_by_row
from vocalburst.eval.kernel import kernel_audio_distance
from vocalburst.eval.neighbours import neighbour_scores
from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.checkpoint import load_part, locate_checkpoint
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.data.manifest import manifest_root, read_manifest
from vocalburst.gen.data.store import WaveStore
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.pipeline import BurstPipeline
from vocalburst.gen.sampling import build_scheduler
from vocalburst.gen.teacher import Teacher

TEN = (
    "amusement", "awe", "adoration", "anger", "disgust", "triumph", "surprise_positive", "sadness", "relief", "pain",
)  # fmt: skip
LEVEL_CORRECTIONS = 8  # of the vocoder
DRAW = 162  # train clips of each emotion, as many as dev has


class TaughtDenoiser(torch.nn.Module):
    """A teacher in the place of a pipeline's denoiser: what a perfect student of it would answer."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, teacher: Teacher):
        super().__init__()
        self.teacher, self.config = teacher, teacher.model.config

    def forward(self, *arguments):
        return self.teacher(*arguments)


def hear(evaluator, waves) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings [n, D] and probabilities [n, E], each clip alone."""
    heard = [evaluator.listen([wave]) for wave in waves]
    embeddings = np.concatenate([one.embeddings for one in heard]).astype(float)
    return embeddings, np.concatenate([one.probabilities for one in heard])


def real_waves(
    manifest: Path, split: str, cache: Path, emotions: Sequence[str] = TEN
) -> dict[str, list[np.ndarray]]:
    clips = [clip for clip in read_manifest(manifest) if clip.split == split]
    store = WaveStore.build(manifest_root(manifest), clips, cache)
    found = {}
    for emotion in emotions:
        rows = [row for row, clip in enumerate(clips) if emotion in clip.emotions]
        if split == "train":
            rows = list(np.random.default_rng(0).permutation(rows)[:DRAW])
        found[emotion] = [store[row] for row in rows]
    return found


def made_waves(
    pipeline: BurstPipeline, n: int, steps: int, guidance: float, emotions: Sequence[str] = TEN
) -> dict[str, list[np.ndarray]]:
    scheduler = pipeline.defaults["scheduler"]
    found = {}
    for place, emotion in enumerate(emotions):
        specs = [BurstSpec({emotion: 1.0}, 1000 * place + i, steps, guidance, scheduler) for i in range(n)]
        with torch.autocast("cpu", torch.bfloat16):
            found[emotion] = [np.clip(burst.wave, -1, 1) for burst in pipeline.synthesise(specs)]
    return found


def pipeline_with(
    settings: dict, checkpoint: Path | None, weak: Path | None, vocoder: Path | None = None
) -> BurstPipeline:
    """The checkpoint's pipeline under other settings."""
    pipeline = BurstPipeline.from_pretrained(checkpoint, vocoder=vocoder)
    pipeline.vocoder.register_to_config(level_corrections=LEVEL_CORRECTIONS)
    settings = dict(settings)
    autoguidance = settings.pop("autoguidance", 0.0)
    pipeline.defaults.update(settings)
    chosen = pipeline.defaults
    pipeline.scheduler = build_scheduler(chosen["scheduler"], chosen["shift"])
    if autoguidance:
        weaker = load_part(BurstTransformer, locate_checkpoint(weak) / "transformer")
        teacher = Teacher(
            pipeline.transformer, chosen["guidance"], tuple(chosen["guidance_interval"]), weaker, autoguidance
        )
        pipeline.register_modules(transformer=TaughtDenoiser(teacher))
        # The teacher guides, so the pipeline must not.
        chosen |= {"guidance": 1.0, "guidance_learnt": 1.0}
    return pipeline


def summary(evaluator, sets: dict, dev: dict) -> str:
    """KAD, FID-infinity, coverage, precision (means over emotions), recognised and row-HEEP of one evaluator."""
    names, identity = list(evaluator.emotions), Identity(evaluator.id, evaluator.preprocessing, "sweep")
    rows, asked, answers = [], [], []
    for emotion, (embeddings, probabilities) in sets.items():
        real = dev[emotion][0]
        near = neighbour_scores(embeddings, real)
        infinity = frechet_infinity(embeddings, identity, gaussian_statistics(real, identity)).value
        hits = (probabilities.argmax(axis=1) == names.index(emotion)).mean()
        kad = kernel_audio_distance(embeddings, real)
        rows.append((kad, infinity, near.coverage, near.precision, hits))
        asked += [names.index(emotion)] * len(probabilities)
        answers.append(probabilities)
    kad, infinity, coverage, precision, hits = np.mean(rows, axis=0)
    heep = np.nanmean(heep_by_row(np.array(asked), np.concatenate(answers)))
    return f"{kad:.2f} | {infinity:.2f} | {coverage:.2f} | {precision:.2f} | {hits:.3f} | {heep:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "settings", nargs="+", type=json.loads, help="JSON: keys of a checkpoint's generation.json"
    )
    parser.add_argument("--checkpoint", type=Path, help="folder (default: the one that ships)")
    parser.add_argument(
        "--weak", type=Path, help="checkpoint folder of the less trained network of autoguidance"
    )
    parser.add_argument("--vocoder", type=Path, help="folder (default: the checkpoint's)")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--all-emotions", action="store_true", help="thirty in place of ten")
    choice.add_argument("--emotions", nargs="+", choices=EMOGATOR_30, metavar="E", default=TEN, help="(ten)")
    parser.add_argument("--n", type=int, default=30, help="clips of each emotion")
    parser.add_argument("--manifest", type=Path, default=Path("manifests/emogator/manifest.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("cache/waves"))
    arguments = parser.parse_args()
    evaluators = load_evaluators(["default"])
    emotions = EMOGATOR_30 if arguments.all_emotions else arguments.emotions
    real = {s: real_waves(arguments.manifest, s, arguments.cache, emotions) for s in ("train", "dev")}
    heard = {
        split: {e.id: {name: hear(e, own) for name, own in waves.items()} for e in evaluators}
        for split, waves in real.items()
    }
    columns = "KAD | FID∞ | coverage | precision | recognised | HEEP"
    print("| clips | " + " | ".join(f"{e.id}: {columns}" for e in evaluators) + " |")
    print("|---" * (1 + 6 * len(evaluators)) + "|")

    def print_row(name: str, sets: dict) -> None:
        first = {
            i: {n: (x[: arguments.n], p[: arguments.n]) for n, (x, p) in own.items()}
            for i, own in sets.items()
        }
        print(
            f"| {name} | "
            + " | ".join(summary(e, first[e.id], heard["dev"][e.id]) for e in evaluators)
            + " |",
            flush=True,
        )

    for split in ("train", "dev"):
        print_row(split, heard[split])
    for settings in arguments.settings:
        pipeline = pipeline_with(settings, arguments.checkpoint, arguments.weak, arguments.vocoder)
        chosen = pipeline.defaults
        waves = made_waves(pipeline, arguments.n, chosen["steps"], chosen["guidance"], emotions)
        print_row(
            f"`{json.dumps(settings)}`",
            {e.id: {name: hear(e, own) for name, own in waves.items()} for e in evaluators},
        )


if __name__ == "__main__":
    main()
