"""The training data as a pure function of (seed, draw): order, mixing, augmentation, masks."""

from collections import Counter
from dataclasses import fields
from itertools import chain

import numpy as np
import pytest
import torch
from conftest import RATE, synthetic_burst

from vocalburst.gen.data.audio import active_span, rms_db
from vocalburst.gen.data.manifest import Clip
from vocalburst.gen.dataset import ACTIVE_MARGIN, BurstDataset, DrawSampler, Source, normalise_level
from vocalburst.gen.models.conditioning import SCALARS
from vocalburst.gen.models.normalizer import LEVEL_DB

EMOTIONS = ("awe", "fear", "horror")
CROPPED, PITCH = 1, 0  # columns of the augmentation


def clip(number: int, **changes) -> Clip:
    record = {
        "id": f"c{number}", "path": f"{number}.wav", "corpus": "toy", "split": "train",
        "speaker": f"s{number % 2}", "labelled": EMOTIONS, "emotions": {EMOTIONS[number % 3]: 1.0},
        "seconds": 1.0, "active_seconds": 0.5, "level_db": -20.0, "peak_db": -3.0,
    }  # fmt: skip
    return Clip(**record | changes)


def in_silence(wave: np.ndarray, before: float = 0.3, after: float = 0.4) -> np.ndarray:
    quiet = [np.zeros(round(seconds * RATE), dtype=np.float32) for seconds in (before, after)]
    return np.concatenate([quiet[0], wave, quiet[1]])


def source(n: int = 5, first: int = 0, weight: float = 1.0, **changes) -> Source:
    clips = [clip(k, **changes) for k in range(first, first + n)]
    waves = [in_silence(synthetic_burst(k, 0.2 + 0.02 * k)) for k in range(first, first + n)]
    return Source(clips, waves, weight)


def dataset(*sources: Source, **options) -> BurstDataset:
    return BurstDataset(sources or (source(),), EMOTIONS, ("s0", "s1"), ("china",), **options)


def same_item(first, second) -> bool:
    (mel, condition), (other_mel, other) = first, second
    return torch.equal(mel, other_mel) and all(
        torch.equal(getattr(condition, f.name).nan_to_num(-9e9), getattr(other, f.name).nan_to_num(-9e9))
        for f in fields(condition)
    )


def test_a_draw_depends_on_seed_and_number_alone():
    options = {"p_pitch": 0.5, "p_crop": 0.5, "max_seconds": 0.7}
    forward, backward = dataset(**options), dataset(**options)
    items = [forward[draw] for draw in range(12)]
    assert all(same_item(backward[draw], items[draw]) for draw in reversed(range(12)))
    other = dataset(seed=1, **options)
    assert not all(same_item(other[draw], items[draw]) for draw in range(12))


def test_every_clip_once_an_epoch_and_another_order_in_the_next():
    data = dataset(source(7))
    orders = [data.plan(epoch)[:, 1].tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    places = [tuple(data.plan(draw // 7)[draw % 7]) for draw in range(14)]
    for draw, (_, index) in enumerate(places):
        assert data[draw][0].shape[-1] == len(data.sources[0].waves[index]) // 256 + 1


def test_sources_share_an_epoch_by_weight():
    data = dataset(source(6, weight=3.0), source(6, first=6, weight=1.0))
    plan = data.plan(0)
    counts = Counter(plan[:, 0].tolist())
    assert counts == {0: 9, 1: 3} and len(plan) == len(data) == 12
    small = Counter(plan[plan[:, 0] == 0, 1].tolist())
    assert set(small) == set(range(6)) and set(small.values()) <= {1, 2}  # each once before any twice
    assert plan[:, 0].tolist() != sorted(plan[:, 0].tolist())  # mixed, not one after the other


def test_a_weight_too_small_for_a_draw():
    assert set(dataset(source(3), source(3, first=3, weight=1e-6)).plan(0)[:, 0]) == {0}


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_ranks_together_draw_what_one_rank_draws(n_ranks):
    alone = list(DrawSampler(12, 60, batch_size=2 * n_ranks))
    ranks = [list(DrawSampler(12, 60, batch_size=2, rank=rank, n_ranks=n_ranks)) for rank in range(n_ranks)]
    together = [list(chain(*parts)) for parts in zip(*ranks, strict=True)]
    assert together == alone
    assert list(chain(*alone)) == list(range(12, 60))


def test_a_sampler_goes_on_where_another_stopped():
    whole = list(DrawSampler(0, 40, 4))
    assert whole == list(DrawSampler(0, 16, 4)) + list(DrawSampler(16, 40, 4))
    assert len(DrawSampler(0, 41, 4)) == len(list(DrawSampler(0, 41, 4))) == 11


def test_emotions_that_a_corpus_does_not_label_are_masked():
    hume = clip(0, labelled=("fear", "horror"), emotions={"horror": 0.4}, country="china", age=31.0)
    condition = dataset().condition(hume, 1.0, 0.5, -22.0)
    assert condition.emotion_known.tolist() == [[False, True, True]]
    torch.testing.assert_close(condition.emotion, torch.tensor([[0.0, 0.0, 0.4]]))
    assert condition.voice.tolist() == [0] and condition.country.tolist() == [0]
    torch.testing.assert_close(condition.scalars, torch.tensor([[1.0, 0.5, -22.0, 31.0]]))


def test_attributes_that_a_corpus_does_not_know_are_null():
    condition = dataset().condition(clip(0, speaker=None), 1.0, 0.5, -22.0)
    assert condition.voice.tolist() == [-1] and condition.country.tolist() == [-1]
    assert condition.scalars[0].isnan().tolist() == [False, False, False, True]
    stranger = dataset().condition(clip(0, speaker="of the dev split"), 1.0, 0.5, -22.0)
    assert stranger.voice.tolist() == [-1]


@pytest.mark.parametrize("gain", [0.01, 1.0, 3.0])
def test_level_is_normalised_and_remembered(gain):
    wave = in_silence(synthetic_burst(1)) * np.float32(gain)
    level_before = rms_db(wave[slice(*active_span(wave))])
    normal, active_seconds, level = normalise_level(wave)
    assert level == pytest.approx(level_before)
    assert rms_db(normal[slice(*active_span(normal))]) == pytest.approx(LEVEL_DB, abs=0.01)
    assert 0.3 < active_seconds <= 0.62
    np.testing.assert_allclose(normal, wave * 10 ** ((LEVEL_DB - level) / 20), rtol=1e-4)


def test_loudness_reaches_the_condition_and_not_the_mel():
    wave = in_silence(synthetic_burst(1))
    pair = Source([clip(0), clip(1)], [wave, wave * np.float32(0.1)])
    data = dataset(pair)
    (loud, a), (soft, b) = data.example(pair, 0), data.example(pair, 1)
    torch.testing.assert_close(loud, soft, atol=1e-3, rtol=0)
    level = list(SCALARS).index("level_db")
    assert float(a.scalars[0, level] - b.scalars[0, level]) == pytest.approx(20.0, abs=0.01)


def test_silence_stays_finite():
    mute = Source([clip(0)], [np.zeros(12_000, dtype=np.float32)])
    mel, condition = dataset(mute).example(mute, 0)
    assert mel.isfinite().all() and condition.scalars[0, :3].isfinite().all()


def test_without_augmentation_an_example_is_the_recording():
    part = source(1)
    _, condition = dataset(part)[0]
    assert not condition.augmentation.any()
    assert float(condition.scalars[0, 0]) == pytest.approx(len(part.waves[0]) / RATE)


def test_crop_keeps_the_voice_and_sets_its_flag():
    part = source(1)
    data = dataset(part, p_crop=1.0)
    first, last = active_span(part.waves[0])
    voice = (last - first) / RATE
    lengths = set()
    for draw in range(8):
        _, condition = data[draw]
        seconds, active_seconds = condition.scalars[0, :2].tolist()
        assert condition.augmentation[0].tolist() == [0.0, 1.0]
        assert voice <= seconds + 1e-3 and seconds <= voice + 2 * ACTIVE_MARGIN + 1e-3
        assert active_seconds == pytest.approx(voice, abs=0.03)
        lengths.add(seconds)
    assert len(lengths) == 8


def test_pitch_shift_moves_the_tone_as_its_flag_says():
    time = np.arange(RATE) / RATE
    tone = Source([clip(0)], [(0.3 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)])
    data = dataset(tone, p_pitch=1.0, max_pitch=0.5)
    shifts = []
    for draw in range(6):
        mel, condition = data[draw]
        shift = float(condition.augmentation[0, PITCH])
        shifts.append(shift)
        assert float(condition.scalars[0, 0]) == pytest.approx(1 / (1 + 0.5 * shift), abs=1e-3)
        expected = data.log_mel(
            torch.from_numpy(np.sin(2 * np.pi * 1000 * (1 + 0.5 * shift) * time).astype(np.float32))
        )
        assert abs(int(mel[:, 20].argmax()) - int(expected[:, 20].argmax())) <= 1
    assert min(shifts) < 0 < max(shifts) and all(-1 <= shift <= 1 for shift in shifts)


def test_shares_of_augmentation():
    data = dataset(source(5), p_pitch=0.3, p_crop=0.6)
    flags = np.array([data[draw][1].augmentation[0].numpy() != 0 for draw in range(300)])
    assert flags[:, PITCH].mean() == pytest.approx(0.3, abs=0.08)
    assert flags[:, CROPPED].mean() == pytest.approx(0.6, abs=0.08)


def test_long_clips_are_cut_to_a_random_part():
    ramp = Source([clip(0)], [np.linspace(0, 0.9, 2 * RATE, dtype=np.float32)])
    data = dataset(ramp, max_seconds=0.5)
    items = [data[draw] for draw in range(5)]
    assert {mel.shape[-1] for mel, _ in items} == {round(0.5 * RATE) // 256 + 1}
    assert all(float(condition.scalars[0, 0]) == pytest.approx(0.5) for _, condition in items)
    assert len({float(condition.scalars[0, 2]) for _, condition in items}) == 5  # other places, other levels


def test_padding_is_the_floor_and_masked():
    data = dataset()
    items = [data[draw] for draw in range(4)]
    batch = data.collate(items)
    lengths = [mel.shape[-1] for mel, _ in items]
    assert len(set(lengths)) > 1 and batch.mel.shape == (4, 100, max(lengths))
    assert batch.mask.sum(1).tolist() == lengths
    floor = data.log_mel.config.floor
    for row, (mel, condition) in enumerate(items):
        assert torch.equal(batch.mel[row, :, : lengths[row]], mel)
        assert (batch.mel[row, :, lengths[row] :] == floor).all()
        assert not batch.mask[row, lengths[row] :].any()
        assert torch.equal(batch.condition.emotion[row], condition.emotion[0])
        assert torch.equal(batch.condition.voice[row], condition.voice[0])
