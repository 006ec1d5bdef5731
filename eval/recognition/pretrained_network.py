"""Pretrained networks of transformers: where their weights are, and how they become parts of a trained model.

What a model that trains them on keeps is the configuration as JSON and all of the weights: it needs the folder no more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vocalburst.eval.hearing import weights_hash
from vocalburst.eval.pretrained import load_network, quiet_transformers, read_json, weight_files
from vocalburst.gen.data.errors import MissingModelError

if TYPE_CHECKING:
    from torch import nn

NEEDED = ("config.json", "preprocessor_config.json", "*.index.json")
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # in the order of `pretrained.weight_files`


def pretrained_folder(spec: str) -> Path:
    """A local folder, or the snapshot of a model on the hub, downloaded where that is allowed.

    Raises MissingModelError when there is neither. HF_HUB_OFFLINE=1 forbids to download.
    """
    if Path(spec).is_dir():
        return Path(spec)
    if spec.count("/") != 1 or spec.startswith((".", "/", "~")):
        raise MissingModelError(
            f"{spec}: no such folder of pretrained weights, nor a hub id such as facebook/hubert-base-ls960"
        )
    return hub_snapshot(spec)


def hub_snapshot(name: str) -> Path:
    """The local snapshot of OWNER/MODEL on the hub, with one kind of weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if not HF_HUB_OFFLINE:
        print(f"{name}: no such folder; looking for it on the hub", file=sys.stderr)
    try:
        for pattern in WEIGHTS:
            folder = Path(snapshot_download(name, allow_patterns=[*NEEDED, pattern]))
            if any(folder.glob(pattern)):
                break
    except Exception as error:  # the hub's own errors, those of requests, and OSError
        reason = "and nothing is downloaded offline" if HF_HUB_OFFLINE else str(error).strip().split("\n")[0]
        raise MissingModelError(
            f"{name}: no such folder, nor a model of the hub at hand ({reason})"
        ) from None
    return folder


def read_network(spec: str, kind: str) -> tuple[nn.Module, Path, str]:
    """The pretrained network of a model_type, its folder, and 12 hex digits of its weights.

    Raises MissingModelError on any damage and for another model_type.
    """
    folder = pretrained_folder(spec)
    found = read_json(folder / "config.json").get("model_type")
    if found != kind:
        raise MissingModelError(f"{folder / 'config.json'}: expected a model_type of {kind}, got {found!r}")
    return load_network(folder).float(), folder, weights_hash(weight_files(folder))


def config_json(network: nn.Module) -> dict:
    """The configuration of a network of transformers as JSON values, without the place where it was read."""
    values = json.loads(network.config.to_json_string(use_diff=False))
    return {key: value for key, value in values.items() if key != "_name_or_path"}


def build_network(config: dict) -> nn.Module:
    """The network of `config_json` with random weights. Raises MissingModelError when there is none like that."""
    from transformers import AutoConfig, AutoModel

    try:
        with quiet_transformers():
            return AutoModel.from_config(AutoConfig.for_model(**config)).float()
    except (TypeError, ValueError, KeyError) as error:
        raise MissingModelError(f"no network of transformers has the stored config ({error})") from None
