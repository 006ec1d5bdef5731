"""Sweeps: their points, ends and names."""

import pytest

from vocalburst.gen.data.emotions import parse_request
from vocalburst.gen.sweep import EmotionSweep, IntensitySweep

KNOWN = ("awe", "fear", "embarrassment", "pain")


def emotion_sweep(start: str, end: str, count: int = 5, intensity: float = 1.0) -> EmotionSweep:
    requests = [parse_request(text, KNOWN, intensity) for text in (start, end)]
    return EmotionSweep(*requests, intensity, count)


def test_an_emotion_sweep_goes_from_one_to_the_other_in_equal_steps():
    sweep = emotion_sweep("awe", "fear")
    points = sweep.points(sweep.request)
    assert [point.position for point in points] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [point.vector for point in points] == [
        {"awe": 1.0},
        {"awe": 0.75, "fear": 0.25},
        {"awe": 0.5, "fear": 0.5},
        {"awe": 0.25, "fear": 0.75},
        {"fear": 1.0},
    ]
    assert sweep.request.label == "awe+fear" and sweep.request.vector == {"awe": 0.5, "fear": 0.5}


def test_a_sweep_between_mixes_with_an_alias_and_an_intensity():
    sweep = emotion_sweep("awe,pain:0.5", "awkwardness,pain", count=3, intensity=0.8)
    first, middle, last = (point.vector for point in sweep.points(sweep.request))
    assert first == pytest.approx({"awe": 0.8, "pain": 0.4})
    assert middle == pytest.approx({"awe": 0.4, "pain": 0.6, "embarrassment": 0.4})
    assert last == pytest.approx({"embarrassment": 0.8, "pain": 0.8})
    assert sweep.request.label == "awe+pain+awkwardness"
    assert sweep.request.aliases == ("awkwardness -> embarrassment",)
    assert {point.intensity for point in sweep.points(sweep.request)} == {0.8}


def test_an_intensity_sweep_scales_the_whole_vector():
    points = IntensitySweep(0.2, 1.0, 5).points(parse_request("awe,fear:0.5", KNOWN))
    assert [point.intensity for point in points] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert points[0].vector == pytest.approx({"awe": 0.2, "fear": 0.1})
    assert points[-1].vector == {"awe": 1.0, "fear": 0.5} and points[-1].intensity == 1.0


def test_a_falling_sweep_has_exact_ends():
    points = IntensitySweep(0.9, 0.1, 7).points(parse_request("awe", KNOWN))
    assert (points[0].intensity, points[-1].intensity) == (0.9, 0.1)
    assert [p.intensity for p in points] == sorted((p.intensity for p in points), reverse=True)
