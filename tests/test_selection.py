"""Best of k: seeds, what counts as best, and that the loop keeps the right candidate."""

from collections import namedtuple

import numpy as np
import pytest

from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.selection import BestOf, candidate_seeds, check_selector, evidence

EMOTIONS = ("awe", "fear", "pain")
Burst = namedtuple("Burst", "wave seed")
Heard = namedtuple("Heard", "probabilities")


class FakePipeline:
    """The wave of a seed is that seed, over and over."""

    def __init__(self, silent=()):
        self.silent, self.asked = set(silent), []

    def synthesise(self, specs):
        self.asked += [spec.seed for spec in specs]
        return [
            Burst(np.full(8, 0.0 if spec.seed in self.silent else float(spec.seed)), spec.seed)
            for spec in specs
        ]


class FakeSelector:
    """Hears the first emotion in wave x with probability score(x)."""

    id, emotions = "fake-1", EMOTIONS

    def __init__(self, score):
        self.score, self.heard = score, []

    def listen(self, waves):
        if not all(wave.any() for wave in waves):
            raise InputDataError("a silent wave")
        self.heard.append(len(waves))
        first = np.array([self.score(float(wave[0])) for wave in waves])
        return Heard(np.stack([first, (1 - first) / 2, (1 - first) / 2], axis=1))


def spec(seed: int = 5) -> BurstSpec:
    return BurstSpec({"awe": 1.0}, seed, steps=1, guidance=1.0, scheduler="euler")


def test_candidates_start_with_the_clip_s_own_seed_and_do_not_depend_on_their_number():
    four, nine = candidate_seeds(5, 4), candidate_seeds(5, 9)
    assert four[0] == 5 and nine[:4] == four and len(set(nine)) == 9
    assert not set(nine) & set(candidate_seeds(6, 9))
    assert all(0 <= seed < 2**63 for seed in nine)


def test_the_best_candidate_is_kept_with_its_own_seed():
    seeds = candidate_seeds(5, 4)
    for best in seeds:
        pipeline = FakePipeline()
        chosen = BestOf(pipeline, FakeSelector(lambda x, best=best: 0.9 if x == float(best) else 0.1), 4)
        (burst,) = chosen.synthesise([spec()])
        assert burst.seed == best and pipeline.asked == seeds


def test_every_spec_is_judged_on_its_own():
    chosen = BestOf(FakePipeline(), FakeSelector(lambda x: 1 / (1 + x)), 3)
    bursts = chosen.synthesise([spec(5), spec(6)])
    assert [burst.seed for burst in bursts] == [min(candidate_seeds(seed, 3)) for seed in (5, 6)]
    assert chosen.selector.heard == [3, 3]


def test_a_silent_candidate_never_wins_and_silence_alone_is_no_failure():
    seeds = candidate_seeds(5, 3)
    selector = FakeSelector(lambda x: 1 / (1 + x))
    (burst,) = BestOf(FakePipeline(silent=[min(seeds)]), selector, 3).synthesise([spec()])
    assert burst.seed == sorted(seeds)[1]
    (burst,) = BestOf(FakePipeline(silent=seeds), selector, 3).synthesise([spec()])
    assert burst.seed == 5


def test_evidence_of_one_emotion_is_its_log_probability():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    np.testing.assert_allclose(evidence(probabilities, EMOTIONS, {"fear": 0.7}), np.log([0.5, 0.3]))


def test_every_part_of_a_mix_has_to_be_heard():
    one_sided, balanced = [0.90, 0.001, 0.099], [0.35, 0.35, 0.30]
    values = evidence(np.array([one_sided, balanced]), EMOTIONS, {"awe": 0.5, "fear": 0.5})
    assert values[1] > values[0]
    assert np.isfinite(evidence(np.array([[1.0, 0.0, 0.0]]), EMOTIONS, {"fear": 1.0})).all()


def test_weights_of_a_mix_count():
    mostly_awe, mostly_fear = [0.6, 0.2, 0.2], [0.2, 0.6, 0.2]
    values = evidence(np.array([mostly_awe, mostly_fear]), EMOTIONS, {"awe": 0.9, "fear": 0.3})
    np.testing.assert_allclose(
        values, [0.75 * np.log(0.6) + 0.25 * np.log(0.2), 0.75 * np.log(0.2) + 0.25 * np.log(0.6)]
    )


def test_a_selector_that_cannot_tell_the_emotion():
    check_selector(FakeSelector(float), ["awe", "pain"])
    with pytest.raises(InputDataError, match="the evaluator fake-1 cannot choose among clips of relief"):
        check_selector(FakeSelector(float), ["awe", "relief"])
    blind = FakeSelector(float)
    blind.emotions = None
    with pytest.raises(InputDataError, match="gives no probability of it"):
        check_selector(blind, ["awe"])
