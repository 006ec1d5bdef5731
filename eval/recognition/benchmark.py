"""`vocalburst recognise benchmark`: recognition models trained and measured alike, as a table with intervals.

Every model learns from the train split and is measured on the dev split, or, with `--folds K`, learns K times from all
but a K-th of the speakers of both and is measured on the rest. What is trained is kept, and loaded by the next run if
its settings, seed and labels are the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from vocalburst.eval.recognition.benchmark_rows import Bench, Part, benchmark_row, check_contestants
from vocalburst.eval.recognition.benchmark_table import as_markdown, describe
from vocalburst.eval.recognition.contestants import Contestant, contestants
from vocalburst.eval.recognition.labelled_clips import ClipSource, LabelledClips, load_split
from vocalburst.eval.recognition.registry import model_class
from vocalburst.eval.recognition.speaker_folds import speaker_folds
from vocalburst.eval.recognition.train import add_source, decoding, models_text, source_of, tasks_text, tell
from vocalburst.eval.tasks.registry import TASKS, Task
from vocalburst.gen.cli import run
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.errors import InputDataError


def benchmark(arguments: argparse.Namespace) -> None:
    task, source = TASKS[arguments.task], source_of(arguments)
    out = arguments.out or Path("runs") / f"benchmark-{task.name}"
    entries, left_out = contestants(task, arguments.models, arguments.config, arguments.seed)
    if arguments.folds:
        entries = [untaught(entry) for entry in entries]
    parts = open_parts(task, source, arguments)
    bench = Bench(
        task, parts, source.sha256(), arguments.seed, arguments.runs or out / "models", out / "heard"
    )
    check_contestants(bench, entries)
    tell(left_out)
    rows = [benchmark_row(bench, entry) for entry in entries]
    report = describe(bench, rows, left_out, str(source.labels))
    text = as_markdown(bench, rows, report)
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / "benchmark.json", (json.dumps(report, indent=2) + "\n").encode())
    write_file(out / "table.md", (text + "\n").encode())
    print(text)


def untaught(entry: Contestant) -> Contestant:
    """A row that may be taught learns from the labels alone where nobody says otherwise: teachers heard every fold."""
    if entry.settings is None or "teacher" not in model_class(entry.name).settings_class.model_fields:
        return entry
    return replace(entry, settings={"teacher": "none", **entry.settings})


def open_parts(task: Task, source: ClipSource, arguments: argparse.Namespace) -> tuple[Part, ...]:
    train = load_split(task, source, arguments.split_train, scored=False, progress=decoding)
    dev = load_split(task, source, arguments.split_dev, scored=not arguments.folds, progress=decoding)
    tell([*train.notes, *dev.notes])
    if not arguments.folds:
        return (Part(train.split, train, dev),)
    return fold_parts(LabelledClips.joined([train, dev]), arguments.folds)


def fold_parts(clips: LabelledClips, folds: int) -> tuple[Part, ...]:
    """Each fold's clips, and all others to learn from. Raises InputDataError for labels that name no speakers."""
    if clips.speakers is None:
        raise InputDataError("--folds deals out speakers, and the labels name none; give --speakers CSV")
    fold = speaker_folds(clips.speakers, folds)
    return tuple(
        Part(
            f"{clips.split}, fold {k + 1} of {folds} left out",
            clips.take(np.flatnonzero(fold != k)),
            clips.take(np.flatnonzero(fold == k)),
            k + 1,
        )
        for k in range(folds)
    )


def number_of_folds(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected 2 folds or more, got {text!r}")
    return int(text)


def main() -> None:
    """Entry point of `vocalburst recognise benchmark`."""
    parser = argparse.ArgumentParser(
        prog="vocalburst recognise benchmark",
        description="Train and measure recognition models alike: a Markdown table, also as JSON.",
        epilog=f"models:\n{models_text()}\n\ntasks:\n{tasks_text()}\n\nexamples:\n"
        "  vocalburst recognise benchmark --task emogator-30 --models all,evaluator:emo18 \\\n"
        "      --manifest manifests/emogator/manifest.jsonl --config configs/recognition/emogator.yaml\n"
        "  vocalburst recognise benchmark --task emogator-30 --models cnnatt --folds 5 \\\n"
        "      --manifest manifests/emogator/manifest.jsonl --out runs/folds",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--task", required=True, choices=TASKS, metavar="TASK", help="one of those below")
    parser.add_argument(
        "--models",
        default="all",
        metavar="LIST",
        help="all (the default: each that needs no weights from elsewhere, and those in --config), or names of those "
        "below, folders of `recognise train` and evaluator:NAME, separated by commas",
    )
    add_source(parser)
    parser.add_argument("--folds", type=number_of_folds, metavar="K", help="cross-validation over speakers")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="for the table and the models (default: runs/benchmark-TASK)",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="FOLDER",
        help="where trained models are kept and found (default: OUT/models)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="settings of models, such as configs/recognition"
    )
    parser.add_argument(
        "--split-train", default="train", metavar="SPLIT", help="learned from (default: train)"
    )
    parser.add_argument("--split-dev", default="dev", metavar="SPLIT", help="measured on (default: dev)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, draws and augmentation")
    arguments = parser.parse_args()
    sys.exit(run(lambda: benchmark(arguments)))


if __name__ == "__main__":
    main()
