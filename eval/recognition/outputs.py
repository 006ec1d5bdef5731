"""From an embedding to the columns of a task, and what their errors cost.

A class column is a softmax of its classes; a number is a sigmoid between its bounds. Losses follow the metric that the
task judges a column by: cross-entropy for classes, 1 - CCC (Lin 1989) over the labelled clips of a batch for
concordance, squared error for a correlation and absolute error for an age, the last two in units of the bounds.

Shape letters: B clips of a batch, C columns, K classes, D embedding, O outputs of the linear layer.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vocalburst.eval.tasks.columns import Column
from vocalburst.eval.tasks.registry import Task

MIN_SPREAD = 1e-4  # keeps the CCC of a constant batch defined


def output_slices(task: Task) -> list[slice]:
    """Where each column's outputs are among O: K of a class column, one of a number."""
    ends = np.cumsum([len(column.classes) or 1 for column in task.columns]).tolist()
    return [slice(start, stop) for start, stop in pairwise([0, *ends])]


class Outputs(nn.Module):
    """embedding [B, D] -> raw outputs [B, O]: K log-odds for a class column, one number for each other column."""

    def __init__(self, task: Task, dim: int):
        super().__init__()
        self.task = task
        self.slices = output_slices(task)
        self.linear = nn.Linear(dim, self.slices[-1].stop)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        return self.linear(embedding)

    def read(self, raw: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """values [B, C] as in y and probabilities [B, K] of the class column (None without one), of raw [B, O]."""
        raw = raw.double()
        values, probabilities = [], None
        for column, part in zip(self.task.columns, self.slices, strict=True):
            own = raw[:, part]
            if column.classes:
                probabilities = own.softmax(dim=1).cpu().numpy()
                values.append(probabilities.argmax(axis=1).astype(np.float64))
            else:
                low, high = column.bounds
                values.append((low + (high - low) * own[:, 0].sigmoid()).cpu().numpy())
        return np.stack(values, axis=1), probabilities

    def loss(self, raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Mean over the parts of the task of the mean over their columns; y [B, C], NaN is not labelled."""
        places = {column.name: c for c, column in enumerate(self.task.columns)}
        terms = {}
        for part in self.task.parts:
            if part.columns in terms:  # two metrics of one column are one loss
                continue
            own = [
                column_loss(self.task.columns[places[name]], part.metric,
                            raw[:, self.slices[places[name]]], y[:, places[name]])
                for name in part.columns
            ]  # fmt: skip
            terms[part.columns] = torch.stack(own).mean()
        return torch.stack(list(terms.values())).mean()


def column_loss(column: Column, metric: str, raw: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Loss of one column: raw [B, K or 1], y [B]; zero, with a gradient of zero, where no clip is labelled."""
    known = ~torch.isnan(y)
    if not known.any():
        return 0.0 * raw.sum()
    raw, y = raw[known].float(), y[known]
    if column.classes:
        return functional.cross_entropy(raw, y.long())
    low, high = column.bounds
    predicted, truth = raw[:, 0].sigmoid(), (y.float() - low) / (high - low)
    if metric == "CCC":
        return 1 - concordance(predicted, truth)
    if metric == "MAE":
        return functional.l1_loss(predicted, truth)
    return functional.mse_loss(predicted, truth)


def concordance(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """CCC of two vectors [B], all moments with n."""
    p, t = predicted - predicted.mean(), truth - truth.mean()
    shift = (predicted.mean() - truth.mean()).square()
    return 2 * (p * t).mean() / (p.square().mean() + t.square().mean() + shift + MIN_SPREAD)
