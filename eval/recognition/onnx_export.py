"""A trained network as an ONNX file, and as one of 8-bit weights, with what either costs and changes.

    python -m vocalburst.eval.recognition.onnx_export RUN --out model.onnx [--clips CLIPS]

The file takes the features of one clip, [1, ..., T] of any length T, as the model's `preprocessing` (in the file's
metadata) makes them, and gives `embedding` [1, D] and `answers` [1, O]: the probabilities of a class column, a number
between its bounds for each other one, in the order of the task's columns. MODEL.int8.onnx beside it has 8-bit weights;
with clips its activations are 8-bit too, scaled by what those clips need, and both files are measured on them.
Needs `pip install 'vocalburst[onnx]'`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vocalburst.eval.clips import open_clips
from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.network import Network, NetworkModel
from vocalburst.gen.cli import run
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.errors import InputDataError, MissingModelError, RunError

OPSET = 17
CALIBRATION_CLIPS = 200  # of the clips scale 8-bit activations
EXAMPLE_SECONDS = 1.0  # of the noise that is exported with: what it is does not matter


class OneClip(nn.Module):
    """x [1, ..., T] -> embedding [1, D], answers [1, O] of a network, all T steps of it counting."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = torch.full((1,), x.shape[-1], dtype=torch.int64, device=x.device)
        embedding, raw = self.network(x, lengths)
        outputs = self.network.outputs
        answers = []
        for column, part in zip(outputs.task.columns, outputs.slices, strict=True):
            low, high = column.bounds
            own = raw[:, part]
            answers.append(own.softmax(dim=1) if column.classes else low + (high - low) * own.sigmoid())
        return embedding, torch.cat(answers, dim=1)


def optional_packages() -> None:
    """Raises MissingModelError when one is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingModelError(
            f"the package {error.name} is not installed; pip install 'vocalburst[onnx]'"
        ) from None


@contextmanager
def quiet_tracing() -> Iterator[None]:
    """The exporter by tracing is the one that needs no third package; torch, whose version is fixed, advises against
    it, and warns of sizes of the batch, which is one clip here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def write_onnx(model: NetworkModel, path: Path) -> None:
    """The network in float32. Raises RunError for one that cannot be traced."""
    noise = np.random.default_rng(0).standard_normal(round(EXAMPLE_SECONDS * SAMPLE_RATE)).astype(np.float32)
    x = model.features(0.1 * noise)[None].float()
    try:
        with quiet_tracing(), torch.no_grad():
            torch.onnx.export(
                OneClip(model.network.cpu().eval()).eval(), (x,), str(path), dynamo=False, opset_version=OPSET,
                input_names=["features"], output_names=["embedding", "answers"],
                dynamic_axes={"features": {x.ndim - 1: "T"}},
            )  # fmt: skip
    except Exception as error:  # tracing runs any operation, and each fails in its own way
        reason = str(error).strip().split("\n")[0]
        raise RunError(f"{model.name} cannot be written as ONNX ({reason})") from None
    add_metadata(model, path)


def add_metadata(model: NetworkModel, path: Path) -> None:
    """What a reader of the file needs to know to use it."""
    import onnx

    proto = onnx.load(str(path))
    values = {
        "model": model.name,
        "task": model.task_name,
        "preprocessing": model.preprocessing,
        "columns": json.dumps({column.name: list(column.classes) for column in model.columns}),
    }
    onnx.helper.set_model_props(proto, values)
    onnx.save(proto, str(path))


def write_int8(path: Path, quantised: Path, features: Sequence[np.ndarray]) -> None:
    """8-bit weights of an ONNX file; with features [..., T] of clips also activations, scaled by those."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Clips(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(features)

        def get_next(self) -> dict | None:
            x = next(self.rest, None)
            return None if x is None else {"features": x[None]}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        if features:
            quantize_static(
                str(prepared), str(quantised), Clips(), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
        else:
            quantize_dynamic(str(prepared), str(quantised), weight_type=QuantType.QUInt8)


def session(path: Path):
    """The file in onnxruntime, on one thread so that its time is comparable."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answers_and_time(hear: Callable, features: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Answers [N, O] of `hear` for features, and the median of its milliseconds a clip, after one to warm up.

    Of the processor, not of the clock: one thread works, and what else the machine does is none of it.
    """
    hear(features[0])
    answers, times = [], []
    for x in features:
        start = time.process_time()
        answers.append(hear(x))
        times.append(1000 * (time.process_time() - start))
    return np.concatenate(answers), float(np.median(times))


def measure(model: NetworkModel, paths: dict[str, Path], features: Sequence[np.ndarray]) -> dict:
    """Bytes of each file; with features of clips also the largest change of an answer against torch, and times."""
    report: dict = {name: {"bytes": path.stat().st_size} for name, path in paths.items()}
    if not features:
        return report
    one = OneClip(model.network).eval()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            expected, ms = answers_and_time(lambda x: one(torch.from_numpy(x)[None])[1].numpy(), features)
    finally:
        torch.set_num_threads(threads)
    report["torch"] = {"ms_per_clip": round(ms, 3), "clips": len(features)}
    for name, path in paths.items():
        running = session(path)

        def hear(x: np.ndarray, running=running) -> np.ndarray:
            return running.run(["answers"], {"features": x[None]})[0]

        got, ms = answers_and_time(hear, features)
        report[name] |= {
            "max_difference": float(np.abs(got - expected).max()),
            "same_class": same_class(model, got, expected),
            "ms_per_clip": round(ms, 3),
        }
    return report


def same_class(model: NetworkModel, got: np.ndarray, expected: np.ndarray) -> float | None:
    """Share of clips whose most probable class is the same; None in a task without a class column."""
    if model.class_column is None:
        return None
    own = model.network.outputs.slices[model.class_column]
    return float((got[:, own].argmax(axis=1) == expected[:, own].argmax(axis=1)).mean())


def export_onnx(
    model: NetworkModel, path: str | Path, quantise: bool = True, waves: Iterable[np.ndarray] = ()
) -> dict:
    """Write PATH and, with `quantise`, PATH with .int8.onnx; the report of `measure`, on waves [L] if any are given.

    Raises MissingModelError without the optional packages, InputDataError for a model that is no network or not
    fitted, RunError for a network that cannot be traced.
    """
    optional_packages()
    if not isinstance(model, NetworkModel) or model.network_ is None:
        raise InputDataError(f"{model.name} is not a fitted network, and only those are written as ONNX")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    features = [model.features(wave).float().numpy() for wave in waves]
    write_onnx(model, path)
    paths = {"onnx": path}
    if quantise:
        paths["int8"] = path.with_suffix(".int8.onnx")
        write_int8(path, paths["int8"], features[:: max(1, len(features) // CALIBRATION_CLIPS)])
    return measure(model, paths, features)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Write a trained recognition network as ONNX, in float32 and with 8-bit weights.",
        epilog="example: python -m vocalburst.eval.recognition.onnx_export runs/wav2small --out wav2small.onnx",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a trained recognition model")
    parser.add_argument(
        "--out", type=Path, required=True, help="ONNX file; MODEL.int8.onnx is written beside it"
    )
    parser.add_argument(
        "--clips",
        help="a folder of clips or MANIFEST.jsonl[:SPLIT], to scale the 8-bit file and to measure on",
    )
    parser.add_argument("--no-quantise", action="store_true", help="write float32 alone")
    return parser.parse_args()


def export(arguments: argparse.Namespace) -> None:
    model = RecognitionModel.load(arguments.run)
    waves = (wave for _, wave in open_clips(arguments.clips).waves()) if arguments.clips else ()
    report = export_onnx(model, arguments.out, not arguments.no_quantise, waves)
    print(json.dumps(report, indent=2))


def main() -> None:
    arguments = parse_arguments()
    sys.exit(run(lambda: export(arguments)))


if __name__ == "__main__":
    main()
