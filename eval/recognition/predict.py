"""`vocalburst recognise predict`: what a trained model says of clips, as a CSV in the layout of the submissions.

`vocalburst score-predictions` takes the file as it is, where the clips are the scored ones of a split: those of
`--labels`, which come with the sound of a manifest or of `--audio`.

Shape letters: N clips, L wave sample, C columns of the task, K classes.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vocalburst.eval.clips import locate, open_clips
from vocalburst.eval.recognition.labelled_clips import (
    CACHE,
    NUMBERED,
    ClipSource,
    check_lengths,
    clip_id,
    load_split,
)
from vocalburst.eval.recognition.train import decoding, tell
from vocalburst.eval.tasks.columns import Column
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.cli import run
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import check_files, manifest_root, read_manifest
from vocalburst.gen.data.store import WaveStore

if TYPE_CHECKING:
    from vocalburst.eval.recognition.estimator import Answers, RecognitionModel

HEARD_AT_ONCE = 256  # waves in memory


def predict(arguments: argparse.Namespace) -> None:
    from vocalburst.eval.recognition.estimator import RecognitionModel

    model = RecognitionModel.load(arguments.model)
    if arguments.probabilities and model.class_column is None:
        raise InputDataError(f"--probabilities: {model.task_name} has no class column")
    names, waves = open_sound(model.task, arguments)
    answers = hear_all(model, names, waves)
    text = as_csv(model.task, names, answers, probabilities=arguments.probabilities)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_file(arguments.out, text.encode())
    print(f"{len(names)} predictions for {model.task_name} in {arguments.out}")


def open_sound(
    task: Task, arguments: argparse.Namespace
) -> tuple[tuple[str, ...], Iterable[tuple[int, np.ndarray]]]:
    """Ids [N], and (index, wave [L]) of each clip in any order."""
    if arguments.labels:
        source = ClipSource(arguments.labels, arguments.audio, arguments.speakers, arguments.cache)
        clips = load_split(task, source, arguments.split, progress=decoding)
        tell(list(clips.notes))
        return clips.ids, enumerate(clips.waves)
    path, split = locate(arguments.clips, arguments.split)
    if path.suffix == ".jsonl":
        return manifest_sound(task, path, split, arguments.cache)
    found = open_clips(arguments.clips, arguments.split)
    tell(list(found.notes))
    return checked_ids(task, found.names, path), found.waves()


def manifest_sound(
    task: Task, path: Path, split: str | None, cache: Path
) -> tuple[tuple[str, ...], Iterable[tuple[int, np.ndarray]]]:
    """Clips of a manifest, labelled or not."""
    clips = [clip for clip in read_manifest(path) if split in (None, clip.split)]
    if not clips:
        raise InputDataError(f"{path}: has no clip of the split {split}")
    check_files(path, clips)
    store = WaveStore.build(manifest_root(path), clips, cache, decoding)
    names = checked_ids(task, [clip_id(task, clip.id) for clip in clips], path)
    check_lengths(names, store.lengths)
    return names, ((index, store[index]) for index in range(len(store)))


def checked_ids(task: Task, written: Sequence[str], path: Path) -> tuple[str, ...]:
    """Ids as the task compares them. Raises InputDataError for two clips of one id."""
    names = tuple(task.identify(name) for name in written)
    first: dict[str, str] = {}
    for name, own in zip(names, written, strict=True):
        if name in first:
            raise InputDataError(f"{path}: {first[name]} and {own} have the same id, {name}")
        first[name] = own
    return names


def hear_all(
    model: RecognitionModel, names: Sequence[str], waves: Iterable[tuple[int, np.ndarray]]
) -> Answers:
    """Answers in the order of `names`, a block of waves at a time. An error about a clip names it."""
    from tqdm import tqdm

    from vocalburst.eval.recognition.estimator import Answers

    order, values, probabilities = [], [], []
    for indices, block in blocks(tqdm(waves, total=len(names), unit="clip", desc="listening", mininterval=5)):
        try:
            heard = model.hear(block)
        except InputDataError as error:
            raise faulty(model, [names[i] for i in indices], block, error) from None
        order += indices
        values.append(heard.values)
        probabilities.append(heard.probabilities)
    back = np.argsort(order)
    known = None if probabilities[0] is None else np.concatenate(probabilities)[back]
    return Answers(np.zeros((len(names), 0), np.float32), np.concatenate(values)[back], known)


def blocks(waves: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    indices: list[int] = []
    block: list[np.ndarray] = []
    for index, wave in waves:
        indices.append(index)
        block.append(wave)
        if len(block) == HEARD_AT_ONCE:
            yield indices, block
            indices, block = [], []
    if block:
        yield indices, block


def faulty(
    model: RecognitionModel, names: Sequence[str], block: Sequence[np.ndarray], error: InputDataError
) -> InputDataError:
    """The error of the first clip of a block that cannot be heard alone, beginning with its id."""
    for name, wave in zip(names, block, strict=True):
        try:
            model.hear([wave])
        except InputDataError as own:
            return type(own)(f"{name}: {str(own).removeprefix('wave 0: ')}")
    return error


def as_csv(task: Task, names: Sequence[str], answers: Answers, *, probabilities: bool = False) -> str:
    """A row per clip: its id, the task's columns in their order, and perhaps a column for each class."""
    classes = next((column.classes for column in task.columns if column.classes), ())
    header = [id_header(task), *(column.name for column in task.columns)]
    if probabilities:
        header += [f"probability_{name}" for name in classes]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    for index, name in enumerate(names):
        row = [written_id(task, name)]
        row += [
            cell(column, value) for column, value in zip(task.columns, answers.values[index], strict=True)
        ]
        if probabilities:
            row += [f"{value:.6f}" for value in answers.probabilities[index]]
        writer.writerow(row)
    return file.getvalue()


def id_header(task: Task) -> str:
    return "filename" if task.layout == "compare" else "File_ID"


def written_id(task: Task, name: str) -> str:
    """`00007` -> `[00007]` in ExVo and A-VB; ComParE's ids are names of files."""
    if task.layout in NUMBERED and name.isdigit():
        return f"[{name}]"
    return f"{name}.wav" if task.layout == "compare" else name


def cell(column: Column, value: float) -> str:
    return column.classes[int(value)] if column.classes else f"{value:.6f}"


def main() -> None:
    """Entry point of `vocalburst recognise predict`."""
    parser = argparse.ArgumentParser(
        prog="vocalburst recognise predict",
        description="Write what a trained recognition model says of clips, in the layout of the submissions.",
        epilog="examples:\n"
        "  vocalburst recognise predict emogator:dev --model runs/cnnatt --out predictions.csv --probabilities\n"
        "  vocalburst recognise predict --labels labels/high_info.csv --audio wav/ --split Val \\\n"
        "      --model runs/avb-high --out predictions.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "clips",
        nargs="?",
        metavar="CLIPS",
        help="a folder of clips, MANIFEST.jsonl[:SPLIT], or NAME:SPLIT of manifests/NAME",
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="RUN", help="folder of `recognise train`"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="CSV", help="where the predictions go")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="instead of CLIPS: the scored clips of a label file or manifest",
    )
    parser.add_argument("--audio", type=Path, metavar="FOLDER", help="sound of the clips of --labels")
    parser.add_argument(
        "--speakers", type=Path, metavar="CSV", help="ids and speakers, where the labels name none"
    )
    parser.add_argument(
        "--split",
        metavar="SPLIT",
        help="of a manifest, or of --labels (there dev, or all, by default)",
    )
    parser.add_argument("--probabilities", action="store_true", help="also a column for each class")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, metavar="DIR", help=f"decoded waves (default: {CACHE})"
    )
    arguments = parser.parse_args()
    if (arguments.clips is None) == (arguments.labels is None):
        parser.error("expected either CLIPS or --labels FILE")
    if arguments.labels is None and (arguments.audio or arguments.speakers):
        parser.error("--audio and --speakers belong to --labels")
    sys.exit(run(lambda: predict(arguments)))


if __name__ == "__main__":
    main()
