"""Which files may stand in one ranking: every reason against, word for word, and nothing else."""

from pathlib import Path

import pytest
from scores_fixtures import EMO18, LOGMEL, build_scores, fake_hash

from vocalburst.eval.comparable import (
    Candidate,
    Refusal,
    is_chosen_by,
    reasons_against,
    same_clips,
    terms_of,
)
from vocalburst.eval.scores import Scores
from vocalburst.gen.data.errors import InputDataError

EMOTIONS = ("awe", "fear", "triumph")


def candidate(scores: Scores, name: str = "theirs") -> Candidate:
    return Candidate(name, Path(f"runs/{name}/scores.json"), fake_hash(name), scores)


LIKE = candidate(build_scores("ours", emotions=EMOTIONS, n=8), "ours")
TERMS = terms_of(LIKE)


def changed(path: str, value: object, **options) -> Candidate:
    """Another entry with one value changed; a `*` in the path stands for every item."""
    content = build_scores("theirs", **{"emotions": EMOTIONS, "n": 8, **options}).model_dump(mode="json")

    def put(place, parts):
        first, *rest = parts
        keys = (range(len(place)) if isinstance(place, list) else list(place)) if first == "*" else [first]
        for key in keys:
            key = int(key) if isinstance(place, list) else key
            if rest:
                put(place[key], rest)
            else:
                place[key] = value

    put(content, path.split("."))
    return candidate(Scores.model_validate(content))


def reasons(other: Candidate, **options) -> tuple[str, ...]:
    return reasons_against(other, TERMS, **{"whole": True, **options})


def test_comparable_files_have_no_reason_against_them():
    assert reasons(LIKE) == ()
    assert reasons(candidate(build_scores("theirs", emotions=EMOTIONS, n=8, skill=0.1))) == ()
    # What moves no number: the seed of the resampling, the settings and checkpoint of the entry.
    for path, value in (("seed", 5), ("entry.settings", {}), ("entry.checkpoint", None), ("command", "x")):
        assert reasons(changed(path, value)) == ()


def test_fewer_emotions_are_comparable_because_the_missing_ones_count_0():
    assert reasons(candidate(build_scores("theirs", emotions=("awe",), n=8))) == ()
    assert reasons(candidate(build_scores("theirs", emotions=("awe", "pain"), n=8))) == ()


REFERENCE = f"reference emogator (dev), 4858 clips {fake_hash('dev')[:12]}"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("package_version", "0.2.0", "scored by version 0.2.0, expected 0.1.0"),
        (
            "reference.split",
            "test",
            f"{REFERENCE.replace('(dev)', '(test)')}, expected {REFERENCE.removeprefix('reference ')}",
        ),
        (
            "reference.clips_sha256",
            "f" * 64,
            f"reference emogator (dev), 4858 clips ffffffffffff, expected {REFERENCE.removeprefix('reference ')}",
        ),
        (
            "reference.n",
            100,
            f"{REFERENCE.replace('4858', '100')}, expected {REFERENCE.removeprefix('reference ')}",
        ),
        (
            "evaluators.1.evaluator",
            "logmel-000000000000",
            f"not heard by {LOGMEL}, only by {EMO18}, logmel-000000000000",
        ),
        (
            "evaluators.0.preprocessing",
            "16 kHz",
            f"{EMO18} heard '16 kHz', expected '24 kHz, voice-active part, -23 dBFS'",
        ),
        (
            "evaluators.*.sets.0.emotions.fear.n",
            50,
            "another n: fear 50 clips against 8, expected 8 against 8",
        ),
        (
            "evaluators.*.sets.0.emotions.awe.n_reference",
            9,
            "another n: awe 8 clips against 9, expected 8 against 8",
        ),
        ("evaluators.1.sets.0.s_gen", [], f"no S_GEN of emogator-30 by {LOGMEL}"),
        (
            "entry.selected_by",
            [LOGMEL],
            f"its clips were chosen or guided by {LOGMEL}, which scores here",
        ),
    ],
)
def test_every_reason_is_a_sentence_of_its_own(path, value, sentence):
    assert reasons(changed(path, value)) == (sentence,)


def test_all_reasons_are_named_at_once():
    other = changed("reference.split", "test", n=5)
    first, second = reasons(other)
    assert first.startswith("reference emogator (test)")
    assert second == (
        "another n: awe 5 clips against 5, expected 8 against 8, fear 5 clips against 5, expected 8 against 8, "
        "triumph 5 clips against 5, expected 8 against 8"
    )


def test_many_emotions_of_another_n_are_counted():
    terms = terms_of(candidate(build_scores("ours", n=8), "ours"))
    (reason,) = reasons_against(candidate(build_scores("theirs", n=9)), terms, whole=True)
    assert reason.endswith("amusement 9 clips against 9, expected 8 against 8, anger 9 clips against 9, expected "
                           "8 against 8 and 27 more emotions")  # fmt: skip


def test_an_emotion_that_the_yardstick_lacks_must_have_its_usual_n():
    other = build_scores("theirs", emotions=("awe", "pain"), n=8).model_dump(mode="json")
    for evaluator in other["evaluators"]:
        evaluator["sets"][0]["emotions"]["pain"]["n"] = 80
    assert reasons(candidate(Scores.model_validate(other))) == (
        "another n: pain 80 clips against 8, expected 8 against 8",
    )


def test_an_emotion_must_have_the_n_of_the_same_emotion_of_the_yardstick():
    def of(name: str, awe: int, fear: int) -> Candidate:
        content = build_scores(name, emotions=("awe", "fear"), n=8, evaluators=(EMO18,)).model_dump(
            mode="json"
        )
        rows = content["evaluators"][0]["sets"][0]["emotions"]
        rows["awe"]["n"], rows["fear"]["n"] = awe, fear
        return candidate(Scores.model_validate(content), name)

    terms = terms_of(of("ours", 8, 9))
    assert reasons_against(of("same", 8, 9), terms, whole=True) == ()
    assert reasons_against(of("crossed", 9, 8), terms, whole=True) == (
        "another n: awe 9 clips against 8, expected 8 against 8, fear 8 clips against 8, expected 9 against 8",
    )


def test_evaluators_must_be_the_same_unless_one_is_chosen():
    more = build_scores("theirs", emotions=EMOTIONS, n=8, evaluators=(EMO18, LOGMEL, "ssl-abcdefabcdef"))
    assert reasons(candidate(more)) == ("heard by ssl-abcdefabcdef as well, which the yardstick was not",)
    fewer = candidate(build_scores("theirs", emotions=EMOTIONS, n=8, evaluators=(EMO18,)))
    assert reasons(fewer) == (f"not heard by {LOGMEL}, only by {EMO18}",)
    terms = terms_of(LIKE, [EMO18])
    assert (
        reasons_against(fewer, terms, whole=False)
        == reasons_against(candidate(more), terms, whole=False)
        == ()
    )
    with pytest.raises(InputDataError) as refused:
        terms_of(LIKE, ["ssl-abcdefabcdef"])
    assert (
        str(refused.value)
        == f"runs/ours/scores.json: not heard by ssl-abcdefabcdef, only by {EMO18}, {LOGMEL}"
    )


def test_the_protocol_is_the_first_or_the_one_asked_for():
    assert (TERMS.protocol, terms_of(LIKE, protocol="exvo-10").protocol) == ("emogator-30", "exvo-10")
    with pytest.raises(InputDataError) as refused:
        terms_of(LIKE, protocol="sonata-25")
    assert str(refused.value) == f"runs/ours/scores.json: has no S_GEN of sonata-25 by {EMO18}"


def test_another_floor_under_the_fid_is_a_reason():
    content = build_scores("theirs", emotions=EMOTIONS, n=8).model_dump(mode="json")
    content["evaluators"][0]["sets"][0]["s_gen"][0]["fid_floor"] = 0.5
    found = reasons(candidate(Scores.model_validate(content)))
    assert "FID counts at least 0.5, expected 0.01" in found


def test_numbers_that_contradict_each_other_are_a_reason():
    better = changed("evaluators.0.sets.0.s_gen.0.value.value", 0.9)
    (reason,) = reasons(better)
    # The formula, done by hand on the terms of the file.
    terms = better.scores.evaluators[0].entry.s_gen[0].emotions
    by_hand = sum((1 / t.fid + t.heep) / 2 for t in terms.values()) / 30
    assert reason == f"its S_GEN emogator-30 is 0.900, but its FID and HEEP give {by_hand:.3f}"

    (reason,) = reasons(changed("evaluators.1.sets.0.mean.fid.value", 0.25))
    rows = better.scores.evaluators[1].entry.emotions.values()
    by_hand = sum(row.measures["fid"].value for row in rows) / 3
    assert reason == f"its mean fid is 0.250, but that of its emotions {by_hand:.1f}"


def test_terms_that_are_no_terms_are_a_reason_and_not_a_crash():
    content = build_scores("theirs", emotions=EMOTIONS, n=8, evaluators=(EMO18,)).model_dump(mode="json")
    content["evaluators"][0]["sets"][0]["s_gen"][0]["emotions"]["awe"]["heep"] = 7.0
    terms = terms_of(LIKE, [EMO18])
    assert reasons_against(candidate(Scores.model_validate(content)), terms, whole=False) == (
        "its S_GEN emogator-30 cannot be: the HEEP of 'awe' is 7; expected a correlation from -1 to 1",
    )


def test_a_mean_over_fewer_emotions_or_none_is_no_contradiction():
    other = changed("evaluators.0.sets.0.emotions.awe.measures.fid_infinity.value", None)
    content = other.scores.model_dump(mode="json")
    content["evaluators"][0]["sets"][0]["mean"]["fid_infinity"] = {"value": None}
    assert reasons(candidate(Scores.model_validate(content))) == ()


@pytest.mark.parametrize(
    ("selected_by", "chosen"),
    [
        ((), False),
        (("logmel-08559624fdf2",), True),
        (("logmel",), True),
        (("08559624fdf2",), True),
        (("logmel-ffffffffffff",), False),
        (("emo18", "log"), False),
    ],
)
def test_an_evaluator_that_chose_is_known_by_id_hash_or_family(selected_by, chosen):
    assert is_chosen_by(selected_by, LOGMEL) is chosen


def test_the_same_clips_or_name_again_are_refused():
    again = candidate(LIKE.scores, "again")
    namesake = Candidate("ours", Path("other.json"), "", build_scores("x", emotions=EMOTIONS, n=8))
    third = candidate(build_scores("third", emotions=EMOTIONS, n=8), "third")
    assert same_clips([LIKE, third, again, namesake]) == [
        Refusal(again.path, ("the same clips as runs/ours/scores.json",)),
        Refusal(namesake.path, ("called 'ours' like runs/ours/scores.json; write NAME=other.json",)),
    ]
    assert same_clips([LIKE, third]) == []
