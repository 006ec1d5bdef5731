"""S_GEN: the published table from its own rows, missing emotions, the floor under a distance."""

from __future__ import annotations

import math

import pytest

from vocalburst.eval.s_gen import FID_FLOOR, PROTOCOLS, s_gen
from vocalburst.gen.data.errors import InputDataError

EXVO = PROTOCOLS["exvo-10"]

# Table 6b of arXiv 2403.14048, the organisers' system: FID, HEEP and S_GEN as printed. Triumph has no clips.
TABLE_6B = {
    "amusement": (4.92, 0.49, 0.345),
    "awe": (4.81, 0.46, 0.33),
    "awkwardness": (8.27, 0.04, 0.08),
    "distress": (6.11, 0.32, 0.24),
    "excitement": (6.00, 0.08, 0.13),
    "fear": (5.71, 0.04, 0.11),
    "horror": (5.64, 0.27, 0.22),
    "sadness": (5.00, -0.03, 0.08),
    "surprise": (6.08, 0.22, 0.19),
}


def table_6b():
    return {e: row[0] for e, row in TABLE_6B.items()}, {e: row[1] for e, row in TABLE_6B.items()}


def test_the_published_table_is_reproduced_from_its_own_rows():
    result = s_gen(*table_6b(), EXVO)
    for emotion, (_, _, printed) in TABLE_6B.items():
        assert result.emotions[emotion].s_gen == pytest.approx(printed, abs=0.007)
    assert result.missing == ("triumph",)
    assert result.value == pytest.approx(0.1735, abs=0.00005)
    assert round(result.value, 3) in (0.173, 0.174)  # 0.174 in arXiv 2205.01780
    assert result.available == pytest.approx(0.1927, abs=0.0001)


def test_one_emotion_has_the_known_answer():
    result = s_gen({"awe": 4.0}, {"awe": 0.75}, ["awe", "fear"])
    assert result.emotions["awe"].s_gen == 0.5
    assert (result.value, result.available, result.missing) == (0.25, 0.5, ("fear",))


def test_leaving_an_emotion_out_never_pays_unless_its_score_is_negative():
    fid, heep = table_6b()
    whole = s_gen(fid, heep, EXVO).value
    for emotion in TABLE_6B:
        rest = [{e: v for e, v in values.items() if e != emotion} for values in (fid, heep)]
        assert s_gen(*rest, EXVO).value < whole


@pytest.mark.parametrize("fid", [0.0, -0.3, FID_FLOOR / 2])
def test_a_distance_below_the_floor_counts_as_the_floor_and_is_marked(fid):
    score = s_gen({"awe": fid}, {"awe": 0.0}, ["awe"]).emotions["awe"]
    assert (score.fid, score.clipped) == (fid, True)
    assert score.s_gen == pytest.approx(1 / FID_FLOOR / 2)


def test_the_floor_can_be_stated_and_is_reported():
    result = s_gen({"awe": 0.05, "fear": 2.0}, {"awe": 1.0, "fear": 0.0}, ["awe", "fear"], fid_floor=0.1)
    assert result.fid_floor == 0.1
    assert result.emotions["awe"].s_gen == pytest.approx(5.5)
    assert not result.emotions["fear"].clipped
    assert result.value == pytest.approx((5.5 + 0.25) / 2)


def test_the_protocols_have_the_published_sizes():
    assert {name: len(set(names)) for name, names in PROTOCOLS.items()} == {
        "exvo-10": 10,
        "sonata-25": 25,
        "emogator-30": 30,
    }


@pytest.mark.parametrize(
    ("fid", "heep", "message"),
    [
        ({"awe": 1.0}, {}, "'awe' has only one"),
        ({"awe": 1.0}, {"awe": 0.1, "fear": 0.1}, "'fear' has only one"),
        ({"pride": 1.0}, {"pride": 0.1}, "'pride' is not in the protocol"),
        ({"awe": math.nan}, {"awe": 0.1}, "FID of 'awe' is nan"),
        ({"awe": math.inf}, {"awe": 0.1}, "FID of 'awe' is inf"),
        ({"awe": 1.0}, {"awe": math.nan}, "HEEP of 'awe' is nan"),
        ({"awe": 1.0}, {"awe": 1.1}, "HEEP of 'awe' is 1.1"),
        ({}, {}, "at least one emotion"),
    ],
)
def test_bad_input_is_refused(fid, heep, message):
    with pytest.raises(InputDataError, match=message):
        s_gen(fid, heep, EXVO)


def test_a_floor_of_zero_is_refused():
    with pytest.raises(InputDataError, match="floor above 0"):
        s_gen({"awe": 1.0}, {"awe": 0.1}, EXVO, fid_floor=0.0)
