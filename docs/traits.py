"""Traits of voices by which generated clips differ from people's, whatever evaluator hears them.

    python docs/traits.py submission copies --n 1200

prints medians over clips of folders with a manifest.jsonl (of `generate` or `resynthesise`), of train and of dev clips:
of the voice-active part at one level the pitch of voiced frames and their share, crest factor and skewness of the wave,
and by how many dB a frame differs from the one before, in level and in the mel bins of three regions.
Run from the repository root; manifests/emogator must be prepared.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.stats
import torch

from vocalburst.gen.data.audio import SAMPLE_RATE, active_span, read_wave
from vocalburst.gen.data.manifest import manifest_root, read_manifest
from vocalburst.gen.data.mel import LogMel
from vocalburst.gen.data.store import WaveStore
from vocalburst.gen.models.pulses import VOICED, pitch
from vocalburst.gen.models.refiner import frame_level

DECIBELS = 20 / np.log(10)  # of one natural logarithm of a magnitude
REGIONS = ("low", "middle", "high")  # thirds of the mel bins
LEVEL = 0.1  # root mean square
SHORTEST = 4096  # samples


def traits(wave: np.ndarray, log_mel: LogMel) -> dict[str, float]:
    """wave [L] -> each trait by its name and unit; a pitch of nan where no frame is voiced."""
    first, last = active_span(wave)
    part = wave[first:last].astype(np.float32)
    part = np.pad(part, (0, max(0, SHORTEST - len(part))))
    level = max(float(np.sqrt(np.square(part).mean())), 1e-9)
    heard = torch.from_numpy(part * np.float32(LEVEL / level))
    mel, config = log_mel(heard)[:, 1:-1], log_mel.config
    frequency, periodicity = pitch(heard[None], config.n_fft, config.hop_length, SAMPLE_RATE)
    voiced = periodicity > VOICED
    moved = mel.diff(dim=-1).abs().mean(dim=-1) * DECIBELS
    peak = float(part[np.abs(part).argmax()])
    return {
        "pitch, Hz": float(frequency[voiced].log().mean().exp()) if voiced.any() else np.nan,
        "voiced, %": 100 * float(voiced.float().mean()),
        "crest factor, dB": 20 * np.log10(abs(peak) / level),
        "skewness towards the peak": float(scipy.stats.skew(part)) * np.sign(peak),
        "level, dB": float(frame_level(mel[None]).diff(dim=-1).abs().mean()) * DECIBELS,
    } | {
        f"{name} bins, dB": float(bins.mean())
        for name, bins in zip(REGIONS, moved.tensor_split(len(REGIONS)), strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--n", type=int, default=1200, help="clips of each")
    parser.add_argument("--manifest", type=Path, default=Path("manifests/emogator/manifest.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("cache/waves"))
    arguments = parser.parse_args()
    log_mel = LogMel()
    sets = {}
    for split in ("train", "dev"):
        clips = [clip for clip in read_manifest(arguments.manifest) if clip.split == split]
        store = WaveStore.build(manifest_root(arguments.manifest), clips, arguments.cache)
        sets[f"{split} clips"] = (len(clips), lambda row, store=store: np.asarray(store[row]))
    for folder in arguments.folders:
        lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        names = [json.loads(line)["file_name"] for line in lines]
        sets[folder.name] = (
            len(names),
            lambda row, folder=folder, names=names: read_wave(folder / names[row]),
        )
    header = False
    for name, (n, wave_of) in sets.items():
        chosen = np.random.default_rng(0).permutation(n)[: arguments.n]
        rows = [traits(wave_of(int(row)), log_mel) for row in chosen]
        if not header:
            print("| clips | " + " | ".join(rows[0]) + " |\n|" + "---|" * (1 + len(rows[0])))
            header = True
        middle = (f"{np.nanmedian([row[trait] for row in rows]):.3g}" for trait in rows[0])
        print(f"| {name} | " + " | ".join(middle) + " |", flush=True)


if __name__ == "__main__":
    main()
