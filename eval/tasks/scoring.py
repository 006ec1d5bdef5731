"""Scores of predictions on a task, with 95 % intervals: arrays in, rows of a table out.

Shape letters: N clips, C columns of the task, B resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vocalburst.eval.rates import RESAMPLES
from vocalburst.eval.tasks import metrics
from vocalburst.eval.tasks.bootstrap import interval, resampled_totals
from vocalburst.eval.tasks.registry import Part, Task


@dataclass(frozen=True)
class Score:
    """A number with its interval over n clips; None where it is undefined, which a note of the scores explains."""

    measure: str
    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Metric:
    """of: totals and CCC mode -> [B, columns]; mean, each: how the mean and the columns are called."""

    of: Callable[[np.ndarray, str], np.ndarray]
    mean: str
    each: str | None


METRICS: dict[str, Metric] = {
    "CCC": Metric(metrics.ccc_of, "mean CCC", "CCC of {}"),
    "Pearson": Metric(lambda sums, _: metrics.pearson_of(sums), "mean Pearson", "Pearson of {}"),
    "MAE": Metric(lambda sums, _: metrics.mae_of(sums), "MAE", None),
    "UAR": Metric(lambda sums, _: metrics.recalls_of(sums), "UAR", "recall of {}"),
    "accuracy": Metric(lambda sums, _: metrics.accuracy_of(sums), "accuracy", None),
    "macro F1": Metric(lambda sums, _: metrics.f1_of(sums), "macro F1", "F1 of {}"),
}


@dataclass(frozen=True, eq=False)
class Computed:
    """One part of a task: values [columns] of all clips and of the resamples [B, columns], and clips of each column."""

    part: Part
    names: tuple[str, ...]
    counts: tuple[int, ...]
    values: np.ndarray
    resampled: np.ndarray | None

    @property
    def title(self) -> str:
        return METRICS[self.part.metric].mean

    @property
    def mean(self) -> float:
        return float(mean_over(self.values[None], self.by_class)[0])

    @property
    def resampled_means(self) -> np.ndarray | None:
        return None if self.resampled is None else mean_over(self.resampled, self.by_class)

    @property
    def by_class(self) -> bool:
        return self.part.metric in ("UAR", "macro F1")


def mean_over(values: np.ndarray, by_class: bool) -> np.ndarray:
    """Mean [B] over columns; of classes over those that have clips, of outputs over all or NaN."""
    return np.nanmean(values, axis=1) if by_class else values.mean(axis=1)


def score(
    task: Task,
    truth: np.ndarray,
    predicted: np.ndarray,
    speakers: Sequence[str] | None,
    *,
    mode: str = "official",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Score]:
    """Scores of predictions [N, C] against truth [N, C], the headline first.

    speakers: [N], drawn whole for the intervals; None draws clips (within their class, where there is one).
    mode: of the CCC. In `official` mode values are those of the competition code, rounding included, and their mean is
    that of the rounded ones; the intervals are of the formula before rounding. The exact mean stands beside it.
    """
    summands = [part_summands(task, part, truth, predicted) for part in task.parts]
    flat = np.concatenate([s.reshape(len(truth), -1) for s in summands], axis=1)
    drawn = resampled_totals(flat, strata(task, truth), speakers, seed=seed, resamples=resamples)
    computed, exact, start = [], [], 0
    for part, own in zip(task.parts, summands, strict=True):
        stop = start + own[0].size
        resampled = None if drawn is None else drawn[:, start:stop].reshape(-1, *own.shape[1:])
        totals = own.sum(axis=0, keepdims=True)
        computed.append(compute(task, part, truth, predicted, totals, resampled, mode))
        if part.metric == "CCC" and mode == "official":
            exact.append(compute(task, part, truth, predicted, totals, resampled, "exact"))
        start = stop
    several = len({part.columns for part in task.parts}) > 1
    rows = s_mtl_rows(computed, len(truth)) if task.headline == "S_MTL" else []
    for c in computed:
        title = (
            f"{c.title} of {c.part.columns[0].lower()}" if several and len(c.part.columns) == 1 else c.title
        )
        rows.append(summed(title, c.mean, c.resampled_means, len(truth)))
    rows += [summed(f"{c.title}, exact", c.mean, c.resampled_means, len(truth)) for c in exact]
    for c in computed:
        each = METRICS[c.part.metric].each
        if each:
            rows += column_rows(c, each)
    return rows


def part_summands(task: Task, part: Part, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Summands [N, columns, fields] of a part."""
    columns = [task.columns.index(task.column(name)) for name in part.columns]
    classes = task.columns[columns[0]].classes
    if classes:
        (column,) = columns
        return metrics.class_sums(
            truth[:, column].astype(int), predicted[:, column].astype(int), len(classes)
        )
    return metrics.value_sums(truth[:, columns], predicted[:, columns])


def strata(task: Task, truth: np.ndarray) -> np.ndarray:
    """Class [N] of the first class column, within which clips are drawn; all the same where there is none."""
    column = next((k for k, column in enumerate(task.columns) if column.classes), None)
    return np.zeros(len(truth)) if column is None else truth[:, column]


def compute(
    task: Task,
    part: Part,
    truth: np.ndarray,
    predicted: np.ndarray,
    totals: np.ndarray,
    resampled: np.ndarray | None,
    mode: str,
) -> Computed:
    metric = METRICS[part.metric]
    values = metric.of(totals, mode)[0]
    first = task.column(part.columns[0])
    names, counts = part.columns, totals[0, :, metrics.KNOWN]
    if first.classes:
        names, counts = first.classes, totals[0, :, 0]
    elif part.metric == "CCC" and mode == "official":
        columns = [task.columns.index(task.column(name)) for name in part.columns]
        values = np.array([metrics.ccc(truth[:, k], predicted[:, k]) for k in columns])
    draws = None if resampled is None else metric.of(resampled, mode)
    return Computed(part, tuple(names), tuple(int(count) for count in counts), values, draws)


def s_mtl_rows(computed: Sequence[Computed], n: int) -> list[Score]:
    by_metric = {c.part.metric: c for c in computed}
    parts = [by_metric[name] for name in ("CCC", "MAE", "UAR")]
    value = float(metrics.s_mtl(*(part.mean for part in parts)))
    drawn = [part.resampled_means for part in parts]
    return [summed("S_MTL", value, None if drawn[0] is None else metrics.s_mtl(*drawn), n)]


def column_rows(computed: Computed, each: str) -> list[Score]:
    """A row for each output or class that has clips."""
    rows = []
    for index, (name, count) in enumerate(zip(computed.names, computed.counts, strict=True)):
        if count:
            draws = None if computed.resampled is None else computed.resampled[:, index]
            rows.append(summed(each.format(name), float(computed.values[index]), draws, count))
    return rows


def summed(measure: str, value: float, draws: np.ndarray | None, n: int) -> Score:
    if np.isnan(value):
        return Score(measure, None, None, None, n)
    low, high = (None, None) if draws is None else interval(draws)
    return Score(measure, value, low, high, n)


def uninformed(task: Task, truth: np.ndarray) -> dict[str, float]:
    """What answers that do not listen would score: a constant, the most frequent class, or a class at random."""
    result = {}
    for part in task.parts:
        own = truth[:, task.columns.index(task.column(part.columns[0]))]
        suffix = f" of {part.columns[0].lower()}" if task.headline == "S_MTL" and part.metric != "CCC" else ""
        title = METRICS[part.metric].mean + suffix
        if part.metric == "MAE":
            result[title] = float(np.nanmean(np.abs(own - np.nanmedian(own))))
        elif part.metric in ("CCC", "Pearson"):
            result[title] = 0.0
        else:
            share = np.unique(own, return_counts=True)[1] / len(own)
            most = float(share.max())
            f1 = 2 * most / (1 + most) / len(share)
            result[title] = {"UAR": 1 / len(share), "accuracy": most, "macro F1": f1}[part.metric]
    return result
