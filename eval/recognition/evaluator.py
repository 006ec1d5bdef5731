"""A trained recognition model as an evaluator: its folder is a name for `--evaluator`, `--recogniser` or `--selector`.

Shape letters: B clips, L wave sample, D embedding, E emotion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vocalburst.eval.hearing import Evaluator, Heard, weights_hash
from vocalburst.eval.recognition.estimator import FAMILY, RecognitionModel
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.emotions import VOCABULARY, normalise_name

ABOUT_THE_SPEAKER = ("Age", "Country")


class RecognitionEvaluator(Evaluator):
    """Probabilities are those of the classes, or the intensities [0, 1], which do not sum to one.

    A model of a task that names no emotions of the vocabulary (kinds of burst, valence and arousal) only embeds.
    """

    def __init__(self, model: RecognitionModel, weights: str):
        self.model = model
        self.id = f"{FAMILY}-{model.name}-{weights}"
        self.preprocessing = model.preprocessing
        self.dim = model.dim
        self.emotions = emotions_of(model.task)
        self.space = (
            f"The {self.dim}-d embeddings of the recognition model {model.name}, trained on {model.task_name}, with "
            f"the weights {weights}: distances compare with others of the same weights only."
        )

    @classmethod
    def load(cls, folder: Path) -> RecognitionEvaluator:
        return cls(RecognitionModel.load(folder), weights_hash([Path(folder) / "model.safetensors"]))

    def hear(self, waves: Sequence[np.ndarray]) -> Heard:
        heard = self.model.hear(waves)
        if self.emotions is None:
            return Heard(heard.embeddings, None)
        if emotion_classes(self.model.task):
            return Heard(heard.embeddings, heard.probabilities)
        columns = emotion_columns(self.model.task)
        return Heard(heard.embeddings, np.clip(heard.values[:, columns], 0.0, 1.0))


def emotions_of(task: Task) -> tuple[str, ...] | None:
    """Names of the emotions that the answers to a task are about, None where they are about something else."""
    classes = emotion_classes(task)
    if classes:
        return classes
    columns = emotion_columns(task)
    return tuple(normalise_name(task.columns[c].name) for c in columns) or None


def emotion_classes(task: Task) -> tuple[str, ...]:
    """Classes of the only column of a task, if each is a name of the vocabulary."""
    classes = task.columns[0].classes if len(task.columns) == 1 else ()
    return classes if all(name in VOCABULARY for name in classes) else ()


def emotion_columns(task: Task) -> list[int]:
    """Columns of intensities, if each column that is not about the speaker is one of an emotion of the vocabulary."""
    places = [c for c, column in enumerate(task.columns) if column.name not in ABOUT_THE_SPEAKER]
    named = all(
        not task.columns[c].classes and normalise_name(task.columns[c].name) in VOCABULARY for c in places
    )
    return places if named else []
