"""Emotions of one corpus as another asks for them: the documented mapping, pooled surprises, renormalised ratings."""

from __future__ import annotations

import numpy as np
import pytest

from vocalburst.eval.protocols import counterparts, protocol_emotions, protocol_names, protocol_ratings
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10, SONATA_25
from vocalburst.gen.data.errors import InputDataError


def test_emogator_answers_nine_emotions_of_exvo():
    found = protocol_emotions("exvo-10", EMOGATOR_30)
    assert tuple(found) == tuple(e for e in EXVO_10 if e != "horror")
    assert found["excitement"] == ("elation",)
    assert found["awkwardness"] == ("embarrassment",)
    assert set(found["surprise"]) == {"surprise_positive", "surprise_negative"}
    assert all(found[e] == (e,) for e in ("awe", "amusement", "fear", "distress", "triumph", "sadness"))


def test_emogator_answers_all_of_sonata_but_hype():
    found = protocol_emotions("sonata-25", EMOGATOR_30)
    assert set(found) == set(SONATA_25) - {"hype"}
    assert all(parts == (emotion,) for emotion, parts in found.items())
    names = protocol_names("sonata-25", EMOGATOR_30)
    assert set(EMOGATOR_30) - set(names) == {
        "guilt", "neutral", "pride", "romantic_love", "serenity", "shame"
    }  # fmt: skip


def test_half_of_a_pooled_emotion_does_not_answer_for_it():
    assert counterparts("surprise", ["surprise_positive", "awe"]) == ()
    assert counterparts("surprise", ["surprise", "surprise_positive", "surprise_negative"]) == ("surprise",)
    assert counterparts("horror", EMOGATOR_30) == ()


def test_names_of_another_corpus_are_answered_back():
    assert protocol_names("emogator-30", EXVO_10)["excitement"] == "elation"
    assert "horror" not in protocol_names("emogator-30", EXVO_10)


def test_ratings_are_what_is_heard_among_the_emotions_of_the_protocol():
    probabilities = np.zeros((3, 30))
    place = {e: i for i, e in enumerate(EMOGATOR_30)}
    probabilities[0, [place["surprise_positive"], place["surprise_negative"], place["awe"]]] = 0.1, 0.2, 0.1
    probabilities[0, place["guilt"]] = 0.6
    probabilities[1, place["elation"]] = 1.0
    probabilities[2, place["guilt"]] = 1.0
    ratings, names = protocol_ratings(probabilities, EMOGATOR_30, "exvo-10")
    assert names == tuple(e for e in EXVO_10 if e != "horror")
    np.testing.assert_allclose(ratings.sum(axis=1), 1)
    assert ratings[0, names.index("surprise")] == pytest.approx(0.75)
    assert ratings[0, names.index("awe")] == pytest.approx(0.25)
    assert ratings[1, names.index("excitement")] == 1
    np.testing.assert_allclose(ratings[2], 1 / 9)


def test_intensities_are_not_divided_by_their_sum():
    intensities = np.full((2, 30), 0.3)
    ratings, names = protocol_ratings(intensities, EMOGATOR_30, "exvo-10")
    assert ratings[0, names.index("awe")] == pytest.approx(0.3)
    assert ratings[0, names.index("surprise")] == pytest.approx(0.6)


def test_what_cannot_be_mapped_is_refused():
    with pytest.raises(
        InputDataError, match="unknown protocol 'exvo-11'; known: emogator-30, exvo-10, sonata-25"
    ):
        protocol_emotions("exvo-11", EMOGATOR_30)
    with pytest.raises(InputDataError, match="fewer than two"):
        protocol_ratings(np.ones((2, 2)) / 2, ("awe", "guilt"), "exvo-10")
