"""Predictions of any system, in the layout of the competitions' submissions: a row per clip, a column per output."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vocalburst.eval.tasks.columns import find_columns
from vocalburst.eval.tasks.label_files import id_column, read_matrix
from vocalburst.eval.tasks.labels import Labels
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.corpora.table import read_table
from vocalburst.gen.data.errors import InputDataError


def read_predictions(
    task: Task, path: Path, labels: Labels, id_name: str | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Predictions [N, C] in the order of the labels, and notes on how they were read.

    The clips must be exactly the scored ones, in any order. Raises InputDataError for a missing, unknown or doubled id,
    a clip that is not scored, a missing column, an empty cell, an unknown class and a value out of range.
    """
    rows = read_table(path)
    ids = id_column(path, rows[0], id_name)
    found = find_columns(path, rows[0], task.columns)
    scored = {name: index for index, name in enumerate(labels.ids)}
    order: dict[int, int] = {}
    for index, row in enumerate(rows):
        name = task.identify(row[ids])
        if name in labels.left_out:
            raise InputDataError(f"{path}: {ids} {row[ids]} is not scored: {labels.left_out[name]}")
        if name not in scored:
            raise InputDataError(f"{path}: {ids} {row[ids]} is not in {labels.path}")
        if scored[name] in order:
            raise InputDataError(f"{path}: {ids} {row[ids]} stands there twice")
        order[scored[name]] = index
    missing = [name for index, name in enumerate(labels.ids) if index not in order]
    if missing:
        raise InputDataError(
            f"{path}: lacks {len(missing)} of the {len(labels)} clips of the split {labels.split}, "
            f"the first is {missing[0]}"
        )
    values, _, note = read_matrix(path, rows, task, found, ids, prediction=True)
    predicted = np.array([values[order[index]] for index in range(len(labels))], dtype=np.float64)
    if np.isnan(predicted).any():
        row, column = (int(k[0]) for k in np.nonzero(np.isnan(predicted)))
        raise InputDataError(f"{path}: {ids} {labels.ids[row]} has no value for {task.columns[column].name}")
    return predicted, (note,) if note else ()
