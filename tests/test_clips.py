"""Sets of clips: every form of folder gives the same set, and everything wrong with one is a single sentence."""

import csv
import hashlib
import io
import tarfile

import numpy as np
import pytest
from clips_fixtures import (
    EXPECTED,
    contents,
    entry_rows,
    record,
    sounds,
    write_entry,
    write_real,
    write_rows,
    write_tree,
)
from conftest import RATE, synthetic_burst

from vocalburst.eval import clips as clips_module
from vocalburst.eval.clips import open_clips, overlap
from vocalburst.gen.data.audio import encode_wave, read_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import write_manifest


def test_every_form_of_folder_is_the_same_set(tmp_path):
    entry = open_clips(write_entry(tmp_path / "entry"))
    tree = open_clips(write_tree(tmp_path / "tree", folder=lambda name: name.replace("_", " ").title()))
    rows = [(name, emotion) for name, emotion, _ in sounds()]
    write_tree(tmp_path / "csv")
    with (tmp_path / "csv" / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file_name", "emotion"), *rows])
    write_tree(tmp_path / "lines")
    lines = [{"file_name": f, "emotion": e.replace("_", " ")} for f, e in rows]
    write_rows(tmp_path / "lines" / "metadata.jsonl", lines)
    real = open_clips(write_real(tmp_path / "real"))
    sets = [entry, tree, open_clips(tmp_path / "csv"), open_clips(tmp_path / "lines"), real]
    assert [contents(clips) for clips in sets] == [EXPECTED] * 5
    assert len({clips.content_sha256 for clips in sets}) == 1
    assert entry.names == tuple(name for name, *_ in sounds())
    assert (entry.checkpoint, entry.split, entry.selected_by) == ("abc", None, ())
    assert entry.settings == {"steps": "8", "guidance": "3.0", "scheduler": "heun"}
    assert real.speakers == ("s0", "s1") * 3 and real.split == "all" and real.names[0] == "clip-0"
    assert entry.label == str(tmp_path / "entry") and entry.notes == ()


def test_content_hash_tells_emotions_apart_and_no_order(tmp_path):
    rows = entry_rows()
    write_entry(tmp_path)
    first = open_clips(tmp_path)
    write_rows(tmp_path / "manifest.jsonl", rows[::-1])
    turned = open_clips(tmp_path)
    assert turned.names == first.names[::-1] and turned.content_sha256 == first.content_sha256
    rows[0]["emotion"] = "fear"
    write_rows(tmp_path / "manifest.jsonl", rows)
    assert open_clips(tmp_path).content_sha256 != first.content_sha256
    assert first.take(range(5)).content_sha256 != first.content_sha256


def test_waves_are_those_of_the_files_and_take_keeps_the_order(tmp_path):
    clips = open_clips(write_entry(tmp_path))
    waves = dict(clips.waves())
    assert sorted(waves) == list(range(6))
    for index, wave in waves.items():
        np.testing.assert_array_equal(wave, read_wave(tmp_path / clips.names[index]))
    part = clips.take([4, 1])
    assert part.names == ("fear/4.wav", "fear/1.wav") and part.emotions == ("fear", "fear") and len(part) == 2
    assert part.label == clips.label and part.settings == clips.settings
    for index, wave in part.waves():
        np.testing.assert_array_equal(wave, waves[[4, 1][index]])
    assert clips.of("fear").tolist() == [1, 4] and clips.of("guilt").tolist() == []


def test_a_manifest_by_path_by_name_and_by_split(tmp_path, monkeypatch):
    manifest = write_real(tmp_path / "manifests" / "toy")
    monkeypatch.chdir(tmp_path)
    ways = [
        "toy:dev",
        "toy:val",
        f"{manifest}:dev",
        f"{manifest.parent}:dev",
        "manifests/toy/manifest.jsonl:dev",
    ]
    sets = [*(open_clips(way) for way in ways), open_clips("toy", "dev"), open_clips(manifest, "dev")]
    assert {clips.names for clips in sets} == {("clip-3", "clip-4", "clip-5")}
    assert {clips.split for clips in sets} == {"dev"}
    assert [len(open_clips(spec)) for spec in ("toy", "toy:train")] == [6, 3]
    for spec, split, sentence in [
        ("toy:test", None, "expected clips of the split 'test', found train (3), dev (3)"),
        ("toy:tset", None, "split 'tset' is not one of"),
        ("toy:dev", "train", "toy:dev: names the split 'dev', but 'train' was asked for as well"),
        ("toi:dev", None, "toi:dev: no such folder or manifest; expected a folder of clips, MANIFEST.jsonl[:SPLIT] "
         "or NAME:SPLIT with a NAME in manifests/ (toy)"),
        (tmp_path / "manifests" / "toy" / "0.wav", None, "cannot be read as a manifest of clips"),
    ]:  # fmt: skip
        with pytest.raises(InputDataError) as caught:
            open_clips(spec, split)
        assert sentence in str(caught.value)


def test_a_folder_of_splits_is_read_by_split(tmp_path):
    write_tree(tmp_path / "dev", 6)
    write_tree(tmp_path / "Train", 3)
    assert len(open_clips(tmp_path)) == 9
    assert contents(open_clips(tmp_path, "dev")) == EXPECTED
    assert open_clips(f"{tmp_path}:train").names == tuple(f"Train/{name}" for name, *_ in sounds(3))
    with pytest.raises(InputDataError, match=r"split 'dev', found clips without a split"):
        open_clips(write_entry(tmp_path / "entry"), "dev")


def test_parts_of_a_file_have_their_own_keys_and_waves(tmp_path):
    wave = synthetic_burst(0, 1.0)
    (tmp_path / "long.wav").write_bytes(encode_wave(wave))
    spans = [(0.0, 0.4), (0.3, 0.6), (0.6, None), (0.0, None)]
    write_manifest(
        tmp_path / "manifest.jsonl",
        [record(i, {"awe": 1.0}, "long.wav", start=a, end=b) for i, (a, b) in enumerate(spans)],
    )
    clips = open_clips(tmp_path / "manifest.jsonl")
    assert len(set(clips.keys)) == 4
    assert clips.keys[3] == hashlib.sha256((tmp_path / "long.wav").read_bytes()).hexdigest()
    whole = read_wave(tmp_path / "long.wav")
    for index, part in clips.waves():
        start, end = spans[index]
        np.testing.assert_array_equal(part, whole[round(start * RATE) : end and round(end * RATE)])
    # Parts overlap where they share samples; touching ends do not.
    firsts = clips.take([0])
    assert overlap(firsts, clips) == [("clip-0", "clip-0"), ("clip-0", "clip-1"), ("clip-0", "clip-3")]
    assert overlap(clips.take([1]), clips.take([2])) == []


def test_clips_inside_shards_are_those_of_loose_files(tmp_path):
    loose = open_clips(write_real(tmp_path / "loose"))
    (tmp_path / "shards").mkdir()
    for shard, numbers in (("a", (5, 0, 1)), ("b", (2, 4, 3))):
        with tarfile.open(tmp_path / "shards" / f"{shard}.tar", "w") as tar:
            for number in numbers:
                data = (tmp_path / "loose" / f"{number}.wav").read_bytes()
                entry = tarfile.TarInfo(f"x/{number}.wav")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    where = {number: f"{'a' if number in (5, 0, 1) else 'b'}.tar::x/{number}.wav" for number in range(6)}
    records = [record(i, {emotion: 1.0}, where[i]) for i, (_, emotion, _) in enumerate(sounds())]
    write_manifest(tmp_path / "shards" / "manifest.jsonl", records)
    shards = open_clips(tmp_path / "shards")
    assert shards.keys == loose.keys
    one, other = dict(shards.waves()), dict(loose.waves())
    for index in range(6):
        np.testing.assert_array_equal(one[index], other[index])


def test_rated_clips_belong_to_the_emotions_rated_one(tmp_path):
    """protocols 1.2: a clip is of emotion e when its rating is 1; a tie is under each."""
    ratings = [
        {"awe": 1.0, "fear": 0.3, "horror": 0.0},
        {"awe": 1.0, "fear": 0.9999999},
        {"fear": 0.4},
        {"awe": 0.7, "fear": 0.6},
    ]
    for number, (_, _, data) in enumerate(sounds(4)):
        (tmp_path / f"{number}.wav").write_bytes(data)
    records = [record(i, emotions) for i, emotions in enumerate(ratings)]
    write_manifest(
        tmp_path / "manifest.jsonl", [*records, record(9, {"awe": 0.1, "fear": 0.1}, split="train")]
    )
    clips = open_clips(tmp_path, "dev")
    assert list(zip(clips.names, clips.emotions, strict=True)) == [
        ("clip-0", "awe"), ("clip-1 (awe)", "awe"), ("clip-1 (fear)", "fear"), ("clip-2", "fear"),
    ]  # fmt: skip
    assert clips.notes == (
        f"{tmp_path / 'manifest.jsonl'}: 1 clips belong to no single emotion and are not used, "
        "the first is clip-3",
    )


def test_what_the_list_says_of_all_clips(tmp_path):
    rows = entry_rows()
    for number, row in enumerate(rows):
        row |= {
            "guidance": float(number),
            "selected_by": ["b", "a"][: number % 3],
            "checkpoint": "xy"[number % 2],
            "best_of": [None, 4][number % 2],
            "strength": None,
        }
    write_entry(tmp_path)
    write_rows(tmp_path / "manifest.jsonl", rows)
    (tmp_path / "extra.mp3").write_bytes(b"anything")
    clips = open_clips(tmp_path)
    assert clips.selected_by == ("a", "b") and clips.checkpoint == "x, y"
    assert clips.settings == {
        "steps": "8",
        "guidance": "6 different values",
        "scheduler": "heun",
        "best_of": "4, none",
    }
    assert clips.notes == (
        f"{tmp_path}: 1 sound files are not listed in manifest.jsonl and not judged, the first is extra.mp3",
    )


def test_copies_within_a_set_are_told(tmp_path):
    write_tree(tmp_path)
    for name in ("awe/9.wav", "fear/9.wav"):
        (tmp_path / name).write_bytes((tmp_path / "awe" / "0.wav").read_bytes())
    assert open_clips(tmp_path).notes == (f"{tmp_path}: 2 clips are copies of other clips of the set",)


def test_overlap_names_the_pairs(tmp_path):
    entry = open_clips(write_entry(tmp_path / "entry"))
    real = open_clips(write_real(tmp_path / "real"), "dev")
    expected = [(entry.names[i], f"clip-{i}") for i in (3, 4, 5)]
    assert overlap(entry, real) == expected
    assert overlap(real, entry) == [pair[::-1] for pair in expected]
    assert overlap(entry.take([0, 1, 2]), real) == []


def change(number, **values):
    return lambda root, rows: rows[number].update(values)


def missing_file(root, rows):
    (root / rows[3]["file_name"]).unlink()


def altered_file(root, rows):
    (root / rows[3]["file_name"]).write_bytes(encode_wave(synthetic_burst(99)))


def listed_twice(root, rows):
    rows[4] = rows[3]


def without_sha256(root, rows):
    del rows[3]["sha256"]


def no_rows(root, rows):
    rows.clear()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (missing_file, "{root}/awe/3.wav: cannot be read (No such file or directory)"),
        (altered_file, "{root}/awe/3.wav: its sha256 is not the one listed; the file was altered"),
        (listed_twice, "{root}: 'awe/3.wav' is listed 2 times, expected every clip once"),
        (
            without_sha256,
            "{root}/manifest.jsonl, line 4: sha256 is missing, expected that of the file 'awe/3.wav'",
        ),
        (no_rows, "{root}/manifest.jsonl: holds no clips"),
        (
            change(3, emotion="horor"),
            "{root}/manifest.jsonl, line 4: unknown emotion 'horor'; nearest: horror",
        ),
        (
            change(3, emotion="awe+fear"),
            "{root}/manifest.jsonl, line 4: expected one emotion, got the mix 'awe+fear', "
            "which cannot be judged per emotion",
        ),
        (
            change(3, file_name="../1.wav"),
            "{root}/manifest.jsonl, line 4: file_name: file name '../1.wav' leaves the folder",
        ),
        (
            change(3, sha256="12"),
            "{root}/manifest.jsonl, line 4: sha256: String should match pattern '^[0-9a-f]{{64}}$'",
        ),
        (change(3, emotion=5), "{root}/manifest.jsonl, line 4: emotion: Input should be a valid string"),
    ],
)
def test_a_bad_list_is_one_sentence(tmp_path, damage, sentence):
    rows = entry_rows()
    write_entry(tmp_path)
    damage(tmp_path, rows)
    write_rows(tmp_path / "manifest.jsonl", rows)
    with pytest.raises(InputDataError) as caught:
        open_clips(tmp_path)
    assert str(caught.value).startswith(sentence.format(root=tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"not audio", "cannot be read as audio"),
        (encode_wave(np.zeros(4800, np.float32)), "is digital silence"),
        (encode_wave(np.zeros(0, np.float32)), "holds no samples"),
    ],
)
def test_a_clip_that_cannot_be_heard_is_an_error(tmp_path, data, sentence):
    write_tree(tmp_path)
    (tmp_path / "fear" / "4.wav").write_bytes(data)
    clips = open_clips(tmp_path)
    with pytest.raises(InputDataError, match=rf"fear/4\.wav: {sentence}"):
        list(clips.waves())


def test_a_file_that_changes_between_opening_and_reading_is_an_error(tmp_path):
    clips = open_clips(write_tree(tmp_path))
    (tmp_path / "fear" / "4.wav").write_bytes(encode_wave(synthetic_burst(99)))
    with pytest.raises(InputDataError, match=r"fear/4\.wav: changed while it was being read, or before"):
        list(clips.waves())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("awe/5.webm", r"awe/5\.webm: cannot be decoded, expected one of \.aif"),
        ("5.wav", r"5\.wav: does not lie in the folder of an emotion"),
        ("joyy/5.wav", r"joyy: unknown emotion 'joyy'; nearest: "),
    ],
)
def test_without_a_list_every_sound_file_must_be_judged(tmp_path, name, sentence):
    write_tree(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputDataError, match=sentence):
        open_clips(tmp_path)


def test_folders_that_say_too_little_or_too_much(tmp_path):
    with pytest.raises(InputDataError, match=r"expected manifest\.jsonl, metadata\.csv or EMOTION/"):
        open_clips(tmp_path)
    write_tree(tmp_path)
    (tmp_path / "notes.txt").write_text("not a sound")
    assert contents(open_clips(tmp_path)) == EXPECTED
    (tmp_path / "metadata.csv").write_text('file_name,emotion\nawe/0.wav,"awe:0.7,fear:0.3"\n')
    with pytest.raises(InputDataError, match=r"awe/0\.wav: expected one emotion, got the mix 'awe \+ fear'"):
        open_clips(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,awe,fear\nawe/0.wav,1,0.2\nfear/1.wav,0,0.6\n")
    assert open_clips(tmp_path).emotions == ("awe", "fear")
    (tmp_path / "metadata.jsonl").write_text("")
    with pytest.raises(InputDataError, match=r"found both metadata\.jsonl and metadata\.csv"):
        open_clips(tmp_path)


def test_the_sound_of_a_set_may_not_be_at_hand(tmp_path):
    clips = open_clips(write_tree(tmp_path))
    away = clips_module.ClipSet(**{**vars(clips), "root": None})
    with pytest.raises(InputDataError, match="tells about its clips but does not hold their sound"):
        next(away.waves())
