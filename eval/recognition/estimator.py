"""What every recognition model is, by the conventions of scikit-learn.

The constructor only stores; `fit` returns self; what is learned ends in an underscore; equal seeds give equal models.
`waves` is anything with len() and [i] that gives waves [L] (float32 mono at `audio.SAMPLE_RATE`, any lengths), such as
a list or a `WaveStore`. y [N, C] holds the columns of the task in its order: a class as its index, NaN where a clip is
not labelled. A clip gets the same answer alone and beside any others.

On disk a model is a folder: `config.json`, `model.safetensors`, `README.md`.

Shape letters: N clips, L wave sample, C columns of the task, K classes of its class column, D embedding.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

from vocalburst.eval.tasks.columns import Column
from vocalburst.eval.tasks.registry import TASKS, Task
from vocalburst.eval.tasks.scoring import score
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.data.manifest import first_problem

FORMAT = "vocalburst-recognition-1"
FAMILY = "recognition"  # in config.json, where a recogniser of `eval.recogniser` names its own


class Settings(BaseModel):
    """Settings of a model; a subclass adds its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, eq=False)
class Answers:
    """embeddings [N, D] float32; values [N, C] float64 as in y; probabilities [N, K] of the class column, or None."""

    embeddings: np.ndarray
    values: np.ndarray
    probabilities: np.ndarray | None


class RecognitionModel(ABC):
    """Base of all models; a subclass sets the class attributes and writes what is abstract.

    name: key of the registry (a row may share its class with others); title: of the card; source: the paper.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    settings_class: ClassVar[type[Settings]] = Settings

    def __init__(self, task: str, *, name: str, seed: int = 0, **settings):
        if task not in TASKS:
            raise InputDataError(f"unknown task {task!r}; known: {', '.join(TASKS)}")
        try:
            self.settings = self.settings_class(**settings)
        except ValidationError as error:
            raise InputDataError(f"settings of {name}: {first_problem(error)}") from None
        self.name, self.task_name, self.seed = name, task, seed
        self.training_: dict = {}

    @property
    def task(self) -> Task:
        return TASKS[self.task_name]

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.task.columns

    @property
    def class_column(self) -> int | None:
        """Place of the column that names a class, None in a task without one."""
        return next((c for c, column in enumerate(self.columns) if column.classes), None)

    @property
    @abstractmethod
    def dim(self) -> int:
        """D. Known after `fit` or `load`."""

    @property
    @abstractmethod
    def preprocessing(self) -> str:
        """An id of all that is done to a wave before the model; another id, another space."""

    @abstractmethod
    def learn(
        self, waves: Sequence[np.ndarray], y: np.ndarray, dev: tuple[Sequence[np.ndarray], np.ndarray] | None
    ) -> dict:
        """Learn from y [N, C]; returns what the card should say of it (JSON values)."""

    @abstractmethod
    def hear(self, waves: Sequence[np.ndarray]) -> Answers:
        """Answers for all waves."""

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """All that was learned."""

    @abstractmethod
    def take_tensors(self, tensors: dict[str, np.ndarray]) -> None:
        """Take over what `tensors` gave. Raises KeyError or ValueError for others."""

    def fit(
        self,
        waves: Sequence[np.ndarray],
        y: np.ndarray,
        dev: tuple[Sequence[np.ndarray], np.ndarray] | None = None,
    ) -> RecognitionModel:
        """Learn y [N, C] (or [N]) of waves. dev: clips of other speakers, for stopping and for choosing settings.

        Raises InputDataError for labels out of range, another number of them than of waves, and a class without a clip.
        """
        y = self.checked(waves, y, "train")
        if dev is not None:
            dev = (dev[0], self.checked(dev[0], dev[1], "dev"))
        self.training_ = self.learn(waves, y, dev)
        return self

    def checked(self, waves: Sequence[np.ndarray], y: np.ndarray, split: str) -> np.ndarray:
        y = np.asarray(y, dtype=np.float64)
        y = y[:, None] if y.ndim == 1 else y
        if y.shape != (len(waves), len(self.columns)):
            raise InputDataError(
                f"{split}: expected labels of the shape {(len(waves), len(self.columns))}, got {y.shape}"
            )
        for values, column in zip(y.T, self.columns, strict=True):
            known = values[~np.isnan(values)]
            low, high = (0, len(column.classes) - 1) if column.classes else column.bounds
            outside = known[(known < low) | (known > high)]
            if len(outside):
                raise InputDataError(f"{split}, {column.name}: {outside[0]:g} is outside {low:g} to {high:g}")
            if column.classes and (known % 1).any():
                between = known[known % 1 > 0][0]
                raise InputDataError(f"{split}, {column.name}: {between:g} is no place of a class")
            if not len(known):
                raise InputDataError(f"{split}: no clip has a label of {column.name}")
            if column.classes and split == "train":
                found = set(known.astype(int))
                lacking = [
                    n for k, n in enumerate(column.classes)
                    if k not in found and n not in self.task.may_lack
                ]  # fmt: skip
                if lacking:
                    raise InputDataError(f"{split}: no clip of the class {lacking[0]} of {column.name}")
        return y

    def predict(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """[N, C], as y."""
        return self.hear(waves).values

    def predict_proba(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """[N, K] of the class column; rows sum to one. Raises InputDataError in a task without one."""
        if self.class_column is None:
            raise InputDataError(f"{self.task_name} has no class column, so there are no probabilities")
        return self.hear(waves).probabilities

    def embed(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """[N, D] float32."""
        return self.hear(waves).embeddings

    def score(self, waves: Sequence[np.ndarray], y: np.ndarray) -> float | None:
        """The headline number of the task; None where it is undefined."""
        y = self.checked(waves, y, "test")
        rows = score(self.task, y, self.predict(waves), None, resamples=1)
        return next(row.value for row in rows if row.measure == self.task.headline)

    def save(self, folder: str | Path, card: str = "") -> None:
        """Write the folder. `card` is its README."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "format": FORMAT,
            "family": FAMILY,
            "model": self.name,
            "task": self.task_name,
            "seed": self.seed,
            "settings": self.settings.model_dump(mode="json"),
            "training": self.training_,
        }
        write_file(folder / "model.safetensors", to_safetensors(self.tensors()))
        write_file(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())
        write_file(folder / "README.md", (card or f"# {self.title}\n\n{self.source}\n").encode())

    @classmethod
    def load(cls, folder: str | Path) -> RecognitionModel:
        """Read a folder written by `save`; the class is the one that its config.json names.

        Raises MissingModelError on any damage.
        """
        from vocalburst.eval.recognition.registry import build

        path = Path(folder) / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            if config["format"] != FORMAT:
                raise MissingModelError(f"{path}: expected the format {FORMAT}, got {config['format']!r}")
            model = build(config["model"], config["task"], config["seed"], **config["settings"])
            model.training_ = config["training"]
        except InputDataError as error:
            raise MissingModelError(f"{path}: {error}") from None
        except OSError as error:
            raise MissingModelError(f"{path}: cannot be read ({error.strerror})") from None
        except (KeyError, TypeError, ValueError):
            raise MissingModelError(f"{path}: is not the config of a recognition model") from None
        path = path.with_name("model.safetensors")
        try:
            model.take_tensors(load_file(path))
        except MissingModelError:  # of a place or package beside the tensors, said better there
            raise
        except OSError as error:
            raise MissingModelError(f"{path}: cannot be read ({error.strerror or error})") from None
        except SafetensorError as error:
            raise MissingModelError(f"{path}: is no safetensors file ({error})") from None
        except (KeyError, ValueError, RuntimeError):
            raise MissingModelError(f"{path}: its tensors are not those that config.json names") from None
        return model
