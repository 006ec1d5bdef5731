"""`vocalburst compare-mels`: a picture of generated clips over real ones, a column per emotion."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vocalburst.gen.cli import run


def compare_mels(
    clips: Path, reference: Path, emotions: list[str], rows: int, out: Path, split: str, seed: int
) -> None:
    """Write a PNG of the first `rows` generated clips of each emotion over as many drawn real ones of `split`."""
    import numpy as np
    import torch

    from vocalburst.gen.data.audio import read_wave
    from vocalburst.gen.data.errors import InputDataError
    from vocalburst.gen.data.manifest import manifest_root, read_clip, read_manifest
    from vocalburst.gen.data.mel import LogMel
    from vocalburst.gen.dataset import normalise_level
    from vocalburst.gen.generated import read_generated
    from vocalburst.gen.pictures import save_mels

    log_mel = LogMel()

    def mel(wave: np.ndarray) -> torch.Tensor:
        return log_mel(torch.from_numpy(normalise_level(wave)[0]))

    made = list(read_generated(clips / "manifest.jsonl"))
    real = [clip for clip in read_manifest(reference) if clip.split == split]
    rng = np.random.default_rng(seed)
    columns: list[list[torch.Tensor]] = []
    for emotion in emotions:
        ours = [row for row in made if row.emotion == emotion][:rows]
        theirs = [
            clip for clip in real if clip.emotions and max(clip.emotions, key=clip.emotions.get) == emotion
        ]
        for found, where in ((ours, clips), (theirs, reference)):
            if len(found) < rows:
                raise InputDataError(f"{where}: expected {rows} clips of {emotion}, found {len(found)}")
        drawn = [theirs[k] for k in rng.permutation(len(theirs))[:rows]]
        column = [mel(read_wave(clips / row.file_name)) for row in ours]
        columns.append(column + [mel(read_clip(manifest_root(reference), clip)) for clip in drawn])
    grid = [[column[row] for column in columns] for row in range(2 * rows)]
    save_mels(out, grid, emotions, ["generated"] * rows + ["real"] * rows, log_mel.config)


def main() -> None:
    """Entry point of `vocalburst compare-mels`."""
    parser = argparse.ArgumentParser(
        description="Picture of generated clips over real ones.",
        epilog="example: vocalburst compare-mels submission/ --reference manifests/emogator/manifest.jsonl "
        "--emotions amusement awe fear --out mels.png",
    )
    parser.add_argument("clips", type=Path, help="output folder of generate")
    parser.add_argument("--reference", type=Path, required=True, help="manifest of real clips")
    parser.add_argument("--emotions", nargs="+", required=True)
    parser.add_argument("--rows", type=int, default=2, help="clips of each kind in a column")
    parser.add_argument("--split", default="dev", help="split of the real clips")
    parser.add_argument("--seed", type=int, default=0, help="draw of the real clips")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    a = parser.parse_args()
    if a.rows < 1:
        parser.error(f"--rows must be at least 1, got {a.rows}")

    def command() -> None:
        compare_mels(a.clips, a.reference, a.emotions, a.rows, a.out, a.split, a.seed)
        print(a.out)

    sys.exit(run(command))


if __name__ == "__main__":
    main()
