"""Outputs of a task and their losses against loops that follow the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vocalburst.eval.recognition.outputs import MIN_SPREAD, Outputs, column_loss, concordance
from vocalburst.eval.tasks.metrics import ccc
from vocalburst.eval.tasks.registry import TASKS

MULTITASK = TASKS["exvo-multitask"]


def raw_and_labels(task, n: int = 9, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    width = sum(len(column.classes) or 1 for column in task.columns)
    columns = [
        rng.integers(len(c.classes), size=n) if c.classes else rng.uniform(*c.bounds, size=n)
        for c in task.columns
    ]
    raw = torch.from_numpy(rng.normal(size=(n, width)).astype(np.float32))
    return raw, torch.from_numpy(np.stack(columns, axis=1).astype(np.float64))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def slow_concordance(predicted: list[float], truth: list[float]) -> float:
    """CCC (Lin 1989) with `MIN_SPREAD` in the denominator."""
    n = len(predicted)
    p, t = sum(predicted) / n, sum(truth) / n
    covariance = sum((a - p) * (b - t) for a, b in zip(predicted, truth, strict=True)) / n
    spread = sum((a - p) ** 2 for a in predicted) / n + sum((b - t) ** 2 for b in truth) / n
    return 2 * covariance / (spread + (p - t) ** 2 + MIN_SPREAD)


def slow_cross_entropy(raw: torch.Tensor, y: torch.Tensor) -> float:
    losses = []
    for row, label in zip(raw.tolist(), y.tolist(), strict=True):
        losses.append(math.log(sum(math.exp(value) for value in row)) - row[int(label)])
    return sum(losses) / len(losses)


def test_multitask_loss_is_the_mean_of_its_three_parts():
    raw, y = raw_and_labels(MULTITASK)
    y[2, 4] = y[5, 10] = y[7, 11] = torch.nan
    outputs = Outputs(MULTITASK, 3)
    parts = []
    for c in range(10):
        known = [i for i in range(9) if not math.isnan(y[i, c])]
        predicted = [sigmoid(float(raw[i, c])) for i in known]
        parts.append(1 - slow_concordance(predicted, [float(y[i, c]) for i in known]))
    known = [i for i in range(9) if i != 5]
    age = sum(abs(sigmoid(float(raw[i, 10])) - float(y[i, 10]) / 120) for i in known) / len(known)
    known = [i for i in range(9) if i != 7]
    country = slow_cross_entropy(raw[known, 11:], y[known, 11])
    expected = (sum(parts) / 10 + age + country) / 3
    assert float(outputs.loss(raw, y)) == pytest.approx(expected, rel=1e-5)


def test_shares_are_fitted_by_squares():
    task = TASKS["prosody-share"]
    raw, y = raw_and_labels(task)
    errors = [
        (sigmoid(float(raw[i, c])) - float(y[i, c])) ** 2 for i in range(9) for c in range(len(task.columns))
    ]
    assert float(Outputs(task, 3).loss(raw, y)) == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_two_metrics_of_one_column_are_one_loss():
    task = TASKS["loopq"]
    assert len(task.parts) == 2
    raw, y = raw_and_labels(task)
    assert float(Outputs(task, 3).loss(raw, y)) == pytest.approx(slow_cross_entropy(raw, y[:, 0]), rel=1e-5)


def test_concordance_is_that_of_the_metric():
    """But for what keeps it defined."""
    rng = np.random.default_rng(4)
    truth = rng.random(200)
    predicted = 0.6 * truth + 0.3 * rng.random(200)
    own = float(concordance(torch.from_numpy(predicted), torch.from_numpy(truth)))
    assert own == pytest.approx(float(ccc(truth, predicted, "exact")), abs=2e-3)
    assert own == pytest.approx(slow_concordance(predicted.tolist(), truth.tolist()), rel=1e-9)
    constant = torch.full((5,), 0.3, requires_grad=True)
    loss = 1 - concordance(constant, torch.full((5,), 0.3))
    loss.backward()
    assert float(loss.detach()) == 1 and torch.isfinite(constant.grad).all()


@pytest.mark.parametrize("name", ["Awe", "Age", "Country"])
def test_a_column_without_labels_costs_nothing_and_pulls_nowhere(name):
    column = MULTITASK.column(name)
    raw = torch.randn(4, len(column.classes) or 1, requires_grad=True)
    loss = column_loss(column, "CCC", raw, torch.full((4,), torch.nan))
    loss.backward()
    assert float(loss.detach()) == 0 and not raw.grad.any()


def test_an_unlabelled_clip_gets_no_gradient():
    raw, y = raw_and_labels(MULTITASK)
    y[3] = torch.nan
    raw.requires_grad_()
    Outputs(MULTITASK, 3).loss(raw, y).backward()
    assert not raw.grad[3].any() and (raw.grad[2] != 0).all()


def test_reading_undoes_what_the_losses_do():
    """Outputs of the right answers are read as those answers, between the bounds of every column."""
    raw, y = raw_and_labels(MULTITASK)
    raw[:, :10] = torch.logit(y[:, :10]).float()
    raw[:, 10] = torch.logit(y[:, 10] / 120).float()
    raw[:, 11:] = 5 * torch.nn.functional.one_hot(y[:, 11].long(), 4)
    values, probabilities = Outputs(MULTITASK, 3).read(raw)
    np.testing.assert_allclose(values, y, rtol=1e-4)
    assert values.dtype == np.float64 and probabilities.shape == (9, 4)
    expected = math.exp(5) / (math.exp(5) + 3)
    np.testing.assert_allclose(probabilities.max(axis=1), expected, rtol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_its_outputs(name):
    task = TASKS[name]
    raw, y = raw_and_labels(task)
    outputs = Outputs(task, 5)
    assert outputs(torch.zeros(9, 5)).shape == raw.shape
    assert torch.isfinite(outputs.loss(raw, y))
    values, probabilities = outputs.read(raw)
    assert values.shape == (9, len(task.columns))
    assert (probabilities is None) == (not any(column.classes for column in task.columns))
