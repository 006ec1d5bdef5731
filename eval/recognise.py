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
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vocalburst.eval import rates
from vocalburst.eval.clips import ClipSet, locate, open_clips
from vocalburst.eval.embed import embed
from vocalburst.eval.listening_session import counted
from vocalburst.eval.recognition_table import Heard, markdown, shuffled_summary, summary
from vocalburst.gen.cli import run
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.emotions import nearest_names
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.data.manifest import SPLITS

if TYPE_CHECKING:
    from vocalburst.eval.hearing import Evaluator

DEFAULT_SPLIT = "dev"
# First argument -> module: what is done with recognition models rather than by one.
VERBS = {verb: f"vocalburst.eval.recognition.{verb}" for verb in ("train", "predict", "benchmark")}


def indices(clips: ClipSet, emotions: tuple[str, ...]) -> np.ndarray:
    """Index [N] of every clip's emotion. Raises InputDataError for one that the recogniser does not know."""
    for name, emotion in zip(clips.names, clips.emotions, strict=True):
        if emotion not in emotions:
            near = ", ".join(nearest_names(emotion, emotions))
            raise InputDataError(
                f"{clips.label}, {name}: the recogniser does not know {emotion!r}; nearest: {near}"
            )
    return np.array([emotions.index(emotion) for emotion in clips.emotions])


def hear_entry(evaluator: Evaluator, clips: ClipSet) -> Heard:
    """Listen to the clips that are judged: independent draws, whoever's voice they borrow."""
    asked = indices(clips, evaluator.emotions)
    return Heard(asked, probabilities(evaluator, clips))


def hear_beside(evaluator: Evaluator, clips: ClipSet, limits: np.ndarray, seed: int) -> Heard:
    """Listen to as many clips of each emotion as `limits` [E] says, and to no other."""
    emotions = evaluator.emotions
    wanted = {emotions[e] for e in np.flatnonzero(limits)}
    clips = clips.take([i for i, emotion in enumerate(clips.emotions) if emotion in wanted])
    missing = sorted(wanted - set(clips.emotions))
    if missing:
        raise InputDataError(
            f"{clips.label}: has no clip of {', '.join(missing)}, which the generated clips have"
        )
    asked = indices(clips, emotions)
    chosen = rates.draw_equal(asked, limits, seed=seed)
    clips = clips.take(chosen)
    named = any(clips.speakers)
    speakers = [speaker or name for speaker, name in zip(clips.speakers, clips.names, strict=True)]
    return Heard(asked[chosen], probabilities(evaluator, clips), speakers if named else None)


def probabilities(evaluator: Evaluator, clips: ClipSet) -> np.ndarray:
    """[N, E] of every clip."""
    return embed(clips, evaluator, cache=None, progress=counted).probabilities


def opened(spec: str, split: str | None = None) -> ClipSet:
    """`open_clips`, with what its reader should know on stderr."""
    clips = open_clips(spec, split)
    for note in clips.notes:
        print(f"note: {note}", file=sys.stderr)
    return clips


def recognise(arguments: argparse.Namespace) -> None:
    from vocalburst.eval.evaluators import load_evaluator

    evaluator = load_evaluator(arguments.recogniser)
    if evaluator.emotions is None:
        raise MissingModelError(f"{arguments.recogniser}: {evaluator.id} only embeds, expected a recogniser")
    emotions, seed = evaluator.emotions, arguments.seed
    entry = hear_entry(evaluator, opened(arguments.clips))
    limits = np.bincount(entry.asked, minlength=len(emotions))
    sets = {"generated": summary(entry, emotions, seed)}
    if arguments.reference:
        path, split = locate(arguments.reference, arguments.split)
        reference = opened(str(path), split or DEFAULT_SPLIT)
        heard = hear_beside(evaluator, reference, limits, seed)
        sets[f"real {reference.split}"] = summary(heard, emotions, seed)
    sets["shuffled labels"] = shuffled_summary(entry, emotions, seed)
    for name, beside in arguments.beside:
        sets[name] = summary(hear_beside(evaluator, opened(beside), limits, seed), emotions, seed)
    report = {"recogniser": evaluator.id, "known_emotions": list(emotions), "seed": seed, "sets": sets}
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
    verb = sys.argv[1] if len(sys.argv) > 1 else None
    if verb in VERBS:
        sys.argv = [f"{sys.argv[0]} {verb}", *sys.argv[2:]]
        importlib.import_module(VERBS[verb]).main()
        return
    parser = argparse.ArgumentParser(
        prog="vocalburst recognise",
        description="How often clips are recognised as the emotion they were made for, as a Markdown table.",
        epilog="recognition models of your own (a folder of one of these names is ./NAME):\n"
        "  vocalburst recognise train --help\n"
        "  vocalburst recognise predict --help\n"
        "  vocalburst recognise benchmark --help\n\n"
        "examples:\n"
        "  vocalburst recognise out/\n"
        "  vocalburst recognise out/ --reference manifests/emogator/manifest.jsonl --split dev \\\n"
        "      --beside copy-synthesis=copies/ --json recognition.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", metavar="CLIPS", help="output folder of `generate`, or any folder of clips")
    parser.add_argument(
        "--recogniser", default="logmel", metavar="NAME", help="emo18, logmel, or a folder (default: logmel)"
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
