"""The band of fresh real clips: a copycat is far below it, real clips of other speakers are inside."""

from __future__ import annotations

import numpy as np
import pytest
from test_memorisation import points

from vocalburst.eval import memorisation_scores
from vocalburst.eval.memorisation import copying_z
from vocalburst.eval.memorisation_scores import (
    band,
    draw,
    enough_to_split,
    judge_memorisation,
    reference_note,
    split_groups,
)

TRAIN = points(500, 0)
REAL = points(240, 1)
SPEAKERS = [f"s{i // 6}" for i in range(240)]


@pytest.fixture(autouse=True)
def _small_draws(monkeypatch):
    monkeypatch.setattr(memorisation_scores, "FLD_CLIPS", 100)
    monkeypatch.setattr(memorisation_scores, "FLD_TRAIN", 300)


def judge(clips: np.ndarray, seed: int = 0):
    return judge_memorisation(
        clips,
        TRAIN,
        REAL,
        names=[f"made-{i}" for i in range(len(clips))],
        train_names=[f"train-{i}" for i in range(len(TRAIN))],
        groups=SPEAKERS,
        seed=seed,
    )


def test_the_copycat_falls_out_of_every_band_and_its_pairs_are_named():
    found = judge(TRAIN[100:300] + 0.02 * points(200, 3))
    assert found.suspicious
    assert found.copied > 190
    assert found.chance < 1e-9
    assert found.c_t < found.c_t_real.low - 5
    assert found.fld_gap < found.fld_gap_real.low - 20
    assert len(found.pairs) == memorisation_scores.PAIRS
    assert all(int(p.train_clip.split("-")[1]) == int(p.clip.split("-")[1]) + 100 for p in found.pairs)


def test_fresh_real_clips_lie_inside_the_bands():
    outcomes = [judge(points(200, seed), seed) for seed in range(10, 14)]
    assert not any(found.suspicious for found in outcomes)
    for found in outcomes:
        assert found.c_t_real.low < 0 < found.c_t_real.high
        assert found.c_t_real.value == pytest.approx(0, abs=1e-9)  # each half plays both parts
    inside = [f.c_t_real.low <= f.c_t <= f.c_t_real.high for f in outcomes]
    inside += [f.fld_gap_real.low <= f.fld_gap <= f.fld_gap_real.high for f in outcomes]
    assert np.mean(inside) >= 0.75


def test_c_t_is_judged_with_as_many_clips_as_a_half_has():
    """A thousand clips of a slightly tighter law have a Z that grows with their number; the band does not."""
    clips = 0.8 * points(1000, 20)
    found = judge(clips)
    first, second = split_groups(SPEAKERS, np.random.default_rng(0))
    expected = np.mean(
        [copying_z(clips[i : i + len(first)], TRAIN, REAL[second]) for i in range(0, 960, 120)]
    )
    assert found.c_t == pytest.approx(expected, abs=1.0)
    assert copying_z(clips, TRAIN, REAL) < found.c_t - 1


def test_one_copied_clip_is_the_first_pair():
    found = judge(np.concatenate([points(100, 4), TRAIN[[7]] + 1e-4]))
    assert (found.pairs[0].clip, found.pairs[0].train_clip) == ("made-100", "train-7")


def test_clips_made_from_the_reference_are_told_and_fresh_ones_are_not():
    def note(clips: np.ndarray) -> str | None:
        names = [f"made-{i}" for i in range(len(clips))]
        real_names = [f"real-{i}" for i in range(len(REAL))]
        return reference_note(clips, REAL, TRAIN, names=names, real_names=real_names)

    told = note(REAL[:100] + 0.01 * points(100, 5))
    assert "100 clips are nearer to a reference clip than any of as many train clips is" in told
    assert [note(points(100, seed)) for seed in range(30, 40)].count(None) >= 9


def test_halves_share_no_speaker():
    first, second = split_groups(SPEAKERS, np.random.default_rng(3))
    assert len(first) == len(second) == 120
    assert not {SPEAKERS[i] for i in first} & {SPEAKERS[i] for i in second}
    assert enough_to_split(SPEAKERS)
    assert not enough_to_split(["one"] * 50)
    assert not enough_to_split(["a"] * 50 + ["b"] * 3)


def test_the_band_is_where_a_further_value_falls():
    rng = np.random.default_rng(0)
    held = [low <= rng.standard_normal() <= high for low, high in (
        (m.low, m.high) for m in (band(rng.standard_normal(6)) for _ in range(2000))
    )]  # fmt: skip
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_a_draw_takes_each_row_once():
    rows = draw(np.arange(10), 4, np.random.default_rng(0))
    assert len(set(rows)) == 4
    assert draw(np.arange(3), 4, np.random.default_rng(0)).tolist() == [0, 1, 2]
