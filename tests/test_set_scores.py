"""Scores of whole sets: means and their intervals, S_GEN from its formula, shuffled labels, notes on what is weak."""

from __future__ import annotations

import numpy as np
import pytest

from vocalburst.eval.estimates import Estimate, combined, mean_of
from vocalburst.eval.gaussian import Identity, gaussian_statistics
from vocalburst.eval.heep import heep_by_column, heep_by_row, heep_overall
from vocalburst.eval.jackknife import jackknife_interval
from vocalburst.eval.measures import Comparison, Reference
from vocalburst.eval.protocols import protocol_ratings
from vocalburst.eval.s_gen import s_gen
from vocalburst.eval.samples import Bench, Sample, deal_labels, deal_samples
from vocalburst.eval.scores import COMPANIONS, MEASURES
from vocalburst.eval.set_scores import score_dealt, score_set
from vocalburst.gen.data.emotions import EXVO_10
from vocalburst.gen.data.errors import InputDataError

DIM = 6
COLUMNS = ("awe", "fear", "elation", "surprise_negative", "surprise_positive", "guilt")
EMOTIONS = COLUMNS[:5]
IDENTITY = Identity("toy-123456789abc", "none", "dev")


def sample(emotion: str, n: int, seed: int, *, shift: float = 0.0, speakers: int | None = None) -> Sample:
    """Clips around the place of their emotion, rated with some confidence as what they are."""
    rng = np.random.default_rng([seed, COLUMNS.index(emotion)])
    place = np.zeros(DIM)
    place[COLUMNS.index(emotion)] = 2.0
    x = place + shift + rng.standard_normal((n, DIM)) / np.sqrt(1 + np.arange(DIM))
    logits = 2 * x + rng.standard_normal((n, DIM))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    groups = [f"{emotion}-{i}" if speakers is None else f"s{i % speakers}" for i in range(n)]
    return Sample(x, p, tuple(groups))


def samples(n: int = 40, seed: int = 0, **options) -> dict[str, Sample]:
    return {emotion: sample(emotion, n, seed, **options) for emotion in EMOTIONS}


def bench(n: int = 40, **options) -> Bench:
    references = {e: Reference(s.embeddings, IDENTITY) for e, s in samples(n, 99).items()}
    return Bench(references, IDENTITY, **{"columns": COLUMNS, "protocols": ("exvo-10",), **options})


def test_every_emotion_and_the_mean_have_every_measure_with_an_interval():
    scores = score_set("entry", [samples()], bench(), resampled="clips")
    assert (scores.n, scores.resampled, set(scores.emotions)) == (200, "clips", set(EMOTIONS))
    for emotion, own in scores.emotions.items():
        assert (own.n, own.n_reference) == (40, 40)
        assert list(own.measures) == [*MEASURES, *COMPANIONS]
        expected = Comparison(samples()[emotion].embeddings, bench().references[emotion]).measures()
        for name, value in expected.items():
            assert own.measures[name].value == pytest.approx(value), name
    for name, measure in scores.mean.items():
        values = [own.measures[name].value for own in scores.emotions.values()]
        assert measure.value == pytest.approx(np.mean(values)), name
        assert measure.low < measure.value < measure.high or measure.value in (measure.low, measure.high), (
            name
        )
        widths = [own.measures[name].high - own.measures[name].low for own in scores.emotions.values()]
        assert measure.high - measure.low < np.mean(widths), name  # independent clips average out


def test_heep_is_the_one_of_its_formula_in_all_three_readings():
    scores = score_set("entry", [samples()], bench(), resampled="clips")
    asked = np.repeat(np.arange(5), 40)
    ratings = np.concatenate([s.probabilities for s in samples().values()])
    for index, emotion in enumerate(EMOTIONS):
        assert scores.emotions[emotion].measures["heep"].value == pytest.approx(
            heep_by_row(asked, ratings)[index]
        )
        hits = (ratings[asked == index].argmax(axis=1) == index).mean()
        assert scores.emotions[emotion].measures["recognised"].value == pytest.approx(hits)
    assert scores.mean["heep"].value == pytest.approx(np.nanmean(heep_by_row(asked, ratings)))
    assert scores.heep_column.value == pytest.approx(np.nanmean(heep_by_column(asked, ratings)))
    assert scores.heep_overall.value == pytest.approx(heep_overall(asked, ratings))


def test_s_gen_is_the_one_of_its_formula_with_the_surprises_pooled_at_equal_n():
    toy, on = samples(), bench()
    (found,) = score_set("entry", [toy], on, resampled="clips").s_gen
    assert found.protocol == "exvo-10"
    assert set(found.missing) == set(EXVO_10) - {"awe", "fear", "excitement", "surprise"}

    rows = np.sort(np.random.default_rng(0).permutation(40)[:20])
    parts = ("surprise_negative", "surprise_positive")
    pooled = np.concatenate([toy[p].embeddings[rows] for p in sorted(parts, reverse=True)])
    target = np.concatenate([on.references[p].embeddings[rows] for p in parts])
    target = Reference(target, IDENTITY)
    fid = {"surprise": Comparison(pooled, target).measures()["fid"]}
    heep = {}
    for emotion, part in (("awe", "awe"), ("fear", "fear"), ("excitement", "elation"), ("surprise", None)):
        probabilities = (
            np.concatenate([toy[p].probabilities[rows] for p in parts])
            if part is None
            else toy[part].probabilities
        )
        ratings, names = protocol_ratings(probabilities, COLUMNS, "exvo-10")
        assert names == ("awe", "excitement", "fear", "surprise")
        asked = np.full(len(ratings), names.index(emotion))
        heep[emotion] = heep_by_row(asked, ratings)[names.index(emotion)]
        if part is not None:
            fid[emotion] = Comparison(toy[part].embeddings, on.references[part]).measures()["fid"]
    expected = s_gen(fid, heep, EXVO_10)
    assert found.value.value == pytest.approx(expected.value)
    assert found.available.value == pytest.approx(expected.available)
    assert {e: t.fid for e, t in found.emotions.items()} == pytest.approx(fid)
    assert {e: t.heep for e, t in found.emotions.items()} == pytest.approx(heep)
    assert found.value.low < found.value.value < found.value.high
    assert found.infinity.value > found.value.value  # the distance without its bias is smaller


def test_dealing_out_the_labels_keeps_the_clips_and_takes_heep_to_zero():
    toy, on = samples(n=60), bench(n=60)
    dealt = deal_labels(toy, np.random.default_rng(0))
    assert {e: len(s) for e, s in dealt.items()} == dict.fromkeys(EMOTIONS, 60)
    assert sorted(g for s in dealt.values() for g in s.groups) == sorted(
        g for s in toy.values() for g in s.groups
    )
    entry = score_set("entry", [toy], on, resampled="clips")
    shuffled = score_dealt("shuffled", toy, on)
    assert shuffled.resampled == "labels"
    for name in ("heep", "recognised", "coverage", "precision"):
        assert shuffled.mean[name].value < entry.mean[name].low, name
    for name in ("fid", "fid_infinity", "kad", "kid"):
        assert shuffled.mean[name].value > entry.mean[name].high, name
    assert abs(shuffled.mean["heep"].value) < 0.1 < entry.mean["heep"].low
    assert abs(shuffled.heep_overall.value) < 0.1
    assert shuffled.s_gen[0].value.value < entry.s_gen[0].value.low


def test_real_speakers_give_wider_intervals_than_independent_clips():
    def rows(speakers: int | None) -> dict[str, Sample]:
        found = {}
        for emotion in EMOTIONS:
            base = sample(emotion, 8, 1)
            pick = np.arange(40) % 8  # each voice says everything five times
            noise = 0.05 * np.random.default_rng(2).standard_normal((40, DIM))
            groups = tuple(f"s{i}" if speakers else f"{emotion}-{k}" for k, i in enumerate(pick))
            found[emotion] = Sample(base.embeddings[pick] + noise, base.probabilities[pick], groups)
        return found

    by_speaker = score_set("floor", [rows(8)], bench(), resampled="speakers").mean
    by_clip = score_set("floor", [rows(None)], bench(), resampled="clips").mean
    for name in ("fid", "kad", "heep"):
        assert by_speaker[name].value == pytest.approx(by_clip[name].value)
        wide, narrow = (m[name].high - m[name].low for m in (by_speaker, by_clip))
        assert wide > 1.5 * narrow, name


def test_one_pool_of_clips_for_all_emotions_is_drawn_as_one():
    pool = sample("awe", 40, 7)
    alone = {
        e: Sample(pool.embeddings, pool.probabilities, tuple(f"{e}-{i}" for i in range(40))) for e in EMOTIONS
    }
    for name in ("fid", "recognised"):
        one, many = (score_set("noise", [s], bench(), resampled="clips").mean[name]
                     for s in (dict.fromkeys(EMOTIONS, pool), alone))  # fmt: skip
        assert one.value == pytest.approx(many.value)
        assert (one.low, one.high) != (many.low, many.high), name
    (joint,) = deal_samples([dict.fromkeys(EMOTIONS, pool)])
    assert all(np.array_equal(joint.of[e], joint.of["awe"]) for e in EMOTIONS)


def test_several_draws_are_scored_as_their_mean():
    draws = [samples(seed=seed, speakers=30) for seed in (1, 2, 3)]
    one = [score_set("floor", [draw], bench(), resampled="speakers") for draw in draws]
    mean = score_set("floor", draws, bench(), resampled="speakers")
    assert mean.n == one[0].n == 200
    for name in ("fid", "fid_infinity", "kad", "coverage"):
        assert mean.mean[name].value == pytest.approx(np.mean([s.mean[name].value for s in one])), name
        assert mean.emotions["awe"].measures[name].value == pytest.approx(
            np.mean([s.emotions["awe"].measures[name].value for s in one])
        )
    asked = np.repeat(np.arange(5), 120)
    ratings = np.concatenate([draw[e].probabilities for e in EMOTIONS for draw in draws])
    assert mean.mean["heep"].value == pytest.approx(np.nanmean(heep_by_row(asked, ratings)))
    widths = [s.mean["kad"].high - s.mean["kad"].low for s in one]
    assert mean.mean["kad"].high - mean.mean["kad"].low < np.mean(widths)
    blocks, other = deal_samples(draws[:2])
    place = dict(zip(draws[0]["awe"].groups, blocks.of["awe"], strict=True))
    assert all(place[g] == b for g, b in zip(draws[1]["fear"].groups, other.of["fear"], strict=True))


def test_blocks_are_even_for_clips_and_joint_for_speakers():
    (clips,) = deal_samples([samples(n=40)])
    assert clips.count == 20
    assert all((clips.sizes(e) == 2).all() for e in EMOTIONS)
    voices = samples(n=40, speakers=30)
    (joint,) = deal_samples([voices])
    blocks = {}
    for emotion in EMOTIONS:
        for group, block in zip(voices[emotion].groups, joint.of[emotion], strict=True):
            assert blocks.setdefault(group, block) == block
    assert deal_samples([samples(speakers=1)]) is None


def test_a_single_speaker_has_no_interval_and_a_note():
    scores = score_set("floor", [samples(speakers=1)], bench(), resampled="speakers")
    assert scores.mean["fid"].low is None
    assert scores.mean["heep"].low is None
    assert any("no intervals" in note for note in scores.notes)


def test_an_evaluator_without_a_recogniser_gives_distances_and_a_note():
    toy = {e: Sample(s.embeddings, None, s.groups) for e, s in samples().items()}
    scores = score_set("entry", [toy], bench(columns=None), resampled="clips")
    assert scores.mean["fid"].value > 0
    assert scores.mean["heep"].value is None
    assert scores.heep_overall.value is None
    assert scores.s_gen == ()
    assert any("does not rate emotions" in note for note in scores.notes)


def test_an_emotion_that_the_evaluator_does_not_rate_leaves_the_mean_of_heep_empty():
    scores = score_set("entry", [samples()], bench(columns=("awe", "fear", "elation", "pride", "shame", "guilt")),
                       resampled="clips")  # fmt: skip
    assert scores.emotions["awe"].measures["heep"].value is not None
    assert scores.emotions["surprise_negative"].measures["heep"].value is None
    assert scores.mean["heep"].value is None
    assert any("does not rate surprise_negative, surprise_positive" in note for note in scores.notes)


def test_only_a_gaussian_of_the_reference_gives_the_same_frechet_distances_and_s_gen():
    on = bench()
    gaussians = {e: gaussian_statistics(r.embeddings, IDENTITY) for e, r in on.references.items()}
    alone = score_set(
        "entry", [samples()], Bench(gaussians, IDENTITY, COLUMNS, ("exvo-10",)), resampled="clips"
    )
    whole = score_set("entry", [samples()], on, resampled="clips")
    for name in ("fid", "fid_infinity", "heep", "recognised"):
        assert alone.mean[name] == whole.mean[name]
    assert alone.mean["kad"].value is None
    assert alone.s_gen[0].value.value > 0
    assert any(note.startswith("KAD, KID, precision, recall") for note in alone.notes)


def test_few_clips_are_told():
    toy = samples(n=40)
    toy["fear"] = sample("fear", 5, 0)
    scores = score_set("floor", [toy], bench(), resampled="clips")
    notes = " / ".join(scores.notes)
    assert "5 clips for 6 dimensions leave the covariances singular" in notes
    assert "FID∞ cannot be computed from what there is of fear" in notes
    assert (scores.emotions["fear"].n, scores.emotions["fear"].n_reference) == (5, 40)
    assert scores.mean["fid_infinity"].value is None
    assert scores.mean["fid"].value is not None
    assert not score_set("entry", [samples()], bench(), resampled="clips").notes


def test_clips_that_cannot_be_measured_name_their_emotion():
    toy = samples()
    toy["fear"] = sample("fear", 1, 0)
    with pytest.raises(InputDataError, match="fear: the clips to score: expected at least 2 clips, got 1"):
        score_set("entry", [toy], bench(), resampled="clips")


def test_a_function_of_estimates_has_the_replicates_of_the_function():
    one = Estimate(2.0, np.array([1.0, 3.0, 2.0]), np.array([5, 5, 5]), 15)
    other = Estimate(4.0, np.array([4.0, 5.0, 3.0]), np.array([5, 5, 5]), 15)
    ratio = combined([one, other], lambda v: v[0] / v[1])
    assert ratio.value == 0.5
    assert ratio.replicates.tolist() == [1 / 4, 3 / 5, 2 / 3]
    assert ratio.interval() == pytest.approx(
        jackknife_interval(0.5, ratio.replicates, np.array([10, 10, 10]), 30)
    )
    assert mean_of([one, other]).value == 3
    bare = Estimate(1.0, np.zeros(0), np.zeros(0, int), 15)
    assert mean_of([one, bare]).interval() == (None, None)
    deals = Estimate.of_deals([1.0, 2.0, 3.0])
    squares = combined([deals], lambda v: float(v[0] ** 2))
    assert squares.value == 4  # follows from the terms that are printed
    assert squares.measure().high > 9
