"""Clips as the official code reads them: own rate, channels end to end, silence and all."""

import io

import numpy as np
import pytest
import soundfile

from vocalburst.eval.clips import open_clips
from vocalburst.eval.official_audio import flattened, official_clips, read_samples
from vocalburst.gen.data.errors import InputDataError


def write(path, samples, rate=16_000, subtype="FLOAT"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)


def noise(n, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n, channels)).astype(np.float32)


def test_a_mono_file_at_16_khz_is_fed_as_it_is(tmp_path):
    samples = noise(5000)
    write(tmp_path / "awe" / "a.wav", samples)
    (clip,) = official_clips(open_clips(tmp_path))
    np.testing.assert_array_equal(clip.wave, samples[:, 0])
    assert (clip.index, clip.rate, clip.channels) == (0, 16_000, 1)


def test_pcm_is_divided_by_its_full_scale(tmp_path):
    write(tmp_path / "awe" / "a.wav", np.array([-32768, 16384, 0, 1], np.int16), subtype="PCM_16")
    (clip,) = official_clips(open_clips(tmp_path))
    assert clip.wave.tolist() == [-1.0, 0.5, 0.0, 2.0**-15]


def test_channels_are_laid_end_to_end(tmp_path):
    samples = noise(300, 2)
    write(tmp_path / "awe" / "a.wav", samples)
    (clip,) = official_clips(open_clips(tmp_path))
    np.testing.assert_array_equal(clip.wave, np.concatenate([samples[:, 0], samples[:, 1]]))
    assert clip.channels == 2


def test_another_rate_is_resampled_channel_by_channel():
    times = np.arange(24_000) / 24_000
    stereo = np.stack([np.sin(2 * np.pi * 500 * times), np.sin(2 * np.pi * 900 * times)], axis=1)
    wave = flattened(stereo.astype(np.float32), 24_000)
    assert wave.shape == (32_000,)
    expected = np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(wave[100:15_900], expected[100:15_900], atol=0.01)
    assert np.abs(np.fft.rfft(wave[16_000:])).argmax() == 900


def test_silence_is_kept_and_counts(tmp_path):
    write(tmp_path / "awe" / "a.wav", np.pad(noise(800)[:, 0], (1600, 1600)))
    write(tmp_path / "awe" / "b.wav", np.zeros(1600))
    loud, silent = official_clips(open_clips(tmp_path))
    assert len(loud.wave) == 4000 and not silent.wave.any()


def test_a_part_of_a_file(tmp_path):
    samples = noise(8000)
    write(tmp_path / "a.wav", samples)
    data = (tmp_path / "a.wav").read_bytes()
    part, rate = read_samples(data, 0.1, 0.25, "a.wav")
    assert rate == 16_000
    np.testing.assert_array_equal(part, samples[1600:4000])
    np.testing.assert_array_equal(read_samples(data, 0.4, None, "a.wav")[0], samples[6400:])
    with pytest.raises(InputDataError, match=r"^a.wav: holds no samples$"):
        read_samples(data, 0.6, None, "a.wav")


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputDataError, match=r"^a\.wav: cannot be read as audio"):
        read_samples(b"RIFFnonsense", 0, None, "a.wav")
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(10, 3), 16_000, format="WAV")
    with pytest.raises(InputDataError, match="expected mono or stereo, found 3 channels"):
        read_samples(buffer.getvalue(), 0, None, "a.wav")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(10, np.nan), 16_000, format="WAV", subtype="FLOAT")
    with pytest.raises(InputDataError, match="not finite"):
        read_samples(buffer.getvalue(), 0, None, "a.wav")


def test_a_file_that_changes_is_noticed(tmp_path):
    write(tmp_path / "awe" / "a.wav", noise(900))
    clips = open_clips(tmp_path)
    write(tmp_path / "awe" / "a.wav", noise(900, seed=1))
    with pytest.raises(InputDataError, match=r"a\.wav: changed while it was being read, or before"):
        list(official_clips(clips))
