"""Tiny random networks of transformers in folders, as `save_pretrained` writes them."""

from __future__ import annotations

import json
from pathlib import Path

import torch


def tiny_hubert(folder: Path, norm: str = "group", normalise: bool = True, **changes) -> Path:
    """A HuBERT whose steps are as long as those of the real ones, 20 ms."""
    from transformers import HubertConfig, HubertModel

    sizes = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "conv_dim": (16, 16, 16), "conv_kernel": (10, 8, 4), "conv_stride": (10, 8, 4),
        "num_feat_extract_layers": 3, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    stable = norm == "layer"
    config = HubertConfig(feat_extract_norm=norm, do_stable_layer_norm=stable, **{**sizes, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(7)
        HubertModel(config).save_pretrained(folder)
    settings = {"sampling_rate": 16_000, "do_normalize": normalise}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def tiny_convnext(folder: Path, **changes) -> Path:
    from transformers import ConvNextConfig, ConvNextModel

    sizes = {"hidden_sizes": [4, 8, 8, 16], "depths": [1, 1, 1, 1], "layer_scale_init_value": 0.1}
    with torch.random.fork_rng():
        torch.manual_seed(8)
        ConvNextModel(ConvNextConfig(**{**sizes, **changes})).save_pretrained(folder)
    return folder
