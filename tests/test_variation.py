"""Which clip is varied: bounds, names, and finding it again."""

import hashlib
import shutil

import numpy as np
import pytest
from conftest import RATE, synthetic_burst

from vocalburst.gen.data.audio import encode_wave, read_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.variation import Variation, by_sha256, find_varied, open_variation, open_variations

DURATIONS = (0.2, 2.0)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "a clip.wav"
    path.write_bytes(encode_wave(synthetic_burst(0)))
    return path


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_variation_knows_its_file(clip):
    variation = open_variation(clip, 0.4, DURATIONS)
    assert (variation.name, variation.sha256, variation.strength) == (str(clip), digest(clip), 0.4)
    assert variation.stem == "a_clip"
    np.testing.assert_array_equal(variation.wave(), read_wave(clip))


@pytest.mark.parametrize(
    ("wave", "sentence"),
    [
        (np.zeros(RATE), r"a clip.wav: is silent \(peak -inf dBFS\)"),
        (1e-4 * synthetic_burst(0, 1.0), r"a clip.wav: is silent \(peak -\d"),
        (synthetic_burst(0, 2.5), "a clip.wav: lasts 2.50 s, this checkpoint makes 0.2 to 2.00 s"),
        (synthetic_burst(0, 0.1), "a clip.wav: lasts 0.10 s, this checkpoint makes"),
    ],
)
def test_clips_that_cannot_be_varied(clip, wave, sentence):
    clip.write_bytes(encode_wave(wave, "wav-float"))
    with pytest.raises(InputDataError, match=sentence):
        open_variation(clip, 0.5, DURATIONS)


def test_what_is_no_sound(clip, tmp_path):
    clip.write_text("not a sound")
    with pytest.raises(InputDataError, match=r"a clip.wav: cannot be read as audio"):
        open_variation(clip, 0.5, DURATIONS)
    with pytest.raises(InputDataError, match=r"none.wav: cannot be read as audio \(No such file"):
        open_variation(tmp_path / "none.wav", 0.5, DURATIONS)


def test_two_files_of_one_name(clip, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "a clip.wav"
    twin.write_bytes(encode_wave(synthetic_burst(1)))
    with pytest.raises(InputDataError, match="would give them the same names"):
        open_variations([clip, twin], 0.5, DURATIONS)
    twin.rename(tmp_path / "other" / "b.wav")
    first, second = open_variations([clip, tmp_path / "other" / "b.wav"], 0.5, DURATIONS)
    assert (first.stem, second.stem) == ("a_clip", "b")


def test_a_file_altered_meanwhile(clip):
    variation = open_variation(clip, 0.5, DURATIONS)
    clip.write_bytes(encode_wave(synthetic_burst(3)))
    with pytest.raises(InputDataError, match="was altered while clips that vary it were made"):
        Variation(variation.name, variation.path, variation.sha256, 0.5).wave()


def test_a_clip_is_found_where_it_was_or_beside_the_manifest_or_where_the_user_says(clip, tmp_path):
    manifest = tmp_path / "run" / "manifest.jsonl"
    manifest.parent.mkdir()
    sha256 = digest(clip)
    assert find_varied("x.wav", str(clip), sha256, manifest, {}) == str(clip)
    beside = manifest.parent / clip.name
    shutil.move(clip, beside)
    assert find_varied("x.wav", clip.name, sha256, manifest, {}) == str(beside)
    elsewhere = tmp_path / "moved.wav"
    shutil.move(beside, elsewhere)
    with pytest.raises(
        InputDataError, match=r"x.wav varies .*a clip.wav, which is not there; name it with --like"
    ):
        find_varied("x.wav", str(clip), sha256, manifest, {})
    assert find_varied("x.wav", str(clip), sha256, manifest, by_sha256([elsewhere])) == str(elsewhere)


def test_a_clip_that_was_altered_is_not_taken_for_the_old_one(clip, tmp_path):
    sha256 = digest(clip)
    clip.write_bytes(encode_wave(synthetic_burst(4)))
    with pytest.raises(
        InputDataError, match=r"is not the clip that x.wav of m.jsonl varies \(sha256 .{12}, expected"
    ):
        find_varied("x.wav", str(clip), sha256, tmp_path.__class__("m.jsonl"), {})
