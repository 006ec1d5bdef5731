"""What a training run leaves on disk: folders that are whole or absent, and a metrics log."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vocalburst.gen.data.audio import write_file


@contextmanager
def written_whole(target: Path, accelerator=None) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well: a kill never leaves half of it.

    accelerator: when given, all its processes write into the folder and the main one moves it.
    """
    main = accelerator is None or accelerator.is_main_process
    part = target.with_name(f".{target.name}.part")
    if main:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    if accelerator is not None:
        accelerator.wait_for_everyone()
    yield part
    if accelerator is not None:
        accelerator.wait_for_everyone()
    if main:
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.replace(old)
        part.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    if accelerator is not None:
        accelerator.wait_for_everyone()


def list_checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, fewest samples seen first. Names are zero-padded sample counts."""
    return sorted(path for path in folder.glob("*") if path.is_dir() and path.name.isdigit())


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most samples seen, or None."""
    return next(reversed(list_checkpoints(folder)), None)


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove all but the last `keep` checkpoints."""
    for path in list_checkpoints(folder)[:-keep]:
        # Renamed before it is taken apart: a kill leaves no half checkpoint under a whole one's name.
        path.replace(path.with_name(f".{path.name}.old"))
    for old in folder.glob(".*.old"):
        shutil.rmtree(old)


class MetricsLog:
    """Appends one JSON line per call, and mirrors numbers to TensorBoard when it is installed."""

    def __init__(self, path: Path, active: bool = True):
        self.path, self.active, self.board = path, active, None

    def open_tensorboard(self, folder: Path):
        """A TensorBoard writer into `folder`, or None when TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("TensorBoard is not installed: metrics go to metrics.jsonl only", file=sys.stderr)
            return None
        self.board = SummaryWriter(str(folder / "tensorboard"))
        return self.board

    def rewind(self, seen: int) -> None:
        """Take back what was logged after `seen` samples: a run that resumes from there logs it again."""
        if not self.active or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text().splitlines():
            try:
                values = json.loads(line)
            except ValueError:  # a kill cut the last line short
                continue
            if values["seen"] <= seen:
                kept.append(line + "\n")
        write_file(self.path, "".join(kept).encode())

    def write(self, *, seen: int, **values: float) -> None:
        if not self.active:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"seen": seen, **values}) + "\n")
        if self.board is not None:
            for key, value in values.items():
                self.board.add_scalar(key, value, seen)
