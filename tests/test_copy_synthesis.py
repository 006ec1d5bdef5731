"""Copy-synthesis: which clips are judged, distances, intervals over speakers, Griffin-Lim."""

import math

import numpy as np
import pytest
import torch
from conftest import synthetic_burst

from vocalburst.gen import copy_synthesis
from vocalburst.gen.copy_synthesis import bootstrap_over_speakers, choose_clips, distances, griffin_lim, judge
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip
from vocalburst.gen.data.mel import MelConfig


def clip(index: int, split: str = "dev") -> Clip:
    return Clip(
        id=f"c{index:03d}", path="a.wav", corpus="toy", split=split, labelled=("awe",), emotions={"awe": 1.0},
        seconds=1, active_seconds=1, level_db=-20, peak_db=-3,
    )  # fmt: skip


def test_clips_are_chosen_by_seed_from_one_split():
    clips = [clip(i, "dev" if i % 2 else "train") for i in range(100)]
    chosen = choose_clips(clips, "dev", 20, seed=1)
    assert chosen == choose_clips(clips[::-1], "dev", 20, seed=1) != choose_clips(clips, "dev", 20, seed=2)
    assert len({c.id for c in chosen}) == 20 and all(c.split == "dev" for c in chosen)
    with pytest.raises(InputDataError, match=r"asked for 51 clips .* has 50"):
        choose_clips(clips, "dev", 51, seed=1)


def test_bootstrap_draws_speakers_not_clips():
    """Clips of one speaker are copies here, so the interval is that of the speakers' means alone."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=40)
    low, high = bootstrap_over_speakers(
        np.repeat(means, 25), np.repeat(np.arange(40), 25), seed=0, resamples=4000
    )
    half_width = 1.96 * means.std() / math.sqrt(40)
    assert low == pytest.approx(means.mean() - half_width, abs=0.05)
    assert high == pytest.approx(means.mean() + half_width, abs=0.05)
    assert bootstrap_over_speakers([1.0, 3.0], ["a", "a"], seed=0) == (2.0, 2.0)


def test_distances_of_equal_and_doubled_waves():
    wave = torch.randn(1, 256 * 40, generator=torch.Generator().manual_seed(0)) * 0.1
    assert distances(wave, wave, MelConfig()) == {"stft": 0.0, "mel": 0.0}
    doubled = distances(2 * wave, wave, MelConfig())
    assert doubled["mel"] == pytest.approx(math.log(2), abs=1e-5)
    assert doubled["stft"] == pytest.approx(1 + math.log(2), abs=1e-3)


def test_griffin_lim_restores_a_tone_and_more_iterations_help():
    wave = torch.from_numpy(synthetic_burst(0))[None, : 256 * 56]
    clips = [clip(0)]
    systems = {str(n): griffin_lim(MelConfig(), n, seed=0) for n in (1, 32)}
    few, many = judge(clips, [wave], systems, seed=0)
    assert many["stft"] < few["stft"] and many["mel"] < few["mel"] < 0.5
    again = judge(clips, [wave], {"32": griffin_lim(MelConfig(), 32, seed=0)}, seed=0)[0]
    assert again["stft"] == many["stft"]


def test_a_perfect_system_scores_zero():
    wave = torch.from_numpy(synthetic_burst(0))[None, : 256 * 56]
    (row,) = judge([clip(0)], [wave], {"copy": lambda mel: wave}, seed=0)
    assert row["stft"] == row["mel"] == 0 and row["mel_interval"] == (0, 0)
    assert "| copy | 0.000 [0.000, 0.000] |" in copy_synthesis.markdown([row])
