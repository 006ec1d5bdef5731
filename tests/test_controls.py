"""Draws by a seed and without repeats; silence of one step; noise as long, as loud and as white as it should be."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from conftest import synthetic_burst

from vocalburst.eval.clips import open_clips
from vocalburst.eval.controls import (
    STEP,
    draw_blindly,
    draw_partners,
    draw_rows,
    measure_waves,
    noise_waves,
    silence_waves,
    source_place,
    write_pool,
)
from vocalburst.gen.data.audio import encode_wave
from vocalburst.gen.data.errors import InputDataError


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for emotion, count in (("awe", 9), ("fear", 12), ("pain", 6)):
        (folder / emotion).mkdir()
        for i in range(count):
            wave = synthetic_burst(i, 0.1 + 0.01 * i, 150 + 40 * i)
            (folder / emotion / f"{i}.wav").write_bytes(encode_wave(wave))
    return open_clips(folder)


def test_as_many_clips_of_each_emotion_are_drawn_once_each(clips):
    rows = draw_rows(clips, ["fear", "awe", "pain"], 8)
    assert list(rows) == ["fear", "awe", "pain"]
    assert {e: len(set(r)) for e, r in rows.items()} == {"fear": 8, "awe": 8, "pain": 6}
    assert all({clips.emotions[i] for i in own} == {emotion} for emotion, own in rows.items())


def test_a_draw_depends_on_the_seed_alone_and_grows_by_appending(clips):
    five, eight = draw_rows(clips, ["awe"], 5)["awe"], draw_rows(clips, ["fear", "awe"], 8)["awe"]
    assert set(five) < set(eight)
    assert np.array_equal(five, draw_rows(clips, ["awe", "pain"], 5)["awe"])
    assert any(not np.array_equal(five, draw_rows(clips, ["awe"], 5, seed=s)["awe"]) for s in (1, 2))


def test_too_few_clips_are_refused(clips):
    with pytest.raises(InputDataError, match="expected at least 2 clips of guilt, found 0"):
        draw_rows(clips, ["awe", "guilt"], 5)
    with pytest.raises(InputDataError, match="expected 40 clips of 2 emotions, found 21"):
        draw_blindly(clips, ["awe", "fear"], 20)


def test_draws_of_one_seed_share_no_clip(clips):
    draws = [draw_rows(clips, ["fear"], 4, draw=k)["fear"] for k in range(3)]
    assert sorted(np.concatenate(draws)) == sorted(clips.of("fear"))


def test_copies_of_the_reference_come_with_their_sources(clips):
    reference = replace(clips, names=tuple(f"id-{i}" for i in range(len(clips))))
    rows = draw_rows(reference, ["awe", "fear"], 6)
    names = tuple(f"{e}_id-{i}.wav" for i, e in enumerate(reference.emotions))
    copies = replace(reference, names=names).take(np.random.default_rng(0).permutation(len(clips)))
    chosen, partners = draw_partners(copies, reference, rows, 6)
    for emotion, own in chosen.items():
        sources = [reference.names[rows[emotion][k]] for k in partners[emotion]]
        assert [copies.names[row] for row in own] == [f"{emotion}_{source}.wav" for source in sources]
        assert len(set(sources)) == 6
    some = copies.take(
        [i for i, name in enumerate(copies.names) if reference.names[rows["awe"][0]] not in name]
    )
    chosen, partners = draw_partners(some, reference, rows, 6)
    assert sorted(partners["awe"]) == [-1, 1, 2, 3, 4, 5]  # its place is filled by the copy of another clip
    assert len(set(chosen["awe"])) == 6


def test_copies_of_other_clips_have_no_partners(clips):
    rows = draw_rows(clips, ["awe"], 6)
    others = replace(clips, names=tuple(f"awe_other-{i}.wav" for i in range(len(clips))))
    chosen, partners = draw_partners(others, clips, rows, 6)
    assert partners is None
    np.testing.assert_array_equal(chosen["awe"], draw_rows(others, ["awe"], 6)["awe"])
    place = {"a_b-1": 7}
    assert source_place("x/romantic_love_a_b-1.wav", place) == 7
    assert source_place("a_b-1.wav", place) == -1  # a clip is not named after itself


def test_the_blind_draw_takes_other_emotions_as_well_and_no_clip_twice(clips):
    rows = draw_blindly(clips, ["awe", "fear", "pain"], 9)
    everything = np.concatenate(list(rows.values()))
    assert len(set(everything)) == len(everything) == 27
    assert Counter(clips.emotions[i] for i in rows["awe"]).keys() - {"awe"}
    assert not {clips.emotions[i] for own in draw_blindly(clips, ["awe"], 9).values() for i in own} - {"awe"}


def test_noise_is_as_long_and_as_loud_as_the_clips_and_white(clips, tmp_path):
    sizes = measure_waves(clips, [3, 20, 11])
    pool = write_pool(tmp_path / "noise", noise_waves(sizes), "awe")
    waves = [wave for _, wave in sorted(pool.waves(), key=lambda pair: pair[0])]
    expected = dict(clips.take([3, 20, 11]).waves())
    for index, wave in enumerate(waves):
        assert len(wave) == len(expected[index])
        assert np.sqrt(np.mean(wave**2)) == pytest.approx(np.sqrt(np.mean(expected[index] ** 2)), rel=1e-2)
        power = np.square(np.abs(np.fft.rfft(wave)))[1:]
        low, high = power[: len(power) // 2].mean(), power[len(power) // 2 :].mean()
        assert low == pytest.approx(high, rel=0.3)
    (loud,) = noise_waves([(4000, 0.5)])
    assert np.abs(loud).max() < 0.9


def test_silence_is_one_step_of_dither_in_the_file_as_well(clips, tmp_path):
    sizes = measure_waves(clips, [0, 1])
    pool = write_pool(tmp_path / "silence", silence_waves(sizes), "awe")
    for index, wave in pool.waves():
        assert len(wave) == sizes[index][0]
        assert set(np.round(wave / STEP).astype(int)) == {-1, 0, 1}
        np.testing.assert_allclose(wave, np.round(wave / STEP) * STEP, atol=1e-9)
    assert len(set(pool.keys)) == 2
    again = write_pool(tmp_path / "again", silence_waves(sizes), "awe")
    assert again.keys == pool.keys
    other = write_pool(tmp_path / "other", silence_waves(sizes, seed=1), "awe")
    assert not set(other.keys) & set(pool.keys)
