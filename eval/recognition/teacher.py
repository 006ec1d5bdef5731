"""What a trained evaluator believes of train clips, as targets for a smaller network (Hinton et al. 2015, section 2).

Shape letters: N clips, E emotions of the teacher, K classes of a task's class column.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from vocalburst.eval.evaluators import load_evaluator
from vocalburst.eval.tasks.columns import Column
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.errors import InputDataError

HEARD_AT_ONCE = 16
SMALLEST = 1e-12  # a probability whose logarithm is still finite


def class_places(column: Column, emotions: Sequence[str]) -> np.ndarray:
    """places [E]: the class of `column` that each emotion counts as, -1 for none."""

    def place(emotion: str) -> int:
        try:
            return int(column.read_class(emotion, "teacher"))
        except InputDataError:
            return -1

    return np.array([place(emotion) for emotion in emotions], dtype=int)


def lacking(task: Task, column: Column, emotions: Sequence[str] | None) -> list[str]:
    """Classes of the task that a teacher of `emotions` (None: without outputs) knows nothing of."""
    known = set() if emotions is None else set(class_places(column, emotions).tolist())
    return [name for k, name in enumerate(column.classes) if k not in known and name not in task.may_lack]


def taught_classes(probabilities: np.ndarray, places: np.ndarray, n_classes: int) -> np.ndarray:
    """[N, K] of probabilities [N, E]: emotions of one class are added, those of no class left out; rows sum to one."""
    classes = np.zeros((len(probabilities), n_classes))
    for e in np.flatnonzero(places >= 0):
        classes[:, places[e]] += probabilities[:, e]
    classes = np.maximum(classes, SMALLEST)
    return classes / classes.sum(axis=1, keepdims=True)


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(z / T) for probabilities softmax(z) [N, K] (Hinton et al. 2015, Eq. 1)."""
    logs = np.log(probabilities) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def teacher_probabilities(spec: str, task: Task, column: Column, waves: Sequence[np.ndarray]) -> np.ndarray:
    """[N, K] of the evaluator `spec` for waves. Raises InputDataError for one that lacks classes of the task."""
    teacher = load_evaluator(spec)
    absent = lacking(task, column, teacher.emotions)
    if absent:
        raise InputDataError(
            f"the teacher {spec} knows {len(column.classes) - len(absent)} of the {len(column.classes)} classes of "
            f"{task.name}, expected all; the first that it lacks is {absent[0]}"
        )
    places = class_places(column, teacher.emotions)
    starts = range(0, len(waves), HEARD_AT_ONCE)
    heard = [
        teacher.listen([waves[i] for i in range(start, min(start + HEARD_AT_ONCE, len(waves)))]).probabilities
        for start in tqdm(starts, desc=f"teacher {spec}", file=sys.stderr, mininterval=5)
    ]
    return taught_classes(np.concatenate(heard), places, len(column.classes))
