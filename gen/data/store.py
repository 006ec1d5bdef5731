"""Decoded waves of many clips in one memory-mapped file, so that an epoch costs no decoding.

The cache folder is named by the content key of what it holds (records and their files' sizes and times), so a
changed corpus or manifest never meets an old cache. int16 samples at `audio.SAMPLE_RATE`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vocalburst.gen.data.audio import SAMPLE_RATE, read_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import TAR_SEPARATOR, Clip, iterate_file_bytes


def content_key(root: Path, clips: Sequence[Clip]) -> str:
    """Hash of the clips' ids, parts and files (size and modification time) and of the sample rate."""
    digest = hashlib.sha256(str(SAMPLE_RATE).encode())
    for file in sorted({clip.path.split(TAR_SEPARATOR)[0] for clip in clips}):
        try:
            stat = (root / file).stat()
        except OSError as error:
            raise InputDataError(f"{root / file}: cannot be read ({error.strerror})") from None
        digest.update(f"{file}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    for clip in clips:
        digest.update(f"{clip.id}|{clip.path}|{clip.start}|{clip.end}\n".encode())
    return digest.hexdigest()[:16]


class WaveStore:
    """`store[i]` is the wave [L] (float32) of clip i; build once, then read from disk as needed.

    key: hash of what it was built of.
    """

    def __init__(self, folder: Path):
        self.key = folder.name
        offsets = np.array(json.loads((folder / "offsets.json").read_text()), dtype=np.int64)
        self.spans = np.stack([offsets[:-1], offsets[1:]], axis=1)  # first and last + 1 sample of each clip
        total = int(offsets[-1])
        self.samples = np.memmap(folder / "waves.i16", dtype=np.int16, mode="r", shape=(total,))

    @property
    def lengths(self) -> np.ndarray:
        """Samples of each clip."""
        return self.spans[:, 1] - self.spans[:, 0]

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> np.ndarray:
        first, end = self.spans[index]
        return self.samples[first:end].astype(np.float32) / 32767

    def take(self, rows: Sequence[int]) -> WaveStore:
        """The store of some of the clips, on the same file."""
        chosen = copy.copy(self)
        chosen.spans = self.spans[list(rows)]
        return chosen

    @classmethod
    def build(cls, root: Path, clips: Sequence[Clip], cache: Path, progress: Callable = iter) -> WaveStore:
        """Open the store of `clips` under `cache`, decoding them first if it is not there yet."""
        folder = cache / content_key(root, clips)
        if (folder / "offsets.json").exists():
            return cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lengths = np.zeros(len(clips), dtype=np.int64)
        by_path: dict[str, list[int]] = {}
        for index, clip in enumerate(clips):
            by_path.setdefault(clip.path, []).append(index)
        waves: dict[int, np.ndarray] = {}
        for path, data in progress(iterate_file_bytes(root, by_path)):
            for index in by_path[path]:
                clip = clips[index]
                wave = read_wave(data, start=clip.start, end=clip.end, name=str(root / path))
                waves[index] = np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)
                lengths[index] = len(wave)
        with (folder / "waves.part").open("wb") as file:
            for index in range(len(clips)):
                file.write(waves.pop(index).tobytes())
        (folder / "waves.part").replace(folder / "waves.i16")
        # Written last: its presence says that the store is whole.
        (folder / "offsets.json").write_text(json.dumps([0, *np.cumsum(lengths).tolist()]))
        return cls(folder)
