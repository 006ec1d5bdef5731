"""The reader of any folder: emotions by folder or table, splits, speakers, and what is told of what is no clip."""

from pathlib import Path

import pytest
from corpora_fixtures import (
    make_folder,
    voice,
    write_csv,
    write_sound,
)

from vocalburst.gen.data.corpora import Candidate, LeftOut
from vocalburst.gen.data.corpora.folder import read_folder
from vocalburst.gen.data.errors import InputDataError


def test_folder_of_emotions(tmp_path):
    clips = list(read_folder(make_folder(tmp_path / "toy")))
    assert [clip.id for clip in clips][-1] == "toy-awe-02" and len(clips) == 5
    assert {clip.labelled for clip in clips} == {("awe", "surprise_negative")}
    assert {clip.path.split("/")[0]: clip.emotions for clip in clips} == {
        "awe": {"awe": 1.0},
        "Surprise (Negative)": {"surprise_negative": 1.0},
    }
    assert "by clip for 5 clips without speaker" in clips[0].notes[0]
    assert clips == list(read_folder(tmp_path / "toy"))


def test_folder_alias_is_carried(tmp_path):
    (clip,) = read_folder(make_folder(tmp_path / "toy", {"seduction": 1}))
    assert clip.emotions == {"ecstasy": 1.0} and clip.aliases == ("seduction -> ecstasy",)


def test_folder_unknown_emotion(tmp_path):
    with pytest.raises(
        InputDataError, match=r"toy/amuzement: unknown emotion 'amuzement'; nearest: amusement"
    ):
        list(read_folder(make_folder(tmp_path / "toy", {"awe": 1, "amuzement": 1})))


def test_folder_split_first(tmp_path):
    clips = list(
        read_folder(make_folder(tmp_path / "toy", {"train/awe": 2, "Validation/awe": 1, "test/fear": 1}))
    )
    assert {clip.path.split("/")[0]: clip.split for clip in clips} == {
        "train": "train",
        "Validation": "dev",
        "test": "test",
    }
    assert clips[0].notes == ("splits: as the folder says",)


def test_folder_speakers_from_names_stay_together(tmp_path):
    for speaker in range(12):
        for take in range(2):
            wave = voice(0.2, 24_000, 2 * speaker + take)
            write_sound(tmp_path / "toy" / "awe" / f"S{speaker:02d}_{take}.wav", wave, 24_000)
    clips = list(read_folder(tmp_path / "toy", speaker_pattern=r"/(?P<speaker>S\d+)_"))
    pairs = {(clip.speaker, clip.split) for clip in clips}
    assert len(pairs) == 12 and {split for _, split in pairs} == {"train", "dev", "test"}
    assert clips[0].speaker == "toy-S00" and clips[0].notes == ("splits: speakers by hash, 8 : 1 : 1",)
    with pytest.raises(InputDataError, match="no group"):
        list(read_folder(tmp_path / "toy", speaker_pattern=r"(?P<speaker>X\d+)"))
    with pytest.raises(InputDataError, match="speaker pattern"):
        list(read_folder(tmp_path / "toy", speaker_pattern=r"("))


def test_folder_says_what_is_no_clip(tmp_path):
    root = make_folder(tmp_path / "toy", {"awe": 1})
    (root / "awe" / "notes.txt").write_text("x")
    (root / "awe" / "._00.wav").write_bytes(b"x")  # hidden files are not listed
    write_sound(root / "loose.wav", voice(0.2, 24_000), 24_000)
    left = [item for item in read_folder(root) if isinstance(item, LeftOut)]
    assert [(item.path, item.reason) for item in left] == [
        ("awe/notes.txt", "not audio"),
        ("loose.wav", "unlabelled"),
    ]


def test_folder_with_nothing(tmp_path):
    with pytest.raises(InputDataError, match=r"expected EMOTION/\*\.wav"):
        list(read_folder(tmp_path))


def make_audiofolder(root: Path, rows: list[dict]) -> Path:
    for seed, row in enumerate(rows):
        write_sound(root / row["file_name"], voice(0.2, 24_000, seed), 24_000)
    write_csv(root / "metadata.csv", rows)
    return root


def test_metadata_with_an_emotion_column(tmp_path):
    rows = [
        {
            "file_name": "a/1.wav",
            "emotion": "Awe",
            "speaker": "p1",
            "split": "train",
            "age": "30",
            "country": "USA",
        },
        {
            "file_name": "2.flac",
            "emotion": "awe:0.7,fear:0.3",
            "speaker": "",
            "split": "val",
            "age": "",
            "country": "",
        },
    ]
    two, one = sorted(read_folder(make_audiofolder(tmp_path / "toy", rows)), key=lambda clip: clip.path)
    assert isinstance(one, Candidate) and one.emotions == {"awe": 1.0}
    assert (one.speaker, one.split, one.age, one.country) == ("toy-p1", "train", 30.0, "usa")
    assert two.emotions == {"awe": 0.7, "fear": 0.3} and two.labelled == one.labelled == ("awe", "fear")
    assert (two.speaker, two.split, two.age, two.country) == (None, "dev", None, None)


def test_metadata_with_a_column_per_emotion(tmp_path):
    rows = [
        {"file_name": "1.wav", "Awe": "0.4", "seductionecstasy": "1", "quality": "good"},
        {"file_name": "2.wav", "Awe": "", "seductionecstasy": "0", "quality": "bad"},
    ]
    one, two = read_folder(make_audiofolder(tmp_path / "toy", rows))
    assert one.emotions == {"awe": 0.4, "ecstasy": 1.0} and one.labelled == ("awe", "ecstasy")
    assert two.emotions == {"ecstasy": 0.0} and two.labelled == (
        "ecstasy",
    )  # an empty cell is unknown, not 0
    assert one.aliases == ("seductionecstasy -> ecstasy",)
    assert "columns of metadata.csv that are not read: quality" in one.notes


def test_metadata_per_split(tmp_path):
    for split in ("train", "test"):
        make_audiofolder(tmp_path / "toy" / split, [{"file_name": "1.wav", "emotion": "awe"}])
    clips = list(read_folder(tmp_path / "toy"))
    assert [(clip.path, clip.split) for clip in clips] == [("test/1.wav", "test"), ("train/1.wav", "train")]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"file_name": "../1.wav"}, r"line 2: file_name '\.\./1\.wav' leaves the folder"),
        ({"file_name": "/1.wav"}, r"leaves the folder"),
        ({"file_name": "none.wav"}, r"none\.wav is listed but missing"),
        ({"emotion": "joy"}, r"line 2: unknown emotion 'joy'; nearest: "),
        ({"emotion": ""}, r"line 2: empty emotion name"),
        ({"age": "old"}, r"line 2, age: expected a number"),
        ({"split": "later"}, r"line 2: split 'later'"),
    ],
)
def test_metadata_bad_rows(tmp_path, change, problem):
    row = {"file_name": "1.wav", "emotion": "awe", "age": "", "split": "train"}
    make_audiofolder(tmp_path, [row])
    write_csv(tmp_path / "metadata.csv", [row | change])
    with pytest.raises(InputDataError, match=problem):
        list(read_folder(tmp_path))


def test_metadata_bad_tables(tmp_path):
    row = {"file_name": "1.wav", "awe": "2"}
    make_audiofolder(tmp_path, [row])
    with pytest.raises(InputDataError, match=r"line 2, awe: label 2 is outside 0 to 1"):
        list(read_folder(tmp_path))
    for rows, problem in (
        ([{"file_name": "1.wav", "quality": "1"}], "expected a column emotion or one per emotion"),
        ([{"path": "1.wav", "awe": "1"}], "lacks the columns file_name"),
        ([{"file_name": "1.wav", "awe": "1"}] * 2, "line 3: file_name '1.wav' stands there twice"),
    ):
        write_csv(tmp_path / "metadata.csv", rows)
        with pytest.raises(InputDataError, match=problem):
            list(read_folder(tmp_path))
    (tmp_path / "metadata.csv").write_text("file_name,awe\n1.wav\n")
    with pytest.raises(InputDataError, match="line 2: expected 2 cells"):
        list(read_folder(tmp_path))
    (tmp_path / "metadata.csv").write_text("file_name,awe\n")
    with pytest.raises(InputDataError, match="holds no rows"):
        list(read_folder(tmp_path))


def test_metadata_with_half_a_split(tmp_path):
    rows = [{"file_name": f"{n}.wav", "emotion": "awe", "split": s} for n, s in ((1, "train"), (2, ""))]
    with pytest.raises(InputDataError, match=r"1 of 2 clips have no split, the first is 2\.wav"):
        list(read_folder(make_audiofolder(tmp_path, rows)))
