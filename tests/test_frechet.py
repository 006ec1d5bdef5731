"""Fréchet distances against known answers, SciPy's matrix root and the official statistics."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy.linalg
from conftest import SHARED

from vocalburst.eval.exvo2022_statistics import read_official_folder
from vocalburst.eval.frechet import (
    SampleDistances,
    covariance_factor,
    frechet_distance,
    frechet_infinity,
    frechet_interval,
)
from vocalburst.eval.gaussian import GaussianStatistics, Identity, gaussian_statistics
from vocalburst.gen.data.errors import InputDataError

IDENTITY = Identity("evaluator-a", "16k-mono", "dev")
OFFICIAL = SHARED / "data" / "exvo2022_fid"
official = pytest.mark.skipif(
    not OFFICIAL.is_dir(),
    reason="the official ExVo 2022 statistics (CC BY-NC) are not part of the repository",
)


def gaussian(mean, cov) -> GaussianStatistics:
    return GaussianStatistics(None, np.asarray(mean, float), np.asarray(cov, float), IDENTITY)


def random_gaussian(dim: int, seed: int) -> GaussianStatistics:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((dim, dim))
    return gaussian(rng.standard_normal(dim), root @ root.T / dim)


def draw(statistics: GaussianStatistics, n: int, seed: int) -> np.ndarray:
    root = covariance_factor(statistics.cov)
    return statistics.mean + np.random.default_rng(seed).standard_normal((n, root.shape[1])) @ root.T


def sqrtm_distance(one: GaussianStatistics, other: GaussianStatistics) -> float:
    """The textbook form with a general matrix root, as the slow reference."""
    root = scipy.linalg.sqrtm(one.cov @ other.cov)
    gap = one.mean - other.mean
    return float(gap @ gap + np.trace(one.cov) + np.trace(other.cov) - 2 * np.trace(root).real)


def test_one_dimension_has_the_known_answer():
    # (m1 - m2)^2 + (s1 - s2)^2
    assert frechet_distance(gaussian([1], [[9]]), gaussian([3], [[4]])) == pytest.approx(4 + 1, abs=1e-12)


def test_commuting_covariances_have_the_known_answer():
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    a = gaussian([0, 0, 0], rotation @ np.diag([1, 4, 9]) @ rotation.T)
    b = gaussian([1, 2, 2], rotation @ np.diag([4, 4, 1]) @ rotation.T)
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 0 + 4, abs=1e-10)


def test_covariances_that_do_not_commute_match_the_closed_form_of_two_dimensions():
    # tr (AB)^1/2 = sqrt(tr AB + 2 sqrt(det AB)) for 2 x 2.
    a, b = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])
    expected = 7 - 2 * np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    assert frechet_distance(gaussian([0, 0], a), gaussian([0, 0], b)) == pytest.approx(expected, abs=1e-12)


def test_a_shared_scale_of_the_features_scales_by_its_square():
    a, b = random_gaussian(7, 1), random_gaussian(7, 2)
    scaled = [gaussian(3 * s.mean, 9 * s.cov) for s in (a, b)]
    assert frechet_distance(*scaled) == pytest.approx(9 * frechet_distance(a, b), rel=1e-10)


def test_it_is_symmetric_and_zero_for_itself():
    a, b = random_gaussian(12, 1), random_gaussian(12, 2)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)
    singular = gaussian_statistics(draw(a, 5, 0), IDENTITY)
    assert frechet_distance(singular, singular) == pytest.approx(0, abs=1e-10)


def test_a_singular_covariance_has_the_known_answer():
    assert frechet_distance(gaussian([0, 0], [[4, 0], [0, 0]]), gaussian([0, 0], [[0, 0], [0, 9]])) == 13
    assert frechet_distance(gaussian([0], [[0]]), gaussian([2], [[0]])) == 4


def test_random_covariances_match_the_matrix_root():
    for seed in range(4):
        a, b = random_gaussian(20, seed), random_gaussian(20, seed + 10)
        assert frechet_distance(a, b) == pytest.approx(sqrtm_distance(a, b), abs=1e-7)


def test_a_matrix_with_a_negative_eigenvalue_is_no_covariance():
    with pytest.raises(InputDataError, match="eigenvalue -1"):
        frechet_distance(gaussian([0, 0], [[1, 2], [2, 1]]), gaussian([0, 0], np.eye(2)))


def test_statistics_of_another_evaluator_are_refused():
    foreign = GaussianStatistics(None, np.zeros(2), np.eye(2), Identity("evaluator-b", "16k-mono", "dev"))
    with pytest.raises(InputDataError, match="evaluator-b"):
        frechet_distance(gaussian([0, 0], np.eye(2)), foreign)
    with pytest.raises(InputDataError, match="evaluator-b"):
        frechet_infinity(np.zeros((20, 2)), IDENTITY, foreign)


@pytest.mark.parametrize("n", [5, 40])  # fewer and more clips than dimensions take different matrices
def test_the_distance_of_a_subset_is_the_distance_of_its_statistics(n):
    reference = random_gaussian(12, 3)
    x = draw(random_gaussian(12, 4), 60, 0)
    rows = np.random.default_rng(1).integers(60, size=n)  # with repeats, as a bootstrap draws
    expected = frechet_distance(gaussian_statistics(x[rows], IDENTITY), reference)
    (found,) = SampleDistances(x, IDENTITY, reference, at_least=2)([rows])
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_extrapolation_is_the_line_through_its_points_at_zero():
    reference = random_gaussian(8, 5)
    fitted = frechet_infinity(draw(reference, 200, 1), IDENTITY, reference)
    assert fitted.sizes[0] == 100
    assert fitted.sizes[-1] == 200
    x = 1 / np.array(fitted.sizes)
    slope = np.cov(x, fitted.distances)[0, 1] / np.var(x, ddof=1)
    assert fitted.slope == pytest.approx(slope)
    assert fitted.value == pytest.approx(np.mean(fitted.distances) - slope * x.mean())
    whole = frechet_distance(gaussian_statistics(draw(reference, 200, 1), IDENTITY), reference)
    assert fitted.distances[-1] == pytest.approx(whole, abs=1e-8)


def test_the_extrapolation_removes_the_bias_and_keeps_a_true_distance():
    reference = random_gaussian(10, 6)
    shifted = gaussian(reference.mean + 1.0, reference.cov)
    raw, limit, moved = [], [], []
    for seed in range(20):
        perfect = frechet_infinity(draw(reference, 100, seed), IDENTITY, reference, seed=seed)
        raw.append(perfect.distances[-1])
        limit.append(perfect.value)
        moved.append(frechet_infinity(draw(shifted, 100, seed), IDENTITY, reference, seed=seed).value)
    assert abs(np.mean(limit)) < 0.15 * np.mean(raw)
    assert np.mean(moved) == pytest.approx(10, abs=0.5)


def test_the_extrapolation_needs_eight_clips_and_depends_on_the_seed_only():
    reference = random_gaussian(4, 7)
    x = draw(reference, 30, 0)
    assert frechet_infinity(x, IDENTITY, reference) == frechet_infinity(x, IDENTITY, reference)
    with pytest.raises(InputDataError, match="at least 8"):
        frechet_infinity(x[:7], IDENTITY, reference)


def test_the_interval_holds_the_distance_that_other_samples_of_the_same_size_have():
    reference = random_gaussian(5, 8)
    source = gaussian(reference.mean + 0.7, 1.5 * reference.cov)

    def distance(x: np.ndarray) -> float:
        return frechet_distance(gaussian_statistics(x, IDENTITY), reference)

    expected = np.mean([distance(draw(source, 60, 1000 + seed)) for seed in range(300)])
    intervals = np.array(
        [
            frechet_interval(draw(source, 60, seed), IDENTITY, reference, resamples=200, seed=seed)
            for seed in range(60)
        ]
    )
    held = np.mean((intervals[:, 0] <= expected) & (expected <= intervals[:, 1]))
    assert 0.85 <= held <= 1
    spread = np.std([distance(draw(source, 60, 2000 + seed)) for seed in range(300)])
    widths = np.diff(intervals, axis=1)
    assert widths.mean() == pytest.approx(2 * 1.96 * spread, rel=0.3)


def test_the_interval_is_around_the_distance_of_the_sample_not_of_its_resamples():
    reference = random_gaussian(30, 10)
    x = draw(reference, 50, 0)
    point = frechet_distance(gaussian_statistics(x, IDENTITY), reference)
    low, high = frechet_interval(x, IDENTITY, reference, resamples=200)
    assert low < point < high  # resamples repeat clips: every one of them is further away than the sample
    assert (low + high) / 2 == pytest.approx(point, rel=0.1)


def test_clips_of_one_speaker_resemble_each_other_so_the_interval_over_speakers_is_wider():
    reference = random_gaussian(4, 9)
    rng = np.random.default_rng(0)
    voices = draw(gaussian(reference.mean + 1, reference.cov), 12, 1)
    x = np.repeat(voices, 10, axis=0) + 0.05 * rng.standard_normal((120, 4))
    speakers = np.repeat([f"speaker-{i}" for i in range(12)], 10)
    low, high = frechet_interval(x, IDENTITY, reference)
    low_speakers, high_speakers = frechet_interval(x, IDENTITY, reference, groups=speakers)
    assert high_speakers - low_speakers > 2 * (high - low)
    with pytest.raises(InputDataError, match="2 speakers"):
        frechet_interval(x, IDENTITY, reference, groups=["one"] * 120)
    with pytest.raises(InputDataError, match="expected 120 speakers"):
        frechet_interval(x, IDENTITY, reference, groups=speakers[:5])


def test_nan_embeddings_are_refused():
    x = np.zeros((20, 4))
    x[3, 1] = np.nan
    with pytest.raises(InputDataError, match="row 3"):
        frechet_infinity(x, IDENTITY, random_gaussian(4, 0))


@official
@pytest.mark.parametrize("space", ["wav", "webm"])
def test_the_official_statistics_match_the_matrix_root_pair_by_pair(space):
    statistics = {e: s for e, s in read_official_folder(OFFICIAL, space).items() if e != "triumph"}
    assert len(statistics) == 9
    distances = []
    for a, b in combinations(statistics.values(), 2):
        distances.append(frechet_distance(a, b))
        assert distances[-1] == pytest.approx(sqrtm_distance(a, b), abs=1e-6)
    # Mean and range over all pairs, measured once with the organisers' code path.
    mean, low, high = {"wav": (7.20, 2.64, 15.64), "webm": (3.70, 1.11, 8.94)}[space]
    assert np.mean(distances) == pytest.approx(mean, abs=0.01)
    assert min(distances) == pytest.approx(low, abs=0.006)
    assert max(distances) == pytest.approx(high, abs=0.006)


@official
def test_triumph_of_93_clips_is_singular_and_still_matches():
    statistics = read_official_folder(OFFICIAL, "wav")
    triumph = statistics["triumph"]
    assert covariance_factor(triumph.cov).shape == (256, 92)
    assert not triumph.reliable
    assert statistics["awe"].reliable
    expected = sqrtm_distance(statistics["awe"], triumph)
    assert frechet_distance(triumph, statistics["awe"]) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(triumph, triumph) == pytest.approx(0, abs=1e-10)


@official
def test_a_perfect_generator_of_100_clips_extrapolates_to_about_zero_in_the_official_space():
    awe = read_official_folder(OFFICIAL, "webm")["awe"]
    fits = [frechet_infinity(draw(awe, 100, seed), awe.identity, awe, seed=seed) for seed in range(5)]
    raw = np.mean([fit.distances[-1] for fit in fits])
    assert 0.7 < raw < 0.95
    assert abs(np.mean([fit.value for fit in fits])) < 0.2
