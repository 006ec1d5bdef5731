"""Strict configuration files: YAML in, a frozen pydantic model out, every unknown key refused.

A file may start from another one: `base: other.yaml` (relative to the file), then only the differences
follow. Sections are merged key by key; any other value, lists too, replaces the base's. On top come overrides
of the form `section.key=value`, whose value is YAML.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import first_problem
from vocalburst.gen.data.unique_keys import UniqueKeyLoader

BASE_KEY = "base"

# Of network calls, as accelerate names them. YAML reads a bare `no` as false.
Precision = Annotated[
    Literal["no", "fp16", "bf16"], BeforeValidator(lambda value: "no" if value is False else value)
]


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigModel = TypeVar("ConfigModel", bound=BaseModel)


def load_config(path: str | Path, model: type[ConfigModel], overrides: Sequence[str] = ()) -> ConfigModel:
    """Read, merge and validate.

    overrides: "key=value" or "section.key=value", applied in order after the files.
    Raises InputDataError naming the file, the offending key and, for an unknown key, the nearest valid one.
    """
    values = _read_with_base(Path(path), ())
    for override in overrides:
        values = _merge(values, _parse_override(override))
    return validate_config(values, model, str(path))


def validate_config(values: dict, model: type[ConfigModel], source: str) -> ConfigModel:
    """`model` built from plain values; `source` is what an error calls them."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        for problem in error.errors():
            if problem["type"] == "extra_forbidden":
                raise InputDataError(f"{source}: {_unknown_key(problem['loc'], model)}") from None
        raise InputDataError(f"{source}: {first_problem(error)}") from None


def dump_config(config: BaseModel) -> str:
    """The resolved configuration as YAML, readable by `load_config`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read_with_base(path: Path, chain: tuple[Path, ...]) -> dict:
    if path.resolve() in chain:
        raise InputDataError(f"{path}: its chain of `{BASE_KEY}` files comes back to itself")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)
    except OSError as error:
        raise InputDataError(f"{path}: cannot be read as a configuration ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None
    except InputDataError as error:
        raise InputDataError(f"{path}: {error}") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise InputDataError(f"{path}: expected keys and values, found {type(values).__name__}")
    base = values.pop(BASE_KEY, None)
    if base is None:
        return values
    return _merge(_read_with_base(path.parent / str(base), (*chain, path.resolve())), values)


def _merge(base: dict, changes: dict) -> dict:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _parse_override(override: str) -> dict:
    name, separator, text = override.partition("=")
    if not separator or not name.strip():
        raise InputDataError(f"override {override!r}: expected key=value")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputDataError(f"override {override!r}: the value is not valid YAML") from None
    for part in reversed(name.strip().split(".")):
        value = {part: value}
    return value


def _unknown_key(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    owner = model
    for part in location[:-1]:
        if isinstance(part, str) and part in owner.model_fields:
            owner = _model_in(owner.model_fields[part].annotation) or owner
    name, key = ".".join(map(str, location)), str(location[-1])
    nearest = difflib.get_close_matches(key, owner.model_fields, n=1, cutoff=0.0)
    return (
        f"unknown key {name!r}; the nearest valid one is {nearest[0]!r}"
        if nearest
        else f"unknown key {name!r}"
    )


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)
