"""`vocalburst recognise train`: a model of the registry, trained on a task with anyone's clips.

The split of `--split-dev` only measures, unless `--choose-on dev` says otherwise: epochs and settings are chosen on a
tenth of the train speakers, which the model does not learn from. On several processes:
`accelerate launch -m vocalburst.eval.recognition.train --model ... `; the first one writes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vocalburst.eval.recognition.estimator import Answers, RecognitionModel
from vocalburst.eval.recognition.labelled_clips import CACHE, ClipSource, LabelledClips, load_split
from vocalburst.eval.recognition.model_settings import merged_settings, parse_setting
from vocalburst.eval.recognition.recognition_card import interval, render_card
from vocalburst.eval.recognition.registry import MODELS, build
from vocalburst.eval.recognition.training_run import (
    CHOSEN_ON,
    RUN,
    check_new,
    chosen_on,
    fit,
    identity,
    is_main_process,
    record,
    refits,
    save_whole,
    scored,
)
from vocalburst.eval.tasks.registry import TASKS
from vocalburst.gen.cli import run

NEEDS = {
    "": "",
    "opensmile": "needs pip install 'vocalburst[opensmile]'",
    "pretrained": "needs local weights",
}


def train(arguments: argparse.Namespace) -> None:
    task, source = TASKS[arguments.task], source_of(arguments)
    check_new(arguments.out)
    settings = merged_settings(arguments.model, arguments.config, arguments.settings, arguments.epochs)
    model = build(arguments.model, task.name, arguments.seed, **settings)
    with main_process_first():
        clips = load_split(task, source, arguments.split_train, scored=False, progress=decoding)
        dev = load_split(task, source, arguments.split_dev, progress=decoding)
    tell([*clips.notes, *dev.notes])
    kept, choose = clips, None
    if arguments.choose_on == "train":
        kept, choose = chosen_on(clips)
    elif arguments.choose_on == "dev":
        choose = dev
        if refits(model):
            tell(
                [
                    f"{model.name} is fitted on the split {dev.split} too, so that its number there is no measure"
                ]
            )
    own = identity(model, source.sha256(), clips.split, CHOSEN_ON[arguments.choose_on])
    train_and_save(model, own, kept, choose, dev, arguments.out)
    if is_main_process():
        first = model.training_[RUN]["scores"][0]
        print(f"{task.headline} {interval(first)} ({dev.split}, {len(dev)} clips), saved in {arguments.out}")
    leave_processes()


def train_and_save(
    model: RecognitionModel,
    own: dict,
    kept: LabelledClips,
    choose: LabelledClips | None,
    measured: LabelledClips,
    out: Path,
) -> Answers | None:
    """Fit, measure, and write the folder; returns the answers to the measured clips, None in further processes.

    own: its `identity`.
    """
    seconds = fit(model, kept, choose)
    if not is_main_process():
        return None
    answers = model.hear(measured.waves)
    scores = scored(model.task, measured.y, answers.values, measured.speakers)
    record(model, own, {"train": kept, "choose": choose, "measured": measured}, seconds, scores)
    save_whole(model, out, render_card(model))
    return answers


def source_of(arguments: argparse.Namespace) -> ClipSource:
    labels = arguments.manifest or arguments.labels
    return ClipSource(labels, arguments.audio, arguments.speakers, arguments.cache)


def tell(notes: list[str]) -> None:
    """Notes on stderr, each once and by one process."""
    for note in dict.fromkeys(notes) if is_main_process() else ():
        print(f"note: {note}", file=sys.stderr)


def decoding(files: Iterator) -> Iterator:
    """A progress bar on stderr over the files that are decoded."""
    from tqdm import tqdm

    return tqdm(files, desc="decoding", unit="file", mininterval=5)


@contextmanager
def main_process_first() -> Iterator[None]:
    """The first process decodes, the others find the clips decoded."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    import torch
    from accelerate import PartialState

    with PartialState(cpu=not torch.cuda.is_available()).main_process_first():
        yield


def leave_processes() -> None:
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        from accelerate import PartialState

        PartialState().destroy_process_group()


def add_source(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The arguments that say where clips and labels are."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--manifest", type=Path, metavar="M", help="manifest.jsonl of `vocalburst prepare`")
    group.add_argument(
        "--labels", type=Path, metavar="FILE", help="the task's own label file (see score-predictions)"
    )
    parser.add_argument("--audio", type=Path, metavar="FOLDER", help="sound of the clips of --labels")
    parser.add_argument(
        "--speakers", type=Path, metavar="CSV", help="ids and speakers, where the labels name none"
    )
    parser.add_argument(
        "--cache", type=Path, default=CACHE, metavar="DIR", help=f"decoded waves (default: {CACHE})"
    )


def models_text() -> str:
    """The rows of the registry, for the end of a help text."""
    width = max(map(len, MODELS))
    rows = [
        f"  {name:<{width}}  {row.title}{'; ' if row.needs else ''}{NEEDS[row.needs]}"
        for name, row in MODELS.items()
    ]
    return "\n".join(
        [*rows, "  Local weights: --set pretrained=FOLDER; of mmfusion hubert=FOLDER convnext=FOLDER."]
    )


def tasks_text() -> str:
    return "\n".join(f"  {task.name:<15} {task.title}" for task in TASKS.values())


def main() -> None:
    """Entry point of `vocalburst recognise train` and `python -m vocalburst.eval.recognition.train`."""
    parser = argparse.ArgumentParser(
        prog="vocalburst recognise train",
        description="Train a recognition model on a task and write its folder.",
        epilog=f"models:\n{models_text()}\n\ntasks:\n{tasks_text()}\n\nexamples:\n"
        "  vocalburst recognise train --model cnnatt --task emogator-30 \\\n"
        "      --manifest manifests/emogator/manifest.jsonl --out runs/cnnatt --set lr=0.001\n"
        "  vocalburst recognise train --model egemaps-svr --task avb-high --labels labels/high_info.csv \\\n"
        "      --audio wav/ --speakers labels/data_info.csv --out runs/egemaps",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, choices=MODELS, metavar="NAME", help="one of those below")
    parser.add_argument("--task", required=True, choices=TASKS, metavar="TASK", help="one of those below")
    add_source(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="new folder for the model")
    parser.add_argument(
        "--split-train", default="train", metavar="SPLIT", help="learned from (default: train)"
    )
    parser.add_argument("--split-dev", default="dev", metavar="SPLIT", help="measured on (default: dev)")
    parser.add_argument(
        "--choose-on",
        choices=CHOSEN_ON,
        default="train",
        help="what epochs and settings are chosen on: a tenth of the train speakers (default), the dev split (then "
        "its number is no measure), or nothing",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        type=parse_setting,
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the model",
    )
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="settings of models, such as configs/recognition"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="short for --set epochs=N")
    parser.add_argument("--seed", type=int, default=0, help="of weights, draws and augmentation")
    arguments = parser.parse_args()
    sys.exit(run(lambda: train(arguments)))


if __name__ == "__main__":
    main()
