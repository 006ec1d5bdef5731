"""Gaussian statistics: streaming and merging give what NumPy gives, identity is enforced, files round-trip."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from vocalburst.eval.gaussian import (
    GaussianAccumulator,
    GaussianStatistics,
    Identity,
    check_comparable,
    gaussian_statistics,
)
from vocalburst.gen.data.errors import InputDataError

IDENTITY = Identity("evaluator-a", "16k-mono", "dev")


def embeddings(n: int = 97, dim: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)) @ rng.standard_normal((dim, dim)) + rng.standard_normal(dim)


def accumulate(batches, dim: int = 6) -> GaussianAccumulator:
    accumulator = GaussianAccumulator(dim, IDENTITY)
    for batch in batches:
        accumulator.update(batch)
    return accumulator


@pytest.mark.parametrize("batch_size", [1, 7, 96, 200])
def test_streaming_equals_numpy_whatever_the_batch(batch_size):
    x = embeddings()
    streamed = accumulate(x[i : i + batch_size] for i in range(0, len(x), batch_size)).statistics()
    assert streamed.n == 97
    np.testing.assert_allclose(streamed.mean, x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(streamed.cov, np.cov(x, rowvar=False, ddof=1), atol=1e-12)


def test_two_processes_with_unequal_shares_add_up_to_one():
    x = embeddings()
    first, second, idle = accumulate([x[:20]]), accumulate([x[20:]]), accumulate([])
    for other in (second, idle):
        first.merge(other)
    merged, whole = first.statistics(), gaussian_statistics(x, IDENTITY)
    assert merged.n == whole.n
    np.testing.assert_allclose(merged.mean, whole.mean, atol=1e-12)
    np.testing.assert_allclose(merged.cov, whole.cov, atol=1e-12)


def test_a_large_mean_does_not_cancel_the_variance():
    x = embeddings(500)
    far = accumulate(np.array_split(x + 1e7, 9)).statistics()
    np.testing.assert_allclose(far.cov, np.cov(x, rowvar=False), rtol=1e-6, atol=1e-7)


def test_float32_embeddings_are_accumulated_in_float64():
    x = embeddings().astype(np.float32)
    assert gaussian_statistics(x, IDENTITY).cov.dtype == np.float64
    np.testing.assert_allclose(gaussian_statistics(x, IDENTITY).cov, np.cov(x.astype(float), rowvar=False))


@pytest.mark.parametrize("field", ["evaluator", "preprocessing"])
def test_statistics_of_another_origin_are_not_comparable(field):
    other = Identity(**{**vars(IDENTITY), field: "something-else"})
    with pytest.raises(InputDataError, match=f"{field}.*something-else"):
        check_comparable(
            gaussian_statistics(embeddings(), IDENTITY), gaussian_statistics(embeddings(), other)
        )


def test_another_split_may_be_compared_but_not_merged():
    other = Identity("evaluator-a", "16k-mono", "train")
    check_comparable(gaussian_statistics(embeddings(), IDENTITY), gaussian_statistics(embeddings(), other))
    with pytest.raises(InputDataError, match="cannot merge"):
        accumulate([embeddings()]).merge(GaussianAccumulator(6, other))
    with pytest.raises(InputDataError, match="dimension"):
        accumulate([embeddings()]).merge(GaussianAccumulator(5, IDENTITY))


def test_another_dimension_is_not_comparable():
    small = gaussian_statistics(embeddings(dim=5), IDENTITY)
    with pytest.raises(InputDataError, match=r"dimension 6 .* 5"):
        check_comparable(gaussian_statistics(embeddings(), IDENTITY), small)


def test_a_file_gives_back_every_bit_and_the_identity(tmp_path):
    statistics = gaussian_statistics(embeddings(), IDENTITY)
    statistics.save(tmp_path / "stats.safetensors")
    loaded = GaussianStatistics.load(tmp_path / "stats.safetensors")
    assert (loaded.n, loaded.identity) == (97, IDENTITY)
    np.testing.assert_array_equal(loaded.mean, statistics.mean)
    np.testing.assert_array_equal(loaded.cov, statistics.cov)


def test_an_unknown_number_of_clips_survives_the_file(tmp_path):
    GaussianStatistics(None, np.zeros(3), np.eye(3), IDENTITY).save(tmp_path / "stats.safetensors")
    assert GaussianStatistics.load(tmp_path / "stats.safetensors").n is None


def test_files_that_are_not_statistics_are_refused(tmp_path):
    path = tmp_path / "stats.safetensors"
    with pytest.raises(InputDataError, match=r"stats\.safetensors"):
        GaussianStatistics.load(path)
    path.write_bytes(b"no header")
    with pytest.raises(InputDataError, match=r"stats\.safetensors"):
        GaussianStatistics.load(path)
    arrays = {"mean": np.zeros(2), "cov": np.eye(2)}
    save_file(arrays, path)
    with pytest.raises(InputDataError, match="format"):
        GaussianStatistics.load(path)
    metadata = {"format": "vocalburst-gaussian-1", "evaluator": "a", "preprocessing": "b", "split": "c"}
    save_file(arrays, path, metadata)
    with pytest.raises(InputDataError, match="lacks 'n'"):
        GaussianStatistics.load(path)
    save_file({**arrays, "cov": np.array([[1.0, 0.5], [0.0, 1.0]])}, path, {**metadata, "n": "9"})
    with pytest.raises(InputDataError, match=r"stats\.safetensors: expected a symmetric"):
        GaussianStatistics.load(path)


def test_too_few_clips_for_the_dimension_are_told_not_refused():
    exact = gaussian_statistics(embeddings(7), IDENTITY)
    assert exact.reliable
    assert exact.warning is None
    few = gaussian_statistics(embeddings(6), IDENTITY)
    assert not few.reliable
    assert "6 clips for 6 dimensions" in few.warning


def test_without_n_the_rank_tells_whether_clips_were_too_few():
    few = gaussian_statistics(embeddings(4), IDENTITY)
    assert not GaussianStatistics(None, few.mean, few.cov, IDENTITY).reliable
    assert "too few clips" in GaussianStatistics(None, few.mean, few.cov, IDENTITY).warning
    assert GaussianStatistics(None, np.zeros(3), np.eye(3), IDENTITY).reliable


def test_fewer_than_two_clips_are_an_error():
    with pytest.raises(InputDataError, match="at least 2"):
        accumulate([embeddings(1)]).statistics()
    with pytest.raises(InputDataError, match="at least 2"):
        gaussian_statistics(embeddings(1), IDENTITY)
    with pytest.raises(InputDataError, match="at least 2"):
        GaussianStatistics(1, np.zeros(2), np.eye(2), IDENTITY)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_embeddings_are_named_by_row(bad):
    x = embeddings()
    x[13, 2] = bad
    with pytest.raises(InputDataError, match="row 13"):
        gaussian_statistics(x, IDENTITY)
    with pytest.raises(InputDataError, match="row 13"):
        accumulate([x])


def test_embeddings_of_another_shape_are_refused():
    with pytest.raises(InputDataError, match="dimension 6, got 5"):
        accumulate([embeddings(dim=5)])
    with pytest.raises(InputDataError, match=r"\[N, D\]"):
        gaussian_statistics(np.zeros(5), IDENTITY)
