"""The Fréchet distance with the bias of *both* sides taken out, for a reference that is a few clips itself.

Shape letters: n clips of the set, m reference clips, D embedding.

The distance of two samples is too large by about b / n + c / m. `frechet.frechet_infinity` lets n grow and leaves the
second term, which is the same for every set beside a reference. Here halves of the clips are compared with halves of
the reference, and the line in 1/n + 1/m through the mean over halves and the distance of all is read at 0: for two
samples of one law that is about 0. It scatters more than the one-sided limit, so it is for means over emotions.

With centred clips X [n, D] and Y [m, D] the overlap trace of `frechet` is the sum of the singular values of X Y^T over
sqrt((n - 1) (m - 1)): products of clips are all that is needed, and those of a subset are among those of all.
"""

from __future__ import annotations

import numpy as np

HALVINGS = 20  # for the value; each gives two pairs of halves
FEWEST = 8  # clips on a side


class PairDistances:
    """Distances between subsets of clips x [n, D] and of reference clips y [m, D]."""

    def __init__(self, x: np.ndarray, y: np.ndarray):
        centre = y.mean(axis=0)
        self.x, self.y = x - centre, y - centre
        self.products = self.x @ self.y.T  # [n, m]
        self.x_squares, self.y_squares = np.square(self.x).sum(axis=1), np.square(self.y).sum(axis=1)

    def distance(self, rows: np.ndarray, columns: np.ndarray) -> float:
        """Distance of at least 2 rows of x to at least 2 rows of y, none repeated."""
        x_mean, y_mean = self.x[rows].mean(axis=0), self.y[columns].mean(axis=0)
        x_trace = (self.x_squares[rows].sum() - len(rows) * (x_mean @ x_mean)) / (len(rows) - 1)
        y_trace = (self.y_squares[columns].sum() - len(columns) * (y_mean @ y_mean)) / (len(columns) - 1)
        overlap = self.overlap(rows, columns) / np.sqrt((len(rows) - 1) * (len(columns) - 1))
        gap = x_mean - y_mean
        return max(0.0, float(gap @ gap + x_trace + y_trace - 2 * overlap))

    def overlap(self, rows: np.ndarray, columns: np.ndarray) -> float:
        """Sum of the singular values of the centred X Y^T."""
        if (
            min(len(rows), len(columns)) > self.x.shape[1]
        ):  # then the triangular factors are the smaller matrices
            factors = [
                np.linalg.qr(side[own] - side[own].mean(axis=0), mode="r")
                for side, own in ((self.x, rows), (self.y, columns))
            ]
            return float(np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum())
        products = self.products[np.ix_(rows, columns)]
        products = products - products.mean(axis=0)
        products -= products.mean(axis=1, keepdims=True)
        small = products @ products.T if len(rows) <= len(columns) else products.T @ products
        return float(np.sqrt(np.clip(np.linalg.eigvalsh(small), 0, None)).sum())


class PairLimit:
    """The limit of a `PairDistances` for many clips on both sides, by fixed halves of each.

    The halves of a subset are what is left in them of the subset, so that limits of two subsets differ by the clips
    and not by the luck of halving. partners [n]: the reference clip that each clip was made from, or -1; a clip and
    its partner are then in halves that are compared, as they are in the whole.
    """

    def __init__(
        self, n: int, m: int, seed: int, halvings: int = HALVINGS, partners: np.ndarray | None = None
    ):
        generator = np.random.default_rng(seed)
        self.sides = []
        for _ in range(halvings):
            x_side, y_side = generator.permutation(n) % 2, generator.permutation(m) % 2
            if partners is not None:
                y_side[partners[partners >= 0]] = x_side[partners >= 0]
            self.sides.append((x_side, y_side))

    def __call__(self, pairs: PairDistances, rows: np.ndarray) -> float:
        """Limit for some rows of x and all of y; NaN where a half has fewer than 2 clips."""
        columns = np.arange(len(pairs.y))
        halves = [
            (rows[x_side[rows] == part], columns[y_side == part])
            for x_side, y_side in self.sides
            for part in (0, 1)
        ]
        if min(len(own) for half in halves for own in half) < 2:
            return float("nan")
        step = np.mean([1 / len(a) + 1 / len(b) for a, b in halves])
        of_halves = np.mean([pairs.distance(a, b) for a, b in halves])
        whole, whole_step = pairs.distance(rows, columns), 1 / len(rows) + 1 / len(columns)
        return float(whole - (of_halves - whole) / (step - whole_step) * whole_step)
