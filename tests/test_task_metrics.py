"""The metrics of the tasks against their definitions: slow loops, cases by hand, and the published rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vocalburst.eval import rates
from vocalburst.eval.tasks import metrics
from vocalburst.eval.tasks.bootstrap import interval, resampled_totals

RNG = np.random.default_rng(7)
TRUTH = RNG.random(60)
ANSWER = 0.6 * TRUTH + 0.1 + 0.2 * RNG.random(60)
HOLES = np.where(np.arange(60) % 3 == 0, np.nan, TRUTH)


def slow_exact(truth, predicted):
    """Lin 1989 over the labelled rows, one number at a time."""
    pairs = [(t, p) for t, p in zip(truth, predicted, strict=True) if not math.isnan(t)]
    n = len(pairs)
    mean_t, mean_p = sum(t for t, _ in pairs) / n, sum(p for _, p in pairs) / n
    variance_t = sum((t - mean_t) ** 2 for t, _ in pairs) / n
    variance_p = sum((p - mean_p) ** 2 for _, p in pairs) / n
    covariance = sum((t - mean_t) * (p - mean_p) for t, p in pairs) / n
    return 2 * covariance / (variance_t + variance_p + (mean_t - mean_p) ** 2)


def slow_official(truth, predicted):
    """The competition's formula: variances over len - 1 with unlabelled rows in len, covariance over labelled ones."""
    n, labelled = len(truth), [t for t in truth if not math.isnan(t)]
    mean_t, mean_p = sum(labelled) / len(labelled), sum(predicted) / n
    variance_t = sum((t - mean_t) ** 2 for t in labelled) / (n - 1)
    variance_p = sum((p - mean_p) ** 2 for p in predicted) / (n - 1)
    products = [
        (t - mean_t) * (p - mean_p) for t, p in zip(truth, predicted, strict=True) if not math.isnan(t)
    ]
    covariance = sum(products) / len(products)
    return 2 * covariance / (variance_t + variance_p + (mean_t - mean_p) ** 2)


@pytest.mark.parametrize("truth", [TRUTH, HOLES], ids=["all labelled", "a third unlabelled"])
def test_ccc_is_that_of_the_slow_formulas(truth):
    assert metrics.ccc(truth, ANSWER, "exact") == pytest.approx(slow_exact(truth, ANSWER), abs=1e-12)
    official = slow_official(truth, ANSWER)
    assert abs(official - slow_exact(truth, ANSWER)) > 1e-3  # else the modes could be swapped unseen
    assert metrics.ccc(truth, ANSWER) == pytest.approx(official, abs=6e-5)
    assert metrics.ccc(truth, ANSWER) == round(metrics.ccc(truth, ANSWER), 4)
    sums = metrics.value_sums(truth[:, None], ANSWER[:, None]).sum(axis=0, keepdims=True)
    assert metrics.ccc_of(sums, "official")[0, 0] == pytest.approx(official, abs=1e-12)


def test_perfect_agreement_is_one_exactly_and_short_of_it_officially():
    values = np.arange(5.0)
    assert metrics.ccc(values, values, "exact") == pytest.approx(1)
    assert metrics.ccc(values, values) == 0.8  # (n - 1)/n
    assert metrics.ccc(values, -values + 4) == -0.8


def test_unlabelled_rows_inflate_the_official_ccc():
    """n counts them: with half of the rows unlabelled and copied predictions, more than 1 comes out."""
    truth = np.array([0, 1, 0, 1, np.nan, np.nan, np.nan, np.nan])
    answer = np.array([0, 1, 0, 1, 0.5, 0.5, 0.5, 0.5])
    assert metrics.ccc(truth, answer, "exact") == pytest.approx(1)
    assert metrics.ccc(truth, answer) == round(2 * 0.25 / (2 * 1 / 7), 4) == 1.75


def test_ccc_of_a_shift_and_a_scale_by_hand():
    """A shift of d costs d squared: variance 2/3 with n, 1 with n - 1."""
    truth = np.array([1.0, 2.0, 3.0])
    assert metrics.ccc(truth, truth + 1, "exact") == pytest.approx((4 / 3) / (4 / 3 + 1))
    assert metrics.ccc(truth, truth + 1) == round((4 / 3) / (2 + 1), 4) == 0.4444
    assert metrics.ccc(truth, 2 * truth, "exact") == pytest.approx((8 / 3) / (2 / 3 + 8 / 3 + 4))


def test_official_means_are_single_precision():
    """Around a million float32 has steps of 1/16: the official means are off by more than the shift of 0.02."""
    truth = 1e6 + 0.01 * np.arange(11.0)
    answer = truth + 0.02
    mean_t, mean_p = (float(np.nanmean(x, dtype=np.float32)) for x in (truth, answer))
    variances = (np.sum((truth - mean_t) ** 2) + np.sum((answer - mean_p) ** 2)) / 10
    covariance = np.sum((truth - mean_t) * (answer - mean_p)) / 11
    expected = 2 * covariance / (variances + (mean_t - mean_p) ** 2)
    assert metrics.ccc(truth, answer) == pytest.approx(expected, abs=6e-5)
    assert abs(expected - slow_official(truth, answer)) > 0.01


def test_a_constant_prediction_agrees_with_nothing():
    assert metrics.ccc(TRUTH, np.full(60, 0.3), "exact") == pytest.approx(0, abs=1e-12)
    assert abs(metrics.ccc(TRUTH, np.full(60, 0.3))) == 0
    assert math.isnan(metrics.pearson(TRUTH, np.full(60, 0.3)))
    assert math.isnan(metrics.ccc(np.full(3, 0.5), np.full(3, 0.5), "exact"))


def test_digits_are_kept_far_from_zero():
    assert metrics.ccc(TRUTH + 1e6, ANSWER + 1e6, "exact") == pytest.approx(
        slow_exact(TRUTH, ANSWER), abs=1e-6
    )


def test_pearson_and_mae_skip_unlabelled_rows():
    known = ~np.isnan(HOLES)
    assert metrics.pearson(HOLES, ANSWER) == pytest.approx(np.corrcoef(TRUTH[known], ANSWER[known])[0, 1])
    assert metrics.pearson(TRUTH, 3 * TRUTH - 8) == pytest.approx(1)
    assert metrics.pearson(TRUTH, -TRUTH) == pytest.approx(-1)
    assert metrics.mae(HOLES, ANSWER) == pytest.approx(np.abs(TRUTH - ANSWER)[known].mean())
    assert metrics.mae(np.array([20.0, 30.0, np.nan]), np.array([25.0, 29.0, 99.0])) == 3


@pytest.mark.parametrize(
    ("truth", "answer", "match"),
    [
        ([1.0, np.nan], [1.0, 2.0], "at least 2 labelled clips, got 1"),
        ([1.0, 2.0], [1.0, np.nan], "NaN among the predictions"),
        ([1.0, 2.0], [1.0], "one length"),
    ],
)
def test_what_cannot_be_scored_is_refused(truth, answer, match):
    for score in (metrics.ccc, metrics.pearson):
        with pytest.raises(ValueError, match=match):
            score(np.array(truth), np.array(answer))


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="official, exact"):
        metrics.ccc(TRUTH, ANSWER, "offical")


def slow_f1(truth, predicted, name):
    hits = sum(t == p == name for t, p in zip(truth, predicted, strict=True))
    precision = hits / max(1, sum(p == name for p in predicted))
    recall = hits / sum(t == name for t in truth)
    return 2 * precision * recall / (precision + recall) if hits else 0.0


def test_class_metrics_by_hand_and_by_loop():
    truth, answer = np.array([0, 0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1, 3, 1])
    assert metrics.uar(truth, answer, 4) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    assert metrics.accuracy(truth, answer, 4) == pytest.approx(4 / 7)
    by_hand = (6 / 7 + 2 / 5 + 0) / 3  # class 3 has no clip and no share in the mean
    assert metrics.macro_f1(truth, answer, 4) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(np.mean([slow_f1(truth, answer, k) for k in range(3)]))


def test_s_mtl_gives_the_published_rows():
    """Table 6a of arXiv 2403.14048: ComParE .349, eGeMAPS .324 with a deviation of .005."""
    assert metrics.s_mtl(0.416, 4.22, 0.506) == pytest.approx(0.3488, abs=5e-5)
    assert metrics.s_mtl(0.353, 4.01, 0.423) == pytest.approx(0.3258, abs=5e-5)
    assert round(float(metrics.s_mtl(0.416, 4.22, 0.506)), 3) == 0.349
    assert abs(metrics.s_mtl(0.353, 4.01, 0.423) - 0.324) < 0.005
    assert metrics.s_mtl(0.5, 2, 0.5) == pytest.approx(0.5)  # all three terms equal


def test_s_mtl_is_undefined_without_agreement():
    assert np.isnan(metrics.s_mtl(0.0, 4, 0.5)) and np.isnan(metrics.s_mtl(-0.1, 4, 0.5))
    assert np.isnan(metrics.s_mtl(0.3, 4, 0.0))
    assert metrics.s_mtl(np.array([0.5, -1]), 2, 0.5)[0] == pytest.approx(0.5)


def test_a_weight_is_a_number_of_repeats():
    weights = RNG.integers(0, 4, size=(5, 60))
    values = metrics.value_sums(HOLES[:, None], ANSWER[:, None])
    truth, answer = RNG.integers(0, 3, 60), RNG.integers(0, 4, 60)
    classes = metrics.class_sums(truth, answer, 4)
    for weight in weights:
        rows = np.repeat(np.arange(60), weight)
        weighted = np.tensordot(weight, values, 1)[None]
        exact = metrics.ccc(HOLES[rows], ANSWER[rows], "exact")
        assert metrics.ccc_of(weighted, "exact")[0, 0] == pytest.approx(exact, abs=1e-12)
        official = slow_official(HOLES[rows], ANSWER[rows])
        assert metrics.ccc_of(weighted, "official")[0, 0] == pytest.approx(official, abs=1e-12)
        correlation = metrics.pearson(HOLES[rows], ANSWER[rows])
        assert metrics.pearson_of(weighted)[0, 0] == pytest.approx(correlation)
        assert metrics.mae_of(weighted)[0, 0] == pytest.approx(metrics.mae(HOLES[rows], ANSWER[rows]))
        counted = np.tensordot(weight, classes, 1)[None]
        assert np.nanmean(metrics.recalls_of(counted)) == pytest.approx(
            metrics.uar(truth[rows], answer[rows], 4)
        )
        assert np.nanmean(metrics.f1_of(counted)) == pytest.approx(
            metrics.macro_f1(truth[rows], answer[rows], 4)
        )
        share = metrics.accuracy(truth[rows], answer[rows], 4)
        assert metrics.accuracy_of(counted)[0, 0] == pytest.approx(share)


@pytest.mark.parametrize("grouped", [True, False], ids=["speakers", "clips"])
def test_the_interval_of_a_uar_is_that_of_recognition(grouped):
    truth, answer = np.arange(60) % 3, RNG.integers(0, 3, 60)
    groups = [f"s{k // 6}" for k in range(60)] if grouped else None
    sums = resampled_totals(metrics.class_sums(truth, answer, 3).reshape(60, -1), truth, groups, seed=4)
    found = interval(np.nanmean(metrics.recalls_of(sums.reshape(-1, 3, 3)), axis=1))
    hits = (truth == answer).astype(float)
    if grouped:
        expected = rates.interval_over_groups(hits, truth, groups, seed=4)
    else:
        expected = rates.interval_over_clips(hits, truth, seed=4)
    assert found == pytest.approx(expected, abs=1e-12)


def test_one_speaker_gives_no_interval():
    assert resampled_totals(np.ones((3, 1)), np.zeros(3), ["a"] * 3) is None
    assert interval(np.full(4, np.nan)) == (None, None)


def test_the_interval_of_a_ccc_covers_like_one():
    """Of independent columns the CCC is 0 with a deviation of about 1/sqrt(N)."""
    rng = np.random.default_rng(0)
    truth, answer = rng.normal(size=(400, 1)), rng.normal(size=(400, 1))
    sums = resampled_totals(metrics.value_sums(truth, answer).reshape(400, -1), np.zeros(400), None)
    low, high = interval(metrics.ccc_of(sums.reshape(-1, 1, 10), "exact")[:, 0])
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert low < metrics.ccc(truth[:, 0], answer[:, 0], "exact") < high
