"""A checkpoint folder: everything that generation needs, and nothing that can run code.

    model_index.json    diffusers' list of parts
    transformer/        the denoiser, with emotions and voices in its config.json
    guide/              optional: an early snapshot of it, for autoguidance
    normalizer/         mel statistics and the MelConfig
    prior/              lengths, levels, voices and outlines of the training clips
    outline/            optional: what tells the outline of a clip
    vocoder/            mel -> wave
    scheduler/          a stock diffusers scheduler
    generation.json     default steps, guidance ... and the licence of the weights
    README.md           model card

Weights are safetensors; a folder that holds a pickle is refused.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import ModelMixin, SchedulerMixin
from safetensors import SafetensorError
from safetensors.torch import load_file

from vocalburst.gen.data.errors import MissingModelError

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
WEIGHTS = "diffusion_pytorch_model.safetensors"

Model = TypeVar("Model", bound=ModelMixin)


def locate_checkpoint(checkpoint: str | Path | None) -> Path:
    """The folder of a checkpoint: a local path, a hub id, or None for the one that ships with the package."""
    if checkpoint is None:
        folder = Path(str(files("vocalburst.checkpoints") / "default"))
        if not (folder / "model_index.json").is_file():
            raise MissingModelError(
                f"{folder}: the checkpoint that ships with the package is missing; reinstall it"
            )
        return folder
    folder = Path(checkpoint)
    looks_local = (
        folder.exists() or str(checkpoint).count("/") != 1 or str(checkpoint).startswith((".", "/", "~"))
    )
    if not looks_local:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            folder = Path(
                snapshot_download(str(checkpoint), allow_patterns=["*.json", "*.safetensors", "*.md"])
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
            message = f"{checkpoint}: neither a checkpoint folder nor a model that the hub delivers"
            raise MissingModelError(message) from None
    if not (folder / "model_index.json").is_file():
        raise MissingModelError(f"{folder}: expected a checkpoint folder with model_index.json, found none")
    pickles = sorted(path.name for path in folder.rglob("*") if path.suffix in PICKLES)
    if pickles:
        raise MissingModelError(
            f"{folder}: holds a pickle ({pickles[0]}), which can run code; expected safetensors"
        )
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or MissingModelError naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingModelError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(values, dict):
        raise MissingModelError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def load_part(model_class: type[Model], folder: Path) -> Model:
    """One part in float32 and evaluation mode; every tensor must be there, of the right shape, and no other.

    diffusers' own loader only warns about missing tensors and would go on with random ones.
    """
    config = read_json(folder / "config.json")
    try:
        model = model_class.from_config(config)
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise MissingModelError(
            f"{folder / 'config.json'}: not a {model_class.__name__} config ({error})"
        ) from None
    path = folder / WEIGHTS
    try:
        state = {key: value.float() for key, value in load_file(path).items()}
        model.load_state_dict(state, strict=True)
    except FileNotFoundError:
        raise MissingModelError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise MissingModelError(f"{path}: damaged or cut short ({error})") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingModelError(f"{path}: does not fit its config.json ({reason})") from None
    check_finite(model, path)
    return model.eval()


def check_finite(model: torch.nn.Module, source: str | Path) -> None:
    """Raise MissingModelError when a weight is infinite or not a number; `source` is what the error names."""
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise MissingModelError(f"{source}: the tensor {name} holds values that are not finite numbers")


def load_scheduler(folder: Path) -> SchedulerMixin:
    """The stock diffusers scheduler of a checkpoint folder: a class by name, never code of the folder's own."""
    import diffusers

    entry = read_json(folder / "model_index.json").get("scheduler")
    name = entry[-1] if isinstance(entry, list) and entry else entry
    scheduler_class = getattr(diffusers, str(name), None)
    if not (isinstance(scheduler_class, type) and issubclass(scheduler_class, SchedulerMixin)):
        raise MissingModelError(f"{folder / 'model_index.json'}: {name!r} is not a diffusers scheduler")
    path = folder / "scheduler" / "scheduler_config.json"
    config = read_json(path)
    try:
        return scheduler_class.from_config(config)
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise MissingModelError(f"{path}: not the settings of {name} ({error})") from None


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of all configs and weights; the model card does not count."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".safetensors"):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
