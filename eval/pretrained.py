"""Self-supervised speech networks from a local folder as evaluators: wav2vec 2.0, HuBERT, WavLM.

Shape letters: B clips, L wave sample at 16 kHz, T time step, D embedding.

The folder is what `save_pretrained` of transformers writes (or a downloaded snapshot): config.json, the weights,
and preprocessor_config.json, which says whether a wave is brought to zero mean and unit variance. The embedding is
the mean of the last layer over time. Nothing is downloaded, and no code of the folder is run.

Every clip is heard by itself, unpadded, so all of its time steps are valid and it needs no attention mask. A
padded batch would not do: the base-size networks normalise their first layer over all of a clip's time, padding
included, and were trained to be used without a mask.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr

from vocalburst.eval.hearing import Evaluator, Heard, weights_hash
from vocalburst.gen.data.audio import SAMPLE_RATE, active_span
from vocalburst.gen.data.errors import InputDataError, MissingModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

RATE = 16_000  # Hz
KINDS = ("wav2vec2", "hubert", "wavlm")  # model_type in config.json
TRAINING_ONLY = ("masked_spec_embed",)  # weights that no evaluation uses, and that some files lack


class PretrainedEvaluator(Evaluator):
    """Mean over time of the last layer of a network without outputs; its probabilities are None."""

    emotions = None

    def __init__(self, network: nn.Module, weights: str, normalise: bool):
        self.network = network.eval()
        self.normalise = normalise
        self.id = f"{network.config.model_type}-{weights}"
        self.dim = int(network.config.hidden_size)
        level = "unit-variance" if normalise else "own-level"
        self.preprocessing = f"active-40db_{RATE}hz_{level}_last-layer-mean"
        self.space = (
            f"The {self.dim}-d mean of the last layer of a pretrained {network.config.model_type} with the weights "
            f"{weights}: distances compare with others of the same weights only."
        )

    @classmethod
    def load(cls, folder: Path) -> PretrainedEvaluator:
        kind = read_json(folder / "config.json").get("model_type")
        if kind not in KINDS:
            raise MissingModelError(
                f"{folder / 'config.json'}: expected a model_type of {', '.join(KINDS)}, got {kind!r}"
            )
        normalise = reads_normalised(folder / "preprocessor_config.json")
        weights = weight_files(folder)
        return cls(load_network(folder), weights_hash(weights), normalise)

    def hear(self, waves: Sequence[np.ndarray]) -> Heard:
        return Heard(np.stack([self.embed(wave) for wave in waves]), None)

    def embed(self, wave: np.ndarray) -> np.ndarray:
        """embedding [D] of a wave [L] at `SAMPLE_RATE`. Raises InputDataError if it is shorter than a time step."""
        import torch

        first, last = active_span(wave)
        active = soxr.resample(np.asarray(wave[first:last], np.float32), SAMPLE_RATE, RATE)
        step = receptive_field(self.network.config.conv_kernel, self.network.config.conv_stride)
        if len(active) < step:
            raise InputDataError(
                f"a burst of {1000 * len(active) / RATE:.0f} ms is shorter than one step of {self.id}, "
                f"{1000 * step / RATE:.0f} ms"
            )
        if self.normalise:  # as transformers' feature extractor does
            active = (active - active.mean()) / np.sqrt(active.var() + 1e-7)
        with torch.no_grad():
            hidden = self.network(torch.from_numpy(active)[None]).last_hidden_state  # [1, T, D]
        return hidden[0].mean(dim=0).float().numpy()


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one output of stacked convolutions looks at."""
    field, jump = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field += (kernel - 1) * jump
        jump *= stride
    return field


def read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingModelError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise MissingModelError(f"{path}: is not JSON") from None
    if not isinstance(content, dict):
        raise MissingModelError(f"{path}: expected a mapping")
    return content


def reads_normalised(path: Path) -> bool:
    """Whether the network was trained on waves of zero mean and unit variance."""
    settings = read_json(path)
    rate, normalise = settings.get("sampling_rate"), settings.get("do_normalize")
    if rate != RATE or not isinstance(normalise, bool):
        raise MissingModelError(
            f"{path}: expected sampling_rate {RATE} and do_normalize, got {rate!r} and {normalise!r}"
        )
    return normalise


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers will read: safetensors where there are any, else PyTorch's."""
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        found = sorted(folder.glob(pattern))
        if found:
            return found
    raise MissingModelError(f"{folder}: holds no weights (model.safetensors or pytorch_model.bin)")


def load_network(folder: Path) -> nn.Module:
    """The network with all of its weights. Raises MissingModelError in one sentence on any damage."""
    from transformers import AutoModel

    with quiet_transformers():
        try:
            network, report = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, output_loading_info=True
            )
        except (
            Exception
        ) as error:  # a damaged folder raises nearly anything: OSError, KeyError, SafetensorError ...
            reason = str(error).strip().split("\n")[0]
            raise MissingModelError(f"{folder}: cannot be read as a pretrained network ({reason})") from None
    missing = sorted(name for name in report["missing_keys"] if name.split(".")[-1] not in TRAINING_ONLY)
    if missing:
        raise MissingModelError(
            f"{folder}: its weights lack {len(missing)} tensors, the first is {missing[0]}"
        )
    return network


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar and no advice for those who would train on; what matters is raised."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
