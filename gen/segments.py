"""Random pieces of recordings for vocoder training, each a pure function of (seed, number of the sample).

Sample number n of a run is the same wave whatever the batch size, the processes and the interruptions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

PEAK = 0.99  # no gain lifts a piece above this


class SegmentDataset(Dataset):
    """`dataset[n]` is a piece [segment_samples] (float32) of a clip, zero-padded when the clip is shorter.

    waves: anything indexable by clip number, such as `WaveStore`. An epoch visits every clip once, shuffled.
    candidates: of so many random pieces the loudest is taken; a burst's recording is half silence.
    gain_db: range of the uniform random gain.
    """

    def __init__(
        self,
        waves: Sequence[np.ndarray],
        segment_samples: int,
        seed: int,
        candidates: int = 1,
        gain_db: tuple[float, float] = (0.0, 0.0),
    ):
        self.waves = waves
        self.segment_samples = segment_samples
        self.seed = seed
        self.candidates = candidates
        self.gain_db = gain_db
        self._order = (-1, np.empty(0, dtype=np.int64))  # the last epoch asked for and its order

    def clip_number(self, number: int) -> int:
        epoch, place = divmod(number, len(self.waves))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.waves)))
        return int(self._order[1][place])

    def __getitem__(self, number: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, 1, number))
        wave = self.waves[self.clip_number(number)]
        spare = len(wave) - self.segment_samples
        if spare > 0:
            starts = rng.integers(0, spare, size=self.candidates, endpoint=True)
            pieces = [wave[start : start + self.segment_samples] for start in starts]
            wave = max(pieces, key=lambda piece: float(np.square(piece).sum()))
        piece = np.zeros(self.segment_samples, dtype=np.float32)
        piece[: len(wave)] = wave
        gain = 10 ** (rng.uniform(*self.gain_db) / 20)
        peak = float(np.abs(piece).max())
        return piece * np.float32(min(gain, PEAK / peak) if peak > 0 else gain)
