"""A recognition model that is a head on fixed features of whole clips.

Shape letters: N clips, L wave sample, D features, C columns of the task.

The features themselves are not learned, but a head fits the ones that it was fitted on alone. So the model's tensors
carry a description of the feature space, and are refused where another space is at hand.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from vocalburst.eval.recognition.estimator import Answers, RecognitionModel
from vocalburst.eval.recognition.heads import HeadSettings, Labelled, LinearHead, fit_linear_head
from vocalburst.eval.recognition.perceptron import PerceptronHead, fit_perceptron
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.errors import MissingModelError

SPACE = "feature_space"  # name of the tensor that holds the description: JSON as bytes


class FeatureModel(RecognitionModel):
    """A subclass writes `features`, `space` and `preprocessing`; its settings are a `HeadSettings`."""

    settings_class = HeadSettings
    settings: HeadSettings

    def __init__(self, task: str, *, name: str, seed: int = 0, **settings):
        super().__init__(task, name=name, seed=seed, **settings)
        self.head_: LinearHead | PerceptronHead | None = None

    @abstractmethod
    def features(self, waves: Sequence[np.ndarray], title: str | None = None) -> np.ndarray:
        """[N, D] float32 of waves [L]. title: of a progress bar, None shows none."""

    @abstractmethod
    def space(self) -> dict:
        """What the D features are (JSON values): equal descriptions, equal features."""

    @property
    def head(self) -> LinearHead | PerceptronHead:
        if self.head_ is None:
            raise ValueError(f"{self.name} is not fitted; call fit or load first")
        return self.head_

    @property
    def dim(self) -> int:
        return self.head.dim

    def learn(
        self, waves: Sequence[np.ndarray], y: np.ndarray, dev: tuple[Sequence[np.ndarray], np.ndarray] | None
    ) -> dict:
        train = (self.features(waves, f"{self.name}: train features"), y)
        held = None if dev is None else (self.features(dev[0], f"{self.name}: dev features"), dev[1])
        self.head_, report = fit_head(self.task, self.settings, self.seed, train, held)
        return report

    def hear(self, waves: Sequence[np.ndarray]) -> Answers:
        return self.head.hear(self.features(waves))

    def tensors(self) -> dict[str, np.ndarray]:
        described = np.frombuffer(json.dumps(self.space()).encode(), np.uint8)
        return self.head.tensors() | {SPACE: described}

    def take_tensors(self, tensors: dict[str, np.ndarray]) -> None:
        """Raises MissingModelError for features other than those that are at hand here."""
        stored = json.loads(tensors[SPACE].tobytes())
        own = {name: value for name, value in tensors.items() if name != SPACE}
        head = (PerceptronHead if self.settings.head == "mlp" else LinearHead).take(self.task, own)
        difference = space_difference(stored, self.space())
        if difference:
            raise MissingModelError(f"{self.name}: {difference}")
        self.head_ = head


def fit_head(
    task: Task, settings: HeadSettings, seed: int, train: Labelled, dev: Labelled | None
) -> tuple[LinearHead | PerceptronHead, dict]:
    """A head for features [N, D] and labels [N, C] of train, and what the card should say of it."""
    if settings.head == "mlp":
        return fit_perceptron(task, settings, seed, train, dev)
    return fit_linear_head(task, settings, train, dev)


def space_difference(stored: dict, own: dict) -> str | None:
    """In what a model's feature space is another one than that at hand, in a sentence; None if in nothing.

    Both have `what` (a name for the reader) and `names` (of the features, in order), perhaps `parts` (such spaces).
    """
    if len(stored.get("parts", ())) == len(own.get("parts", ())) > 0:
        pairs = zip(stored["parts"], own["parts"], strict=True)
        return next((text for one, other in pairs if (text := space_difference(one, other))), None)
    if stored["what"] != own["what"] or len(stored["names"]) != len(own["names"]):
        return (
            f"expected the {len(stored['names'])} features of {stored['what']} that the model was trained on, got "
            f"the {len(own['names'])} of {own['what']}"
        )
    for place, (expected, came) in enumerate(zip(stored["names"], own["names"], strict=True)):
        if expected != came:
            return f"feature {place} of {own['what']} is {came}, expected {expected} as in training"
    return None
