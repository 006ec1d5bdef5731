"""Places from intervals, controls that entries share, and what two evaluators agree on."""

from pathlib import Path

import numpy as np
from scores_fixtures import EMO18, LOGMEL, build_scores, fake_hash

from vocalburst.eval.comparable import Candidate, terms_of
from vocalburst.eval.ranking import agreement, board_data, places, rank, verdicts
from vocalburst.eval.scores import Measure, Scores

EMOTIONS = ("awe", "fear", "triumph")


def m(low: float | None, high: float | None) -> Measure:
    return Measure(value=0.5 if low is None else (low + high) / 2, low=low, high=high)


def entries(**values: tuple[float, float, float] | dict) -> list[Candidate]:
    """Candidates with the given S_GEN (value, low, high) by every evaluator, or by each one's id."""
    made = []
    for name, given in values.items():
        content = build_scores(name, emotions=EMOTIONS, n=8).model_dump(mode="json")
        for evaluator in content["evaluators"]:
            value, low, high = given[evaluator["evaluator"]] if isinstance(given, dict) else given
            score = evaluator["sets"][0]["s_gen"][0]
            score["value"] = {"value": value, "low": low, "high": high}
        made.append(Candidate(name, Path(name), fake_hash(name), Scores.model_validate(content)))
    return made


def boards(*candidates: Candidate):
    return rank(candidates, terms_of(candidates[0]))


def test_intervals_apart_decide_places():
    assert places([m(0.1, 0.2), m(0.5, 0.6), m(0.3, 0.4)]) == [(3, 3), (1, 1), (2, 2)]


def test_overlap_leaves_places_open_and_touching_is_overlap():
    assert places([m(0.1, 0.3), m(0.3, 0.4), m(0.5, 0.6)]) == [(2, 3), (2, 3), (1, 1)]
    # A chain: the ends are apart, the middle touches both.
    assert places([m(0.1, 0.3), m(0.2, 0.5), m(0.4, 0.6)]) == [(2, 3), (1, 3), (1, 2)]


def test_without_an_interval_every_place_is_open():
    assert places([m(0.1, 0.2), m(None, None), m(0.3, 0.4)]) == [(2, 3), (1, 3), (1, 2)]


def test_places_against_a_loop_over_all_orders():
    """A place is possible when some order that respects all decided pairs gives it: at least the ends are."""
    from itertools import permutations

    generator = np.random.default_rng(0)
    for _ in range(30):
        centres, half = generator.random(5), 0.2 * generator.random(5)
        values = [m(float(c - h), float(c + h)) for c, h in zip(centres, half, strict=True)]
        possible = [set() for _ in values]
        for order in permutations(range(5)):
            if all(values[b].low <= values[a].high for k, a in enumerate(order) for b in order[k + 1 :]):
                for place, index in enumerate(order, 1):
                    possible[index].add(place)
        assert places(values) == [(min(p), max(p)) for p in possible]


def test_rows_are_sorted_and_say_who_they_are_tied_with():
    board, _ = boards(*entries(low=(0.1, 0.08, 0.12), top=(0.4, 0.38, 0.42), mid=(0.11, 0.09, 0.13)))
    assert [(row.name, row.place, row.tied) for row in board.rows] == [
        ("top", "1", ()), ("mid", "2–3", ("low",)), ("low", "2–3", ("mid",)),
    ]  # fmt: skip
    assert verdicts(board) == ["mid is not told apart from low: their 95 % intervals overlap."]


def test_verdicts_when_all_is_decided_and_when_nothing_is():
    board, _ = boards(*entries(a=(0.1, 0.0, 0.2), b=(0.5, 0.4, 0.6)))
    assert verdicts(board) == ["No two intervals overlap: every place is decided."]
    board, _ = boards(*entries(a=(0.1, None, None), b=(0.5, 0.4, 0.6)))
    assert verdicts(board) == [
        "b is not told apart from a: their 95 % intervals overlap.",
        "a has no interval, so its place is open.",
    ]
    board, _ = boards(*entries(a=(0.1, 0.0, 0.2)))
    assert verdicts(board) == []


def test_agreement_of_evaluators():
    high, low, wide = (0.5, 0.4, 0.6), (0.1, 0.0, 0.2), (0.3, 0.0, 0.7)
    assert agreement(boards(*entries(a=high, b=low))) == "All evaluators order the entries alike."
    assert agreement(boards(*entries(a={EMO18: high, LOGMEL: wide}, b={EMO18: low, LOGMEL: high}))) == (
        "The evaluators order the entries differently, but only where 95 % intervals overlap."
    )
    assert agreement(boards(*entries(a={EMO18: high, LOGMEL: low}, b={EMO18: low, LOGMEL: high}))) == (
        f"The evaluators contradict each other, so no order is safe: a is above b by {EMO18} and below it by "
        f"{LOGMEL}, intervals apart."
    )
    assert agreement(boards(*entries(a=high))) is None


def test_controls_that_all_entries_share_stand_once():
    board, _ = boards(*entries(a=(0.5, 0.4, 0.6), b=(0.1, 0.0, 0.2)))
    assert [control.name for control in board.shared] == ["floor", "copy-synthesis", "emotion-blind"]
    assert board.own == ("shuffled", "silence", "noise")
    assert [c.name for c in board.rows[0].controls(board.own)] == list(board.own)


def test_a_shared_control_comes_from_the_entry_with_most_emotions():
    few = Candidate("few", Path("few"), "", build_scores("few", emotions=("awe",), n=8))
    (full,) = entries(full=(0.5, 0.4, 0.6))
    board, _ = rank([few, full], terms_of(full))
    assert [list(control.emotions) for control in board.shared] == [list(EMOTIONS)] * 3
    assert board.emotions == EMOTIONS


def test_data_of_a_board_holds_every_entry_with_its_controls():
    board, _ = boards(*entries(a=(0.5, 0.4, 0.6), b=(0.1, 0.0, 0.2)))
    data = board_data(board)
    assert [(e["name"], e["place"], e["tied_with"]) for e in data["entries"]] == [
        ("a", [1, 1], []),
        ("b", [2, 2], []),
    ]
    own = board.rows[1].heard.entry
    assert data["entries"][1]["mean"] == own.model_dump(mode="json")["mean"]
    assert data["entries"][1]["s_gen"]["value"] == {"value": 0.1, "low": 0.0, "high": 0.2}
    assert [c["name"] for c in data["entries"][0]["controls"]] == ["shuffled", "silence", "noise"]
    assert [c["name"] for c in data["shared_controls"]] == ["floor", "copy-synthesis", "emotion-blind"]
