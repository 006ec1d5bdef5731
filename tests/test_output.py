"""Finishing of a wave, byte identity of files, names and seeds."""

import io
import struct
import time

import numpy as np
import pytest
import soundfile

from vocalburst.gen.data.audio import FORMATS, SAMPLE_RATE, read_wave
from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.output import (
    PEAK_CEILING_DB,
    clip_name,
    clip_quantile,
    clip_seed,
    describe,
    encode_clip,
    file_tags,
    finish_wave,
    ogg_checksum,
    stable_bytes,
)

TAGS = file_tags("awe+fear", 12345, "ab" * 32, "0.1.0")
CEILING = 10 ** (PEAK_CEILING_DB / 20)


def loud_noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.5, 1.5, round(seconds * SAMPLE_RATE)).astype(np.float32)


def burst_in_silence() -> np.ndarray:
    """Half a second of tone between a second of silence on each side."""
    wave = np.zeros(round(2.5 * SAMPLE_RATE), dtype=np.float32)
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE)
    wave[SAMPLE_RATE : SAMPLE_RATE + len(tone)] = tone
    return wave


@pytest.mark.parametrize("file_format", FORMATS)
def test_decoded_peak_stays_under_the_ceiling(file_format):
    wave = finish_wave(loud_noise())
    assert np.abs(read_wave(encode_clip(wave, file_format, TAGS))).max() < CEILING


@pytest.mark.parametrize("n_samples", [1, 2, 100, 5000])
def test_a_lossy_file_that_overshoots_is_scaled_down(n_samples):
    # A full-scale square wave rings when it is coded, far above what went in.
    wave = np.where(np.arange(n_samples) % 60 < 30, 0.999, -0.999).astype(np.float32)
    assert np.abs(read_wave(encode_clip(wave, "ogg", TAGS))).max() < CEILING


def test_a_quiet_wave_keeps_its_level():
    wave = 0.1 * loud_noise()
    middle = slice(1000, -1000)
    np.testing.assert_array_equal(finish_wave(wave)[middle], wave[middle])
    decoded = read_wave(encode_clip(finish_wave(wave), "wav-float", TAGS))
    np.testing.assert_array_equal(decoded[middle], wave[middle])


def test_edges_start_and_end_at_silence():
    wave = finish_wave(np.ones(SAMPLE_RATE, dtype=np.float32))
    assert wave[0] == wave[-1] == 0
    assert (np.diff(wave[:120]) > 0).all() and (np.diff(wave[-120:]) < 0).all()


@pytest.mark.parametrize("file_format", FORMATS)
def test_raw_leaves_the_wave_alone(file_format):
    wave = 0.99 * np.sin(np.arange(SAMPLE_RATE, dtype=np.float32) / 7)
    decoded = read_wave(encode_clip(wave, file_format, TAGS, raw=True))
    if file_format == "ogg":
        assert len(decoded) == len(wave)
    else:
        np.testing.assert_allclose(decoded, wave, atol=2**-15)
    assert np.abs(decoded).max() > CEILING


def test_raw_float_keeps_samples_above_full_scale():
    wave = loud_noise()
    np.testing.assert_array_equal(read_wave(encode_clip(wave, "wav-float", TAGS, raw=True)), wave)


def test_trim_keeps_the_voice_and_a_margin():
    wave = burst_in_silence()
    trimmed = finish_wave(wave, trim=True)
    seconds = len(trimmed) / SAMPLE_RATE
    assert 0.5 < seconds <= 0.5 + 2 * 0.05
    np.testing.assert_allclose(np.square(trimmed).sum(), np.square(wave).sum(), rtol=1e-5)


def test_trim_leaves_a_silent_wave_whole():
    assert len(finish_wave(np.zeros(5000, dtype=np.float32), trim=True)) == 5000


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_same_wave_gives_the_same_bytes_and_tags(file_format):
    wave = finish_wave(loud_noise(0.5))
    first = encode_clip(wave, file_format, TAGS)
    time.sleep(1.1)  # a PEAK chunk counts whole seconds
    assert encode_clip(wave, file_format, TAGS) == first
    with soundfile.SoundFile(io.BytesIO(first)) as file:
        assert file.comment == "synthetic=true; emotion=awe+fear; seed=12345; checkpoint=" + "ab" * 32
        assert file.software.startswith("vocalburst 0.1.0")


def test_ogg_streams_of_different_clips_have_different_serial_numbers():
    files = [encode_clip(finish_wave(loud_noise(0.2, seed)), "ogg", TAGS) for seed in (0, 1)]
    assert files[0][14:18] != files[1][14:18]


def test_ogg_pages_have_valid_checksums():
    data = encode_clip(finish_wave(loud_noise(3.0)), "ogg", TAGS)
    place = pages = 0
    while place < len(data):
        segments = data[place + 27 : place + 27 + data[place + 26]]
        end = place + 27 + len(segments) + sum(segments)
        page = bytearray(data[place:end])
        said = struct.unpack_from("<I", page, 22)[0]
        page[22:26] = bytes(4)
        assert ogg_checksum(bytes(page)) == said
        assert data[place + 14 : place + 18] == data[14:18]
        place, pages = end, pages + 1
    assert place == len(data) and pages >= 3


def test_ogg_checksum_agrees_with_the_one_libogg_wrote():
    buffer = io.BytesIO()
    soundfile.write(buffer, loud_noise(0.1) / 2, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    page = bytearray(buffer.getvalue()[:58])  # the first page of a Vorbis stream is 28 + 30 bytes
    said = struct.unpack_from("<I", page, 22)[0]
    page[22:26] = bytes(4)
    assert ogg_checksum(bytes(page)) == said


def test_stable_bytes_changes_a_file_once_and_keeps_its_sound():
    for file_format in FORMATS:
        data = encode_clip(finish_wave(loud_noise(0.3)), file_format, TAGS)
        assert stable_bytes(data) == data


def test_description_of_a_known_wave():
    wave = burst_in_silence()
    numbers = describe(encode_clip(wave, "wav-float", TAGS))
    assert numbers["seconds"] == 2.5
    assert numbers["active_seconds"] == pytest.approx(0.5, abs=0.021)
    assert numbers["peak_db"] == pytest.approx(-6.02, abs=0.01)
    assert numbers["level_db"] == pytest.approx(-9.03, abs=0.15)
    assert -20 < numbers["loudness_lufs"] < -5


def test_description_of_silence_has_no_infinite_numbers():
    numbers = describe(encode_clip(np.zeros(4000, dtype=np.float32), "flac", TAGS))
    assert numbers["peak_db"] is numbers["level_db"] is numbers["loudness_lufs"] is None


@pytest.mark.parametrize("wave", [np.zeros(0), np.array([0.0, np.nan]), np.array([np.inf, 0.0])])
def test_a_damaged_model_is_not_written_to_disk(wave):
    with pytest.raises(MissingModelError, match="the checkpoint made a wave with"):
        encode_clip(wave.astype(np.float32), "wav", TAGS)


def test_clip_seeds_are_fixed_and_distinct():
    # SHA-256("0|awe|0") = 1a17...; written down so that an upgrade never changes what a seed sounds like.
    assert clip_seed(0, "awe", 0) == 940020364361531686
    seeds = {clip_seed(s, e, i) for s in range(3) for e in ("awe", "fear", "awe+fear") for i in range(200)}
    assert len(seeds) == 3 * 3 * 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # the whole range is used


@pytest.mark.parametrize("n", [1, 2, 10, 100, 160, 1000])
def test_clip_quantiles_lie_evenly(n):
    """However many: the widest gap is under 1.9 times the mean one, where that of random places grows with log n."""
    for run_seed, label in ((0, "awe"), (7, "awe"), (0, "fear")):
        places = np.sort([clip_quantile(run_seed, label, index) for index in range(n)])
        assert places[0] >= 0 and places[-1] < 1
        gaps = np.diff(np.append(places, places[0] + 1))
        assert gaps.max() < 1.9 / n + (n == 1) and gaps.min() > 0.3 / n


def test_clip_quantiles_are_fixed_and_of_run_and_emotion():
    assert clip_quantile(0, "awe", 0) == pytest.approx(0.831756037932095, abs=1e-15)
    assert clip_quantile(0, "awe", 1) == pytest.approx(0.44979002668198986, abs=1e-15)
    assert (
        len({clip_quantile(seed, label, 0) for seed in range(3) for label in ("awe", "fear", "awe+fear")})
        == 9
    )


def test_clip_names():
    assert clip_name("awe", 7, 12, "flac") == "awe_7_00012.flac"
    assert clip_name("awe", 7, 12, "wav-float", folder=True) == "awe/awe_7_00012.wav"
