"""The manifest: round trips, and one sentence for everything that can be wrong with it."""

import json

import numpy as np
import pytest
from corpora_fixtures import make_emogator, make_emogator_shards, voice, write_sound
from pydantic import ValidationError

from vocalburst.gen.data.audio import SAMPLE_RATE, read_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import (
    Clip,
    check_files,
    first_problem,
    iterate_file_bytes,
    manifest_root,
    read_clip,
    read_manifest,
    write_manifest,
)

RECORD = {
    "id": "a-1",
    "path": "awe/1.wav",
    "corpus": "toy",
    "split": "train",
    "speaker": "s1",
    "labelled": ["awe", "fear"],
    "emotions": {"awe": 0.75},
    "seconds": 1.5,
    "active_seconds": 1.0,
    "level_db": -20.0,
    "peak_db": -3.0,
}


def written(tmp_path, *records):
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_round_trip(tmp_path):
    clips = [
        Clip(**RECORD),
        Clip(
            **RECORD | {"id": "a-2", "labelled": "exvo-10", "country": "china", "age": 30.5, "tags": ("x",)}
        ),
        Clip(
            **RECORD
            | {"id": "a-3", "labelled": (), "emotions": {}, "start": 1.0, "end": 2.5, "speaker": None}
        ),
    ]
    write_manifest(tmp_path / "manifest.jsonl", clips)
    assert read_manifest(tmp_path / "manifest.jsonl") == clips
    assert "country" not in json.loads(clips[0].to_json())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"emotions": {"awe": 1.2}}, r"label awe=1\.2 is outside 0 to 1"),
        ({"emotions": {"awe": -0.1}}, r"outside 0 to 1"),
        ({"emotions": {"awe": float("nan")}}, r"emotions\.awe|outside 0 to 1|finite"),
        ({"labelled": ["joyy"], "emotions": {}}, r"unknown emotion 'joyy'; nearest: "),
        ({"emotions": {"guilt": 1.0}}, r"'guilt' has a value but is not among the labelled"),
        ({"labelled": "exvo"}, r"unknown label set 'exvo'"),
        ({"path": "../other/1.wav"}, r"leaves the root folder"),
        ({"path": "/etc/1.wav"}, r"leaves the root folder"),
        ({"path": "a.tar::../../1.wav"}, r"leaves the root folder"),
        ({"split": "validation"}, r"split 'validation' is not one of train, dev, test"),
        ({"start": 2.0, "end": 1.0}, r"end 1 s is not after start 2 s"),
        ({"age": 200}, r"age: "),
        ({"seconds": 0}, r"seconds: "),
        ({"colour": "red"}, r"colour: "),
        ({"id": ""}, r"id: "),
    ],
)
def test_bad_record_is_named_by_line(tmp_path, change, problem):
    path = written(tmp_path, RECORD, RECORD | {"id": "a-2"} | change)
    with pytest.raises(InputDataError, match=rf"manifest\.jsonl, line 2: .*({problem})"):
        read_manifest(path)


def test_duplicate_id(tmp_path):
    path = written(tmp_path, RECORD, RECORD | {"id": "a-2"}, RECORD)
    with pytest.raises(InputDataError, match=r"line 3: id 'a-1' already stands on line 1"):
        read_manifest(path)


def test_cut_line_empty_and_absent_manifest(tmp_path):
    path = written(tmp_path, RECORD)
    path.write_text(path.read_text()[:50])
    with pytest.raises(InputDataError, match="line 1"):
        read_manifest(path)
    path.write_text("\n")
    with pytest.raises(InputDataError, match="holds no clips"):
        read_manifest(path)
    with pytest.raises(InputDataError, match=r"none\.jsonl: cannot be read as a manifest"):
        read_manifest(tmp_path / "none.jsonl")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputDataError, match="cannot be read as a manifest"):
        read_manifest(path)


def test_missing_files_are_counted_and_the_first_is_named(tmp_path):
    write_sound(tmp_path / "awe" / "1.wav", voice(0.1, SAMPLE_RATE), SAMPLE_RATE)
    clips = [Clip(**RECORD | {"id": name, "path": f"awe/{name}.wav"}) for name in "1532"]
    with pytest.raises(InputDataError, match=r"3 of 4 files are missing, the first is .*awe/2\.wav"):
        check_files(tmp_path / "manifest.jsonl", clips)
    check_files(tmp_path / "manifest.jsonl", clips[:1])


def test_root_is_named_by_the_report_else_the_folder(tmp_path):
    manifest = tmp_path / "manifest.jsonl"
    assert manifest_root(manifest) == tmp_path
    (tmp_path / "report.json").write_text(json.dumps({"root": "/data/emogator"}))
    assert str(manifest_root(manifest)) == "/data/emogator"
    (tmp_path / "report.json").write_text('{"root": "/da')
    with pytest.raises(InputDataError, match=r"report\.json: is not the JSON report"):
        manifest_root(manifest)


def test_problem_of_a_record_is_one_sentence():
    with pytest.raises(ValidationError) as caught:
        Clip(**RECORD | {"seconds": "long"})
    assert first_problem(caught.value).startswith("seconds: ")
    assert "\n" not in first_problem(caught.value)


def test_bytes_from_loose_files_and_shards_are_the_same(tmp_path):
    loose = make_emogator(tmp_path / "loose")
    shards = make_emogator_shards(loose, tmp_path / "shards")
    names = [f"data/mp3/{file.name}" for file in sorted(loose.rglob("*.mp3"))]
    from_files = dict(iterate_file_bytes(loose, names))
    in_tar = [f"train-01.tar::{names[0]}", *(f"train-00.tar::{name}" for name in names[1:])]
    from_shards = {path.split("::")[1]: data for path, data in iterate_file_bytes(shards, in_tar)}
    assert from_files == from_shards and len(from_files) == 3
    with pytest.raises(InputDataError, match=r"train-01\.tar: has no member data/mp3/000009"):
        list(iterate_file_bytes(shards, ["train-01.tar::data/mp3/000009-01-1.mp3"]))
    (shards / "cut.tar").write_bytes((shards / "train-00.tar").read_bytes()[:700])
    with pytest.raises(InputDataError, match=r"cut\.tar: (cannot be read as a tar shard|has no member)"):
        list(iterate_file_bytes(shards, [f"cut.tar::{names[1]}"]))


def test_clip_is_the_part_between_its_times(tmp_path):
    wave = voice(2.0, SAMPLE_RATE)
    write_sound(tmp_path / "awe" / "1.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    clip = Clip(**RECORD | {"start": 0.5, "end": 1.25})
    np.testing.assert_array_equal(read_clip(tmp_path, clip), wave[12_000:30_000])
    np.testing.assert_array_equal(read_clip(tmp_path, Clip(**RECORD)), read_wave(tmp_path / "awe" / "1.wav"))
