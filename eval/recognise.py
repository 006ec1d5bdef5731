"""`vocalburst recognise`: how often generated clips are heard as the emotion they were made for.

A clip counts as recognised when its emotion is the most probable one of all that the recogniser knows.
Beside the generated clips stand real clips of speakers the recogniser never heard (`--reference`), the
generated clips with their labels dealt out at random, and any folder of the same form (`--beside
NAME=DIR`), such as real clips sent through the vocoder. Sets are cut to the number of generated clips of
each emotion; n stands in every cell. A clip that is missing, altered, unreadable or of an emotion the
recogniser does not know is an error: the average is over all clips that were asked for, or there is none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vocalburst.eval import recognition
from vocalburst.eval.recognition_table import Heard, markdown, shuffled_summary, summary
from vocalburst.gen.cli import run
from vocalburst.gen.data.audio import read_wave, write_file
from vocalburst.gen.data.emotions import nearest_names
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import first_problem, iterate_file_bytes, manifest_root, read_manifest

if TYPE_CHECKING:
    from vocalburst.eval.recogniser import Recogniser

BATCH_SIZE = 32


class ClipRow(BaseModel):
    """What a row of a clips folder's `manifest.jsonl` must say; other keys are not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file_name: str = Field(min_length=1)
    emotion: str
    sha256: str
    speaker: str | None = None


def read_rows(folder: Path, emotions: tuple[str, ...]) -> list[ClipRow]:
    """Rows of `folder/manifest.jsonl`. Raises InputDataError on a bad row or an unknown emotion."""
    path = folder / "manifest.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path}: cannot be read as a manifest of clips ({error})") from None
    rows: list[ClipRow] = []
    names: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = ClipRow.model_validate_json(line)
        except ValidationError as error:
            raise InputDataError(f"{where}: {first_problem(error)}") from None
        if row.emotion not in emotions:
            near = ", ".join(nearest_names(row.emotion, emotions))
            raise InputDataError(f"{where}: the recogniser does not know {row.emotion!r}; nearest: {near}")
        pure = PurePosixPath(row.file_name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in row.file_name:
            raise InputDataError(f"{where}: file_name {row.file_name!r} leaves the folder")
        if row.file_name in names:
            raise InputDataError(f"{where}: file_name {row.file_name!r} is listed twice")
        names.add(row.file_name)
        rows.append(row)
    if not rows:
        raise InputDataError(f"{path}: holds no clips")
    return rows


def iterate_rows(folder: Path, rows: Iterable[ClipRow]) -> Iterator[tuple[int, np.ndarray]]:
    """(index, wave [L]) of every row, its bytes checked against the row's sha256."""
    for index, row in enumerate(rows):
        path = folder / row.file_name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputDataError(f"{path}: cannot be read ({error.strerror})") from None
        if hashlib.sha256(data).hexdigest() != row.sha256:
            raise InputDataError(f"{path}: its sha256 is not the one in manifest.jsonl; the file was altered")
        yield index, sounding(read_wave(data, name=str(path)), str(path))


def sounding(wave: np.ndarray, name: str) -> np.ndarray:
    """The wave itself; a silent one has no emotion to recognise and is refused."""
    if not wave.any():
        raise InputDataError(f"{name}: is digital silence")
    return wave


def hear(
    model: Recogniser, waves: Iterable[tuple[int, np.ndarray]], n: int, progress: Callable
) -> np.ndarray:
    """Probability [n, E] of waves that arrive as (index, wave [L]), a batch in memory at a time."""
    probability = np.full((n, len(model.config.emotions)), np.nan)
    waiting: list[tuple[int, np.ndarray]] = []

    def flush() -> None:
        if waiting:
            probability[[index for index, _ in waiting]] = model.probabilities([wave for _, wave in waiting])
            waiting.clear()

    for item in progress(waves, total=n):
        waiting.append(item)
        if len(waiting) == BATCH_SIZE:
            flush()
    flush()
    return probability


def hear_folder(
    model: Recogniser, folder: Path, progress: Callable, limits: np.ndarray | None = None, seed: int = 0
) -> Heard:
    """Listen to a clips folder; with `limits` [E], to as many clips of each emotion and no other."""
    emotions = model.config.emotions
    rows = read_rows(folder, emotions)
    if limits is not None:
        asked = np.array([emotions.index(row.emotion) for row in rows])
        rows = [rows[i] for i in draw_covering(asked, limits, emotions, str(folder), seed)]
    asked = np.array([emotions.index(row.emotion) for row in rows])
    speakers = [row.speaker for row in rows]
    probability = hear(model, iterate_rows(folder, rows), len(rows), progress)
    # Only a set of known speakers (never the generated one) can be resampled by speaker.
    grouped = limits is not None and None not in speakers
    return Heard(asked, probability, speakers if grouped else None)


def hear_reference(
    model: Recogniser, manifest: Path, split: str, limits: np.ndarray, progress: Callable, seed: int = 0
) -> Heard:
    """Listen to real clips of a split that carry one emotion, as many of each as `limits` [E] says."""
    emotions = model.config.emotions
    clips = [
        clip
        for clip in read_manifest(manifest)
        if clip.split == split and len(clip.emotions) == 1 and next(iter(clip.emotions)) in emotions
    ]
    asked = np.array([emotions.index(next(iter(clip.emotions))) for clip in clips], dtype=int)
    what = f"{manifest} (split {split})"
    clips = [clips[i] for i in draw_covering(asked, limits, emotions, what, seed)]
    root = manifest_root(manifest)
    by_path: dict[str, list[int]] = {}
    for index, clip in enumerate(clips):
        by_path.setdefault(clip.path, []).append(index)

    def waves() -> Iterator[tuple[int, np.ndarray]]:
        for path, data in iterate_file_bytes(root, by_path):
            for index in by_path[path]:
                clip, name = clips[index], str(root / path)
                yield index, sounding(read_wave(data, start=clip.start, end=clip.end, name=name), name)

    asked = np.array([emotions.index(next(iter(clip.emotions))) for clip in clips])
    speakers = [clip.speaker or clip.id for clip in clips]
    return Heard(asked, hear(model, waves(), len(clips), progress), speakers)


def draw_covering(
    asked: np.ndarray, limits: np.ndarray, emotions: tuple[str, ...], what: str, seed: int
) -> np.ndarray:
    """`recognition.draw_equal`, refusing a set that lacks an emotion that was generated."""
    counts = np.bincount(asked, minlength=len(emotions))
    missing = [emotions[e] for e in np.flatnonzero((limits > 0) & (counts == 0))]
    if missing:
        raise InputDataError(f"{what}: has no clip of {', '.join(missing)}, which the generated clips have")
    return recognition.draw_equal(asked, limits, seed=seed)


def recognise(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from vocalburst.eval.recogniser import Recogniser

    def progress(items: Iterable, total: int) -> Iterable:
        return tqdm(items, total=total, unit="clip", disable=not sys.stderr.isatty())

    folder = arguments.recogniser or Path(str(files("vocalburst.checkpoints"))) / "evaluators" / "logmel"
    model = Recogniser.load(folder)
    emotions, seed = model.config.emotions, arguments.seed
    generated = hear_folder(model, arguments.clips, progress)
    limits = np.bincount(generated.asked, minlength=len(emotions))
    sets = {"generated": summary(generated, emotions, seed)}
    if arguments.reference:
        real = hear_reference(model, arguments.reference, arguments.split, limits, progress, seed)
        sets[f"real {arguments.split}"] = summary(real, emotions, seed)
    sets["shuffled labels"] = shuffled_summary(generated, emotions, seed)
    for name, beside in arguments.beside:
        sets[name] = summary(hear_folder(model, beside, progress, limits, seed), emotions, seed)
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    report = {"recogniser_sha256": weights, "known_emotions": list(emotions), "seed": seed, "sets": sets}
    if arguments.json:
        write_file(arguments.json, (json.dumps(report, indent=2) + "\n").encode())
    print(markdown(sets))


def named_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name.strip() and equals and folder):
        raise argparse.ArgumentTypeError(f"expected NAME=DIR, got {text!r}")
    return name.strip(), Path(folder)


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
    parser.add_argument("clips", type=Path, metavar="CLIPS_DIR", help="output folder of `generate`")
    parser.add_argument(
        "--recogniser", type=Path, metavar="PATH", help="its folder (default: the one that ships)"
    )
    parser.add_argument("--reference", type=Path, metavar="MANIFEST", help="real clips of the same emotions")
    parser.add_argument("--split", default="dev", choices=("train", "dev", "test"), help="of the reference")
    parser.add_argument(
        "--beside",
        type=named_folder,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="another clips folder",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the draws of real clips, shuffles and bootstraps"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write everything, confusions included")
    arguments = parser.parse_args()
    names = [name for name, _ in arguments.beside]
    taken = {"generated", "shuffled labels", f"real {arguments.split}"}
    if len(set(names)) < len(names) or taken & set(names):
        parser.error(f"--beside: each name must be new, got {', '.join(names)}")
    sys.exit(run(lambda: recognise(arguments)))


if __name__ == "__main__":
    main()
