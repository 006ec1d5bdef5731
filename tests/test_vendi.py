"""The Vendi score against known spectra, and its ratio at equal sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vocalburst.eval.vendi import vendi_ratio, vendi_score
from vocalburst.gen.data.errors import InputDataError


def points(n: int, dim: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim))


def test_clips_with_nothing_in_common_count_one_each():
    assert vendi_score(np.eye(7)) == pytest.approx(7)


def test_copies_count_once_whatever_their_number_and_level():
    assert vendi_score(np.outer(np.arange(1, 10), [1.0, 2.0, 2.0])) == pytest.approx(1)
    assert vendi_score(np.repeat(np.eye(3), 4, axis=0)) == pytest.approx(3)


def test_two_clips_at_an_angle_have_the_known_answer():
    # Eigenvalues of K / 2 are (1 +- cos) / 2, here 3/4 and 1/4.
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert vendi_score(np.array([[1.0, 0.0], [0.5, math.sqrt(0.75)]])) == pytest.approx(expected)


def test_unequal_shares_have_the_known_answer():
    # Three copies of one clip and one other: shares 3/4 and 1/4.
    x = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    assert vendi_score(x) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))


@pytest.mark.parametrize("n", [4, 40])  # fewer and more clips than dimensions take different matrices
def test_it_equals_the_full_similarity_matrix(n):
    x = points(n)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / n)
    values = values[values > 1e-14]
    assert vendi_score(x) == pytest.approx(math.exp(-np.sum(values * np.log(values))), rel=1e-9)


def test_the_ratio_compares_equal_sizes():
    result = vendi_ratio(points(30, dim=64), points(300, dim=64, seed=1))
    assert result.n == 30
    assert result.ratio == pytest.approx(1, abs=0.05)
    assert vendi_score(points(300, dim=64, seed=1)) > 1.5 * result.reference


def test_a_generator_that_repeats_itself_has_a_small_ratio():
    repeated = np.tile(points(5, dim=64), (20, 1)) + 0.01 * points(100, dim=64, seed=2)
    assert vendi_ratio(repeated, points(100, dim=64, seed=1)).ratio < 0.2


def test_bad_input_is_refused():
    x = points(5)
    x[3] = 0
    with pytest.raises(InputDataError, match="row 3 is all zero"):
        vendi_score(x)
    x[3] = np.nan
    with pytest.raises(InputDataError, match="row 3"):
        vendi_ratio(points(5), x)
    with pytest.raises(InputDataError, match="dimension"):
        vendi_ratio(points(5), points(5, dim=4))
