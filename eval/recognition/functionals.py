"""The feature baselines of the competitions: openSMILE functionals of a whole clip and a head.

Source: the ComParE and eGeMAPS rows of ExVo 2022 (arXiv 2205.01780), A-VB 2022 (arXiv 2207.03572) and ComParE 2023, as
collected in arXiv 2403.14048, tables 5 to 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat

from vocalburst.eval.recognition.feature_model import FeatureModel
from vocalburst.eval.recognition.heads import HeadSettings
from vocalburst.eval.recognition.opensmile_features import SETS, OpenSmile, preprocessing


class FunctionalsSettings(HeadSettings):
    """The grid reaches far down: thousands of features of a few thousand clips want much penalty."""

    feature_set: Literal["compare", "egemaps"] = "compare"
    part: Literal["whole", "active"] = "whole"  # of a clip; active leaves out the silence at its edges
    c_grid: tuple[PositiveFloat, ...] = Field((1e-5, 1e-4, 1e-3, 1e-2), min_length=1)
    balanced: bool = True
    # Not of the model but of the place where it runs, so they are not saved with it.
    cache: str | None = Field("cache/opensmile", exclude=True)  # folder of features, None keeps nothing
    workers: int = Field(1, ge=1, exclude=True)  # processes that extract


class FunctionalsModel(FeatureModel):
    title = "openSMILE functionals and a head"
    source = (
        "The feature baselines of ExVo 2022 (arXiv 2205.01780), A-VB 2022 (arXiv 2207.03572) and ComParE 2023. The "
        "features are openSMILE's, which is free for private, research and educational use only."
    )
    settings_class = FunctionalsSettings
    settings: FunctionalsSettings

    @cached_property
    def extractor(self) -> OpenSmile:
        """Raises MissingModelError without the package."""
        s = self.settings
        return OpenSmile(s.feature_set, s.part, cache=s.cache, workers=s.workers)

    @property
    def preprocessing(self) -> str:
        return f"{preprocessing(self.settings.part)}_{SETS[self.settings.feature_set]}"

    def features(self, waves: Sequence[np.ndarray], title: str | None = None) -> np.ndarray:
        return self.extractor.extract(waves, title)

    def space(self) -> dict:
        return {
            "what": f"openSMILE's {SETS[self.settings.feature_set]}",
            "names": list(self.extractor.names),
        }
