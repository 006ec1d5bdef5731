"""Label files of the tasks in the exact layouts of the corpora, small and made up, and submissions for them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from vocalburst.eval.tasks.registry import BURST_TYPES, CULTURE_COLUMNS, CULTURES, EMOTIONS, SHARES

# What a country is called in A-VB's columns, and the other spellings of ExVo's `Country`.
COUNTRY_CELLS = ("0", "1.0", "2", "3")


def write_rows(path: Path, rows: list[dict], delimiter: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_rows(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def file_ids(n: int) -> list[str]:
    return [f"[{number:05d}]" for number in range(1, n + 1)]


def splits(n: int) -> list[str]:
    """The first quarter Train, the last Test, the half between Val."""
    return ["Train" if k < n // 4 else "Test" if k >= n - n // 4 else "Val" for k in range(n)]


def avb_high(path: Path, n: int = 48) -> Path:
    """`high_info.csv`; Test rows are blind."""
    rng = np.random.default_rng(1)
    rows = [
        {"File_ID": name, "Split": split}
        | {e: "" if split == "Test" else f"{rng.random():.4f}" for e in sorted(EMOTIONS)}
        for name, split in zip(file_ids(n), splits(n), strict=True)
    ]
    return write_rows(path, rows)


def avb_two(path: Path, n: int = 48) -> Path:
    """`two_info.csv` on the scale of 1 to 9."""
    rng = np.random.default_rng(2)
    return write_rows(
        path,
        [
            {"File_ID": name, "Split": split}
            | {e: f"{rng.uniform(1, 9):.3f}" for e in ("Arousal", "Valence")}
            for name, split in zip(file_ids(n), splits(n), strict=True)
        ],
    )


def avb_culture(path: Path, n: int = 96) -> Path:
    """`culture_info.csv`: a clip has the ten labels of its own country alone."""
    rng = np.random.default_rng(3)
    rows = []
    for k, (name, split) in enumerate(zip(file_ids(n), splits(n), strict=True)):
        own = CULTURES[k % 4]
        cells = {c: f"{rng.random():.4f}" if c.startswith(own) else "" for c in CULTURE_COLUMNS}
        rows.append({"File_ID": name, "Split": split} | cells)
    return write_rows(path, rows)


def avb_type(path: Path, n: int = 64) -> Path:
    return write_rows(
        path,
        [
            {"File_ID": name, "Split": split, "Voc_Type": BURST_TYPES[k % 8]}
            for k, (name, split) in enumerate(zip(file_ids(n), splits(n), strict=True))
        ],
    )


def exvo(path: Path, n: int = 96, clips: int = 6) -> Path:
    """`data_info.csv`: `clips` of each speaker, whose country and age are the same in all of them."""
    rng = np.random.default_rng(4)
    rows = []
    for k, (name, split) in enumerate(zip(file_ids(n), splits(n), strict=True)):
        speaker = k // clips
        blind = split == "Test"
        row = {
            "File_ID": name,
            "Split": split,
            "Subject_ID": "" if blind else f"Speaker_{speaker}",
            "Country": COUNTRY_CELLS[speaker % 4],
            "Age": "" if blind else f"{20 + speaker}.5",
        }
        rows.append(row | {e: "" if blind else f"{rng.random():.4f}" for e in sorted(EMOTIONS)})
    return write_rows(path, rows)


def compare(folder: Path, n: int = 30) -> Path:
    """ComParE's `lab/{train,devel,test}.csv`."""
    rng = np.random.default_rng(5)
    for split in ("train", "devel", "test"):
        rows = [
            {"filename": f"{split}_{k:05d}.wav"}
            | {e: "" if split == "test" else f"{rng.random():.4f}" for e in SHARES}
            for k in range(n)
        ]
        write_rows(folder / f"{split}.csv", rows)
    return folder


def named_clips(path: Path, classes: tuple[str, ...], per_class: int = 4, speakers: int = 4) -> Path:
    """A CSV with id, emotion, speaker and split; speakers 0 and up are in dev, the last is in test."""
    rows = []
    for k in range(per_class * len(classes)):
        speaker = k % speakers
        rows.append(
            {
                "filename": f"a/{k:04d}.mp3",
                "Emotion": classes[(k // speakers) % len(classes)],
                "speaker": f"actor-{speaker}",
                "split": "test" if speaker == speakers - 1 else "dev",
            }
        )
    return write_rows(path, rows)


def answers(
    labels: Path, out: Path, columns: tuple[str, ...], split: str | None = None, seed: int = 0
) -> Path:
    """A submission that leans towards the labels: numbers half label and half noise, unlabelled ones noise."""
    rng = np.random.default_rng(seed)
    rows = [row for row in read_rows(labels) if split is None or row["Split"] == split]
    made = []
    for row in rows:
        cells = {c: f"{0.5 * float(row[c] or rng.random()) + 0.5 * rng.random():.6f}" for c in columns}
        made.append({"File_ID": row["File_ID"]} | cells)
    return write_rows(out, made)
