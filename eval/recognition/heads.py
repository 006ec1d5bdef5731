"""Heads: from features of whole clips to the columns of a task, chosen by the task's own metric on dev.

Shape letters: N clips, D features, H embedding, C columns of the task, K classes, O outputs.

`lr`: multinomial logistic regression for a class, ridge regression for a number. `svr`: linear support vectors, one
against the rest for a class. `mlp`: the perceptron of `perceptron`. Features are first brought to zero mean and unit
spread over the clips that the head is fitted on. Everything learned is plain arrays, and predictions are products of
them.

The C of a linear head is the one of the best metric on dev, chosen for each part of the task by itself: headline
numbers rise with the metric of every part, so no other combination has a better one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, PositiveFloat
from scipy.special import softmax

from vocalburst.eval.recognition import linear_fits
from vocalburst.eval.recognition.estimator import Answers, Settings
from vocalburst.eval.recognition.outputs import output_slices
from vocalburst.eval.tasks.registry import Part, Task
from vocalburst.eval.tasks.scoring import METRICS, mean_over, part_summands

FAR = (
    10.0  # spreads from the mean: a functional of a strange clip can be hundreds away, and would decide alone
)
COLUMNS_AT_ONCE = 512

Labelled = tuple[np.ndarray, np.ndarray]  # features [N, D] and labels [N, C]


class HeadSettings(Settings):
    """Settings of every model that fits a head on features; a row overrides the defaults by those of its paper."""

    head: Literal["lr", "svr", "mlp"] = "lr"
    c_grid: tuple[PositiveFloat, ...] = Field((0.001, 0.01, 0.1, 1.0), min_length=1)  # of lr and svr
    balanced: bool = False  # lr and svr: every class weighs the same
    refit_on_dev: bool = False  # fit once more on train and dev, with what was chosen on dev
    hidden: int = Field(256, ge=1)  # this and the rest: mlp
    dropout: float = Field(0.5, ge=0, lt=1)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    batch_size: int = Field(256, ge=2)
    epochs: int = Field(40, ge=1)  # at most
    patience: int = Field(6, ge=1)  # epochs without a better dev loss


@dataclass(frozen=True, eq=False)
class Standardiser:
    """mean, scale: [D] float32."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray) -> Standardiser:
        mean, scale = np.empty(x.shape[1], np.float32), np.empty(x.shape[1], np.float32)
        for start in range(0, x.shape[1], COLUMNS_AT_ONCE):
            part = slice(start, start + COLUMNS_AT_ONCE)
            own = x[:, part].astype(np.float64)
            mean[part], scale[part] = own.mean(axis=0), own.std(axis=0)
        scale[scale <= 1e-6 * np.abs(mean)] = 1  # a constant feature, but for rounding
        scale[scale == 0] = 1
        return cls(mean, scale)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """z [N, D] float32 of features [N, D], at most `FAR` from zero."""
        z = np.subtract(x, self.mean, dtype=np.float32)
        z /= self.scale
        return np.clip(z, -FAR, FAR, out=z)

    def tensors(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "scale": self.scale}


@dataclass(frozen=True, eq=False)
class LinearHead:
    """weights [D, O] and bias [O] float32; sharpness: what the outputs of a class column are multiplied by.

    The probabilities are the softmax of those. It is the model itself for logistic regression (sharpness 1). Margins
    of support vectors are no log-odds; theirs is the sharpness under which the labels of dev are most likely (1 without
    dev). Numbers are clipped to the bounds of their column.
    """

    task: Task
    standardiser: Standardiser
    weights: np.ndarray
    bias: np.ndarray
    sharpness: float

    @property
    def dim(self) -> int:
        return len(self.weights)

    def hear(self, x: np.ndarray) -> Answers:
        """Answers of features [N, D]; their embeddings are the standardised features."""
        z = self.standardiser(x)
        values, probabilities = read_outputs(self.task, z @ self.weights + self.bias, self.sharpness)
        return Answers(z, values, probabilities)

    def tensors(self) -> dict[str, np.ndarray]:
        own = {"weights": self.weights, "bias": self.bias, "sharpness": np.array([self.sharpness])}
        return self.standardiser.tensors() | own

    @classmethod
    def take(cls, task: Task, tensors: dict[str, np.ndarray]) -> LinearHead:
        """Of what `tensors` gave. Raises KeyError or ValueError for others."""
        mean, scale, weights, bias = (tensors[name] for name in ("mean", "scale", "weights", "bias"))
        expected = (len(mean), output_slices(task)[-1].stop)
        if weights.shape != expected or scale.shape != mean.shape or bias.shape != expected[1:]:
            raise ValueError(f"expected weights of the shape {expected}, got {weights.shape}")
        return cls(task, Standardiser(mean, scale), weights, bias, float(tensors["sharpness"][0]))


def read_outputs(task: Task, raw: np.ndarray, sharpness: float) -> tuple[np.ndarray, np.ndarray | None]:
    """values [N, C] and probabilities [N, K] (None without a class column) of raw [N, O]."""
    values, probabilities = [], None
    for column, part in zip(task.columns, output_slices(task), strict=True):
        if column.classes:
            probabilities = softmax(sharpness * raw[:, part].astype(np.float64), axis=1)
            values.append(probabilities.argmax(axis=1).astype(np.float64))
        else:
            values.append(np.clip(raw[:, part.start].astype(np.float64), *column.bounds))
    return np.stack(values, axis=1), probabilities


def fit_linear_head(
    task: Task, settings: HeadSettings, train: Labelled, dev: Labelled | None
) -> tuple[LinearHead, dict]:
    """The head of the best C on dev (of the middle of the grid without it); the second value is for the card."""
    parts = {part.columns: part for part in reversed(task.parts)}  # of two metrics of a column, the first
    grids = {columns: tuple(sorted(settings.c_grid)) for columns in parts}
    if dev is None:
        grids = {columns: (grid[(len(grid) - 1) // 2],) for columns, grid in grids.items()}
    head, chosen = fit_parts(task, settings, grids, parts, train, dev)
    if dev is not None:
        head = sharpened(head, settings, dev)
    if dev is not None and settings.refit_on_dev:
        both = tuple(np.concatenate(pair) for pair in zip(train, dev, strict=True))
        again = {columns: (record["c"],) for columns, record in chosen.items()}
        refitted, _ = fit_parts(task, settings, again, parts, both, None)
        head = LinearHead(task, refitted.standardiser, refitted.weights, refitted.bias, head.sharpness)
    report = [{"columns": list(columns), **record} for columns, record in chosen.items()]
    return head, {"chosen": report, "refitted_on_dev": dev is not None and settings.refit_on_dev}


def fit_parts(
    task: Task,
    settings: HeadSettings,
    grids: dict[tuple[str, ...], Sequence[float]],
    parts: dict[tuple[str, ...], Part],
    train: Labelled,
    dev: Labelled | None,
) -> tuple[LinearHead, dict[tuple[str, ...], dict]]:
    """Fit each part along its grid and keep the C of the best metric on dev, the last one without it."""
    standardiser = Standardiser.fit(train[0])
    z = standardiser(train[0])
    dev_z = None if dev is None else standardiser(dev[0])
    slices = output_slices(task)
    weights = np.zeros((z.shape[1], slices[-1].stop), np.float32)
    bias = np.zeros(slices[-1].stop, np.float32)
    chosen: dict[tuple[str, ...], dict] = {}
    for columns, part in parts.items():
        places = [task.columns.index(task.column(name)) for name in columns]
        outputs = np.concatenate([np.arange(slices[p].start, slices[p].stop) for p in places])
        tried: dict[str, float | None] = {}
        best = -np.inf
        for c, own_weights, own_bias in fit_columns(task, settings, places, z, train[1], grids[columns]):
            reached = -np.inf
            if dev is not None:
                trial = np.zeros((len(dev_z), slices[-1].stop), np.float32)
                trial[:, outputs] = dev_z @ own_weights + own_bias
                reached = part_quality(task, part, dev[1], read_outputs(task, trial, 1)[0])
            tried[f"{c:g}"] = None if np.isinf(reached) else round(abs(reached), 4)
            if reached > best or not chosen.get(columns):
                best = reached
                weights[:, outputs], bias[outputs] = own_weights, own_bias
                chosen[columns] = {"c": c, "metric": part.metric, "dev": tried}
    return LinearHead(task, standardiser, weights, bias, 1.0), chosen


def fit_columns(
    task: Task,
    settings: HeadSettings,
    places: Sequence[int],
    z: np.ndarray,
    y: np.ndarray,
    grid: Sequence[float],
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """(C, weights [D, O], bias [O]) of the columns at `places`: one class column, or numbers in their own unit."""
    classes = task.columns[places[0]].classes
    own = y[:, places]
    if classes:
        labelled = ~np.isnan(own[:, 0])
        path = linear_fits.logistic_path if settings.head == "lr" else linear_fits.hinge_path
        rows = z if labelled.all() else z[labelled]
        yield from path(rows, own[labelled, 0].astype(int), len(classes), grid, settings.balanced)
        return
    centre, spread = np.nanmean(own, axis=0), np.nanstd(own, axis=0)
    spread[spread == 0] = 1
    path = linear_fits.ridge_path if settings.head == "lr" else linear_fits.tube_path
    for c, weights, bias in path(z, (own - centre) / spread, grid):
        yield c, (weights * spread).astype(np.float32), (bias * spread + centre).astype(np.float32)


def part_quality(task: Task, part: Part, truth: np.ndarray, predicted: np.ndarray) -> float:
    """The part's metric, larger is better; -inf where it is undefined."""
    first = task.columns.index(task.column(part.columns[0]))
    if task.columns[first].classes:
        labelled = ~np.isnan(truth[:, first])
        truth, predicted = truth[labelled], predicted[labelled]
    totals = part_summands(task, part, truth, predicted).sum(axis=0, keepdims=True)
    values = METRICS[part.metric].of(totals, "official")
    value = float(mean_over(values, part.metric in ("UAR", "macro F1"))[0])
    value = -value if part.metric == "MAE" else value
    return -np.inf if np.isnan(value) else value


def sharpened(head: LinearHead, settings: HeadSettings, dev: Labelled) -> LinearHead:
    """The same head with the sharpness under which dev's classes are most likely, where its outputs are margins."""
    from scipy.optimize import minimize_scalar

    place = next((c for c, column in enumerate(head.task.columns) if column.classes), None)
    if place is None or settings.head != "svr":
        return head
    labelled = ~np.isnan(dev[1][:, place])
    own = output_slices(head.task)[place]
    raw = (head.standardiser(dev[0][labelled]) @ head.weights + head.bias)[:, own].astype(np.float64)
    y = dev[1][labelled, place].astype(int)

    def cost(log_sharpness: float) -> float:
        likely = softmax(np.exp(log_sharpness) * raw, axis=1)[np.arange(len(y)), y]
        return -float(np.log(np.maximum(likely, 1e-300)).mean())

    sharpness = float(np.exp(minimize_scalar(cost, bounds=(-5, 5), method="bounded").x))
    return LinearHead(head.task, head.standardiser, head.weights, head.bias, sharpness)
