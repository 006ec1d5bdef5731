"""Fits of linear heads along a path of C, each started from the one before: weights and biases as plain arrays.

Shape letters: N clips, D features, C columns, K classes, O outputs.

Every loss is a sum over clips times C, beside half the squared weights, as in scikit-learn; the bias is not penalised.
A path yields (C, weights [D, O], bias [O]) in rising order of C. Targets of numbers have zero mean and unit variance,
so that one C serves every column, and their NaN rows are left out column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

MAX_STEPS = 500  # of a solver, for each C
TOLERANCE = 1e-4  # of the largest slope of the mean loss, the default of scikit-learn's LogisticRegression
TUBE = 0.1  # half-width of the band without loss, in spreads of the target: the default of scikit-learn's SVR
ROWS_AT_ONCE = 2048
ABSENT = -1e4  # log-odds of a class without a clip

Path = Iterator[tuple[float, np.ndarray, np.ndarray]]


def class_weights(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Weight [N] of each clip by which every class of y [N] that has clips counts the same."""
    counts = np.bincount(y, minlength=n_classes)
    return (len(y) / ((counts > 0).sum() * counts[y])).astype(np.float32)


def logistic_path(
    z: np.ndarray, y: np.ndarray, n_classes: int, grid: Sequence[float], balanced: bool
) -> Path:
    """Multinomial logistic regression of class indices y [N] on z [N, D]; one output for each class."""
    from sklearn.linear_model import LogisticRegression

    weight = class_weights(y, n_classes) if balanced else None
    model = LogisticRegression(solver="lbfgs", warm_start=True, max_iter=MAX_STEPS, tol=TOLERANCE)
    for c in sorted(grid):
        model.set_params(C=c).fit(z, y, sample_weight=weight)
        weights = np.zeros((z.shape[1], n_classes), np.float32)
        bias = np.full(n_classes, ABSENT, np.float32)
        present = model.classes_
        if len(present) == 2:  # scikit-learn keeps the difference of the two alone
            weights[:, present], bias[present] = model.coef_.T * [-0.5, 0.5], model.intercept_ * [-0.5, 0.5]
        else:
            weights[:, present], bias[present] = model.coef_.T, model.intercept_
        yield c, weights, bias


def ridge_path(z: np.ndarray, y: np.ndarray, grid: Sequence[float]) -> Path:
    """Ridge regression of y [N, C] on z [N, D], with 1 / C as the penalty of the squared weights."""
    from scipy.linalg import cho_factor, cho_solve

    known = ~np.isnan(y)
    masks, group = np.unique(known, axis=1, return_inverse=True)
    moments = [centred_moments(z, y, mask, np.flatnonzero(group == g)) for g, mask in enumerate(masks.T)]
    for c in sorted(grid):
        weights = np.zeros((z.shape[1], y.shape[1]), np.float32)
        bias = np.zeros(y.shape[1], np.float32)
        for columns, gram, cross, mean_z, mean_y in moments:
            solved = cho_solve(cho_factor(gram + np.eye(len(gram)) / c), cross)
            weights[:, columns], bias[columns] = solved, mean_y - mean_z @ solved
        yield c, weights, bias


def centred_moments(z: np.ndarray, y: np.ndarray, mask: np.ndarray, columns: np.ndarray) -> tuple:
    """Columns, z'z [D, D], z'y [D, C], mean of z [D] and of y [C] over the rows of `mask`, the products centred."""
    z, y = z[mask], y[mask][:, columns]
    mean_z, mean_y = z.mean(axis=0, dtype=np.float64), y.mean(axis=0)
    gram, cross = np.zeros((z.shape[1], z.shape[1])), np.zeros((z.shape[1], len(columns)))
    for start in range(0, len(z), ROWS_AT_ONCE):
        rows = z[start : start + ROWS_AT_ONCE] - mean_z
        gram += rows.T @ rows
        cross += rows.T @ (y[start : start + ROWS_AT_ONCE] - mean_y)
    return columns, gram, cross, mean_z, mean_y


def hinge_path(z: np.ndarray, y: np.ndarray, n_classes: int, grid: Sequence[float], balanced: bool) -> Path:
    """Linear support vector machines of each class of y [N] against the rest, with the squared hinge.

    The optimum of scikit-learn's LinearSVC but for its penalty of the bias. All classes are solved at once by products
    of float32 matrices, because liblinear takes them one by one over a sparse float64 copy of z.
    """
    sign = np.where(np.arange(n_classes) == y[:, None], 1, -1).astype(np.float32)
    # As in liblinear, the clips of the class alone, not the rest that it stands against.
    weight = np.where(sign > 0, class_weights(y, n_classes)[:, None], 1) if balanced else np.float32(1)

    def loss(raw: np.ndarray) -> tuple[float, np.ndarray]:
        short = np.maximum(1 - sign * raw, 0)
        slope = weight * short
        return float((slope * short).sum(dtype=np.float64)), -2 * sign * slope

    return smooth_path(z, n_classes, loss, grid)


def tube_path(z: np.ndarray, y: np.ndarray, grid: Sequence[float]) -> Path:
    """Linear support vector regression of y [N, C] with the squared epsilon-insensitive loss, as LinearSVR has it."""
    known = ~np.isnan(y)
    target = np.where(known, y, 0).astype(np.float32)

    def loss(raw: np.ndarray) -> tuple[float, np.ndarray]:
        error = raw - target
        outside = np.sign(error) * np.maximum(np.abs(error) - np.float32(TUBE), 0) * known
        return float(np.square(outside).sum(dtype=np.float64)), 2 * outside

    return smooth_path(z, y.shape[1], loss, grid)


def smooth_path(z: np.ndarray, n_outputs: int, loss, grid: Sequence[float]) -> Path:
    """Minimise C loss(z W + b) + |W|^2 / 2 by L-BFGS; `loss` gives its value and its slope [N, O] at raw [N, O]."""
    from scipy.optimize import minimize

    n, dim = z.shape
    x = np.zeros((dim + 1) * n_outputs)
    for c in sorted(grid):
        penalty = 1 / (c * n)

        def objective(x: np.ndarray, penalty: float = penalty) -> tuple[float, np.ndarray]:
            own = x.reshape(dim + 1, n_outputs)
            value, slope = loss(z @ own[:-1].astype(np.float32) + own[-1].astype(np.float32))
            gradient = np.vstack([z.T @ slope, slope.sum(axis=0, keepdims=True)]) / n
            gradient = gradient.astype(np.float64)
            gradient[:-1] += penalty * own[:-1]
            return value / n + 0.5 * penalty * float(np.square(own[:-1]).sum()), gradient.ravel()

        x = minimize(
            objective, x, jac=True, method="L-BFGS-B",
            options={"maxiter": MAX_STEPS, "gtol": TOLERANCE, "ftol": 1e-9},
        ).x  # fmt: skip
        own = x.reshape(dim + 1, n_outputs).astype(np.float32)
        yield c, own[:-1].copy(), own[-1].copy()
