"""What `gen/models/spectrum.py` gains over torch's own, on one thread, as ratios from one run.

    python docs/inverse_stft.py

The two take turns, so that other work on the machine slows both; medians over the turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from vocalburst.gen.data.mel import MelConfig
from vocalburst.gen.determinism import one_thread
from vocalburst.gen.models.spectrum import inverse_stft, magnitude, window_envelope

SECONDS, TURNS = 2.0, 50


def seconds(call: Callable[[], torch.Tensor]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def print_ratio(name: str, torchs: Callable[[], torch.Tensor], ours: Callable[[], torch.Tensor]) -> None:
    torchs(), ours()  # the first call of either is slower
    turns = [(seconds(torchs), seconds(ours)) for _ in range(TURNS)]
    theirs, own = (statistics.median(column) for column in zip(*turns, strict=True))
    print(f"{name}: torch {1000 * theirs:.2f} ms, ours {1000 * own:.2f} ms, {theirs / own:.1f} times faster")


def main() -> None:
    config = MelConfig()
    frames = config.n_frames(round(SECONDS * config.sample_rate))
    window = torch.hann_window(config.n_fft)
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.randn(1, config.n_fft // 2 + 1, frames, dtype=torch.complex64, generator=generator)
    envelope = window_envelope(window, frames, config.hop_length)
    with one_thread(), torch.inference_mode():
        print_ratio(
            "inverse STFT",
            lambda: torch.istft(spectrum, config.n_fft, config.hop_length, window=window),
            lambda: inverse_stft(spectrum, window, config.hop_length, envelope),
        )
        print_ratio("magnitude", spectrum.abs, lambda: magnitude(spectrum))


if __name__ == "__main__":
    main()
