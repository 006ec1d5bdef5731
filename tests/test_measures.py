"""Measures of one emotion: the slow published formulas, known orderings on toy laws, intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from vocalburst.eval.frechet import frechet_distance, frechet_infinity
from vocalburst.eval.frechet_pairs import PairDistances, PairLimit
from vocalburst.eval.gaussian import Identity, gaussian_statistics
from vocalburst.eval.jackknife import deal_blocks, jackknife_interval
from vocalburst.eval.kernel import cubic_kernel, kernel_audio_distance, squared_discrepancy
from vocalburst.eval.measures import BOUNDS, Comparison, FrechetComparison, Halves, Reference
from vocalburst.eval.neighbours import density_coverage, neighbour_scores, precision_recall
from vocalburst.eval.scores import COMPANIONS, MEASURES
from vocalburst.eval.vendi import vendi_ratio
from vocalburst.gen.data.errors import InputDataError

IDENTITY = Identity("toy", "none", "dev")
DIM = 8
DISTANCES = {name for name in (*MEASURES, *COMPANIONS) if name not in ("heep", "recognised")}
LIMITS = {"fid_infinity", "fid_infinity_both"}


def points(n: int, seed: int, *, scale: float = 1.0, shift: float = 0.0, dim: int = DIM) -> np.ndarray:
    """Embeddings of a law with a steep spectrum, as a trained recogniser has."""
    rng = np.random.default_rng(seed)
    return shift + scale * rng.standard_normal((n, dim)) / np.sqrt(1 + np.arange(dim))


def compare(x: np.ndarray, y: np.ndarray, **options) -> Comparison:
    return Comparison(x, Reference(y, IDENTITY), **options)


def test_every_measure_is_the_one_of_its_slow_formula():
    x, y = points(60, 0, shift=0.3), points(60, 1)
    found = compare(x, y, seed=5).measures()
    assert found.keys() == DISTANCES
    statistics = gaussian_statistics(y, IDENTITY)
    scores = neighbour_scores(x, y)
    expected = {
        "fid": frechet_distance(gaussian_statistics(x, IDENTITY), statistics),
        "fid_infinity": frechet_infinity(x, IDENTITY, statistics, seed=5).value,
        "fid_infinity_both": PairLimit(60, 60, 5)(PairDistances(x, y), np.arange(60)),
        "kad": kernel_audio_distance(x, y),
        "kid": squared_discrepancy(x, y, cubic_kernel),
        "precision": scores.precision,
        "recall": scores.recall,
        "density": scores.density,
        "coverage": scores.coverage,
        "vendi": vendi_ratio(x, y).ratio,
    }
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_set_with_fewer_clips_is_compared_with_all_reference_clips_but_for_variety():
    x, y = points(30, 0), points(80, 1)
    found = compare(x, y).measures()
    assert (found["precision"], found["recall"]) == pytest.approx(precision_recall(x, y))
    assert (found["density"], found["coverage"]) == pytest.approx(density_coverage(x, y))
    assert found["vendi"] == pytest.approx(vendi_ratio(x, y).ratio)


def test_leaving_a_block_out_equals_starting_again_without_it():
    x, y = points(50, 0, shift=0.3), points(50, 1)
    block = deal_blocks([f"s{i // 4}" for i in range(50)], 6)
    comparison = compare(x, y)
    left_out = comparison.measures_without(block, 6)
    assert left_out.keys() == DISTANCES
    for index in range(6):
        fresh = compare(x[block != index], y)
        expected = fresh.measures()
        expected["vendi"] *= fresh.reference_vendi / comparison.reference_vendi
        for name in DISTANCES - LIMITS:
            assert left_out[name][index] == pytest.approx(expected[name], rel=1e-9), name


def test_the_line_through_halves_removes_what_falls_with_one_over_n():
    rows = np.arange(41)
    line = Halves(41, seed=0)
    assert line(lambda chosen: 3 + 7 / len(chosen), rows) == pytest.approx(3, abs=1e-12)
    assert line(lambda chosen: 3 + 7 / len(chosen), rows[:35]) == pytest.approx(3, abs=1e-12)
    assert np.isnan(Halves(8, seed=0)(lambda chosen: 1.0, np.arange(2)))


def test_the_gaussian_alone_gives_the_same_frechet_distances():
    x, y = points(40, 0), points(40, 1)
    block = deal_blocks(np.arange(40))
    alone = FrechetComparison(x, gaussian_statistics(y, IDENTITY))
    whole = compare(x, y)
    assert alone.measures() == {name: whole.measures()[name] for name in ("fid", "fid_infinity")}
    for name, values in alone.measures_without(block, 20).items():
        np.testing.assert_array_equal(values, whole.measures_without(block, 20)[name])


def test_two_samples_of_one_law_are_at_no_distance():
    found = [compare(points(200, s), points(200, 100 + s)).measures() for s in range(12)]
    mean = {name: np.mean([f[name] for f in found]) for name in DISTANCES}
    apart = compare(points(200, 0, shift=0.5), points(200, 100)).measures()
    for name in ("kad", "kid", "fid_infinity_both"):
        assert abs(mean[name]) < 0.05 * apart[name], name
    assert mean["vendi"] == pytest.approx(1, abs=0.05)
    assert mean["density"] == pytest.approx(1, abs=0.05)
    assert mean["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)  # Naeem et al. 2020, Eq. 10 for large n


def test_the_extrapolation_takes_out_the_bias_of_the_clips_and_leaves_that_of_the_reference():
    def mean_of(m: int) -> tuple[float, float]:
        pairs = [(points(200, s), gaussian_statistics(points(m, 100 + s), IDENTITY)) for s in range(12)]
        found = [FrechetComparison(*pair).measures() for pair in pairs]
        return np.mean([f["fid"] for f in found]), np.mean([f["fid_infinity"] for f in found])

    raw, limit = mean_of(200)
    assert limit == pytest.approx(raw / 2, rel=0.2)
    raw, limit = mean_of(6000)
    assert abs(limit) < 0.15 * raw


def test_the_further_a_law_the_worse_every_distance():
    y = points(150, 0)
    near, far, noise = (compare(x, y).measures() for x in (
        points(150, 1), points(150, 2, shift=0.6), points(150, 3, shift=6.0)
    ))  # fmt: skip
    for name, (_, more) in MEASURES.items():
        if name in ("fid", "fid_infinity", "kad", "precision", "coverage", "density"):
            values = [near[name], far[name], noise[name]]
            assert values == sorted(values, reverse=more), name
    assert noise["coverage"] == 0


def test_a_collapsed_generator_loses_variety_and_not_precision():
    y = points(100, 0)
    found = compare(y[:1] + 0.01 * points(100, 1), y).measures()
    assert found["precision"] == 1
    assert found["recall"] < 0.1
    assert found["coverage"] < 0.2
    assert found["vendi"] < 0.5


def test_intervals_hold_what_other_samples_of_the_same_size_have():
    reference = Reference(points(60, 0), IDENTITY)
    law = {"scale": 1.2, "shift": 0.2}
    truth = [Comparison(points(60, 1000 + s, **law), reference).measures() for s in range(150)]
    held: dict[str, list[bool]] = {}
    for seed in range(60):
        comparison = Comparison(points(60, seed, **law), reference, seed=seed)
        block = deal_blocks(np.arange(60), seed=seed)
        values, left_out = comparison.measures(), comparison.measures_without(block, 20)
        for name, value in values.items():
            bounds = BOUNDS.get(name, (-np.inf, np.inf))
            low, high = jackknife_interval(value, left_out[name], np.bincount(block), 60, bounds=bounds)
            held.setdefault(name, []).append(low <= np.mean([t[name] for t in truth]) <= high)
    rates = {name: np.mean(values) for name, values in held.items()}
    assert min(rates.values()) >= 0.85, rates  # 0.95 but for the chance of 60 trials
    assert np.mean(list(rates.values())) == pytest.approx(0.95, abs=0.04)


def test_copies_of_the_reference_are_compared_as_pairs():
    """Clips made from the reference are no independent draw: taken for one, they seem better than perfect."""
    y = points(100, 0)
    order = np.random.default_rng(1).permutation(100)
    x = y[order] + 0.02 * points(100, 2)
    taken, paired = compare(x, y).measures(), compare(x, y, partners=order).measures()
    assert taken["kad"] < -0.5
    assert taken["fid_infinity"] < -0.02
    assert abs(paired["kad"]) < 0.02
    for name in LIMITS:
        assert paired[name] == pytest.approx(paired["fid"], abs=1e-3)
    assert {n for n in DISTANCES if taken[n] != paired[n]} == {"kad", "kid", *LIMITS}


def test_pairs_that_differ_by_a_shift_are_at_that_distance():
    y = points(100, 0)
    x, partners = y + 0.3, np.arange(100)
    partners[::10] = -1  # a tenth was made from other clips of the same law
    x[::10] = points(10, 5) + 0.3
    found = compare(x, y, partners=partners).measures()
    assert found["fid_infinity"] == pytest.approx(DIM * 0.09, rel=0.1)
    block = deal_blocks(np.arange(100))
    left_out = compare(x, y, partners=partners).measures_without(block, 20)
    low, high = jackknife_interval(found["fid_infinity"], left_out["fid_infinity"], np.bincount(block), 100)
    assert low < DIM * 0.09 < high


def test_a_measure_without_enough_clips_is_left_out():
    y = points(40, 0)
    assert compare(points(3, 1), y).measures().keys() == DISTANCES - {*LIMITS, "precision", "recall"}
    assert compare(points(7, 1), y).measures().keys() == DISTANCES - LIMITS
    few = compare(points(40, 1), points(5, 0)).measures().keys()
    assert few == DISTANCES - {"density", "coverage", "fid_infinity_both"}
    # Without one of two speakers 4 clips are left: too few for the extrapolation, enough for the others.
    block = deal_blocks(["a", "b"] * 4)
    assert compare(points(8, 1), y).measures_without(block, 2).keys() == DISTANCES - LIMITS


def test_bad_embeddings_are_refused():
    y = points(20, 0)
    with pytest.raises(InputDataError, match="the clips to score: expected at least 2 clips, got 1"):
        compare(points(1, 1), y)
    with pytest.raises(InputDataError, match="the reference clips: expected at least 2 clips, got 1"):
        compare(y, points(1, 1))
    broken = points(20, 1)
    broken[4] = np.nan
    with pytest.raises(InputDataError, match="row 4"):
        compare(broken, y)
    with pytest.raises(InputDataError, match="dimension 8, got 5"):
        compare(points(20, 1, dim=5), y)
