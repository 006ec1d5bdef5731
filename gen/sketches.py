"""What the refiner learns on: sampled clips that it is to refine, beside recorded ones of the same emotion.

Shape letters: E emotion, M mel bin, T mel frame.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import save
from torch.utils.data import Dataset
from tqdm import tqdm

from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.dataset import BurstDataset
from vocalburst.gen.example_store import ExampleStore
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.pipeline import BurstPipeline


def sketch_file(folder: Path, emotion: str) -> Path:
    return folder / f"{emotion}.safetensors"


def draw_sketches(pipeline: BurstPipeline, folder: Path, n: int, seed: int, accelerator: Accelerator) -> None:
    """Sample n clips of each emotion into `folder`, one file an emotion; files that are there are kept.

    The processes share the emotions out. Raises InputDataError for a file of another checkpoint, n or seed.
    """
    made_by = {"checkpoint": pipeline.content_hash, "n": str(n), "seed": str(seed)}
    settings = {name: pipeline.defaults[name] for name in ("steps", "guidance", "scheduler")}
    at_once = 32 if accelerator.device.type == "cpu" else n
    mine = pipeline.emotions[accelerator.process_index :: accelerator.num_processes]
    for emotion in tqdm(
        mine, desc="sketches", unit="emotion", file=sys.stderr, disable=not accelerator.is_main_process
    ):
        path = sketch_file(folder, emotion)
        if path.exists():
            with safe_open(path, "pt") as file:
                found = file.metadata()
            if found != made_by:
                raise InputDataError(f"{path}: made by {found}, this run needs {made_by}; choose another out")
            continue
        first = seed + n * pipeline.emotions.index(emotion)
        specs = [BurstSpec({emotion: 1.0}, first + number, **settings) for number in range(n)]
        with accelerator.autocast():
            xs = pipeline.sketch(specs, at_once)
        sketches = {f"{number:06d}": x.half() for number, x in enumerate(xs)}
        folder.mkdir(parents=True, exist_ok=True)
        write_file(path, save({name: x.contiguous() for name, x in sketches.items()}, metadata=made_by))
    accelerator.wait_for_everyone()


def read_sketches(folder: Path, emotions: Sequence[str]) -> list[list[torch.Tensor]]:
    """x [M, T] (float16) of the sketches of each emotion."""
    sketches = []
    for emotion in emotions:
        with safe_open(sketch_file(folder, emotion), "pt") as file:
            sketches.append([file.get_tensor(name) for name in sorted(file.keys())])
    return sketches


class SketchPairs(Dataset):
    """`dataset[number]`: pieces of a sketch and of a recorded clip of its emotion, as a pure function of the number.

    A dict of `sketch` [M, T] and `recorded` [M, T], zero behind a clip's end, `mask` [T] of the sketch, `noise` [M, T]
    for the refiner and `emotion` [E]: 1 for the emotion that the recorded clip carries most of. An epoch visits every
    recorded clip once.
    """

    def __init__(
        self,
        recorded: BurstDataset | ExampleStore,
        normalizer: MelNormalizer,
        sketches: Sequence[Sequence[torch.Tensor]],
        frames: int,
        seed: int,
    ):
        self.recorded, self.normalizer, self.sketches = recorded, normalizer, sketches
        self.frames, self.seed = frames, seed

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self.seed, 4, number])
        mel, condition = self.recorded[number]
        row = int(condition.emotion[0].argmax())
        sketches = self.sketches[row]
        sketch = sketches[int(rng.integers(len(sketches)))].float()
        piece, length = self.piece(sketch, rng)
        return {
            "sketch": piece,
            "recorded": self.piece(self.normalizer.normalize(mel), rng)[0],
            "mask": torch.arange(self.frames) < length,
            "noise": torch.from_numpy(rng.standard_normal(piece.shape, dtype=np.float32)),
            "emotion": torch.eye(len(self.sketches))[row],
        }

    def piece(self, x: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, int]:
        """A random piece of x [M, T] as [M, frames], and how many of its frames are of the clip."""
        start = int(rng.integers(max(1, x.shape[1] - self.frames + 1)))
        cut = x[:, start : start + self.frames]
        piece = torch.zeros(x.shape[0], self.frames)
        piece[:, : cut.shape[1]] = cut
        return piece, cut.shape[1]
