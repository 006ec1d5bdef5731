"""What stands in a benchmark: rows of the registry, folders of trained models, and evaluators that ship.

A row is trained, or loaded where the same training is there already. Folders and evaluators come as they are, so they
must have been trained on the train split of the same labels.

Shape letters: N clips, C columns of the task, K classes.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocalburst.eval.recognition.estimator import Answers, RecognitionModel
from vocalburst.eval.recognition.model_settings import read_settings
from vocalburst.eval.recognition.registry import MODELS, build
from vocalburst.eval.recognition.training_run import RUN
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.errors import InputDataError, MissingModelError

ALL = "all"
EVALUATOR = "evaluator:"
HEARD_AT_ONCE = 64


@dataclass(frozen=True)
class Contestant:
    """name: as the user wrote it; settings: of a row of the registry, None for what is trained already."""

    name: str
    settings: dict | None = None

    @property
    def is_evaluator(self) -> bool:
        return self.name.startswith(EVALUATOR)

    @property
    def is_folder(self) -> bool:
        return self.settings is None and not self.is_evaluator


def contestants(
    task: Task, models: str, config: Path | None, seed: int
) -> tuple[list[Contestant], list[str]]:
    """Those that `--models` names, and a sentence for each row that "all" leaves out.

    Raises InputDataError for a name that is no row, folder or evaluator, one that stands there twice, and settings that
    a row does not have.
    """
    settings = read_settings(config) if config else {}
    named = [name.strip() for name in models.split(",") if name.strip()]
    chosen: list[Contestant] = []
    left_out: list[str] = []
    for name in named:
        if name == ALL:
            for row in MODELS:
                reason = None if row in settings else reason_to_leave_out(task, row, seed)
                if reason:
                    left_out.append(f"{row} is left out: {reason}")
                else:
                    chosen.append(Contestant(row, settings.get(row, {})))
        elif name in MODELS:
            chosen.append(Contestant(name, settings.get(name, {})))
        elif name.startswith(EVALUATOR) or Path(name).is_dir():
            chosen.append(Contestant(name))
        else:
            raise InputDataError(
                f"--models: {name!r} is no recognition model, folder of one or evaluator:NAME; known: {ALL}, "
                f"{', '.join(MODELS)}"
            )
    names = [contestant.name for contestant in chosen]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice or not names:
        raise InputDataError(f"--models: {twice} stands there twice" if twice else "--models: names no model")
    return chosen, left_out


def reason_to_leave_out(task: Task, name: str, seed: int) -> str | None:
    """Why "all" cannot have a row of which the user says nothing."""
    try:
        model = build(name, task.name, seed)
    except InputDataError as error:
        return str(error)
    parts = getattr(model.settings, "parts", ())  # of a fusion
    needs = {MODELS[row].needs for row in (name, *(part.model for part in parts))}
    if "pretrained" in needs:
        return "it needs a local folder of weights, named in --config"
    if "opensmile" in needs and importlib.util.find_spec("opensmile") is None:
        return "it needs the package opensmile"
    return None


def load_trained(folder: Path, task: Task, labels_sha256: str, train: str) -> RecognitionModel:
    """A model of `recognise train`. Raises InputDataError for one of another task, other labels or another split."""
    model = RecognitionModel.load(folder)
    own = model.training_.get(RUN, {}).get("identity", {})
    for what, expected in (("task", task.name), ("labels_sha256", labels_sha256), ("train", train)):
        if own.get(what) != expected:
            raise InputDataError(f"{folder}: was trained with {what} {own.get(what)}, expected {expected}")
    return model


class EvaluatorContestant:
    """An evaluator with the answers of a recognition model: classes take the probabilities of what counts as them."""

    def __init__(self, name: str, task: Task, labels_sha256: str):
        """name: `evaluator:emo18`. Raises InputDataError for one that names no emotions or learned from other clips."""
        from vocalburst.eval.evaluators import load_evaluator, shipped_folder

        spec = name.removeprefix(EVALUATOR)
        self.task, self.name, self.title = task, name, f"evaluator {spec}"
        self.evaluator = load_evaluator(spec)
        folder = Path(spec) if Path(spec).is_dir() else shipped_folder(spec.partition(":")[0])
        column = task.columns[0]
        if self.evaluator.emotions is None or len(task.columns) > 1 or not column.classes:
            raise InputDataError(f"{name}: names no emotions of {task.name}, so it cannot stand in the table")
        meant = [column.named(emotion, name) for emotion in self.evaluator.emotions]
        self.counts = np.array(
            [[own == other for own in column.classes] for other in meant], dtype=np.float64
        )
        self.training = read_training(folder)
        known = self.training.get("manifest_sha256")
        if known != labels_sha256:
            raise InputDataError(f"{name}: was trained with labels_sha256 {known}, expected {labels_sha256}")

    def hear(self, waves: Sequence[np.ndarray]) -> Answers:
        parts = [
            self.evaluator.listen([waves[i] for i in range(start, min(start + HEARD_AT_ONCE, len(waves)))])
            for start in range(0, len(waves), HEARD_AT_ONCE)
        ]
        probabilities = np.concatenate([part.probabilities for part in parts]) @ self.counts
        values = probabilities.argmax(axis=1).astype(np.float64)[:, None]
        return Answers(np.concatenate([part.embeddings for part in parts]), values, probabilities)

    @property
    def parameters(self) -> int | None:
        recogniser = getattr(self.evaluator, "recogniser", None)
        return None if recogniser is None else sum(p.numel() for p in recogniser.parameters())


def read_training(folder: Path) -> dict:
    """The section `training` of a recogniser's config.json."""
    path = folder / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["training"]
    except (OSError, ValueError, KeyError, TypeError):
        raise MissingModelError(f"{path}: tells nothing of how the evaluator was trained") from None
