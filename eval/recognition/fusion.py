"""Fusion of several models: their features side by side under one head, or the mean of their predictions.

Source: early fusion of MODULATE-SONATA (arXiv 2403.14048, section 3.7, table 10: wav2vec 2.0 and HuBERT), late fusion
of HUME-PROSODY (section 3.2, table 5).

Shape letters: N clips, D features, C columns of the task, K classes, P parts.

Without the setting `parts` the two openSMILE sets are fused, which need no weights. The published pair is
`[{"model": "wav2vec2", "settings": {"pretrained": ...}}, {"model": "hubert", "settings": {"pretrained": ...}}]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat

from vocalburst.eval.recognition.estimator import Answers, RecognitionModel, Settings
from vocalburst.eval.recognition.feature_model import FeatureModel
from vocalburst.eval.recognition.heads import HeadSettings
from vocalburst.eval.recognition.registry import build, model_class
from vocalburst.gen.data.errors import InputDataError, MissingModelError

UNFUSED = ("early-fusion", "late-fusion")  # rows that are no part of another


class Part(BaseModel):
    """model: name of a row; settings: its own, beside those of the row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    settings: dict = Field(default_factory=dict)


def named_parts(value):
    """`"a+b"`, or names among the parts, spelled out."""
    listed = value.split("+") if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)):
        return listed
    return [{"model": part} if isinstance(part, str) else part for part in listed]


Parts = Annotated[tuple[Part, ...], BeforeValidator(named_parts), Field(min_length=2)]
OPENSMILE = (Part(model="compare-lr"), Part(model="egemaps-lr"))


class EarlyFusionSettings(HeadSettings):
    """The head is that of all features together; the heads of the parts are not fitted."""

    parts: Parts = OPENSMILE
    c_grid: tuple[PositiveFloat, ...] = Field((1e-4, 1e-3, 1e-2, 1e-1, 1.0), min_length=1)
    cache: str | None = Field(None, exclude=True)  # of all parts, instead of the place of each


class LateFusionSettings(Settings):
    """refit_on_dev: of all parts, instead of what each of them says."""

    parts: Parts = OPENSMILE
    refit_on_dev: bool | None = None
    cache: str | None = Field(None, exclude=True)


def build_parts(model: RecognitionModel, **shared) -> list[RecognitionModel]:
    """The models of the setting `parts`, not fitted. shared: settings for all of them, where not None.

    Raises InputDataError naming the part.
    """
    built = []
    for part in model.settings.parts:
        if part.model in UNFUSED:
            raise InputDataError(f"{model.name}: {part.model} cannot be a part of a fusion")
        known = model_class(part.model).settings_class.model_fields
        own = {key: value for key, value in shared.items() if value is not None and key in known}
        built.append(build(part.model, model.task_name, model.seed, **{**own, **part.settings}))
    return built


class EarlyFusionModel(FeatureModel):
    title = "Early fusion: features side by side under one head"
    source = "The early fusion of MODULATE-SONATA (arXiv 2403.14048, section 3.7)."
    settings_class = EarlyFusionSettings
    settings: EarlyFusionSettings

    @cached_property
    def parts(self) -> list[FeatureModel]:
        """Raises InputDataError for a part that is no features and a head."""
        parts = build_parts(self, cache=self.settings.cache)
        for part in parts:
            if not isinstance(part, FeatureModel):
                raise InputDataError(
                    f"{self.name}: {part.name} has no features of its own to lay beside others"
                )
        return parts

    @property
    def preprocessing(self) -> str:
        return "+".join(part.preprocessing for part in self.parts)

    def features(self, waves: Sequence[np.ndarray], title: str | None = None) -> np.ndarray:
        return np.concatenate([part.features(waves, title) for part in self.parts], axis=1)

    def space(self) -> dict:
        return {"parts": [part.space() for part in self.parts]}


class LateFusionModel(RecognitionModel):
    """Embeddings are those of the parts side by side."""

    title = "Late fusion: mean of predictions"
    source = "The late fusion of HUME-PROSODY (arXiv 2403.14048, section 3.2)."
    settings_class = LateFusionSettings
    settings: LateFusionSettings

    @cached_property
    def parts(self) -> list[RecognitionModel]:
        return build_parts(self, cache=self.settings.cache, refit_on_dev=self.settings.refit_on_dev)

    @property
    def dim(self) -> int:
        return sum(part.dim for part in self.parts)

    @property
    def preprocessing(self) -> str:
        return "+".join(part.preprocessing for part in self.parts)

    def learn(
        self, waves: Sequence[np.ndarray], y: np.ndarray, dev: tuple[Sequence[np.ndarray], np.ndarray] | None
    ) -> dict:
        for part in self.parts:
            part.training_ = part.learn(waves, y, dev)
        return {"parts": [{"model": part.name, **part.training_} for part in self.parts]}

    def hear(self, waves: Sequence[np.ndarray]) -> Answers:
        heard = [part.hear(waves) for part in self.parts]
        values = np.mean([own.values for own in heard], axis=0)
        probabilities = None
        if self.class_column is not None:
            probabilities = np.mean([own.probabilities for own in heard], axis=0)
            values[:, self.class_column] = probabilities.argmax(axis=1)
        return Answers(np.concatenate([own.embeddings for own in heard], axis=1), values, probabilities)

    def tensors(self) -> dict[str, np.ndarray]:
        return {
            f"part-{place}.{name}": value
            for place, part in enumerate(self.parts)
            for name, value in part.tensors().items()
        }

    def take_tensors(self, tensors: dict[str, np.ndarray]) -> None:
        """Raises MissingModelError in the words of the part that does not fit."""
        for place, part in enumerate(self.parts):
            start = f"part-{place}."
            own = {
                name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
            }
            try:
                part.take_tensors(own)
            except MissingModelError as error:
                raise MissingModelError(f"part {place + 1} of {self.name}: {error}") from None
