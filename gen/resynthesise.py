"""`vocalburst resynthesise`: real clips through the mel spectrogram and the vocoder, and back.

This copy-synthesis is what the generator would sound like if its mels were perfect: the control that separates the
vocoder's share of an error from the denoiser's. The folder can be judged like one of `generate`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vocalburst.gen.cli import run

if TYPE_CHECKING:
    import numpy as np

    from vocalburst.gen.pipeline import BurstPipeline


def resynthesise(manifest: Path, out: Path, split: str, n: int, seed: int, checkpoint: Path | None) -> int:
    """Write `n` clips of each emotion as WAV into `out`, with a `manifest.jsonl`; returns how many were written.

    Every row says file_name, emotion, speaker, source (id of the real clip), sha256 and the checkpoint's hash.
    """
    import numpy as np
    from tqdm import tqdm

    from vocalburst.gen.data.audio import encode_wave, limit_peak, read_wave, write_file
    from vocalburst.gen.data.errors import InputDataError
    from vocalburst.gen.data.manifest import Clip, iterate_file_bytes, manifest_root, read_manifest
    from vocalburst.gen.pipeline import load_generator

    if (out / "manifest.jsonl").exists():
        raise InputDataError(f"{out}: already holds clips; choose another folder")
    pipeline = load_generator(checkpoint)
    by_emotion: dict[str, list] = {}
    for clip in read_manifest(manifest):
        if clip.split == split and clip.emotions:
            by_emotion.setdefault(max(clip.emotions, key=clip.emotions.get), []).append(clip)
    short = [name for name, clips in by_emotion.items() if len(clips) < n]
    if short or not by_emotion:
        raise InputDataError(
            f"{manifest}: expected {n} {split} clips of every emotion, too few of {short or 'all'}"
        )
    rng = np.random.default_rng(seed)
    chosen = [(name, clips[k]) for name, clips in by_emotion.items() for k in rng.permutation(len(clips))[:n]]
    parts: dict[str, list[tuple[str, Clip]]] = {}  # by file, since a tar shard is read from its start
    for name, clip in chosen:
        parts.setdefault(clip.path, []).append((name, clip))
    root = manifest_root(manifest)
    jobs = ((*part, data) for path, data in iterate_file_bytes(root, parts) for part in parts[path])
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, clip, data in tqdm(jobs, total=len(chosen), unit="clip", desc="resynthesise", file=sys.stderr):
        wave = read_wave(data, start=clip.start, end=clip.end, name=f"{root / clip.path}")
        encoded = encode_wave(limit_peak(copy_of(wave, pipeline)))
        file_name = f"{name}_{clip.id}.wav"
        write_file(out / file_name, encoded)
        digest = hashlib.sha256(encoded).hexdigest()
        row = {
            "file_name": file_name,
            "emotion": name,
            "speaker": clip.speaker,
            "source": clip.id,
            "sha256": digest,
        }
        rows.append(json.dumps({**row, "checkpoint": pipeline.content_hash}) + "\n")
    write_file(out / "manifest.jsonl", "".join(sorted(rows)).encode())
    return len(rows)


def copy_of(wave: np.ndarray, pipeline: BurstPipeline) -> np.ndarray:
    """A wave [L] through log-mel and vocoder -> its copy [L'] at its own level, whose peak may exceed 1."""
    import numpy as np
    import torch

    from vocalburst.gen.data.mel import LogMel
    from vocalburst.gen.dataset import normalise_level
    from vocalburst.gen.determinism import one_thread

    wave, _, level = normalise_level(wave)
    with one_thread(), torch.inference_mode():
        mel = LogMel(pipeline.mel_config)(torch.from_numpy(wave))
        copy = pipeline.vocoder(mel[None])[0].numpy()
    return copy * np.float32(10 ** ((level - pipeline.normalizer.config.level_db) / 20))


def main() -> None:
    """Entry point of `vocalburst resynthesise`."""
    parser = argparse.ArgumentParser(
        description="Send real clips through the mel spectrogram and the vocoder.",
        epilog="example: vocalburst resynthesise manifests/emogator/manifest.jsonl --split dev --n 100 --out copies/",
    )
    parser.add_argument("manifest", type=Path, help="manifest of real clips")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--n", type=int, default=100, help="clips of each emotion")
    parser.add_argument("--seed", type=int, default=0, help="draw of the clips")
    parser.add_argument("--checkpoint", type=Path, help="folder (default: the one that ships)")
    a = parser.parse_args()
    if a.n < 1:
        parser.error(f"--n must be at least 1, got {a.n}")

    def command() -> None:
        count = resynthesise(a.manifest, a.out, a.split, a.n, a.seed, a.checkpoint)
        print(f"{a.out}\n{count} clips")

    sys.exit(run(command))


if __name__ == "__main__":
    main()
