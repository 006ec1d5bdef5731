"""The evaluators there are, and how a name on the command line becomes one.

    emo18, logmel      ship with the package (checkpoints/evaluators); "default" is both
    FOLDER             a recogniser of `eval.train_recogniser`, or a model of `vocalburst recognise train`
    NAME:FOLDER        the weights in FOLDER, read by the evaluator of that name; ssl:FOLDER is a pretrained
                       wav2vec 2.0, HuBERT or WavLM

Nothing is ever downloaded. Two evaluators are two spaces: their numbers are not to be compared.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vocalburst.eval.hearing import Evaluator, Heard, weights_hash
from vocalburst.eval.pretrained import PretrainedEvaluator
from vocalburst.eval.recognition.evaluator import RecognitionEvaluator
from vocalburst.gen.data.errors import InputDataError, MissingModelError

if TYPE_CHECKING:
    from vocalburst.eval.recogniser import Recogniser

__all__ = [
    "DEFAULT",
    "EVALUATORS",
    "Evaluator",
    "Heard",
    "load_evaluator",
    "load_evaluators",
    "register_evaluator",
]


class RecogniserEvaluator(Evaluator):
    """A recogniser of this project; subclasses name the family that they accept."""

    family: ClassVar[str]
    network: ClassVar[str]  # what it is, for the sentence about its space

    def __init__(self, recogniser: Recogniser, weights: str):
        self.recogniser = recogniser
        self.id = f"{self.family}-{weights}"
        self.preprocessing = recogniser.preprocessing
        self.dim = recogniser.dim
        self.emotions = recogniser.config.emotions
        self.space = (
            f"The {self.dim}-d embeddings of {self.network} with the weights {weights}: distances compare with "
            "others of the same weights only, and not with the official ones of ExVo 2022."
        )

    @classmethod
    def load(cls, folder: Path) -> RecogniserEvaluator:
        from vocalburst.eval.recogniser import Recogniser

        recogniser = Recogniser.load(folder)
        if recogniser.family != cls.family:
            raise MissingModelError(
                f"{folder}: holds a recogniser of the family {recogniser.family}, expected {cls.family}"
            )
        return cls(recogniser, weights_hash([folder / "model.safetensors"]))

    def hear(self, waves: Sequence[np.ndarray]) -> Heard:
        embeddings = self.recogniser.embed_waves(waves)
        return Heard(embeddings.float().numpy(), self.recogniser.probabilities_of(embeddings))


class Emo18Evaluator(RecogniserEvaluator):
    family = "emo18"
    network = "an Emo18 network (wave frames, convolutions, LSTM)"


class LogMelEvaluator(RecogniserEvaluator):
    family = "logmel"
    network = "a log-mel network (two-dimensional convolutions, attentive pooling)"


# Name -> class. Other systems' networks join with `register_evaluator`.
EVALUATORS: dict[str, type[Evaluator]] = {
    "emo18": Emo18Evaluator,
    "logmel": LogMelEvaluator,
    "ssl": PretrainedEvaluator,
    "recognition": RecognitionEvaluator,
}
DEFAULT = ("emo18", "logmel")


def register_evaluator(name: str, evaluator: type[Evaluator]) -> None:
    """Make NAME:FOLDER known. Raises ValueError for a name that is taken or unusable, or another kind of class."""
    if not (isinstance(evaluator, type) and issubclass(evaluator, Evaluator)):
        raise ValueError(f"expected a subclass of Evaluator for {name!r}, got {evaluator!r}")
    if not name.replace("-", "").replace("_", "").isalnum() or name == "default":
        raise ValueError(f"expected a name of letters, digits, - and _ that is not 'default', got {name!r}")
    if name in EVALUATORS:
        raise ValueError(f"the evaluator {name!r} is {EVALUATORS[name].__name__} already")
    EVALUATORS[name] = evaluator


def shipped_folder(name: str) -> Path:
    return Path(str(files("vocalburst.checkpoints"))) / "evaluators" / name


def load_evaluator(spec: str | Path) -> Evaluator:
    """The evaluator that a name, a folder or NAME:FOLDER stands for; see the module.

    Raises MissingModelError when there is none or its weights are damaged.
    """
    name, _, folder = str(spec).partition(":")
    if name in EVALUATORS and folder:
        return EVALUATORS[name].load(Path(folder))
    if spec in EVALUATORS:  # not a Path: a folder of that name in the working directory is ./NAME
        if not shipped_folder(name).is_dir():
            raise MissingModelError(f"the evaluator {name} ships no weights; expected {name}:FOLDER")
        return EVALUATORS[name].load(shipped_folder(name))
    if not Path(spec).is_dir():
        named = ", ".join((*DEFAULT, *(f"{known}:FOLDER" for known in EVALUATORS if known not in DEFAULT)))
        raise MissingModelError(f"{spec}: is no evaluator; expected {named}, or the folder of a recogniser")
    return EVALUATORS[family_of(Path(spec))].load(Path(spec))


def family_of(folder: Path) -> str:
    """The family that a recogniser's config.json names. Raises MissingModelError when it names none."""
    path = folder / "config.json"
    try:
        family = json.loads(path.read_text(encoding="utf-8"))["family"]
    except OSError as error:
        raise MissingModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise MissingModelError(
            f"{path}: is not the config of a recogniser; a pretrained model is named ssl:FOLDER"
        ) from None
    if family not in EVALUATORS:
        raise MissingModelError(f"{path}: unknown family {family!r}; known: {', '.join(EVALUATORS)}")
    return family


def load_evaluators(specs: Sequence[str | Path]) -> list[Evaluator]:
    """Several evaluators in the order named; "default" stands for the two that ship.

    Raises InputDataError when two of them are the same network, which would count as one opinion twice.
    """
    expanded = [part for spec in specs for part in (DEFAULT if str(spec) == "default" else (spec,))]
    if not expanded:
        raise InputDataError("expected at least one evaluator, got none")
    evaluators: dict[str, Evaluator] = {}
    for spec in expanded:
        evaluator = load_evaluator(spec)
        if evaluator.id in evaluators:
            raise InputDataError(
                f"the evaluator {evaluator.id} is named twice in {', '.join(map(str, specs))}"
            )
        evaluators[evaluator.id] = evaluator
    return list(evaluators.values())
