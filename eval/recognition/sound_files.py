"""The sound of clips that a label file names: found below a folder by the id of the task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.audio import DECODABLE
from vocalburst.gen.data.errors import InputDataError


@dataclass(frozen=True)
class Sound:
    """What `WaveStore` asks of a clip: path below a root (`shard.tar::member` inside a shard), times in seconds."""

    id: str
    path: str
    start: float = 0.0
    end: float | None = None


def find_sounds(
    task: Task, labels: Path, audio: Path | None, ids: Sequence[str]
) -> tuple[Path, dict[str, Sound]]:
    """The root and the sound of every id; a folder of labels holds the sound itself unless `audio` is given.

    A file is called by its path below the folder, or by its name alone. Raises InputDataError for an id without a
    file, or with two.
    """
    root = audio or labels
    if not root.is_dir():
        raise InputDataError(
            f"{root}: names clips but holds no sound; give the folder of their files as --audio"
        )
    found: dict[str, set[str]] = defaultdict(set)
    for file in root.rglob("*"):
        if file.suffix.lower() in DECODABLE and not file.name.startswith("."):
            path = file.relative_to(root).as_posix()
            found[task.identify(path)].add(path)
            found[task.identify(file.name)].add(path)
    sounds = {}
    for name in ids:
        paths = sorted(found.get(name, ()))
        if not paths:
            known = ", ".join(sorted(DECODABLE))
            raise InputDataError(f"{labels}: the clip {name} has no sound file below {root} ({known})")
        if len(paths) > 1:
            raise InputDataError(
                f"{labels}: the clip {name} has more than one sound file below {root}: {paths[0]} and {paths[1]}"
            )
        sounds[name] = Sound(name, paths[0])
    return root, sounds
