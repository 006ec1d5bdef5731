"""Reading, writing and measuring sound."""

from itertools import pairwise

import numpy as np
import pytest
import soundfile
from corpora_fixtures import voice, write_sound

from vocalburst.gen.data import audio
from vocalburst.gen.data.audio import (
    SAMPLE_RATE,
    active_span,
    encode_wave,
    fade_edges,
    file_seconds,
    limit_peak,
    loudness_lufs,
    peak_db,
    read_wave,
    rms_db,
    voice_windows,
    write_file,
)
from vocalburst.gen.data.errors import InputDataError


def sine(frequency: float, seconds: float, rate: int, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 192_000])
def test_a_sine_keeps_frequency_level_and_length(tmp_path, rate):
    path = write_sound(tmp_path / "a.wav", sine(440, 1.0, rate), rate, subtype="FLOAT")
    wave = read_wave(path)
    assert wave.dtype == np.float32
    assert abs(len(wave) - SAMPLE_RATE) <= 1
    middle = wave[2400:-2400] * np.hanning(len(wave) - 4800)
    spectrum = np.abs(np.fft.rfft(middle, n=2**19))
    assert spectrum.argmax() * SAMPLE_RATE / 2**19 == pytest.approx(440, abs=0.2)
    assert rms_db(wave[2400:-2400]) == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)


def test_resampling_removes_what_would_fold_back(tmp_path):
    path = write_sound(tmp_path / "a.wav", sine(20_000, 0.5, 48_000), 48_000)
    assert rms_db(read_wave(path)[1200:-1200]) < -60


def test_stereo_is_averaged(tmp_path):
    left, right = sine(300, 0.2, SAMPLE_RATE), sine(700, 0.2, SAMPLE_RATE)
    path = write_sound(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_wave(path), (left + right) / 2, atol=1e-6)


def test_eight_bit_is_read(tmp_path):
    wave = sine(300, 0.2, SAMPLE_RATE)
    path = write_sound(tmp_path / "a.wav", wave, SAMPLE_RATE, subtype="PCM_U8")
    np.testing.assert_allclose(read_wave(path), wave, atol=1 / 127)


def test_part_of_a_file(tmp_path):
    wave = voice(1.0, SAMPLE_RATE)
    path = write_sound(tmp_path / "a.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_wave(path, start=0.25, end=0.5), wave[6000:12000])
    np.testing.assert_array_equal(read_wave(path.read_bytes(), start=0.75), wave[18000:])
    with pytest.raises(InputDataError, match="no samples between 2 s"):
        read_wave(path, start=2.0)


def test_corrupt_file(tmp_path):
    path = tmp_path / "bad.wav"
    path.write_bytes(b"RIFF" + bytes(range(200)))
    with pytest.raises(InputDataError, match=r"bad\.wav: cannot be read as audio"):
        read_wave(path)


def test_empty_file(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(InputDataError, match=r"empty\.wav: cannot be read as audio"):
        read_wave(tmp_path / "empty.wav")


def test_missing_file(tmp_path):
    with pytest.raises(InputDataError, match=r"none\.wav: cannot be read as audio \(no such file\)"):
        read_wave(tmp_path / "none.wav")


def test_no_samples(tmp_path):
    path = write_sound(tmp_path / "a.wav", np.zeros(0, np.float32), SAMPLE_RATE)
    with pytest.raises(InputDataError, match="holds no samples"):
        read_wave(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(tmp_path, value):
    wave = sine(300, 0.2, SAMPLE_RATE)
    wave[100] = value
    path = write_sound(tmp_path / "a.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(InputDataError, match="not finite"):
        read_wave(path)


def test_six_channels(tmp_path):
    path = write_sound(tmp_path / "a.wav", np.zeros((100, 6), np.float32), SAMPLE_RATE)
    with pytest.raises(InputDataError, match="expected mono or stereo, found 6 channels"):
        read_wave(path)


def test_an_hour_is_refused_without_decoding(tmp_path, monkeypatch):
    path = write_sound(
        tmp_path / "long.wav", np.zeros(3600 * 8000, np.uint8).view(np.int8).astype(np.int16), 8000
    )

    def decode(*_args, **_options):
        raise AssertionError("decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", decode)
    with pytest.raises(InputDataError, match="lasts 3600 s, expected at most 60 s"):
        read_wave(path)
    assert file_seconds(path) == 3600


@pytest.mark.parametrize(
    ("file_format", "tolerance"), [("wav", 1 / 32767), ("wav-float", 0), ("flac", 1 / 32767), ("ogg", 0.1)]
)
def test_what_is_written_is_read_back(file_format, tolerance):
    wave = voice(0.5, SAMPLE_RATE)
    data = encode_wave(wave, file_format, tags={"title": "awe", "comment": "synthetic"})
    np.testing.assert_allclose(read_wave(data), wave, atol=tolerance)
    assert encode_wave(wave, file_format, tags={"title": "awe", "comment": "synthetic"})[:4] == data[:4]


def test_unknown_format():
    with pytest.raises(InputDataError, match="unknown audio format 'mp4'; known: wav"):
        encode_wave(np.zeros(10), "mp4")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_file(path, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audio.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_active_span_of_a_tone_between_silences():
    wave = np.zeros(SAMPLE_RATE, np.float32)
    wave[4800:14400] = sine(500, 0.4, SAMPLE_RATE)  # 0.2 to 0.6 s, on the frame grid of 480 samples
    assert active_span(wave) == (4800, 14400)
    # 20 dB below the loudest frame still counts, 60 dB below does not.
    wave[19200:20160] = 0.1 * sine(500, 0.04, SAMPLE_RATE)
    assert active_span(wave) == (4800, 20160)
    wave[19200:20160] *= 0.01
    assert active_span(wave) == (4800, 14400)


def test_active_span_of_silence_and_of_a_gain():
    assert active_span(np.zeros(1000, np.float32)) == (0, 0)
    assert active_span(np.zeros(0, np.float32)) == (0, 0)
    wave = voice(1.0, SAMPLE_RATE)
    assert active_span(wave) == active_span(wave * 0.01)
    assert active_span(wave)[1] <= len(wave)


def test_windows_are_cut_at_pauses():
    wave = np.zeros(10 * SAMPLE_RATE, np.float32)
    for start, end in ((1, 2), (2.2, 3), (5, 7)):
        wave[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] = sine(500, end - start, SAMPLE_RATE)
    # The pause of 0.2 s stays inside a window, that of 2 s parts two.
    assert voice_windows(wave, 4.0) == [(24_000, 72_000), (120_000, 168_000)]
    assert len(voice_windows(wave, 4.0, pause=0.2)) == 3


def test_a_long_voice_is_cut_at_its_quietest_place():
    wave = sine(500, 6.0, SAMPLE_RATE)
    wave[int(3.4 * SAMPLE_RATE) : int(3.5 * SAMPLE_RATE)] *= (
        0.05  # a dip of 100 ms, above the -40 dB threshold
    )
    (first, second) = voice_windows(wave, 4.0)
    assert first[0] == 0 and second[1] == len(wave) and first[1] == second[0]
    assert first[1] / SAMPLE_RATE == pytest.approx(3.45, abs=0.05)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 3.99, 4.0, 4.03, 33.3])
def test_windows_keep_all_of_the_voice_and_their_limit(seconds):
    wave = sine(500, seconds, SAMPLE_RATE)
    windows = voice_windows(wave, 4.0)
    assert sum(last - first for first, last in windows) == len(wave)
    assert all(0 < last - first <= 4 * SAMPLE_RATE for first, last in windows)
    assert all(left[1] <= right[0] for left, right in pairwise(windows))


def test_levels():
    assert peak_db(np.array([0.0, -0.5])) == pytest.approx(-6.0206, abs=1e-4)
    assert rms_db(np.array([0.5, -0.5])) == pytest.approx(-6.0206, abs=1e-4)
    assert peak_db(np.zeros(3)) == rms_db(np.zeros(3)) == rms_db(np.zeros(0)) == -np.inf


def test_peak_limit_only_lowers():
    loud = np.array([0.2, -2.0], np.float32)
    assert peak_db(limit_peak(loud, -1.0)) == pytest.approx(-1.0, abs=1e-4)
    quiet = np.array([0.2, -0.3], np.float32)
    assert limit_peak(quiet, -1.0) is quiet


def test_fades_are_raised_cosines():
    faded = fade_edges(np.ones(SAMPLE_RATE, np.float32), 0.01)
    assert faded[0] == 0 and faded[-1] == 0 and faded[240:-240].min() == 1
    assert faded[120] == pytest.approx(0.5, abs=1e-6)
    np.testing.assert_allclose(faded, faded[::-1])
    assert len(fade_edges(np.ones(1, np.float32))) == 1


def test_loudness_of_the_reference_tone():
    # ITU-R BS.1770-4: a full-scale 997 Hz sine in one channel reads -3.01 LUFS; half of it 6.02 less.
    assert loudness_lufs(sine(997, 2.0, SAMPLE_RATE, 1.0)) == pytest.approx(-3.01, abs=0.1)
    assert loudness_lufs(sine(997, 2.0, SAMPLE_RATE, 0.5)) == pytest.approx(-9.03, abs=0.1)
    assert loudness_lufs(sine(997, 0.2, SAMPLE_RATE, 0.5)) == pytest.approx(-9.0, abs=0.5)
    assert loudness_lufs(np.zeros(SAMPLE_RATE, np.float32)) is None
