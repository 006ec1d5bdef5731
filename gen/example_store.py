"""Examples made once: those of the first epochs on disk, and from there in a device's memory.

A GPU asks for more examples a second than the cores beside it make. So the draws of the first epochs, augmentation
included, are made once for all runs on the same data, and come again after them.

Shape letters: B batch, F frame of all examples together, M mel bin, T mel frame.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

from vocalburst.gen.dataset import Batch, BurstDataset, DrawSampler
from vocalburst.gen.models.conditioning import Condition

CHUNK = 64  # examples that a worker makes at a time
CONDITION = tuple(field.name for field in fields(Condition))


def content_key(dataset: BurstDataset, n: int) -> str:
    """Hash of all that the first n draws of a dataset depend on."""
    d = dataset
    settings = (
        n, d.seed, d.p_pitch, d.max_pitch, d.p_crop, d.max_seconds,
        d.emotions, list(d.voices), list(d.countries), d.log_mel.config.to_dict(),
    )  # fmt: skip
    digest = hashlib.sha256(json.dumps(settings).encode())
    for source in d.sources:
        digest.update(f"{source.waves.key}|{source.weight}\n".encode())
        digest.update(source.waves.spans.tobytes())
        for clip in source.clips:
            digest.update(clip.to_json().encode())
    for name, tensor in () if d.outline is None else sorted(d.outline.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


class ExampleStore:
    """`store[draw]` is (mel [M, T], Condition of one) as of the dataset it was built of; draws beyond come round again.

    Mels are kept in 16 bits. Build once, then read from disk as needed or all of it `on` a device.
    """

    def __init__(self, folder: Path, floor: float):
        """floor: log-mel of digital silence, which batches are padded with."""
        self.floor = floor
        tensors = load_file(folder / "examples.safetensors")
        self.lengths = tensors.pop("lengths")
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.condition = Condition(**tensors)
        self.file = folder / "mels.f16"
        n_mels = self.file.stat().st_size // 2 // int(self.lengths.sum())
        self.frames = torch.from_numpy(
            np.memmap(self.file, dtype=np.float16, mode="c", shape=(int(self.lengths.sum()), n_mels))
        )

    @classmethod
    def build(
        cls,
        dataset: BurstDataset,
        epochs: int,
        cache: Path,
        workers: int = 0,
        progress: Callable[[Iterable[Batch]], Iterable[Batch]] = iter,
    ) -> ExampleStore:
        """Open the store of the first `epochs` of a dataset under `cache`, making it first if it is not there yet."""
        n = epochs * len(dataset)
        folder = cache / f"examples-{content_key(dataset, n)}"
        if (folder / "examples.safetensors").exists():
            return cls(folder, dataset.log_mel.config.floor)
        folder.mkdir(parents=True, exist_ok=True)
        chunks = DataLoader(
            dataset, batch_sampler=[range(k, min(k + CHUNK, n)) for k in range(0, n, CHUNK)],
            collate_fn=dataset.collate, num_workers=workers, generator=torch.Generator(),
        )  # fmt: skip
        lengths, conditions = [], {name: [] for name in CONDITION}
        with (folder / "mels.part").open("wb") as file:
            for batch in progress(chunks):
                frames = batch.mel.transpose(1, 2)[batch.mask]  # those of the clips, one after the other
                file.write(frames.half().numpy().tobytes())
                lengths += batch.mask.sum(dim=1).tolist()
                for name in CONDITION:
                    conditions[name].append(getattr(batch.condition, name).clone())
        (folder / "mels.part").replace(folder / "mels.f16")
        tensors = {name: torch.cat(parts) for name, parts in conditions.items()}
        save_file({**tensors, "lengths": torch.tensor(lengths)}, folder / "examples.part")
        # Named last: its presence says that the store is whole.
        (folder / "examples.part").replace(folder / "examples.safetensors")
        return cls(folder, dataset.log_mel.config.floor)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, draw: int) -> tuple[torch.Tensor, Condition]:
        row = draw % len(self)
        start = int(self.starts[row])
        mel = self.frames[start : start + int(self.lengths[row])].T.float()
        return mel, self.condition.take(torch.tensor([row]))

    def on(self, device: torch.device) -> ExampleStore:
        """Mels and conditions in the memory of a device; on a CPU they stay on disk."""
        if device.type != "cpu":
            self.frames, self.condition = self.frames.to(device), self.condition.to(device)
        return self

    def batch(self, draws: Sequence[int]) -> Batch:
        """What `dataset.collate` makes of these draws, on the device that the store is on."""
        device = self.frames.device
        rows = torch.tensor(draws) % len(self)
        lengths, starts = self.lengths[rows], self.starts[rows]
        frames = torch.arange(int(lengths.max()))
        mask = (frames < lengths[:, None]).to(device)
        places = (starts[:, None] + frames).clamp(max=len(self.frames) - 1).to(device)
        mel = self.frames[places].float().masked_fill(~mask[..., None], self.floor)
        return Batch(mel.transpose(1, 2).contiguous(), mask, self.condition.take(rows.to(device)))

    def batches(self, sampler: DrawSampler) -> Iterator[Batch]:
        return (self.batch(draws) for draws in sampler)
