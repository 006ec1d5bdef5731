"""All recognition models: a name on the command line -> class and settings.

A class is named by its module, and imported when it is built: `--help` stays fast and optional packages optional.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.gen.data.errors import InputDataError


@dataclass(frozen=True)
class Row:
    """module: under `vocalburst.eval.recognition`; settings: those that the row sets; needs: what a user must bring.

    needs: "" for nothing, "opensmile" for the optional package, "pretrained" for a local folder of weights.
    """

    module: str
    class_name: str
    title: str
    settings: dict = field(default_factory=dict)
    needs: str = ""


def functionals(feature_set: str, head: str, title: str) -> Row:
    settings = {"feature_set": feature_set, "head": head}
    return Row("functionals", "FunctionalsModel", title, settings, "opensmile")


def self_supervised(kind: str, title: str) -> Row:
    return Row("self_supervised", "SelfSupervisedModel", title, {"kind": kind}, "pretrained")


MODELS: dict[str, Row] = {
    "compare-svr": functionals("compare", "svr", "ComParE functionals, support vectors"),
    "compare-lr": functionals("compare", "lr", "ComParE functionals, logistic or ridge regression"),
    "compare-mlp": functionals("compare", "mlp", "ComParE functionals, two-layer perceptron"),
    "egemaps-svr": functionals("egemaps", "svr", "eGeMAPS functionals, support vectors"),
    "egemaps-lr": functionals("egemaps", "lr", "eGeMAPS functionals, logistic or ridge regression"),
    "egemaps-mlp": functionals("egemaps", "mlp", "eGeMAPS functionals, two-layer perceptron"),
    "end2you": Row("end2you", "End2YouModel", "END2YOU: wave frames, convolutions, LSTM"),
    "wav2vec2": self_supervised("wav2vec2", "wav2vec 2.0, mean over time"),
    "hubert": self_supervised("hubert", "HuBERT, mean over time"),
    "wavlm": self_supervised("wavlm", "WavLM, mean over time"),
    "voc2vec": self_supervised("voc2vec", "voc2vec, mean over time"),
    "early-fusion": Row(
        "fusion", "EarlyFusionModel", "Early fusion: embeddings side by side", needs="opensmile"
    ),
    "late-fusion": Row("fusion", "LateFusionModel", "Late fusion: mean of predictions", needs="opensmile"),
    "cnnlstm": Row("cnnlstm", "CnnLstmModel", "CNNLSTM: mel blocks, LSTM"),
    "fcmfcc": Row("fcmfcc", "FcMfccModel", "FCMFCC: MFCC, inception paths, convolutions"),
    "cnnatt": Row("cnnatt", "CnnAttModel", "CNNATT: MFCC, averaged dot attention"),
    "hubert-ft": Row("hubert_ft", "HubertFtModel", "HUBERTFT: HuBERT fine-tuned", needs="pretrained"),
    "mmfusion": Row(
        "mmfusion", "MmFusionModel", "MMFUSION: ConvNeXt, BiLSTM and HuBERT fused", needs="pretrained"
    ),
    "wav2small": Row("wav2small", "Wav2SmallModel", "Wav2Small: distilled into 72 K parameters"),
}


def model_class(name: str) -> type[RecognitionModel]:
    """The class of a row. Raises InputDataError when there is none of that name."""
    if name not in MODELS:
        raise InputDataError(f"unknown recognition model {name!r}; known: {', '.join(MODELS)}")
    row = MODELS[name]
    return getattr(importlib.import_module(f"vocalburst.eval.recognition.{row.module}"), row.class_name)


def build(name: str, task: str, seed: int = 0, **settings) -> RecognitionModel:
    """The model of a row, not fitted; `settings` go before those of the row. Raises InputDataError."""
    cls = model_class(name)
    return cls(task, name=name, seed=seed, **{**MODELS[name].settings, **settings})
