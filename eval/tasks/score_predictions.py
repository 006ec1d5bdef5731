"""`vocalburst score-predictions`: scores of any system's predictions on a task of the source papers.

The predictions are a CSV in the layout of the competitions' submissions; the labels are the corpus's own file.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from vocalburst.eval.printing import DASH, markdown
from vocalburst.eval.tasks.label_files import LabelOptions
from vocalburst.eval.tasks.labels import Labels, load_labels
from vocalburst.eval.tasks.metrics import MODES
from vocalburst.eval.tasks.predictions import read_predictions
from vocalburst.eval.tasks.registry import TASKS, Task
from vocalburst.eval.tasks.scoring import Score, score, uninformed
from vocalburst.gen.cli import run
from vocalburst.gen.data.errors import InputDataError

DECIMALS = 4


def score_predictions(arguments: argparse.Namespace) -> None:
    task = TASKS[arguments.task]
    columns = dict(arguments.label_columns)
    unknown = sorted(set(columns) - {column.name for column in task.columns})
    if unknown:
        raise InputDataError(f"--label-columns: {task.name} has no column {unknown[0]}")
    options = LabelOptions(arguments.split, None, arguments.label_id, columns)
    labels = load_labels(
        task, arguments.labels, options, support=arguments.support, speakers=arguments.speakers
    )
    predicted, notes = read_predictions(task, arguments.predictions, labels, arguments.prediction_id)
    scores = score(task, labels.values, predicted, labels.speakers, mode=arguments.ccc, seed=arguments.seed)
    notes = (*own_split(task, labels), *labels.notes, *notes, *undefined(scores))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    report = describe(task, labels, arguments, scores, notes)
    print(json.dumps(report, indent=2) if arguments.json else as_markdown(task, report, scores))


def own_split(task: Task, labels: Labels) -> list[str]:
    """That a split is none that a source names, so that nothing published was measured on it."""
    if labels.split in task.splits:
        return []
    known = f"published: {', '.join(task.splits)}" if task.splits else "none is published"
    return [f"the split {labels.split} is not a published one of {task.name}; {known}"]


def undefined(scores: list[Score]) -> list[str]:
    """Why a score is a dash."""
    missing = [s.measure for s in scores if s.value is None]
    if not missing:
        return []
    return [
        f"{', '.join(missing)}: undefined, because predictions of an output are constant, or because a term of the "
        "harmonic mean is not positive"
    ]


def describe(
    task: Task, labels: Labels, arguments: argparse.Namespace, scores: list[Score], notes: tuple[str, ...]
) -> dict:
    """Everything that is printed, and how it came about, as JSON."""
    return {
        "task": task.name,
        "title": task.title,
        "source": task.source,
        "predictions": str(arguments.predictions),
        "labels": str(labels.path),
        "split": labels.split,
        "clips": len(labels),
        "speakers": len(set(labels.speakers)) if labels.speakers else None,
        "resampled": "speakers" if labels.speakers else "clips",
        "ccc": arguments.ccc if any(part.metric == "CCC" for part in task.parts) else None,
        "seed": arguments.seed,
        "scores": [asdict(s) for s in scores],
        "uninformed": uninformed(task, labels.values),
        "published": [asdict(row) for row in task.published],
        "notes": list(notes),
    }


def as_markdown(task: Task, report: dict, scores: list[Score]) -> str:
    """The scores, and below them, apart, what the papers printed."""
    rows = [(s.measure, shown(s.value), bounds(s), str(s.n)) for s in scores]
    over = f"{report['speakers']} speakers" if report["speakers"] else "clips"
    mode = f" CCC: {report['ccc']}." if report["ccc"] else ""
    lines = [
        f"{task.title} ({task.source}), split {report['split']}, {report['clips']} clips.",
        "",
        markdown(("measure", "value", "95 % interval", "n"), rows),
        "",
        f"Intervals: bootstrap over {over}, seed {report['seed']}.{mode}",
        "",
        "For context, not ranked with the above:",
        "",
    ]
    context = [("not listening", report["split"], name, shown(value), "these labels")
               for name, value in report["uninformed"].items()]  # fmt: skip
    context += [(p.system, p.split, p.measure, f"{p.value:g}", p.place) for p in task.published]
    return "\n".join([*lines, markdown(("system", "split", "measure", "value", "source"), context)])


def shown(value: float | None) -> str:
    return DASH if value is None else f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}"


def bounds(s: Score) -> str:
    return DASH if s.low is None else f"[{shown(s.low)}, {shown(s.high)}]"


def renamed(text: str) -> tuple[str, str]:
    own, equals, other = text.partition("=")
    if not (own and equals and other):
        raise argparse.ArgumentTypeError(f"expected COLUMN=NAME, got {text!r}")
    return own, other


def main() -> None:
    """Entry point of `vocalburst score-predictions`."""
    parser = argparse.ArgumentParser(
        prog="vocalburst score-predictions",
        description="Score a CSV of predictions, of whatever system, on a task of the source papers.",
        epilog="tasks:\n"
        + "\n".join(f"  {task.name:<15} {task.title}" for task in TASKS.values())
        + "\n\nexamples:\n"
        "  vocalburst score-predictions predictions.csv --task avb-high --labels labels/high_info.csv --split Val\n"
        "  vocalburst score-predictions predictions.csv --task crema-d --labels AudioWAV/",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "predictions", type=Path, metavar="PREDICTIONS.csv", help="File_ID and the task's columns"
    )
    parser.add_argument("--task", required=True, choices=TASKS, metavar="TASK", help="one of those below")
    parser.add_argument(
        "--labels",
        required=True,
        type=Path,
        metavar="FILE",
        help="the corpus's label file, or its folder of clips",
    )
    parser.add_argument(
        "--split",
        metavar="SPLIT",
        help="Train, Val, Test, all, or PARTITION:SPLIT (default: Val, or all without splits)",
    )
    parser.add_argument("--ccc", choices=MODES, default="official", help="which CCC (default: official)")
    parser.add_argument(
        "--support", type=Path, metavar="CSV", help="few-shot: the labelled clips that are given"
    )
    parser.add_argument(
        "--speakers", type=Path, metavar="CSV", help="ids and speakers, where the labels name none"
    )
    parser.add_argument("--label-id", metavar="NAME", help="column of ids in the label file")
    parser.add_argument("--prediction-id", metavar="NAME", help="column of ids in the predictions")
    parser.add_argument(
        "--label-columns",
        type=renamed,
        nargs="+",
        default=[],
        metavar="COLUMN=NAME",
        help="what the label file calls a column of the task",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments = parser.parse_args()
    sys.exit(run(lambda: score_predictions(arguments)))


if __name__ == "__main__":
    main()
