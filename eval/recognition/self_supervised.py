"""Self-supervised speech networks as fixed features: the mean of the last layer over time, and a head.

Source: the baseline of MODULATE-SONATA (arXiv 2403.14048, section 3.7): wav2vec 2.0 and HuBERT, logistic regression
with C of .001, .01, .1 and 1 chosen on dev, refitted on train and dev; and of HUME-PROSODY (section 3.2), with support
vectors. WavLM and voc2vec (arXiv 2502.16298, a wav2vec 2.0 network) join them.

Shape letters: N clips, L wave sample, D features.

A clip is heard as `eval.pretrained` hears it: its voice-active part at 16 kHz, alone and unpadded. The weights stay
where they are; a saved model holds the name of their place and their hash, and is refused with others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from vocalburst.eval.embedding_cache import EmbeddingCache
from vocalburst.eval.pretrained import PretrainedEvaluator
from vocalburst.eval.recognition.feature_cache import cached_features, one_by_one
from vocalburst.eval.recognition.feature_model import FeatureModel
from vocalburst.eval.recognition.heads import HeadSettings
from vocalburst.eval.recognition.pretrained_network import pretrained_folder
from vocalburst.gen.data.errors import MissingModelError


class SelfSupervisedSettings(HeadSettings):
    """As published, but for `pretrained`, which a user must name."""

    kind: Literal["wav2vec2", "hubert", "wavlm", "voc2vec"] = "wav2vec2"
    pretrained: str = ""  # local folder as transformers saves it, or the name of a model on the hub
    head: Literal["lr", "svr"] = "lr"
    refit_on_dev: bool = True
    cache: str | None = Field("cache/ssl", exclude=True)  # folder of embeddings, None keeps nothing


class SelfSupervisedModel(FeatureModel):
    title = "Mean over time of a self-supervised network and a head"
    source = "The baselines of MODULATE-SONATA and HUME-PROSODY (arXiv 2403.14048, sections 3.7 and 3.2)."
    settings_class = SelfSupervisedSettings
    settings: SelfSupervisedSettings

    @cached_property
    def network(self) -> PretrainedEvaluator:
        """Raises MissingModelError in one sentence when it is not there, damaged, or of another kind."""
        if not self.settings.pretrained:
            raise MissingModelError(
                f"{self.name} needs the setting pretrained: a folder with config.json, preprocessor_config.json and "
                "weights, or the name of a model on the hub"
            )
        folder = pretrained_folder(self.settings.pretrained)
        network = PretrainedEvaluator.load(folder)
        expected = "wav2vec2" if self.settings.kind == "voc2vec" else self.settings.kind
        came = network.id.partition("-")[0]
        if came != expected:
            raise MissingModelError(
                f"{folder / 'config.json'}: {self.settings.kind} needs a model_type of {expected}, got {came}"
            )
        return network

    @cached_property
    def cache(self) -> EmbeddingCache:
        place = self.settings.cache
        return EmbeddingCache(None if place is None else Path(place), self.network)

    @property
    def preprocessing(self) -> str:
        return self.network.preprocessing

    def features(self, waves: Sequence[np.ndarray], title: str | None = None) -> np.ndarray:
        compute = partial(one_by_one, self.network.embed)
        return cached_features(waves, self.cache, self.network.dim, compute, title)

    def space(self) -> dict:
        what = f"the weights {self.network.id} in {self.settings.pretrained}"
        return {"what": what, "names": [str(place) for place in range(self.network.dim)]}
