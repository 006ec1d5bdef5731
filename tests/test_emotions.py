"""Names, aliases and vectors of the one emotion vocabulary."""

import pytest

from vocalburst.gen.data.emotions import (
    EMOGATOR_30,
    EXVO_10,
    LABEL_SETS,
    SONATA_25,
    SPELLINGS,
    STAND_INS,
    VOCABULARY,
    labelled_names,
    nearest_names,
    normalise_name,
    parse_request,
    resolve_name,
    to_vector,
)
from vocalburst.gen.data.errors import InputDataError


def test_vocabulary_is_the_union_without_repeats():
    assert set(VOCABULARY) == set(EMOGATOR_30) | set(EXVO_10) | set(SONATA_25)
    assert [len(s) for s in (VOCABULARY, EMOGATOR_30, EXVO_10, SONATA_25)] == [35, 30, 10, 25]
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    assert all(names == tuple(dict.fromkeys(names)) for names in LABEL_SETS.values())


def test_file_numbers_of_emogator():
    # Numbers of the public listing: 04 awe, 15 fear, 27 surprise (negative), 30 triumph.
    assert [EMOGATOR_30[n - 1] for n in (1, 4, 15, 27, 30)] == [
        "adoration", "awe", "fear", "surprise_negative", "triumph",
    ]  # fmt: skip


def test_sonata_differs_from_emogator_as_published():
    assert set(SONATA_25) - set(EMOGATOR_30) == {"hype"}
    assert set(EMOGATOR_30) - set(SONATA_25) == {
        "guilt",
        "neutral",
        "pride",
        "romantic_love",
        "serenity",
        "shame",
    }


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Awe", "awe"),
        (" Surprise (Positive) ", "surprise_positive"),
        ("surprisenegative", "surprise_negative"),
        ("Seduction / Ecstasy", "ecstasy"),
        ("seductionecstasy", "ecstasy"),
        ("Romantic Love", "romantic_love"),
        ("realisation", "realization"),
    ],
)
def test_spellings(written, name):
    assert normalise_name(written) == name
    assert resolve_name(written)[0] == {name: 1.0}


def test_every_alias_ends_in_the_vocabulary():
    assert set(SPELLINGS.values()) <= set(VOCABULARY)
    assert {part for mix in STAND_INS.values() for part in mix} <= set(VOCABULARY)
    assert all(sum(mix.values()) == 1 for mix in STAND_INS.values())


def test_an_alias_is_reported_and_a_plain_name_is_not():
    assert resolve_name("awe") == ({"awe": 1.0}, None)
    assert resolve_name("Romantic Love")[1] is None
    assert resolve_name("seductionecstasy")[1] == "seductionecstasy -> ecstasy"
    assert resolve_name("awkwardness", EMOGATOR_30) == (
        {"embarrassment": 1.0},
        "awkwardness -> embarrassment",
    )
    assert resolve_name("awkwardness") == ({"awkwardness": 1.0}, None)


def test_surprise_is_half_and_half_where_only_two_kinds_are_known():
    request = parse_request("surprise", EMOGATOR_30, intensity=0.8)
    assert request.vector == pytest.approx({"surprise_positive": 0.4, "surprise_negative": 0.4})
    assert request.asked == {"surprise": 1.0}


def test_unknown_emotion_names_the_nearest():
    with pytest.raises(InputDataError, match=r"unknown emotion 'amuzement'; nearest: amusement"):
        resolve_name("amuzement")
    with pytest.raises(InputDataError, match=r"'horror' is not one this model was trained on"):
        resolve_name("horror", EMOGATOR_30)
    assert nearest_names("qqqq", VOCABULARY)  # never nothing to suggest


def test_request_of_a_mix():
    request = parse_request("awe:0.7, fear:0.3", intensity=0.5)
    assert request.vector == pytest.approx({"awe": 0.35, "fear": 0.15})
    assert request.label == "awe+fear"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("awe:2", "must be in"),
        ("awe:nan", "must be in"),
        ("awe:0", "must be in"),
        ("awe:much", "not a number"),
        ("awe,awe", "named twice"),
        ("awe,,fear", "empty emotion name"),
    ],
)
def test_bad_requests(text, problem):
    with pytest.raises(InputDataError, match=problem):
        parse_request(text)


@pytest.mark.parametrize("value", [0.0, -1.0, 1.01, float("nan")])
def test_intensity_outside_its_range(value):
    with pytest.raises(InputDataError, match="intensity"):
        parse_request("awe", intensity=value)


def test_vector_masks_what_is_not_labelled():
    values, mask = to_vector({"awe": 0.6}, "exvo-10")
    by_name = dict(zip(VOCABULARY, zip(values, mask, strict=True), strict=True))
    assert by_name["awe"] == (0.6, True)
    assert by_name["horror"] == (0.0, True)  # labelled absent
    assert by_name["guilt"] == (0.0, False)  # unknown to this corpus
    assert sum(mask) == 10


def test_label_sets_by_name_or_list():
    assert labelled_names("sonata-25") == SONATA_25
    assert labelled_names(["awe"]) == ("awe",)
    with pytest.raises(InputDataError, match="unknown label set"):
        labelled_names("exvo")


def test_an_emotion_without_a_stand_in_is_answered_with_those_nearest_in_meaning():
    with pytest.raises(InputDataError, match="nearest: fear, distress, disgust"):
        resolve_name("Horror", EMOGATOR_30)
    assert nearest_names("horror", ("awe", "distress")) == ["distress"]
    assert nearest_names("hype", ("awe", "shame"))  # none of its kind is known: by spelling
