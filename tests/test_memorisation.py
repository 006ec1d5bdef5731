"""The planted copycat is found and named, a fresh real sample is not; every formula against a slow one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from vocalburst.eval import memorisation
from vocalburst.eval.memorisation import (
    below_all_chance,
    copy_audit,
    copying_z,
    feature_likelihood,
    fit_variances,
    log_density,
    nearest_two,
)
from vocalburst.gen.data.errors import InputDataError

DIM = 12


def points(n: int, seed: int, dim: int = DIM) -> np.ndarray:
    """Embeddings of one law with a steep spectrum, as a trained recogniser has."""
    return np.random.default_rng(seed).standard_normal((n, dim)) / np.sqrt(1 + np.arange(dim))


TRAIN, TEST = points(600, 0), points(400, 1)
FRESH = points(200, 2)
COPYCAT = TRAIN[100:300] + 0.02 * points(200, 3)


def names(prefix: str, n: int) -> list[str]:
    return [f"{prefix}-{i}" for i in range(n)]


def audit(generated: np.ndarray):
    return copy_audit(generated, TRAIN, TEST, names("made", len(generated)), names("train", len(TRAIN)))


def test_the_copycat_is_flagged_and_its_pairs_are_named():
    result = audit(COPYCAT)
    assert result.suspicious
    assert len(result.copied) > 190
    origins = {f"made-{i}": f"train-{i + 100}" for i in range(200)}
    assert all(pair.train_clip == origins[pair.clip] for pair in result.copied)
    assert all(pair.cosine > 0.99 for pair in result.copied)
    assert [pair.ratio for pair in result.pairs] == sorted(pair.ratio for pair in result.pairs)


def test_one_copy_among_fresh_clips_is_named_first():
    result = audit(np.concatenate([FRESH, TRAIN[[7]] + 1e-3]))
    assert (result.pairs[0].clip, result.pairs[0].train_clip, result.pairs[0].copied) == (
        "made-200",
        "train-7",
        True,
    )


def test_a_fresh_real_sample_is_not_flagged():
    results = [audit(points(200, seed)) for seed in range(2, 22)]
    assert sum(result.suspicious for result in results) <= 1
    assert np.mean([len(result.copied) for result in results]) < 3
    assert abs(np.mean([copying_z(points(200, seed), TRAIN, TEST) for seed in range(2, 12)])) < 1
    assert abs(copying_z(FRESH, TRAIN, TEST)) < 3


def test_the_copycat_hugs_its_train_set():
    assert copying_z(COPYCAT, TRAIN, TEST) < -10
    assert copying_z(3 * FRESH, TRAIN, TEST) > 10


def test_the_likelihood_gap_of_the_copycat_is_far_below_that_of_fresh_clips():
    fresh = [feature_likelihood(points(200, seed), TRAIN, TEST).gap for seed in (2, 4, 5)]
    copied = feature_likelihood(COPYCAT, TRAIN, TEST).gap
    assert max(map(abs, fresh)) < 15
    assert copied < min(fresh) - 50


def test_fld_grows_with_the_distance_to_real_clips():
    values = [feature_likelihood(FRESH + shift, TRAIN, TEST).value for shift in (0.0, 1.0, 2.0)]
    assert values[0] < 20
    assert values[0] < values[1] - 10 < values[2] - 20
    half = feature_likelihood(points(300, 9), TRAIN, TEST).value  # as many clips as the baseline has
    assert abs(half) < 5


def test_fld_does_not_depend_on_units_of_the_features():
    scales = np.geomspace(0.01, 100, DIM)
    one = feature_likelihood(FRESH, TRAIN, TEST)
    other = feature_likelihood(FRESH * scales + 5, TRAIN * scales + 5, TEST * scales + 5)
    assert (one.value, one.gap) == pytest.approx((other.value, other.gap), abs=1e-6)


@pytest.mark.parametrize("a", [0.5, 2.0])
def test_the_likelihood_gap_has_the_known_answer_for_one_clip(a):
    # One dimension, the generated clip at 0, test at +-1, train at +-a: the variance is a^2, and the
    # log-likelihoods are -1/2 (train) and -1 / (2 a^2) (test) but for a shared constant.
    train, test = np.array([[-a], [-a], [a], [a]]), np.array([[-1.0], [1.0]])
    gap = feature_likelihood(np.zeros((1, 1)), train, test).gap
    assert gap == pytest.approx(-100 * (-1 / 2 + 1 / (2 * a**2)))


def test_fld_has_the_known_answer_where_all_train_clips_are_one():
    # Generated 0, test +-1, train 2: variance 4 around 0. Baseline: the floor around 2, 1 and 3 away from test.
    train, test = np.full((4, 1), 2.0), np.array([[-1.0], [1.0]])
    floor = memorisation.VARIANCE_FLOOR
    of_generator = -math.log(2 * math.pi * 4) / 2 - 1 / (2 * 4)
    of_baseline = -math.log(2 * math.pi * floor) / 2 - (1 + 9) / 2 / (2 * floor)
    value = feature_likelihood(np.zeros((1, 1)), train, test).value
    assert value == pytest.approx(-100 * (of_generator - of_baseline))


def test_the_density_is_the_mean_of_normal_densities():
    centres, x = points(5, 0, dim=3), points(7, 1, dim=3)
    variances = np.array([0.1, 0.5, 1.0, 2.0, 3.0])
    expected = [
        math.log(
            np.mean([norm(c, math.sqrt(v)).pdf(p).prod() for c, v in zip(centres, variances, strict=True)])
        )
        for p in x
    ]
    np.testing.assert_allclose(log_density(x, centres, variances), expected, rtol=1e-10)


def test_the_fitted_variance_of_one_centre_is_the_mean_square():
    x = points(50, 0, dim=3)
    expected = np.square(x - 0.2).sum() / (50 * 3)
    assert fit_variances(np.full((1, 3), 0.2), x) == pytest.approx([expected])


def test_no_single_variance_can_be_moved_to_a_larger_likelihood():
    centres, x = points(6, 0, dim=4), points(80, 1, dim=4)
    variances = fit_variances(centres, x)
    best = log_density(x, centres, variances).mean()
    for row in range(6):
        for factor in (0.5, 2.0):
            moved = variances.copy()
            moved[row] *= factor
            assert log_density(x, centres, moved).mean() < best + 1e-3


def test_an_exact_copy_meets_the_floor_and_a_far_centre_keeps_its_variance():
    train = points(30, 0)
    variances = fit_variances(np.concatenate([train[:3], train[:1] + 1e4]), train)
    assert np.isfinite(variances).all()
    assert variances.min() >= memorisation.VARIANCE_FLOOR


def test_z_equals_scipy_s_mann_whitney():
    def nearest(x):
        return [min(math.dist(p, z) for z in TRAIN[:50]) for p in x[:40]]

    u, p = mannwhitneyu(
        nearest(FRESH * 1.2), nearest(TEST), method="asymptotic", use_continuity=False, alternative="less"
    )
    z = copying_z(FRESH[:40] * 1.2, TRAIN[:50], TEST[:40])
    assert z == pytest.approx(norm.ppf(p), abs=1e-9)
    assert u == pytest.approx(z * math.sqrt(40 * 40 * 81 / 12) + 800)


def test_nearest_two_equal_a_loop_over_all_pairs(monkeypatch):
    monkeypatch.setattr(memorisation, "BLOCK", 16)
    distances, indices = nearest_two(FRESH[:50] + 30, TRAIN[:90] + 30)
    for row, p in enumerate(FRESH[:50]):
        lengths = [math.dist(p, z) for z in TRAIN[:90]]
        assert indices[row] == int(np.argmin(lengths))
        np.testing.assert_allclose(distances[row], sorted(lengths)[:2], rtol=1e-9)
    assert nearest_two(TRAIN[:1], TRAIN)[0][0, 0] == 0


def test_the_chance_of_lying_below_all_others_equals_a_simulation():
    rng = np.random.default_rng(0)
    x, y = rng.random((200_000, 6)), rng.random((200_000, 9))
    below = (x < y.min(axis=1, keepdims=True)).sum(axis=1)
    for k in range(4):
        assert below_all_chance(k, 6, 9) == pytest.approx(np.mean(below >= k), abs=0.004)


def test_two_equal_train_clips_do_not_hide_their_copy():
    doubled = np.concatenate([TRAIN, TRAIN[[7]]])
    generated = np.concatenate([FRESH, TRAIN[[7]]])
    result = copy_audit(generated, doubled, TEST, names("made", 201), names("train", 601))
    (pair,) = [pair for pair in result.pairs if pair.clip == "made-200"]
    assert pair.copied
    assert pair.distance == 0
    assert pair.ratio == 1


def test_bad_input_is_refused():
    with pytest.raises(InputDataError, match="600 names of train clips, got 2"):
        copy_audit(FRESH, TRAIN, TEST, names("made", 200), names("train", 2))
    with pytest.raises(InputDataError, match="train clips: expected at least 4"):
        copying_z(FRESH, TRAIN[:3], TEST)
    with pytest.raises(InputDataError, match="dimension"):
        copying_z(FRESH, TRAIN[:, :3], TEST)
    broken = FRESH.copy()
    broken[9] = np.nan
    with pytest.raises(InputDataError, match="row 9"):
        feature_likelihood(broken, TRAIN, TEST)
    with pytest.raises(InputDataError, match="no scale"):
        feature_likelihood(FRESH, TRAIN, np.ones((5, DIM)))
