"""Stretching the voice of a mel in time: lengths, contents, and what is left alone."""

import pytest
import torch

from vocalburst.gen.time_scale import LIMITS, TOLERANCE, stretch_active, stretch_factor


def ramp(frames: int = 40) -> torch.Tensor:
    """mel [2, T] whose value is the number of the frame, so that a result tells where it was read."""
    return torch.arange(frames, dtype=torch.float32).repeat(2, 1)


@pytest.mark.parametrize(
    ("active", "asked", "factor"),
    [
        (1.0, 1.2, 1.2),
        (0.8, 0.4, 0.5),
        (1.0, 1.0, 1.0),
        (1.04, 1.0, 1.0),
        (0.96, 1.0, 1.0),
        (1.06, 1.0, 1 / 1.06),
    ],
)
def test_the_factor_brings_the_voice_to_its_length(active, asked, factor):
    assert stretch_factor(active, asked) == pytest.approx(factor)


def test_a_second_stretch_only_goes_on_to_the_limit():
    assert stretch_factor(0.5, 1.0, done=1.0) == 2.0
    assert stretch_factor(0.8, 1.0, done=1.6) == pytest.approx(1.25)
    assert stretch_factor(0.8, 1.0, done=2.0) == 1.0 and stretch_factor(1.5, 1.0, done=0.5) == 1.0
    assert stretch_factor(0.99, 1.0, done=1.7) == 1.0


def test_limits_of_the_factor():
    assert stretch_factor(0.1, 1.0) == LIMITS[1] and stretch_factor(2.0, 0.3) == LIMITS[0]
    assert stretch_factor(0.0, 1.0) == 1.0  # silence
    assert stretch_factor(1 + 0.99 * TOLERANCE, 1.0) == 1.0 != stretch_factor(1 + 1.01 * TOLERANCE, 1.0)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_the_voice_is_read_evenly_and_its_edges_stay(factor):
    mel = stretch_active(ramp(), 10.0, 30.0, factor, margin=4)[0]
    before, active, after = mel[:4], mel[4:-4], mel[-4:]
    assert before.tolist() == [6, 7, 8, 9] and after.tolist() == [31, 32, 33, 34]
    assert len(active) == round(20 * factor) + 1
    torch.testing.assert_close(active, torch.linspace(10, 30, len(active)))


def test_factor_one_changes_nothing_but_the_margins():
    mel = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stretch_active(mel, 10.0, 30.0, 1.0, margin=100), mel)
    torch.testing.assert_close(stretch_active(mel, 10.0, 30.0, 1.0, margin=2), mel[:, 8:33])


def test_a_voice_that_fills_the_clip():
    """Its span ends with the last frame's samples, past the last frame."""
    mel = stretch_active(ramp(40), 0.0, 40.0, 0.5, margin=9)[0]
    assert float(mel[0]) == 0 and float(mel[-1]) == 39 and len(mel) == 21
    assert (mel.diff() > 0).all()


def test_fractions_of_a_frame():
    mel = stretch_active(ramp(40), 10.4, 29.6, 1.5, margin=3)[0]
    assert mel[:3].tolist() == [8, 9, 10] and mel[-3:].tolist() == [30, 31, 32]
    assert float(mel[3]) == pytest.approx(10.4) and float(mel[-4]) == pytest.approx(29.6)
