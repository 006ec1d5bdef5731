"""Settings of models as a user writes them: a YAML file for several models, `key=value` for one."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from vocalburst.eval.recognition.registry import MODELS
from vocalburst.gen.data.emotions import nearest_names
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.unique_keys import UniqueKeyLoader


def read_settings(path: Path) -> dict[str, dict]:
    """Model -> its settings, of a file `models: {cnnatt: {epochs: 8}}`.

    The values are checked when a model is built. Raises InputDataError for another layout and an unknown model.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)
    except OSError as error:
        raise InputDataError(f"{path}: cannot be read as settings ({error.strerror})") from None
    except InputDataError as error:
        raise InputDataError(f"{path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path}: is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict) or set(content) != {"models"} or not isinstance(content["models"], dict):
        raise InputDataError(f"{path}: expected one key `models` with a mapping of models to their settings")
    for name, settings in content["models"].items():
        if name not in MODELS:
            near = ", ".join(nearest_names(str(name), MODELS))
            raise InputDataError(f"{path}: {name!r} is no recognition model; nearest: {near}")
        if settings is not None and not (
            isinstance(settings, dict) and all(isinstance(k, str) for k in settings)
        ):
            raise InputDataError(f"{path}: expected settings of {name} as KEY: VALUE, got {settings!r}")
    return {name: settings or {} for name, settings in content["models"].items()}


def parse_setting(text: str) -> tuple[str, object]:
    """`lr=0.001` -> ("lr", 0.001); the value is YAML."""
    key, equals, written = text.partition("=")
    if not (key.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        value = yaml.load(written, Loader=UniqueKeyLoader)
    except (yaml.YAMLError, InputDataError):
        raise argparse.ArgumentTypeError(f"{key}: {written!r} is no YAML value") from None
    return key, value


def merged_settings(
    name: str, config: Path | None, pairs: list[tuple[str, object]], epochs: int | None
) -> dict[str, object]:
    """Settings of one model from a file, then `--set`, then `--epochs`. Raises InputDataError for a key set twice."""
    settings: dict[str, object] = {}
    if config:
        models = read_settings(config)
        if name not in models:
            raise InputDataError(f"{config}: has no settings of {name}; it has {', '.join(models) or 'none'}")
        settings.update(models[name])
    written = [key for key, _ in pairs] + ["epochs"] * (epochs is not None)
    twice = next((key for key in written if written.count(key) > 1), None)
    if twice:
        raise InputDataError(f"the setting {twice} is given twice on the command line")
    settings.update(pairs)
    if epochs is not None:
        settings["epochs"] = epochs
    return settings
