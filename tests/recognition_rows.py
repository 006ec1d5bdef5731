"""Small settings for every row of the recognition models, and clips and labels of one task for all of them.

Shape letters: N clips, C columns of the task.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from conftest import synthetic_burst
from test_pretrained import build_pretrained
from transformers_fixtures import tiny_convnext, tiny_hubert

from vocalburst.eval.tasks.registry import TASKS

TASK = "exvo-multitask"  # ten intensities, an age and a country: every kind of column
NETWORK = {"epochs": 1, "batch_size": 4, "lr": 1e-3}
HUBERT = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}


@cache
def clips(n: int = 8, first_seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Waves of different lengths and labels [N, C] of `TASK`; some intensities and an age are not known."""
    waves = [
        synthetic_burst(first_seed + k, seconds=0.4 + 0.07 * k, pitch=150.0 + 40 * (k % 4)) for k in range(n)
    ]
    rng = np.random.default_rng(first_seed)
    y = np.column_stack([rng.random((n, 10)), rng.uniform(20, 40, n), np.arange(n) % 4])
    y[1, 3] = y[2, 3] = y[3, 10] = np.nan
    assert y.shape[1] == len(TASKS[TASK].columns)
    return waves, y


def speech(kind: str, folder: Path) -> dict:
    build_pretrained(folder, kind)
    return {"pretrained": str(folder), "cache": str(folder.parent / "embeddings")}


def tiny(name: str, folder: Path) -> dict:
    """Settings that make a row small; what it needs is written below `folder`. KeyError for a row without any."""
    features = {"cache": str(folder.parent / "features"), "c_grid": [1e-5]}
    perceptron = {"cache": str(folder.parent / "features"), "epochs": 1, "batch_size": 4, "hidden": 8}
    settings = {
        "compare-svr": lambda: features,
        "compare-lr": lambda: features,
        "compare-mlp": lambda: perceptron,
        "egemaps-svr": lambda: features,
        "egemaps-lr": lambda: features,
        "egemaps-mlp": lambda: perceptron,
        "end2you": lambda: NETWORK,
        "wav2vec2": lambda: speech("wav2vec2", folder / "wav2vec2"),
        "hubert": lambda: speech("hubert", folder / "hubert"),
        "wavlm": lambda: speech("wavlm", folder / "wavlm"),
        "voc2vec": lambda: speech("wav2vec2", folder / "voc2vec"),
        "early-fusion": lambda: {"parts": "egemaps-lr+egemaps-svr", **features},
        "late-fusion": lambda: {"parts": "egemaps-lr+egemaps-svr", "cache": features["cache"]},
        "cnnlstm": lambda: NETWORK,
        "fcmfcc": lambda: NETWORK,
        "cnnatt": lambda: NETWORK,
        "hubert-ft": lambda: {"pretrained": str(tiny_hubert(folder / "ft", **HUBERT)), **NETWORK},
        "mmfusion": lambda: {
            "hubert": str(tiny_hubert(folder / "hubert", **HUBERT)),
            "convnext": str(tiny_convnext(folder / "convnext")),
            "lstm_dim": 4, "heads": 1, "head_channels": 8, "gate_channels": 4, "hidden_dim": 8, **NETWORK,
        },
        "wav2small": lambda: {"channels": [4, 6, 8], "mixed": 8, "embedding_dim": 8, **NETWORK},
    }  # fmt: skip
    return settings[name]()
