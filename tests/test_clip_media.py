"""Pictures and players of drawn clips: what is inside the data URIs, and which clips they are of."""

import base64
import io

import numpy as np
import pytest
import soundfile
from conftest import RATE, synthetic_burst

from vocalburst.eval.clip_media import LEVELS, collect_media, mel_picture, palette, player_sound
from vocalburst.eval.clips import open_clips
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.mel import LogMel


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """EMOTION/*.wav of two emotions; the pitch tells which clip it is."""
    root = tmp_path_factory.mktemp("clips")
    for emotion, count in (("awe", 5), ("fear", 3)):
        (root / emotion).mkdir()
        for k in range(count):
            wave = synthetic_burst(k, 0.3 + 0.1 * k, 200 + 40 * k)
            soundfile.write(root / emotion / f"{k}.wav", wave, RATE)
    return root


def content(uri: str, media_type: str) -> bytes:
    head, data = uri.split(",")
    assert head == f"data:{media_type};base64"
    return base64.b64decode(data, validate=True)


def decoded(uri: str) -> np.ndarray:
    wave, rate = soundfile.read(io.BytesIO(content(uri, "audio/mpeg")))
    assert rate == RATE
    return wave


def test_the_picture_is_the_mel():
    from matplotlib.image import imread

    wave = synthetic_burst(1)
    mel = LogMel()
    picture = imread(io.BytesIO(content(mel_picture(wave, mel), "image/png")))
    import torch

    expected = mel(torch.from_numpy(wave)).numpy()
    assert picture.shape[:2] == expected.shape
    colours = palette() / 255
    levels = np.abs(picture[:, :, None, :3] - colours).sum(axis=-1).argmin(axis=-1)[::-1]
    decibels = (expected - expected.max()) * 20 / np.log(10)
    assert levels.max() == LEVELS - 1
    shown = levels / (LEVELS - 1) * 60 - 60
    assert np.abs(shown - decibels.clip(-60))[decibels > -60].max() < 0.5  # half a step of brightness
    assert (levels[decibels <= -60] == 0).all()


def test_the_player_holds_the_wave():
    wave = synthetic_burst(2, 1.0)
    found = decoded(player_sound(wave))
    assert len(found) == len(wave)
    # An encoder delay would show as a lower correlation than that of a shifted copy.
    scores = [np.corrcoef(found[1000:-1000], np.roll(wave, k)[1000:-1000])[0, 1] for k in (-24, -1, 0, 1, 24)]
    assert scores[2] == max(scores) > 0.98
    assert player_sound(wave) == player_sound(wave)


def test_clips_are_drawn_by_the_seed_for_each_emotion_alone(folder):
    clips = open_clips(folder)
    media = collect_media(clips, seed=3, per_emotion=2)
    assert [m.emotion for m in media] == ["awe", "awe", "fear", "fear"]
    assert len({m.name for m in media}) == 4
    assert collect_media(clips, seed=3, per_emotion=2, emotions=["fear"]) == media[2:]
    draws = {tuple(m.name for m in collect_media(clips, seed, 2, ["awe"])) for seed in range(6)}
    assert len(draws) > 1


def test_name_picture_and_sound_belong_together(folder):
    for media in collect_media(open_clips(folder), per_emotion=3, emotions=["fear", "awe"]):
        wave, _ = soundfile.read(next(folder.rglob(media.name)), dtype="float32")
        assert media.seconds == pytest.approx(len(wave) / RATE)
        assert media.sound == player_sound(wave) and media.picture == mel_picture(wave, LogMel())
        assert media.name.startswith(media.emotion)


def test_an_emotion_with_too_few_clips_is_an_error(folder):
    with pytest.raises(InputDataError) as refused:
        collect_media(open_clips(folder), per_emotion=4)
    assert str(refused.value) == f"{folder}: expected 4 clips of fear, found 3"
    with pytest.raises(InputDataError, match="expected 1 clips of triumph, found 0"):
        collect_media(open_clips(folder), emotions=["triumph"])
