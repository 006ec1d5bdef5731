"""`vocalburst recognise`: how often generated clips are heard as the emotion they were made for.

A clip counts as recognised when its emotion is the most probable one of all that the recogniser knows.
Beside the generated clips stand real clips of speakers the recogniser never heard (`--reference`), the
generated clips with their labels dealt out at random, and any other set (`--beside NAME=CLIPS`), such as
real clips sent through the vocoder. A set is whatever `clips.open_clips` opens. Sets are cut to the number
of generated clips of each emotion; n stands in every cell. A clip that is missing, altered, unreadable or of
an emotion the recogniser does not know is an error: the average is over all clips that were asked for, or
there is none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vocalburst.eval import recognition
from vocalburst.eval.clips import ClipSet, locate, open_clips
from vocalburst.eval.recognition_table import Heard, markdown, shuffled_summary, summary
from vocalburst.gen.cli import run
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.emotions import nearest_names
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import SPLITS

if TYPE_CHECKING:
    from vocalburst.eval.recogniser import Recogniser

BATCH_SIZE = 32
DEFAULT_SPLIT = "dev"


def hear(model: Recogniser, clips: ClipSet, progress: Callable) -> np.ndarray:
    """Probability [N, E] of a set, a batch of waves in memory at a time."""
    probability = np.full((len(clips), len(model.config.emotions)), np.nan)
    waiting: list[tuple[int, np.ndarray]] = []

    def flush() -> None:
        if waiting:
            probability[[index for index, _ in waiting]] = model.probabilities([wave for _, wave in waiting])
            waiting.clear()

    for item in progress(clips.waves(), total=len(clips)):
        waiting.append(item)
        if len(waiting) == BATCH_SIZE:
            flush()
    flush()
    return probability


def indices(clips: ClipSet, emotions: tuple[str, ...]) -> np.ndarray:
    """Index [N] of every clip's emotion. Raises InputDataError for one that the recogniser does not know."""
    for name, emotion in zip(clips.names, clips.emotions, strict=True):
        if emotion not in emotions:
            near = ", ".join(nearest_names(emotion, emotions))
            raise InputDataError(
                f"{clips.label}, {name}: the recogniser does not know {emotion!r}; nearest: {near}"
            )
    return np.array([emotions.index(emotion) for emotion in clips.emotions])


def hear_entry(model: Recogniser, clips: ClipSet, progress: Callable) -> Heard:
    """Listen to the clips that are judged: independent draws, whoever's voice they borrow."""
    asked = indices(clips, model.config.emotions)
    return Heard(asked, hear(model, clips, progress))


def hear_beside(
    model: Recogniser, clips: ClipSet, limits: np.ndarray, progress: Callable, seed: int
) -> Heard:
    """Listen to as many clips of each emotion as `limits` [E] says, and to no other."""
    emotions = model.config.emotions
    wanted = {emotions[e] for e in np.flatnonzero(limits)}
    clips = clips.take([i for i, emotion in enumerate(clips.emotions) if emotion in wanted])
    asked = indices(clips, emotions)
    missing = sorted(wanted - set(clips.emotions))
    if missing:
        raise InputDataError(
            f"{clips.label}: has no clip of {', '.join(missing)}, which the generated clips have"
        )
    chosen = recognition.draw_equal(asked, limits, seed=seed)
    clips = clips.take(chosen)
    known = any(clips.speakers)
    speakers = [speaker or name for speaker, name in zip(clips.speakers, clips.names, strict=True)]
    return Heard(asked[chosen], hear(model, clips, progress), speakers if known else None)


def opened(spec: str, split: str | None = None) -> ClipSet:
    """`open_clips`, with what its reader should know on stderr."""
    clips = open_clips(spec, split)
    for note in clips.notes:
        print(f"note: {note}", file=sys.stderr)
    return clips


def recognise(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from vocalburst.eval.recogniser import Recogniser

    def progress(items: Iterable, total: int) -> Iterable:
        return tqdm(items, total=total, unit="clip", disable=not sys.stderr.isatty())

    folder = arguments.recogniser or Path(str(files("vocalburst.checkpoints"))) / "evaluators" / "logmel"
    model = Recogniser.load(folder)
    emotions, seed = model.config.emotions, arguments.seed
    entry = hear_entry(model, opened(arguments.clips), progress)
    limits = np.bincount(entry.asked, minlength=len(emotions))
    sets = {"generated": summary(entry, emotions, seed)}
    if arguments.reference:
        path, split = locate(arguments.reference, arguments.split)
        reference = opened(str(path), split or DEFAULT_SPLIT)
        heard = hear_beside(model, reference, limits, progress, seed)
        sets[f"real {reference.split}"] = summary(heard, emotions, seed)
    sets["shuffled labels"] = shuffled_summary(entry, emotions, seed)
    for name, beside in arguments.beside:
        sets[name] = summary(hear_beside(model, opened(beside), limits, progress, seed), emotions, seed)
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    report = {"recogniser_sha256": weights, "known_emotions": list(emotions), "seed": seed, "sets": sets}
    if arguments.json:
        write_file(arguments.json, (json.dumps(report, indent=2) + "\n").encode())
    print(markdown(sets))


def named_set(text: str) -> tuple[str, str]:
    name, equals, spec = text.partition("=")
    if not (name.strip() and equals and spec):
        raise argparse.ArgumentTypeError(f"expected NAME=SPEC, got {text!r}")
    return name.strip(), spec


def main() -> None:
    """Entry point of `vocalburst recognise`."""
    parser = argparse.ArgumentParser(
        prog="vocalburst recognise",
        description="How often clips are recognised as the emotion they were made for, as a Markdown table.",
        epilog="examples:\n"
        "  vocalburst recognise out/\n"
        "  vocalburst recognise out/ --reference manifests/emogator/manifest.jsonl --split dev \\\n"
        "      --beside copy-synthesis=copies/ --json recognition.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", metavar="CLIPS", help="output folder of `generate`, or any folder of clips")
    parser.add_argument(
        "--recogniser", type=Path, metavar="PATH", help="its folder (default: the one that ships)"
    )
    parser.add_argument("--reference", metavar="MANIFEST", help="real clips of the same emotions")
    parser.add_argument("--split", choices=SPLITS, help=f"of the reference (default: {DEFAULT_SPLIT})")
    parser.add_argument(
        "--beside",
        type=named_set,
        action="append",
        default=[],
        metavar="NAME=CLIPS",
        help="another set of clips",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the draws of real clips, shuffles and bootstraps"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write everything, confusions included")
    arguments = parser.parse_args()
    names = [name for name, _ in arguments.beside]
    taken = {"generated", "shuffled labels", *(f"real {split}" for split in SPLITS)}
    if len(set(names)) < len(names) or taken & set(names):
        parser.error(f"--beside: each name must be new, got {', '.join(names)}")
    sys.exit(run(lambda: recognise(arguments)))


if __name__ == "__main__":
    main()
