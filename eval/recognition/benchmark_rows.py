"""One row of a benchmark: a contestant trained or loaded, heard on clips of speakers it never heard, and scored.

Shape letters: N clips, C columns of the task, K classes.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from vocalburst.eval.hearing import weights_hash
from vocalburst.eval.recognition.contestants import Contestant, EvaluatorContestant, load_trained
from vocalburst.eval.recognition.estimator import Answers, RecognitionModel
from vocalburst.eval.recognition.labelled_clips import LabelledClips
from vocalburst.eval.recognition.registry import build
from vocalburst.eval.recognition.train import train_and_save
from vocalburst.eval.recognition.training_run import (
    CHOSEN_ON,
    RUN,
    chosen_on,
    difference,
    epochs_of,
    identity,
    parameters,
    scored,
)
from vocalburst.eval.tasks.columns import exvo_emotion
from vocalburst.eval.tasks.registry import TASKS, Task
from vocalburst.eval.tasks.scoring import Score
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10
from vocalburst.gen.data.errors import InputDataError

TIMED_CLIPS = 100


@dataclass(frozen=True, eq=False)
class Part:
    """Clips to learn from, and clips of other speakers to be measured on. fold: from 1, None without folds."""

    name: str
    train: LabelledClips
    measured: LabelledClips
    fold: int | None = None

    def place(self, folder: Path, name: str) -> Path:
        return folder / name if self.fold is None else folder / name / f"fold-{self.fold}"


@dataclass(frozen=True, eq=False)
class Bench:
    """What all rows share. runs: where trained models are kept; heard: where their answers are."""

    task: Task
    parts: tuple[Part, ...]
    labels_sha256: str
    seed: int
    runs: Path
    heard: Path

    @property
    def y(self) -> np.ndarray:
        """Labels [N, C] of all measured clips, part by part."""
        return np.concatenate([part.measured.y for part in self.parts])

    @property
    def speakers(self) -> list[str] | None:
        if any(part.measured.speakers is None for part in self.parts):
            return None
        return [speaker for part in self.parts for speaker in part.measured.speakers]


@dataclass(frozen=True)
class BenchmarkRow:
    """cpu_minutes: of one training, the mean over folds. ms_per_clip: CPU time."""

    name: str
    title: str
    headline: Score
    exvo_10: Score | None
    scores: tuple[Score, ...]
    cpu_minutes: float | None
    epochs: int | None
    parameters: int | None
    ms_per_clip: float
    seed: int | None
    settings: dict | None

    def to_json(self) -> dict:
        return asdict(self)


def check_contestants(bench: Bench, entries: list[Contestant]) -> None:
    """Raise the errors that would otherwise come after hours of training."""
    for entry in entries:
        if entry.settings is None:
            if bench.parts[0].fold is not None:
                raise InputDataError(f"{entry.name}: is trained already, so it cannot be trained for --folds")
            if entry.is_evaluator:
                EvaluatorContestant(entry.name, bench.task, bench.labels_sha256)
            else:
                load_trained(Path(entry.name), bench.task, bench.labels_sha256, bench.parts[0].name)
            continue
        model = build(entry.name, bench.task.name, bench.seed, **entry.settings)
        teacher = getattr(model, "teacher", None)
        taught = teacher() if callable(teacher) and bench.parts[0].fold is not None else None
        if taught:
            raise InputDataError(
                f"{entry.name}: is taught by {taught}, which may have heard the speakers of any fold; set teacher: none"
            )
        for part in bench.parts:
            load_same(bench, part, entry)


def load_same(bench: Bench, part: Part, entry: Contestant) -> RecognitionModel | None:
    """The model of this very training, None where there is none yet. Raises InputDataError for another training."""
    folder = part.place(bench.runs, entry.name)
    if not (folder / "config.json").exists():
        return None
    found = RecognitionModel.load(folder)
    fresh = build(entry.name, bench.task.name, bench.seed, **entry.settings)
    expected = identity(fresh, bench.labels_sha256, part.name, CHOSEN_ON["train"])
    other = difference(expected, found.training_.get(RUN, {}).get("identity", {}))
    if other:
        raise InputDataError(f"{folder}: was trained with {other}; move it away or name another folder")
    return found


def trained(bench: Bench, part: Part, entry: Contestant) -> tuple[RecognitionModel, Answers | None]:
    """A row's model for a part, and its answers to the measured clips where it was trained just now."""
    model = load_same(bench, part, entry)
    if model is not None:
        return model, None
    folder = part.place(bench.runs, entry.name)
    print(f"training {folder}", file=sys.stderr)
    model = build(entry.name, bench.task.name, bench.seed, **entry.settings)
    own = identity(model, bench.labels_sha256, part.name, CHOSEN_ON["train"])
    return model, train_and_save(model, own, *chosen_on(part.train), part.measured, folder)


def benchmark_row(bench: Bench, entry: Contestant) -> BenchmarkRow:
    """Train or load, hear and score."""
    if entry.is_evaluator:
        return evaluator_row(bench, entry)
    models, answers = [], []
    for part in bench.parts:
        fresh = None
        if entry.is_folder:
            folder = Path(entry.name)
            model = load_trained(folder, bench.task, bench.labels_sha256, part.name)
        else:
            folder = part.place(bench.runs, entry.name)
            model, fresh = trained(bench, part, entry)
        models.append(model)
        weights = weights_hash([folder / "model.safetensors"])
        kept = part.place(bench.heard, entry.name.strip("/.").replace("/", "-"))
        answers.append(heard(kept, weights, part.measured, model.hear, fresh))
    runs = [model.training_[RUN] for model in models]
    return scored_row(
        bench,
        entry.name,
        models[-1].title,
        answers,
        models[-1].hear,
        cpu_minutes=float(np.mean([run["cpu_seconds"] for run in runs])) / 60,
        epochs=max((epochs_of(model) for model in models if epochs_of(model)), default=None),
        parameters=parameters(models[-1]),
        seed=models[-1].seed,
        settings=models[-1].settings.model_dump(mode="json"),
    )


def evaluator_row(bench: Bench, entry: Contestant) -> BenchmarkRow:
    """The row of an evaluator, its cost read from its own folder."""
    (part,) = bench.parts
    own = EvaluatorContestant(entry.name, bench.task, bench.labels_sha256)
    kept = bench.heard / own.evaluator.id
    answers = heard(kept, own.evaluator.id, part.measured, own.hear)
    config = own.training.get("config", {})
    return scored_row(
        bench,
        entry.name,
        own.title,
        [answers],
        own.hear,
        cpu_minutes=own.training.get("cpu_minutes"),
        epochs=config.get("epochs"),
        parameters=own.parameters,
        seed=config.get("seed"),
        settings=None,
    )


def scored_row(
    bench: Bench, name: str, title: str, answers: list[Answers], hear: Callable, **cost
) -> BenchmarkRow:
    values = np.concatenate([own.values for own in answers])
    scores = scored(bench.task, bench.y, values, bench.speakers)
    exvo = None
    if bench.task.name == "emogator-30":
        probabilities = np.concatenate([own.probabilities for own in answers])
        exvo = exvo_score(bench.y[:, 0].astype(int), probabilities, bench.speakers)
    speed = milliseconds_per_clip(hear, bench.parts[-1].measured)
    return BenchmarkRow(name, title, scores[0], exvo, tuple(scores), ms_per_clip=speed, **cost)


def exvo_score(asked: np.ndarray, probabilities: np.ndarray, speakers: list[str] | None) -> Score:
    """UAR over the ExVo emotions: the probabilities [N, 30] of what counts as one of them are added up.

    asked: indices [N] into the thirty emotions. Clips of other emotions are left out (docs/tasks.md, On real clips).
    """
    meant = [exvo_emotion(name) for name in EMOGATOR_30]
    sums = probabilities @ np.array([[own == other for own in EXVO_10] for other in meant], dtype=np.float64)
    kept = np.array([meant[emotion] is not None for emotion in asked])
    truth = np.array([EXVO_10.index(meant[emotion]) for emotion in asked[kept]], dtype=np.float64)
    own = None if speakers is None else [name for name, keep in zip(speakers, kept, strict=True) if keep]
    return scored(TASKS["exvo-10"], truth[:, None], sums[kept].argmax(axis=1)[:, None].astype(float), own)[0]


def heard(
    place: Path, weights: str, clips: LabelledClips, hear: Callable, answers: Answers | None = None
) -> Answers:
    """Answers for clips, kept in PLACE.safetensors with the hashes of weights and clips, without the embeddings.

    answers: those that were given just now; else they are read, or the clips are heard.
    """
    path = place.with_name(f"{place.name}.safetensors")
    ids = hashlib.sha256("\n".join([*clips.ids, *map(str, clips.waves.samples)]).encode()).hexdigest()
    key = {"weights": weights, "clips": ids}
    kept = None if answers else read_heard(path, key)
    if kept:
        return kept
    if answers is None:
        print(f"listening to {len(clips)} clips for {path}", file=sys.stderr)
        answers = hear(clips.waves)
    tensors = {"values": np.ascontiguousarray(answers.values)}
    if answers.probabilities is not None:
        tensors["probabilities"] = np.ascontiguousarray(answers.probabilities)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, to_safetensors(tensors, key))
    return answers


def read_heard(path: Path, key: dict[str, str]) -> Answers | None:
    """What `heard` kept, None where that is nothing or of something else."""
    try:
        with safe_open(path, framework="numpy") as file:
            if file.metadata() != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError):
        return None
    values = tensors["values"]
    return Answers(np.zeros((len(values), 0), np.float32), values, tensors.get("probabilities"))


def milliseconds_per_clip(hear: Callable, clips: LabelledClips) -> float:
    """CPU time of a clip, the mean over `TIMED_CLIPS` of the set heard in one call, after one that warms up."""
    chosen = np.linspace(0, len(clips) - 1, min(TIMED_CLIPS, len(clips))).astype(int)
    # A level of its own for each run: what keeps features by the content of a clip must compute them here.
    level = np.float32(np.random.default_rng().uniform(0.9, 1.0))
    waves = [level * clips.waves[i] for i in chosen]
    hear([level * waves[0]])
    started = time.process_time()
    hear(waves)
    return 1000 * (time.process_time() - started) / len(waves)
