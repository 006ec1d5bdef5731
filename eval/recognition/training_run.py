"""One training of a recognition model: what it heard, what it cost, and a folder that is whole or not there.

Shape letters: N clips, C columns of the task.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.labelled_clips import LabelledClips
from vocalburst.eval.recognition.speaker_folds import held_out
from vocalburst.eval.tasks.registry import Task
from vocalburst.eval.tasks.scoring import Score, score, uninformed
from vocalburst.gen.data.errors import InputDataError, MissingModelError

RUN = "run"  # section of `training` in config.json
CHOSEN_ON = {
    "train": "a tenth of the train speakers, held out",
    "dev": "the clips that it is measured on",
    "nothing": "nothing",
}  # what epochs and settings are chosen on -> in words, for the card


def is_main_process() -> bool:
    """Whether this process is the one that writes, under `accelerate launch` too."""
    return int(os.environ.get("RANK", 0)) == 0


def chosen_on(clips: LabelledClips) -> tuple[LabelledClips, LabelledClips]:
    """Train clips, and those of the train speakers that are held out; clips count as speakers where none is named."""
    apart = held_out(clips.speakers or clips.ids)
    return clips.take(np.flatnonzero(~apart)), clips.take(np.flatnonzero(apart))


def fit(model: RecognitionModel, train: LabelledClips, choose: LabelledClips | None) -> float:
    """Train a model; returns the seconds of CPU that it took. An error about one clip names it."""
    started = time.process_time()  # a shared machine's clock says little about the cost
    dev = (choose.waves, choose.y) if choose else None
    try:
        model.fit(train.waves, train.y, dev)
    except MissingModelError:
        raise
    except InputDataError as error:
        raise with_clip_name(error, model, [train, *([choose] if choose else [])]) from None
    return time.process_time() - started


def with_clip_name(
    error: InputDataError, model: RecognitionModel, sets: Sequence[LabelledClips]
) -> InputDataError:
    """The same error, beginning with the id of the clip that it is about, where it is about one."""
    text, features = str(error), getattr(model, "features", None)
    numbered = re.fullmatch(r"wave (\d+): (.*)", text)
    if numbered:
        text = numbered[2]
        if len(sets) == 1:
            return InputDataError(f"{sets[0].ids[int(numbered[1])]}: {text}")
    for clips in sets if features else ():
        for index, name in enumerate(clips.ids):
            try:
                features(clips.waves[index])
            except InputDataError as own:
                if str(own) == text:
                    return InputDataError(f"{name}: {text}")
    return error


def identity(model: RecognitionModel, labels_sha256: str, train: str, choose: str) -> dict:
    """What makes two trainings the same one."""
    return {
        "model": model.name,
        "task": model.task_name,
        "settings": model.settings.model_dump(mode="json"),
        "seed": model.seed,
        "labels_sha256": labels_sha256,
        "train": train,
        "choose_on": choose,
    }


def difference(expected: dict, found: dict) -> str | None:
    """In words, the first thing in which a training is not the expected one."""
    flat = [
        {**{key: value for key, value in one.items() if key != "settings"}, **one.get("settings", {})}
        for one in (expected, found)
    ]
    for key in {**flat[0], **flat[1]}:
        own, other = (one.get(key) for one in flat)
        if own != other:
            return f"{key} {other}, expected {own}"
    return None


def describe_clips(clips: LabelledClips | None) -> dict | None:
    return (
        None if clips is None else {"split": clips.split, "clips": len(clips), "speakers": clips.n_speakers}
    )


def record(
    model: RecognitionModel,
    own: dict,
    clips: dict[str, LabelledClips | None],
    cpu_seconds: float,
    scores: Sequence[Score],
) -> None:
    """Write into the model's `training_` how it came about. clips: train, choose and measured; scores: of these."""
    model.training_ = {
        **model.training_,
        RUN: {
            "identity": own,
            **{name: describe_clips(part) for name, part in clips.items()},
            "cpu_seconds": round(cpu_seconds, 1),
            "parameters": parameters(model),
            "refitted": clips["choose"] is not None and refits(model),
            "chance": uninformed(model.task, clips["measured"].y).get(model.task.headline),
            "scores": [asdict(one) for one in scores],
        },
    }


def parameters(model: RecognitionModel) -> int:
    """How many numbers were learned."""
    network = getattr(model, "network_", None)
    if network is not None:
        return sum(parameter.numel() for parameter in network.parameters())
    return sum(int(value.size) for value in model.tensors().values())


def refits(model: RecognitionModel) -> bool:
    """Whether a model, its settings chosen, is fitted again on the clips that chose them as well."""
    own = getattr(model.settings, "refit_on_dev", False)
    if own is None:  # a fusion that leaves it to its parts
        return any(refits(part) for part in model.parts)
    return own


def epochs_of(model: RecognitionModel) -> int | None:
    """Epochs that were trained; None of a model that has none."""
    history = model.training_.get("history")
    return len(history) if isinstance(history, list) else None


def scored(task: Task, y: np.ndarray, predicted: np.ndarray, speakers: Sequence[str] | None) -> list[Score]:
    """Scores of predictions [N, C] with intervals over speakers, the headline of the task first."""
    rows = score(task, y, predicted, speakers)
    return sorted(rows, key=lambda row: row.measure != task.headline)


def check_new(out: Path) -> None:
    """Raise InputDataError unless nothing stands where a model is to be written."""
    if (out / "config.json").exists():
        raise InputDataError(f"{out}: holds a model already, expected a new folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputDataError(f"{out}: is not empty, expected a new folder")


def save_whole(model: RecognitionModel, out: Path, card: str) -> None:
    """Write a model's folder under another name and rename it: an interrupted run leaves no half of one."""
    part = out.with_name(f".{out.name}.part")
    if part.exists():
        shutil.rmtree(part)
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(part, card)
    part.replace(out)
