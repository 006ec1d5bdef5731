"""Tiny corpora in the exact layouts of the real ones, two of which are gated. The sound is synthetic."""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from vocalburst.gen.data.emotions import EXVO_10

COUNTRY_STRINGS = {"0": "China", "1": " South Africa", "2": "USA ", "3.0": "Venezuela"}
HUME_COLUMNS = (
    "File_ID",
    "Country",
    "Subject_ID",
    "Split",
    *sorted(n.title() for n in EXVO_10),
    "Age",
    "Country_string",
)


def voice(seconds: float, rate: int, seed: int = 0, pitch: float = 220.0) -> np.ndarray:
    """A harmonic tone [L] with a swell and a little noise, peak near 0.5; every seed sounds different."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6)) / k for k in (1, 2, 3))
    swell = np.sin(np.pi * time / seconds) ** 0.5
    return (0.25 * tone * swell + 0.001 * rng.standard_normal(len(time))).astype(np.float32)


def write_sound(path: Path, wave: np.ndarray, rate: int, **options) -> Path:
    """Write by suffix, folders included. wave: [L] or [L, C]; options as `soundfile.write`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **options)
    return path


def write_csv(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def make_emogator(root: Path, names: tuple[str, ...] = ("000001-04-1", "000001-04-2", "000002-15-1")) -> Path:
    """The public layout, `data/mp3/NNNNNN-EE-I.mp3` at 48 kHz."""
    for seed, name in enumerate(names):
        write_sound(root / "data" / "mp3" / f"{name}.mp3", voice(1.0, 48_000, seed), 48_000)
    return root


def make_emogator_shards(loose: Path, root: Path) -> Path:
    """The same files as in `loose`, inside two tar shards."""
    root.mkdir(parents=True, exist_ok=True)
    files = sorted(loose.rglob("*.mp3"))
    for number, part in enumerate((files[1:], files[:1])):
        with tarfile.open(root / f"train-{number:02d}.tar", "w") as tar:
            for file in part:
                tar.add(file, arcname=file.relative_to(loose).as_posix())
    return root


def hume_row(
    file_id: int, split: str, subject: str, country: str = "0", age: str = "25.5", **values: str
) -> dict:
    """A row of `data_info.csv`; emotions not named are 0, all are empty in Test."""
    default = "" if split == "Test" else "0.0"
    row = {
        "File_ID": f"[{file_id:05d}]",
        "Country": country,
        "Subject_ID": subject,
        "Split": split,
        "Age": age,
        "Country_string": COUNTRY_STRINGS.get(country, country),
    }
    row |= {name.title(): values.get(name, default) for name in EXVO_10}
    return {column: row[column] for column in HUME_COLUMNS}


def make_hume(root: Path, rate: int = 16_000, folder: str = "wav") -> Path:
    """`data_info.csv` and `wav/NNNNN.wav`: Train speakers 1 and 2, Val speaker 900, a blind Test clip."""
    rows = [
        hume_row(1, "Train", "Speaker_1", awe="1.0", fear="0.25"),
        hume_row(2, "Train", "Speaker_2", country="3.0", horror="1", awkwardness="0.5"),
        hume_row(58712, "Val", "Speaker_900", country="1", surprise="1.0"),
        hume_row(7, "Test", "", country="2", age=""),
    ]
    write_csv(root / "data_info.csv", rows)
    for row in rows:
        file_id = row["File_ID"].strip("[]")
        write_sound(root / folder / f"{file_id}.wav", voice(0.8, rate, int(file_id)), rate, subtype="PCM_16")
    return root


def long_recording(rate: int) -> np.ndarray:
    """20 s: voice at 1-3, 4-5, 8-14 and 16-17 s, digital silence between."""
    wave = np.zeros(20 * rate, dtype=np.float32)
    for seed, (start, end) in enumerate(((1, 3), (4, 5), (8, 14), (16, 17))):
        wave[start * rate : end * rate] = voice(end - start, rate, seed)
    return wave


SONATA_TEXT = (
    "0.5\t6.0\tSurprise (Negative)\n7.0\t15.0\tSeduction / Ecstasy\n15.5\t20.0\tawe\tWhat is that?\n"
)


def make_sonata(
    root: Path, actors: tuple[str, ...] = ("Actor01", "Actor02"), text: str = SONATA_TEXT
) -> Path:
    """One mp3 per actor and role, a timestamp text of the same name beside it."""
    for actor in actors:
        wave = long_recording(24_000) * (1 - 0.1 * int(actor[-2:]))
        write_sound(root / f"{actor}_Pirate.mp3", wave, 24_000)
        (root / f"{actor}_Pirate.txt").write_text(text, encoding="utf-8")
    return root


def make_sonata_segments(root: Path) -> Path:
    """The segmented layout, `<split>/<emotion>/<speaker>_<role>_*.mp3`."""
    for seed, (split, emotion, actor) in enumerate(
        (("train", "seductionecstasy", "Actor01"), ("val", "hype", "Actor02"), ("test", "awe", "Actor03"))
    ):
        path = root / split / emotion / f"{actor}_Nobility_{seed}.mp3"
        write_sound(path, voice(2.0, 24_000, seed), 24_000)
    return root


def make_folder(root: Path, layout: dict[str, int] | None = None) -> Path:
    """`EMOTION/*.wav`; layout: folder (of one or two levels) -> number of clips."""
    seed = 0
    for folder, count in (layout or {"awe": 3, "Surprise (Negative)": 2}).items():
        for number in range(count):
            seed += 1
            write_sound(root / folder / f"{number:02d}.wav", voice(0.5, 24_000, seed), 24_000)
    return root
