"""How numbers are written: digits, intervals, tables; and that every measure is explained."""

import pytest
from scores_fixtures import build_scores

from vocalburst.eval.printing import (
    MEANINGS,
    emotion_name,
    heading,
    markdown,
    sentence,
    show,
    show_clips,
    show_interval,
    show_measure,
    show_reference,
    show_value,
)
from vocalburst.eval.scores import MEASURES, Measure


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"), (-0.0, "0.000"), (0.1735, "0.173"), (0.9994, "0.999"), (0.9996, "1.00"), (4.806, "4.81"),
        (9.996, "10.0"), (-12.34, "-12.3"), (99.96, "100"), (1234.5, "1234"), (0.0006, "0.001"), (0.0004, "4e-04"),
        (-0.00004, "-4e-05"), (None, "–"),
    ],
)  # fmt: skip
def test_three_significant_digits(value, text):
    assert show(value) == text


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (Measure(value=4.806, low=4.6, high=5.04), "4.81 [4.60, 5.04]"),
        (Measure(value=9.96, low=9.0, high=10.9), "10.0 [9.0, 10.9]"),
        (Measure(value=0.007, low=-0.0004, high=0.024), "0.007 [0.000, 0.024]"),
        (Measure(value=0.1, low=-0.8, high=1.0), "0.10 [-0.80, 1.00]"),
        (Measure(value=0.5), "0.500"),
        (Measure(value=None), "–"),
        (None, "–"),
    ],
)
def test_an_interval_has_the_decimals_of_its_value(measure, text):
    assert show_measure(measure) == text
    assert show_value(measure) == text.split(" ")[0]
    assert show_interval(measure) == text.partition(" ")[2]


def test_clips_are_counted_in_all_and_for_each_emotion():
    emotions = dict(build_scores(emotions=("awe", "fear"), n=8).evaluators[0].entry.emotions)
    assert show_clips(emotions) == "16 (8 × 2)"
    emotions["awe"] = emotions["awe"].model_copy(update={"n": 5})
    assert show_clips(emotions) == "13 (5–8 × 2)"


def test_a_table_is_aligned_and_cells_cannot_break_it():
    assert markdown(["set", "FID ↓"], [["a|b", "1.00"], ["longer", "2"]]).splitlines() == [
        "| set    | FID ↓ |",
        "|--------|-------|",
        "| a\\|b   | 1.00  |",
        "| longer | 2     |",
    ]


def test_every_measure_has_a_heading_and_a_meaning():
    assert set(MEANINGS) == {*MEASURES, "s_gen"}
    assert all(text.endswith(".") for text in MEANINGS.values())
    assert (heading("fid"), heading("heep")) == ("FID ↓", "HEEP ↑")


def test_emotions_are_named_for_people():
    assert [emotion_name(e) for e in ("awe", "romantic_love", "surprise_negative")] == [
        "awe", "romantic love", "surprise (negative)",
    ]  # fmt: skip


def test_the_reference_is_named_with_its_split_once():
    reference = build_scores().reference
    assert show_reference(reference) == "emogator (dev)"
    assert show_reference(reference.model_copy(update={"name": "emogator:dev"})) == "emogator:dev"


def test_a_sentence_begins_and_ends_as_one():
    assert [sentence(text) for text in ("all of it", "All.", "n = 8")] == ["All of it.", "All.", "n = 8."]
