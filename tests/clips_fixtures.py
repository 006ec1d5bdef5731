"""Six clips of three emotions, in every form that a set of clips can have."""

import hashlib
import json

from conftest import synthetic_burst

from vocalburst.gen.data.audio import encode_wave
from vocalburst.gen.data.manifest import Clip, write_manifest

EMOTIONS = ("awe", "fear", "surprise_negative")


def sounds(n=6):
    """(file name, emotion, bytes) of n short clips, the emotions in turn."""
    for i in range(n):
        emotion = EMOTIONS[i % 3]
        yield f"{emotion}/{i}.wav", emotion, encode_wave(synthetic_burst(i, 0.15 + 0.02 * i, 150 + 40 * i))


def write_tree(root, n=6, folder=str):
    """EMOTION/*.wav; `folder` renames an emotion's folder."""
    for name, emotion, data in sounds(n):
        path = root / folder(emotion) / name.split("/")[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def entry_rows(n=6):
    return [
        {
            "file_name": name, "emotion": emotion, "sha256": hashlib.sha256(data).hexdigest(), "steps": 8,
            "guidance": 3.0, "scheduler": "heun", "checkpoint": "abc", "seed": number, "mel_file_name": None,
        }
        for number, (name, emotion, data) in enumerate(sounds(n))
    ]  # fmt: skip


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_entry(root, n=6):
    write_tree(root, n)
    write_rows(root / "manifest.jsonl", entry_rows(n))
    return root


def record(number, emotions, path=None, split="dev", **values):
    fields = {"seconds": 0.2, "active_seconds": 0.1, "level_db": -20.0, "peak_db": -6.0, "corpus": "toy"}
    return Clip(
        id=f"clip-{number}", path=path or f"{number}.wav", split=split, speaker=f"s{number % 2}",
        labelled=tuple(emotions), emotions=emotions, **fields | values,
    )  # fmt: skip


def write_real(root, n=6, **values):
    root.mkdir(parents=True, exist_ok=True)
    records = []
    for number, (_, emotion, data) in enumerate(sounds(n)):
        (root / f"{number}.wav").write_bytes(data)
        records.append(record(number, {emotion: 1.0}, split="train" if number < 3 else "dev", **values))
    write_manifest(root / "manifest.jsonl", records)
    return root / "manifest.jsonl"


def contents(clips):
    """(key, emotion) of every clip, sorted: what a set is, whatever it is called."""
    return sorted(zip(clips.keys, clips.emotions, strict=True))


EXPECTED = sorted((hashlib.sha256(data).hexdigest(), emotion) for _, emotion, data in sounds())
