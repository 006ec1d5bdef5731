"""Reader of the official per-emotion statistics of ExVo 2022, without running anything a pickle may hold.

The organisers publish `<Emotion>_Val_wav.pkl` and `<Emotion>_webm.pkl`: a dict of `mu` [256] and `sigma`
[256, 256], float64, over the validation clips of an emotion. `wav` and `webm` are two different networks; a
distance across them is refused because their evaluator ids differ. The number of clips is not in the files.

A pickle is a program. Here it only ever meets two inert stand-ins, which record what they are called with;
the arrays are then built from the recorded bytes. Every other name in the file is refused before it is
imported.
"""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path

import numpy as np

from vocalburst.eval.gaussian import GaussianStatistics, Identity
from vocalburst.gen.data.emotions import EXVO_10, normalise_name
from vocalburst.gen.data.errors import InputDataError

SPACES = ("wav", "webm")
DIM = 256
MAX_BYTES = 16 * 2**20  # an official file has 0.5 MiB
PREPROCESSING = "exvo2022-frames-100ms"


class RecordedArray:
    """Stands in for numpy.ndarray: keeps the pickled state (version, shape, dtype, Fortran order, bytes)."""

    def __init__(self, *_arguments: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class RecordedType:
    """Stands in for numpy.dtype: keeps its name, and its byte order from the pickled state."""

    def __init__(self, name: object, *_flags: object) -> None:
        self.name = name
        self.order: object = "|"

    def __setstate__(self, state: object) -> None:
        self.order = state[1] if isinstance(state, tuple) and len(state) > 1 else None


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): RecordedArray,  # makes an empty array for the state
    ("numpy._core.multiarray", "_reconstruct"): RecordedArray,  # the same under NumPy 2
    ("numpy", "ndarray"): RecordedArray,
    ("numpy", "dtype"): RecordedType,
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers and numpy arrays (as RecordedArray); refuses every other name."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and only numpy arrays are read")
        return ALLOWED[module, name]


def read_official(path: str | Path, space: str) -> GaussianStatistics:
    """Statistics of one official file; `space` is the network, "wav" or "webm".

    Raises InputDataError when the file's name says the other space, when it holds anything but the two
    arrays, or when they are no Gaussian of dimension 256.
    """
    path = Path(path)
    if space not in SPACES:
        raise InputDataError(
            f"unknown space {space!r} of the official statistics; known: {', '.join(SPACES)}"
        )
    told = space_of(path)
    if told not in (None, space):
        raise InputDataError(f"{path}: holds statistics of the {told} space, expected {space}")
    content = read_arrays(path)
    if set(content) != {"mu", "sigma"}:
        raise InputDataError(f"{path}: expected the arrays mu and sigma, got {', '.join(content) or 'none'}")
    if content["mu"].shape != (DIM,) or content["sigma"].shape != (DIM, DIM):
        shapes = f"{content['mu'].shape} and {content['sigma'].shape}"
        raise InputDataError(f"{path}: expected mu [{DIM}] and sigma [{DIM}, {DIM}], got {shapes}")
    identity = Identity(f"exvo2022-{space}", PREPROCESSING, "val")
    try:
        return GaussianStatistics(None, content["mu"], content["sigma"], identity)
    except InputDataError as error:
        raise InputDataError(f"{path}: {error}") from None


def read_official_folder(folder: str | Path, space: str) -> dict[str, GaussianStatistics]:
    """Statistics of every ExVo emotion that `folder` has a file of in `space`, in the official order.

    Files whose name tells no space or no emotion are left alone. Raises InputDataError if there are none, or
    two of one emotion.
    """
    folder = Path(folder)
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.pkl")):
        emotion = normalise_name(path.name.split("_")[0])
        if space_of(path) != space or emotion not in EXVO_10:
            continue
        if emotion in found:
            raise InputDataError(
                f"{folder}: both {found[emotion].name} and {path.name} are {emotion} in {space}"
            )
        found[emotion] = path
    if not found:
        raise InputDataError(f"{folder}: holds no official statistics of the {space} space (*_{space}.pkl)")
    return {emotion: read_official(found[emotion], space) for emotion in EXVO_10 if emotion in found}


def space_of(path: Path) -> str | None:
    """The space that the end of a file name tells, as in `Awe_Val_wav.pkl`; None when it tells none."""
    last = path.stem.rsplit("_", 1)[-1]
    return last if last in SPACES else None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The float64 arrays of a pickled dict. Raises InputDataError on anything else, a program above all."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputDataError(f"{path}: is larger than {MAX_BYTES} bytes; expected official statistics")
        content = ArrayUnpickler(io.BytesIO(path.read_bytes())).load()
    except InputDataError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything: EOFError, KeyError, TypeError ...
        raise InputDataError(f"{path}: is refused as statistics ({error})") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputDataError(f"{path}: expected a dict of arrays")
    return {name: build_array(value, f"{path}, {name}") for name, value in content.items()}


def build_array(recorded: object, where: str) -> np.ndarray:
    """The array that a stand-in recorded. Raises InputDataError unless it is a plain float64 one."""
    state = getattr(recorded, "state", None)
    if not isinstance(recorded, RecordedArray) or not isinstance(state, tuple) or len(state) != 5:
        raise InputDataError(f"{where}: expected a numpy array")
    _version, shape, kind, fortran, data = state
    if not isinstance(kind, RecordedType) or kind.name != "f8" or kind.order not in ("<", ">"):
        raise InputDataError(f"{where}: expected an array of float64")
    if not isinstance(shape, tuple) or not all(type(size) is int and size > 0 for size in shape):
        raise InputDataError(f"{where}: expected an array with a shape")
    if not isinstance(data, bytes) or len(data) != 8 * math.prod(shape):
        raise InputDataError(f"{where}: the data do not fill the shape {shape}")
    array = np.frombuffer(data, np.dtype(f"{kind.order}f8")).reshape(shape, order="F" if fortran else "C")
    return array.astype(np.float64)
