"""`vocalburst control`: does `generate` do what it is asked? Measured on its own clips, one kind of wish at a time."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vocalburst.gen.cli import run

if TYPE_CHECKING:
    from vocalburst.eval.asked import AskedClip
    from vocalburst.eval.curves import Curve
    from vocalburst.eval.hearing import Evaluator, Heard

KINDS = ("intensity", "mix", "voice", "duration", "sweep", "variation")
BATCH = 32

EXAMPLES = """\
examples:
  generate --all-emotions --intensity 0.2:1 --positions 5 --n 2 --out intensity
  vocalburst control intensity --of intensity
  vocalburst control mixes/* intensity --of mix       (single emotions, for comparison, beside the mixes)
  vocalburst control voices/* --of voice --reference emogator:dev
"""

Progress = Callable[[Iterable, int], Iterable]


def measure(arguments: argparse.Namespace, progress: Progress) -> Curve:
    """The curve of one kind of control over the clips of all folders."""
    from vocalburst.eval import curves
    from vocalburst.eval.asked import read_asked

    clips = read_asked(arguments.folders)
    rows = [clip.row for clip in clips]
    if arguments.of == "duration":
        return curves.duration_curve(rows, active_lengths(clips, progress))
    if arguments.of == "voice":
        sets = {"generated": voices_of(clips, progress)}
        if arguments.reference:
            sets[f"real, {arguments.reference}"] = real_voices(
                arguments.reference, sets["generated"], progress
            )
        return curves.voice_curve(sets)
    evaluator = fair_evaluator(arguments.evaluator, clips)
    if arguments.of == "variation":
        return variation(clips, evaluator, progress)
    curve = {"intensity": curves.intensity_curve, "mix": curves.mix_curve, "sweep": curves.sweep_curve}[
        arguments.of
    ]
    return curve(rows, hear(clips, evaluator, progress).probabilities, evaluator.emotions)


def fair_evaluator(spec: str, clips: Sequence[AskedClip]) -> Evaluator:
    """The evaluator, unless it chose some of the clips itself or gives no probabilities."""
    from vocalburst.eval.comparable import is_chosen_by
    from vocalburst.eval.evaluators import load_evaluator
    from vocalburst.gen.data.errors import InputDataError

    evaluator = load_evaluator(spec)
    if evaluator.emotions is None:
        raise InputDataError(
            f"the evaluator {evaluator.id} gives no probabilities, which control is measured by"
        )
    for clip in clips:
        if is_chosen_by(clip.row.selected_by, evaluator.id):
            raise InputDataError(
                f"{clip.path}: was chosen by {evaluator.id}, which therefore cannot judge it"
            )
    return evaluator


def hear(clips: Sequence[AskedClip], evaluator: Evaluator, progress: Progress) -> Heard:
    """What the evaluator hears in all clips, a batch in memory at a time."""
    return listen([clip.wave for clip in clips], evaluator, progress)


def listen(waves: Sequence[Callable[[], np.ndarray]], evaluator: Evaluator, progress: Progress) -> Heard:
    from vocalburst.eval.hearing import Heard

    parts = []
    for start in progress(range(0, len(waves), BATCH), -(-len(waves) // BATCH)):
        parts.append(evaluator.listen([wave() for wave in waves[start : start + BATCH]]))
    return Heard(
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
    )


def active_lengths(clips: Sequence[AskedClip], progress: Progress) -> np.ndarray:
    """Seconds [N] of the voice-active part of each clip's file."""
    from vocalburst.gen.data.audio import SAMPLE_RATE, active_span

    spans = np.array([active_span(clip.wave()) for clip in progress(clips, len(clips))])
    return (spans[:, 1] - spans[:, 0]) / SAMPLE_RATE


def voices_of(clips: Sequence[AskedClip], progress: Progress) -> tuple[np.ndarray, list[str], list[str]]:
    """Features [N, F], voices and emotions of the clips whose voice was asked for."""
    from vocalburst.eval.voice import features
    from vocalburst.gen.data.errors import InputDataError
    from vocalburst.gen.data.mel import LogMel

    for clip in clips:
        if clip.row.voice_asked is None:
            raise InputDataError(f"{clip.path}: no voice was asked for")
    log_mel = LogMel()
    heard = [features(clip.wave(), log_mel) for clip in progress(clips, len(clips))]
    return np.array(heard), [clip.row.voices_asked for clip in clips], [clip.row.target for clip in clips]


def real_voices(
    reference: str, generated: tuple[np.ndarray, list[str], list[str]], progress: Progress, seed: int = 0
) -> tuple[np.ndarray, list[str], list[str]]:
    """The same of as many real speakers, one clip of each in each emotion that the generated clips have."""
    from vocalburst.eval.clips import open_clips
    from vocalburst.eval.voice import features
    from vocalburst.gen.data.errors import InputDataError
    from vocalburst.gen.data.mel import LogMel

    clips = open_clips(reference)
    rng = np.random.default_rng(seed)
    emotions, n_voices = set(generated[2]), len(set(generated[1]))
    by_speaker: dict[str, dict[str, list[int]]] = {}
    for place, (speaker, emotion) in enumerate(zip(clips.speakers, clips.emotions, strict=True)):
        if speaker is not None and emotion in emotions:
            by_speaker.setdefault(speaker, {}).setdefault(emotion, []).append(place)
    whole = sorted(speaker for speaker, parts in by_speaker.items() if set(parts) == emotions)
    if len(whole) < n_voices:
        raise InputDataError(
            f"{reference}: expected {n_voices} speakers with all {len(emotions)} emotions, has {len(whole)}"
        )
    chosen = [
        int(rng.choice(places))
        for s in rng.permutation(whole)[:n_voices]
        for places in by_speaker[s].values()
    ]
    taken, log_mel = clips.take(chosen), LogMel()
    heard = np.zeros((len(chosen), generated[0].shape[1]))
    for index, wave in progress(taken.waves(), len(chosen)):
        heard[index] = features(wave, log_mel)
    return heard, list(taken.speakers), list(taken.emotions)


def variation(clips: Sequence[AskedClip], evaluator: Evaluator, progress: Progress) -> Curve:
    from vocalburst.eval.curves import variation_curve
    from vocalburst.eval.spectra import spectral_distance
    from vocalburst.gen.data.errors import InputDataError
    from vocalburst.gen.data.mel import LogMel

    for clip in clips:
        if clip.row.like is None:
            raise InputDataError(f"{clip.path}: varies no clip (generate --like FILE)")
    log_mel = LogMel()
    spectral = [
        spectral_distance(clip.wave(), clip.source(), log_mel) for clip in progress(clips, len(clips))
    ]
    heard = hear(clips, evaluator, progress)
    sources = {clip.row.like_sha256: clip for clip in clips}
    known = listen([clip.source for clip in sources.values()], evaluator, progress).embeddings
    row_of = {sha256: row for row, sha256 in enumerate(sources)}
    theirs = known[[row_of[clip.row.like_sha256] for clip in clips]]
    ours = heard.embeddings
    cosine = (ours * theirs).sum(axis=1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    rows = [clip.row for clip in clips]
    return variation_curve(rows, heard.probabilities, evaluator.emotions, np.array(spectral), 1 - cosine)


def control(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    def progress(items: Iterable, total: int) -> Iterable:
        return tqdm(items, total=total, disable=not sys.stderr.isatty(), file=sys.stderr)

    curve = measure(arguments, progress)
    print(json.dumps(curve.to_dict()) if arguments.json else curve.markdown())


def main() -> None:
    """Entry point of `vocalburst control`."""
    parser = argparse.ArgumentParser(
        prog="vocalburst control",
        description="How well clips of `generate` follow what was asked for, as a Markdown table.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="output folders of `generate`"
    )
    parser.add_argument("--of", required=True, choices=KINDS, help="what to measure")
    parser.add_argument("--evaluator", default="logmel", metavar="NAME", help="what listens (logmel)")
    parser.add_argument(
        "--reference", metavar="CLIPS", help="real clips of known speakers, beside --of voice"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    arguments = parser.parse_args()
    if arguments.reference and arguments.of != "voice":
        parser.error("--reference belongs to --of voice")
    sys.exit(run(lambda: control(arguments)))


if __name__ == "__main__":
    main()
