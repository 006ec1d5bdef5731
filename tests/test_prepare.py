"""`vocalburst prepare`: from corpora in their layouts to a manifest, and what is dropped on the way."""

import json
import sys

import numpy as np
import pytest
import soundfile
from corpora_fixtures import (
    make_emogator,
    make_emogator_shards,
    make_folder,
    make_hume,
    make_sonata,
    make_sonata_segments,
    voice,
    write_sound,
)

from vocalburst.gen import cli
from vocalburst.gen.data.audio import SAMPLE_RATE, active_span, read_wave
from vocalburst.gen.data.corpora import Candidate
from vocalburst.gen.data.corpora.folder import read_folder
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import check_files, manifest_root, read_clip, read_manifest
from vocalburst.gen.data.prepare import MIN_WINDOW_SECONDS, check_speakers, measure, prepare


@pytest.fixture
def command(monkeypatch, capsys):
    """Call `vocalburst prepare ...` in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["vocalburst", "prepare", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


def read_dropped(out):
    return [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]


def test_measures_of_a_known_wave():
    wave = np.zeros(SAMPLE_RATE, np.float32)
    time = np.arange(12_000) / SAMPLE_RATE
    wave[4800:16800] = 0.5 * np.sin(
        2 * np.pi * 500 * time
    )  # 0.5 s of a whole number of periods and of frames
    assert measure(wave) == {"seconds": 1.0, "active_seconds": 0.5, "level_db": -9.03, "peak_db": -6.02}


def test_emogator(tmp_path, command):
    root = make_emogator_shards(make_emogator(tmp_path / "loose"), tmp_path / "shards")
    code, out, _ = command("emogator", root, "--out", tmp_path / "out")
    assert code == 0 and "3 clips" in out and "train 2, dev 1" in out and "dropped   none" in out
    clips = read_manifest(tmp_path / "out" / "manifest.jsonl")
    assert manifest_root(tmp_path / "out" / "manifest.jsonl") == root
    check_files(tmp_path / "out" / "manifest.jsonl", clips)
    for clip in clips:
        assert len(read_clip(root, clip)) / SAMPLE_RATE == pytest.approx(clip.seconds, abs=1e-4)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_hume(tmp_path, command, rate):
    root = make_hume(tmp_path / "hume", rate)
    write_sound(root / "wav" / "00099.wav", voice(0.2, rate), rate)
    code, out, _ = command("hume-vocalburst", root, "--out", tmp_path / "out", "--json")
    report = json.loads(out)
    assert code == 0 and report["splits"] == {"train": 2, "test": 1, "dev": 1}
    assert report["emotions"] == {"awe": 1, "horror": 1, "unlabelled": 1, "surprise": 1}
    assert report["dropped"] == {"unlisted": 1}
    assert read_dropped(tmp_path / "out")[0]["path"] == "wav/00099.wav"
    clips = {clip.id: clip for clip in read_manifest(report["manifest"])}
    assert clips["hume-00007"].labelled == () and clips["hume-00001"].emotions["fear"] == 0.25
    assert all(clip.seconds == pytest.approx(0.8, abs=1e-3) for clip in clips.values())


def test_sonata_is_cut_into_voice_active_windows(tmp_path, command):
    root = make_sonata(tmp_path / "sonata")
    code, out, _ = command("sonata", root, "--out", tmp_path / "out")
    assert code == 0 and "alias     seduction_ecstasy -> ecstasy" in out and "actors by hash" in out
    clips = [c for c in read_manifest(tmp_path / "out" / "manifest.jsonl") if c.speaker == "sonata-Actor01"]
    by_emotion = {}
    for clip in clips:
        by_emotion.setdefault(next(iter(clip.emotions)), []).append(clip)
    # The recording has voice at 1-3, 4-5, 8-14 and 16-17 s; the middle one is longer than a window.
    spans = {name: [(c.start, c.end) for c in found] for name, found in by_emotion.items()}
    assert spans["surprise_negative"] == [pytest.approx((1, 3), abs=0.1), pytest.approx((4, 5), abs=0.1)]
    assert spans["awe"] == [pytest.approx((16, 17), abs=0.1)]
    assert spans["ecstasy"][0][0] == pytest.approx(8, abs=0.1)
    assert spans["ecstasy"][-1][1] == pytest.approx(14, abs=0.1)
    assert all(
        left[1] == right[0] for left, right in zip(spans["ecstasy"], spans["ecstasy"][1:], strict=False)
    )
    for clip in clips:
        wave = read_clip(root, clip)
        assert clip.domain == "speech" and MIN_WINDOW_SECONDS <= clip.seconds <= 4.0
        assert len(wave) / SAMPLE_RATE == pytest.approx(clip.seconds, abs=2e-4)
        assert active_span(wave)[1] > 0
    assert by_emotion["ecstasy"][0].tags == ("alias seduction_ecstasy -> ecstasy",)


def test_sonata_segments_and_another_window(tmp_path, command):
    root = make_sonata_segments(tmp_path / "sonata")
    code, _, _ = command("sonata", root, "--window", 1, "--out", tmp_path / "out")
    clips = read_manifest(tmp_path / "out" / "manifest.jsonl")
    assert code == 0 and max(clip.seconds for clip in clips) <= 1.0
    assert {clip.split for clip in clips} == {"train", "dev", "test"}


def test_folder_with_a_short_and_a_silent_segment(tmp_path):
    rate = SAMPLE_RATE
    wave = np.concatenate([voice(0.1, rate), np.zeros(rate, np.float32), voice(1.0, rate, 1)])
    write_sound(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    common = {
        "path": "a.wav",
        "corpus": "toy",
        "split": "train",
        "labelled": ("awe",),
        "emotions": {"awe": 1.0},
    }
    candidates = [
        Candidate(id="whole", cut_seconds=4.0, **common),
        Candidate(id="gap", cut_seconds=4.0, start=0.2, end=0.9, **common),
    ]
    report = prepare(candidates, tmp_path, tmp_path / "out")
    assert report["clips"] == 1 and report["dropped"] == {"short": 1, "silent": 1}
    assert {item["id"]: item["reason"] for item in read_dropped(tmp_path / "out")} == {
        "whole-01": "short",
        "gap": "silent",
    }


def test_folder_bad_sound_is_dropped_counted_and_listed(tmp_path, command):
    root = make_folder(tmp_path / "toy", {"awe": 2})
    awe, rate = root / "awe", SAMPLE_RATE
    (awe / "b-corrupt.wav").write_bytes(b"RIFF" + bytes(300))
    (awe / "b-empty.wav").write_bytes(b"")
    write_sound(awe / "b-nothing.wav", np.zeros(0, np.float32), rate)
    write_sound(awe / "b-nan.wav", np.full(4800, np.nan, np.float32), rate, subtype="FLOAT")
    write_sound(awe / "b-six.wav", np.ones((4800, 6), np.float32), rate)
    write_sound(awe / "b-hour.wav", np.zeros(3600 * 8000, np.int16), 8000, subtype="PCM_U8")
    write_sound(awe / "b-silent.wav", np.zeros(4800, np.float32), rate)
    (awe / "b-twin.wav").write_bytes((awe / "00.wav").read_bytes())
    write_sound(awe / "g-8bit.wav", voice(0.5, rate, 5), rate, subtype="PCM_U8")
    write_sound(awe / "g-192k.wav", voice(0.5, 192_000, 6), 192_000)
    write_sound(awe / "g-stereo.wav", np.stack([voice(0.5, rate, 7)] * 2, axis=1), rate)
    code, out, _ = command("folder", root, "--out", tmp_path / "out")
    assert code == 0 and "5 clips" in out
    assert "undecodable 6, silent 1, duplicate 1; listed in" in out
    details = {
        item["id"].removeprefix("toy-awe-b-"): item["detail"] for item in read_dropped(tmp_path / "out")
    }
    assert set(details) == {"corrupt", "empty", "nothing", "nan", "six", "hour", "silent", "twin"}
    assert "expected mono or stereo, found 6 channels" in details["six"]
    assert "lasts 3600 s, expected at most 60 s" in details["hour"]
    assert "not finite" in details["nan"] and "the same samples as toy-awe-00" in details["twin"]
    assert all("\n" not in detail for detail in details.values())


def test_folder_alias_is_said_and_written_down(tmp_path, command):
    root = make_folder(tmp_path / "toy", {"seduction": 1})
    _, out, _ = command("folder", root, "--out", tmp_path / "out")
    assert "alias     seduction -> ecstasy" in out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["aliases"] == ["seduction -> ecstasy"]
    assert read_manifest(tmp_path / "out" / "manifest.jsonl")[0].tags == ("alias seduction -> ecstasy",)


def test_unknown_emotion_is_exit_code_3_and_one_sentence(tmp_path, command):
    root = make_folder(tmp_path / "toy", {"amuzement": 1})
    code, out, err = command("folder", root, "--out", tmp_path / "out")
    assert code == 3 and out == "" and len(err.splitlines()) == 1
    assert "unknown emotion 'amuzement'; nearest: amusement" in err
    assert not (tmp_path / "out").exists()


def test_nothing_usable_is_an_error_that_says_why(tmp_path, command):
    write_sound(tmp_path / "toy" / "awe" / "1.wav", np.zeros(4800, np.float32), SAMPLE_RATE)
    code, _, err = command("folder", tmp_path / "toy", "--out", tmp_path / "out")
    assert code == 3 and "no clip could be used (silent 1)" in err
    assert [item["reason"] for item in read_dropped(tmp_path / "out")] == ["silent"]
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_same_corpus_twice_is_the_same_manifest_and_another_needs_overwrite(tmp_path, command):
    root, out = make_folder(tmp_path / "toy"), tmp_path / "out"
    assert command("folder", root, "--out", out)[0] == 0
    first = {file.name: file.read_bytes() for file in out.iterdir()}
    assert command("folder", root, "--out", out)[0] == 0
    assert {file.name: file.read_bytes() for file in out.iterdir()} == first
    write_sound(root / "awe" / "new.wav", voice(0.5, SAMPLE_RATE, 99), SAMPLE_RATE)
    code, _, err = command("folder", root, "--out", out)
    assert code == 3 and "holds another manifest; choose another folder or give --overwrite" in err
    assert {file.name: file.read_bytes() for file in out.iterdir()} == first
    assert command("folder", root, "--out", out, "--overwrite")[0] == 0
    assert len(read_manifest(out / "manifest.jsonl")) == 6


def test_bad_paths(tmp_path, command):
    code, _, err = command("emogator", tmp_path / "none", "--out", tmp_path / "out")
    assert code == 3 and "none: expected a corpus folder, found nothing" in err
    root = make_folder(tmp_path / "toy")
    (tmp_path / "file").write_text("x")
    code, _, err = command("folder", root, "--out", tmp_path / "file")
    assert code == 1 and len(err.splitlines()) == 1 and "file" in err
    code, _, err = command("folder", root)
    assert code == 2 and "--out" in err
    assert command("opera", root, "--out", tmp_path / "out")[0] == 2
    assert command("sonata", root, "--window", "0", "--out", tmp_path / "out")[0] == 2


def test_help_of_every_corpus(command):
    assert "examples:" in command("--help")[1]
    for corpus in ("emogator", "hume-vocalburst", "sonata", "folder"):
        code, out, _ = command(corpus, "--help")
        assert code == 0 and "--overwrite" in out


def test_disk_full_keeps_the_old_manifest(tmp_path, command, monkeypatch):
    root, out = make_folder(tmp_path / "toy"), tmp_path / "out"
    command("folder", root, "--out", out)
    before = (out / "manifest.jsonl").read_bytes()
    write_sound(root / "awe" / "new.wav", voice(0.5, SAMPLE_RATE, 99), SAMPLE_RATE)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vocalburst.gen.data.audio.os.fsync", full)
    code, _, err = command("folder", root, "--out", out, "--overwrite")
    assert code == 1 and "No space left on device" in err
    assert (out / "manifest.jsonl").read_bytes() == before


def test_two_ids_alike(tmp_path):
    write_sound(tmp_path / "toy" / "awe" / "1.wav", voice(0.2, SAMPLE_RATE), SAMPLE_RATE)
    write_sound(tmp_path / "toy" / "awe" / "1.flac", voice(0.2, SAMPLE_RATE, 1), SAMPLE_RATE)
    with pytest.raises(InputDataError, match=r"id 'toy-awe-1' stands for both awe/1\.flac and awe/1\.wav"):
        prepare(read_folder(tmp_path / "toy"), tmp_path / "toy", tmp_path / "out")


def test_speaker_in_two_splits(tmp_path):
    for seed, split in enumerate(("train", "test")):
        write_sound(tmp_path / split / "awe" / f"S1_{seed}.wav", voice(0.2, SAMPLE_RATE, seed), SAMPLE_RATE)
    items = list(read_folder(tmp_path, speaker_pattern=r"(?P<speaker>S\d)"))
    with pytest.raises(
        InputDataError, match=r"speaker '.*S1' stands in both (test and train|train and test)"
    ):
        prepare(items, tmp_path, tmp_path / "out")
    check_speakers([])


def test_order_of_files_does_not_change_the_manifest(tmp_path):
    root = make_folder(tmp_path / "toy")
    (root / "awe" / "zz.wav").write_bytes((root / "awe" / "00.wav").read_bytes())
    items = list(read_folder(root))
    prepare(items, root, tmp_path / "one")
    prepare(items[::-1], root, tmp_path / "two")
    assert (tmp_path / "one" / "manifest.jsonl").read_bytes() == (
        tmp_path / "two" / "manifest.jsonl"
    ).read_bytes()
    assert [item["id"] for item in read_dropped(tmp_path / "two")] == ["toy-awe-zz"]


def test_progress_sees_every_file_once(tmp_path):
    root = make_folder(tmp_path / "toy")
    seen = []

    def progress(files, total):
        seen.append(total)
        for path, data in files:
            seen.append(path)
            yield path, data

    prepare(read_folder(root), root, tmp_path / "out", progress=progress)
    assert seen[0] == 5 and sorted(seen[1:]) == sorted(c.path for c in read_folder(root))


def test_duplicate_is_by_sound_not_by_file(tmp_path):
    wave = np.round(voice(0.3, SAMPLE_RATE) * 32767).astype(np.int16)  # the encoders round floats differently
    write_sound(tmp_path / "toy" / "awe" / "1.wav", wave, SAMPLE_RATE, subtype="PCM_16")
    write_sound(tmp_path / "toy" / "awe" / "2.flac", wave, SAMPLE_RATE, subtype="PCM_16")
    one, two = (tmp_path / "toy" / "awe" / name for name in ("1.wav", "2.flac"))
    assert soundfile.info(one).format != soundfile.info(two).format
    np.testing.assert_array_equal(read_wave(one), read_wave(two))
    report = prepare(read_folder(tmp_path / "toy"), tmp_path / "toy", tmp_path / "out")
    assert report["clips"] == 1 and report["dropped"] == {"duplicate": 1}
