"""Pretrained networks of transformers as parts of a model that is trained on: from a folder or the hub, then our own.

What a trained model keeps is the configuration as JSON and all of the weights, so it needs the folder no more.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from vocalburst.eval.hearing import weights_hash
from vocalburst.eval.pretrained import load_network, quiet_transformers, read_json, weight_files
from vocalburst.gen.data.errors import MissingModelError

if TYPE_CHECKING:
    from torch import nn

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")


def local_folder(spec: str) -> Path:
    """The folder itself, or where the files of a hub id lie, fetched if need be and allowed.

    Weights are taken as safetensors alone. Raises MissingModelError for neither, and for a hub that does not answer.
    """
    if Path(spec).is_dir():
        return Path(spec)
    if not HUB_ID.fullmatch(spec):
        raise MissingModelError(
            f"{spec!r} is neither a folder nor a hub id such as facebook/hubert-base-ls960"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(spec, allow_patterns=FILES))
    except Exception as error:  # offline, gated, misspelt: each raises another kind
        reason = str(error).strip().split("\n")[0]
        raise MissingModelError(
            f"{spec}: no such folder, and the hub gave no such model ({reason})"
        ) from None


def read_network(spec: str, kind: str) -> tuple[nn.Module, Path, str]:
    """The pretrained network of a model_type, its folder, and 12 hex digits of its weights.

    Raises MissingModelError on any damage and for another model_type.
    """
    folder = local_folder(spec)
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
