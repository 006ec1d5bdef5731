"""A recognition model that learns in milliseconds, and small corpora for it: the commands run on these as on any."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from pydantic import Field
from task_fixtures import read_rows

from vocalburst.eval.recognition import registry
from vocalburst.eval.recognition.estimator import Answers, RecognitionModel, Settings
from vocalburst.gen.cli import main as vocalburst_main
from vocalburst.gen.data.corpora.hume import COUNTRIES
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, write_manifest

RATE = 24_000
TRAIN_SPEAKERS, DEV_SPEAKERS = 5, 3


class TinySettings(Settings):
    sharpness: float = Field(50.0, gt=0)
    epochs: int = Field(1, ge=1)
    refit_on_dev: bool = False


class TinyModel(RecognitionModel):
    """Nearest mean for classes, a straight line for numbers, on pitch and level of a tone."""

    title = "Tiny: pitch and level"
    source = "For tests."
    settings_class = TinySettings
    fits = 0  # of all models of a test, to see whether one was loaded or learned again

    @property
    def dim(self) -> int:
        return 3

    @property
    def preprocessing(self) -> str:
        return "pitch-level"

    def features(self, wave: np.ndarray) -> np.ndarray:
        level = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
        if level == 0:
            raise InputDataError("a clip is digital silence")
        crossings = np.mean(np.diff(np.signbit(wave)))
        return np.array([np.log(crossings * RATE / 2 + 1), np.log(level), 1.0])

    def read(self, waves) -> np.ndarray:
        return np.stack([self.features(waves[i]) for i in range(len(waves))])

    def learn(self, waves, y, dev) -> dict:
        TinyModel.fits += 1
        x = self.read(waves)
        self.means_, self.lines_ = np.zeros((0, 3)), np.zeros((len(self.columns), 3))
        for c, column in enumerate(self.columns):
            known = ~np.isnan(y[:, c])
            if column.classes:
                own = [x[y[:, c] == k] for k in range(len(column.classes))]
                self.means_ = np.stack([part.mean(axis=0) if len(part) else np.full(3, 1e3) for part in own])
            else:
                self.lines_[c] = np.linalg.lstsq(x[known], y[known, c], rcond=None)[0]
        return {"history": [{"epoch": 1}], "dev_clips": None if dev is None else len(dev[0])}

    def hear(self, waves) -> Answers:
        x = self.read(waves)
        values, probabilities = [], None
        for c, column in enumerate(self.columns):
            if column.classes:
                distance = np.square(x[:, None] - self.means_[None]).sum(axis=2)
                odds = np.exp(-self.settings.sharpness * (distance - distance.min(axis=1, keepdims=True)))
                probabilities = odds / odds.sum(axis=1, keepdims=True)
                values.append(probabilities.argmax(axis=1).astype(np.float64))
            else:
                values.append(np.clip(x @ self.lines_[c], *column.bounds))
        return Answers(x.astype(np.float32), np.stack(values, axis=1), probabilities)

    def tensors(self) -> dict[str, np.ndarray]:
        return {"means": self.means_, "lines": self.lines_}

    def take_tensors(self, tensors: dict[str, np.ndarray]) -> None:
        if tensors["lines"].shape != (len(self.columns), 3):
            raise ValueError("other tensors")
        self.means_, self.lines_ = tensors["means"], tensors["lines"]


@pytest.fixture
def tiny(monkeypatch) -> None:
    """The registry holds nothing but `tiny` and `tiny-two`, a row of the same class."""
    module = ModuleType("vocalburst.eval.recognition.tiny")
    module.TinyModel = TinyModel
    monkeypatch.setitem(sys.modules, module.__name__, module)
    rows = {
        "tiny": registry.Row("tiny", "TinyModel", "Tiny"),
        "tiny-two": registry.Row("tiny", "TinyModel", "Tiny, less sure", {"sharpness": 5.0}),
    }
    for name in reversed(list(registry.MODELS)):  # deletions are undone from the last to the first
        monkeypatch.delitem(registry.MODELS, name)
    for name, row in rows.items():
        monkeypatch.setitem(registry.MODELS, name, row)
    monkeypatch.setattr(TinyModel, "fits", 0)


def tone(hz: float, seed: int, amplitude: float = 0.3, seconds: float = 0.1) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(size=len(time))
    return (amplitude * (np.sin(2 * np.pi * hz * time) + 0.01 * noise)).astype(np.float32)


def write_sound(path: Path, wave: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE)


def clip_of(name: str, path: str, split: str, speaker: str | None, **labels) -> Clip:
    levels = {"seconds": 0.1, "active_seconds": 0.1, "level_db": -13.0, "peak_db": -10.0}
    return Clip(id=name, path=path, corpus="made-up", split=split, speaker=speaker, **labels, **levels)


def emogator(folder: Path, per_class: int = 1) -> Path:
    """A manifest of thirty emotions by eight speakers; an emotion is a pitch, of which a speaker has an own idea."""
    clips = []
    for speaker in range(TRAIN_SPEAKERS + DEV_SPEAKERS):
        split = "train" if speaker < TRAIN_SPEAKERS else "dev"
        rng = np.random.default_rng(speaker)
        for number, emotion in enumerate(EMOGATOR_30):
            for take in range(per_class):
                name = f"s{speaker}-{number:02d}-{take}"
                hz = 200 * 1.12 ** (number + rng.normal(scale=0.6))
                write_sound(folder / f"{name}.wav", tone(hz, speaker, 0.3))
                clips.append(
                    clip_of(
                        name,
                        f"{name}.wav",
                        split,
                        f"speaker-{speaker}",
                        labelled="emogator-30",
                        emotions={emotion: 1.0},
                    )
                )
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


def hume(folder: Path, per_speaker: int = 4) -> Path:
    """A manifest as `prepare hume` writes it: ten intensities that follow pitch, age, country; the test rows blind."""
    clips = []
    for number in range(14 * per_speaker):
        speaker, rng = number // per_speaker, np.random.default_rng(number)
        split = "train" if speaker < 9 else "dev" if speaker < 13 else "test"
        place = rng.random()
        name = f"{number + 1:05d}"
        write_sound(folder / "wav" / f"{name}.wav", tone(200 * 8**place, number))
        values = {
            e: round(float(np.clip(place if k % 2 else 1 - place, 0, 1)), 4) for k, e in enumerate(EXVO_10)
        }
        labels = {
            "labelled": "exvo-10",
            "emotions": values,
            "age": 20.5 + speaker,
            "country": COUNTRIES[speaker % 4],
        }
        if split == "test":
            labels = {"labelled": (), "emotions": {}}
        speaker_name = None if split == "test" else f"hume-{speaker}"
        clips.append(clip_of(f"hume-{name}", f"wav/{name}.wav", split, speaker_name, **labels))
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


def sounds_of(labels: Path, folder: Path, name: str = "File_ID") -> Path:
    """A tone for each row of a label file, named by its id."""
    for number, row in enumerate(read_rows(labels)):
        stem = row[name].strip("[]").rsplit(".", 1)[0]
        write_sound(folder / f"{stem}.wav", tone(200 + 17 * (number % 97), number))
    return folder


def run_vocalburst(monkeypatch, *arguments: str | Path) -> int:
    """`vocalburst ...` in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["vocalburst", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        vocalburst_main()
    return ended.value.code
