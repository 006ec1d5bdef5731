"""Every reader against a tiny corpus in its layout, and against the ways such a corpus can be broken."""

import csv
import hashlib
from pathlib import Path

import pytest
from corpora_fixtures import (
    hume_row,
    make_emogator,
    make_emogator_shards,
    make_folder,
    make_hume,
    make_sonata,
    make_sonata_segments,
    voice,
    write_csv,
    write_sound,
)

from vocalburst.gen.data.corpora import Candidate, LeftOut
from vocalburst.gen.data.corpora.emogator import emogator_splits, read_emogator
from vocalburst.gen.data.corpora.folder import read_folder
from vocalburst.gen.data.corpora.hume import country_name, read_hume_vocalburst
from vocalburst.gen.data.corpora.sonata import label_words, read_sonata
from vocalburst.gen.data.corpora.splits import hashed_splits, split_name
from vocalburst.gen.data.corpora.table import read_table
from vocalburst.gen.data.corpora.timestamps import parse_timestamps
from vocalburst.gen.data.emotions import EXVO_10, normalise_name
from vocalburst.gen.data.errors import InputDataError

SPLITS_CSV = Path(__file__).parents[2] / "shared" / "data" / "emogator" / "splits.csv"


# --- splits --------------------------------------------------------------------------


def test_hashed_splits_have_the_shares_and_do_not_depend_on_order():
    keys = [f"actor{number}" for number in range(23)]
    splits = hashed_splits(keys, "x", (16, 4, 3))
    assert [list(splits.values()).count(name) for name in ("train", "dev", "test")] == [16, 4, 3]
    assert splits == hashed_splits(reversed(keys), "x", (16, 4, 3))
    assert splits != hashed_splits(keys, "y", (16, 4, 3))


@pytest.mark.parametrize(("n", "counts"), [(0, "000"), (1, "100"), (2, "110"), (4, "310"), (10, "811")])
def test_few_keys_serve_train_then_dev(n, counts):
    values = list(hashed_splits(map(str, range(n)), "x", (8, 1, 1)).values())
    assert [values.count(name) for name in ("train", "dev", "test")] == [int(count) for count in counts]


def test_split_names():
    assert [split_name(name, "here") for name in ("Train", " VAL ", "devel", "Test")] == [
        "train",
        "dev",
        "dev",
        "test",
    ]
    with pytest.raises(InputDataError, match="here: split 'holdout' is not one of"):
        split_name("holdout", "here")


# --- EmoGator ------------------------------------------------------------------------


def test_emogator_rule_in_numbers():
    splits = emogator_splits()
    assert [list(splits.values()).count(name) for name in ("train", "dev", "test")] == [214, 54, 89]
    # The rule written out again, without the shared function.
    ranked = sorted(splits, key=lambda speaker: hashlib.sha256(f"emogator-v1:{speaker}".encode()).digest())
    assert {splits[s] for s in ranked[:214]} == {"train"}
    assert {splits[s] for s in ranked[214:268]} == {"dev"}
    assert {splits[s] for s in ranked[268:]} == {"test"}
    frozen = {
        "000001": "train",
        "000002": "dev",
        "000003": "train",
        "000009": "dev",
        "000011": "test",
        "000014": "test",
        "000357": "train",
    }
    assert {speaker: splits[speaker] for speaker in frozen} == frozen


@pytest.mark.skipif(not SPLITS_CSV.exists(), reason="the shared copy of EmoGator is not here")
def test_emogator_rule_is_that_of_the_published_table():
    with SPLITS_CSV.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The shared copy holds the shards of train and dev only; whoever it does not list is in test.
    listed = {row["speaker"]: row["split"] for row in rows}
    assert emogator_splits() == {speaker: listed.get(speaker, "test") for speaker in emogator_splits()}


def test_emogator_shards_are_read_like_loose_files(tmp_path):
    loose = make_emogator(tmp_path / "loose")
    shards = make_emogator_shards(loose, tmp_path / "shards")
    from_loose = list(read_emogator(loose))
    from_shards = list(read_emogator(shards))
    assert [c.id for c in from_loose] == [
        "emogator-000001-04-1",
        "emogator-000001-04-2",
        "emogator-000002-15-1",
    ]
    for one, other in zip(from_loose, from_shards, strict=True):
        assert one.path == other.path.split("::")[1]
        assert {**vars(one), "path": ""} == {**vars(other), "path": ""}
    assert from_loose[2].emotions == {"fear": 1.0} and from_loose[2].speaker == "emogator-000002"


@pytest.mark.parametrize("name", ["000358-01-1", "000000-01-1", "000001-31-1", "000001-00-1"])
def test_emogator_number_out_of_range(tmp_path, name):
    make_emogator(tmp_path, names=(name,))
    with pytest.raises(InputDataError, match=rf"{name}\.mp3: expected a contributor"):
        list(read_emogator(tmp_path))


def test_emogator_folder_without_clips(tmp_path):
    with pytest.raises(InputDataError, match="found none"):
        list(read_emogator(tmp_path))
    (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(InputDataError, match=r"bad\.tar: cannot be read as a tar shard"):
        list(read_emogator(tmp_path))


# --- HUME-VOCALBURST -----------------------------------------------------------------


def test_hume_rows(tmp_path):
    clips = {clip.id: clip for clip in read_hume_vocalburst(make_hume(tmp_path))}
    assert list(clips) == ["hume-00001", "hume-00002", "hume-00007", "hume-58712"]
    first = clips["hume-00001"]
    assert first.path == "wav/00001.wav" and first.split == "train" and first.speaker == "hume-speaker_1"
    assert first.labelled == "exvo-10" and set(first.emotions) == set(EXVO_10)
    assert first.emotions["awe"] == 1.0 and first.emotions["fear"] == 0.25 and first.emotions["horror"] == 0.0
    assert first.country == "china" and first.age == 25.5
    assert clips["hume-00002"].country == "venezuela" and clips["hume-00002"].emotions["awkwardness"] == 0.5
    assert clips["hume-58712"].split == "dev" and clips["hume-58712"].country == "south africa"


def test_hume_test_labels_stay_unknown(tmp_path):
    blind = next(clip for clip in read_hume_vocalburst(make_hume(tmp_path)) if clip.split == "test")
    assert blind.labelled == () and blind.emotions == {} and blind.speaker is None and blind.age is None


def test_hume_columns_are_found_by_name(tmp_path):
    make_hume(tmp_path)
    before = list(read_hume_vocalburst(tmp_path))
    rows = read_table(tmp_path / "data_info.csv")
    write_csv(tmp_path / "data_info.csv", [{name: row[name] for name in reversed(row)} for row in rows])
    assert list(read_hume_vocalburst(tmp_path)) == before


def test_hume_second_release(tmp_path):
    make_hume(tmp_path, rate=48_000, folder="wav48")
    assert next(read_hume_vocalburst(tmp_path)).path == "wav48/00001.wav"
    make_hume(tmp_path)
    with pytest.raises(
        InputDataError, match=r"more than one release \(wav, wav48\); choose with --audio-folder"
    ):
        list(read_hume_vocalburst(tmp_path))
    assert next(read_hume_vocalburst(tmp_path, audio_folder="wav")).path == "wav/00001.wav"
    with pytest.raises(InputDataError, match=r"webm: expected audio files"):
        list(read_hume_vocalburst(tmp_path, audio_folder="webm"))


def test_hume_webm_is_refused_with_advice(tmp_path):
    make_hume(tmp_path)
    for file in (tmp_path / "wav").iterdir():
        file.rename(file.with_suffix(".webm"))
    with pytest.raises(
        InputDataError, match=r"00001\.webm: webm cannot be decoded by libsndfile; convert .*ffmpeg"
    ):
        list(read_hume_vocalburst(tmp_path))


def test_hume_listed_but_missing_and_the_reverse(tmp_path):
    make_hume(tmp_path)
    write_sound(tmp_path / "wav" / "00099.wav", voice(0.2, 16_000), 16_000)
    extra = list(read_hume_vocalburst(tmp_path))[-1]
    assert extra == LeftOut("hume-00099", "wav/00099.wav", "unlisted", "not a row of data_info.csv")
    (tmp_path / "wav" / "00007.wav").unlink()
    with pytest.raises(InputDataError, match=r"wav/00007\.wav: listed in data_info\.csv but missing"):
        list(read_hume_vocalburst(tmp_path))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (hume_row(1, "Train", "Speaker_1", awe="1.5"), r"\[00001\], Awe: label 1\.5 is outside 0 to 1"),
        (hume_row(1, "Train", "Speaker_1", awe="-1"), r"Awe: label -1 is outside"),
        (hume_row(1, "Train", "Speaker_1", awe="high"), r"Awe: expected a number, found 'high'"),
        (hume_row(1, "Train", "Speaker_1", awe=""), r"needs all ten intensities, awe is empty"),
        (hume_row(1, "Val", ""), r"a Val clip needs a Subject_ID"),
        (hume_row(1, "Dev2", "Speaker_1"), r"split 'Dev2' is not one of"),
        (hume_row(1, "Train", "Speaker_1", country="Mars"), r"country 'Mars' is not 0 to 3"),
        (hume_row(1, "Train", "Speaker_1") | {"File_ID": "x1"}, r"File_ID 'x1' is not a number"),
    ],
)
def test_hume_bad_rows(tmp_path, row, problem):
    write_sound(tmp_path / "wav" / "00001.wav", voice(0.2, 16_000), 16_000)
    write_csv(tmp_path / "data_info.csv", [row])
    with pytest.raises(InputDataError, match=problem):
        list(read_hume_vocalburst(tmp_path))


def test_hume_table_without_its_columns(tmp_path):
    write_sound(tmp_path / "wav" / "00001.wav", voice(0.2, 16_000), 16_000)
    row = hume_row(1, "Train", "Speaker_1")
    for lacking in ("Split", "Horror"):
        write_csv(tmp_path / "data_info.csv", [{k: v for k, v in row.items() if k != lacking}])
        with pytest.raises(InputDataError, match=rf"(?i)lacks the (emotion )?columns {lacking}"):
            list(read_hume_vocalburst(tmp_path))
    write_csv(tmp_path / "data_info.csv", [row, row])
    with pytest.raises(InputDataError, match=r"File_ID \[00001\] stands there twice"):
        list(read_hume_vocalburst(tmp_path))
    (tmp_path / "data_info.csv").unlink()
    with pytest.raises(InputDataError, match=r"data_info\.csv: cannot be read as a table"):
        list(read_hume_vocalburst(tmp_path))


def test_countries():
    names = [
        country_name(written, "here")
        for written in ("0", "1.0", " south africa ", "United States", "nan", "")
    ]
    assert names == ["china", "south africa", "south africa", "usa", None, None]


# --- MODULATE-SONATA -----------------------------------------------------------------


def times(text: str, seconds: float = 120.0) -> list[tuple]:
    return [(s.start, s.end, s.label) for s in parse_timestamps(text, seconds, label_words, "a.txt")]


@pytest.mark.parametrize(
    "text",
    [
        "12.5\t41.25\tawe\n41.25\t60\tfear\n",
        "12.5,41.25,awe\r\n41.25,60,fear,\"Oh, no!\"\r\n",
        "12.5; 41.25; Awe\n\n# a remark\n41.25; 60; FEAR\n",
        "12.5 41.25 awe I have never seen this\n41.25 60 fear run\n",
        "start,end,label\n00:12.5,00:41.25,awe\n00:41.25,1:00,fear\n",
        "0:00:12.5 - 0:00:41.25 awe\n0:00:41.25 - 0:01:00 fear\n",
        "[00:12.5] --> [00:41.25] awe\n[00:41.25] --> [01:00.000] fear\n",
        "12500\t41250\tawe\n41250\t60000\tfear\n",
        "12500, 41250, awe_1\n41250, 60000, fear 2\n",
        "41.25\t60\tfear\n12.5\t41.25\tawe\n",
    ],
)  # fmt: skip
def test_timestamps_in_every_form(text):
    found = [(start, end, normalise_name(label)) for start, end, label in times(text)]
    assert found == [(12.5, 41.25, "awe"), (41.25, 60.0, "fear")]


def test_start_only_lines_last_to_the_next_start_and_the_end():
    assert times("0:10 awe\n0:25 fear\n1:00 awe\n", 90.0) == [
        (10, 25, "awe"),
        (25, 60, "fear"),
        (60, 90, "awe"),
    ]
    assert times("10000 awe\n25000 fear\n", 90.0) == [(10, 25, "awe"), (25, 90, "fear")]


def test_an_end_just_past_the_recording_is_the_end():
    assert times("0 90.4 awe", 90.0) == [(0, 90.0, "awe")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("awe 10 20", r"line 1: expected 'start end label'"),
        ("10 20 awe\n10 20", r"line 2: expected 'start end label'"),
        ("10 20 joy", r"line 1: unknown emotion 'joy'; nearest: "),
        ("20 10 awe", r"line 1: the end 10 s is not after the start 20 s"),
        ("1:00 2:30 awe", r"line 1: ends at 150 s, the recording lasts 120\.0 s"),
        ("10 900000 awe", r"times reach 900000, neither as seconds nor as milliseconds"),
        ("# nothing\n", r"holds no timestamps"),
    ],
)
def test_bad_timestamps(text, problem):
    with pytest.raises(InputDataError, match=rf"a\.txt.*{problem}"):
        times(text)


@pytest.mark.parametrize(
    ("rest", "label"),
    [
        ("Surprise (negative) Oh no!", "Surprise (negative)"),
        ("Seduction / Ecstasy", "Seduction / Ecstasy"),
        ("seductionecstasy, Come here", "seductionecstasy"),
        ('"awe", "What, this?"', "awe"),
    ],
)
def test_label_at_the_head_of_a_line(rest, label):
    assert label_words(rest) == label


def test_sonata_long_recordings(tmp_path):
    clips = list(read_sonata(make_sonata(tmp_path)))
    assert [clip.id for clip in clips[:3]] == [f"sonata-Actor01_Pirate-00{n}" for n in (1, 2, 3)]
    assert [next(iter(clip.emotions)) for clip in clips[:3]] == ["surprise_negative", "ecstasy", "awe"]
    assert [(clip.start, clip.end) for clip in clips[:2]] == [(0.5, 6.0), (7.0, 15.0)]
    assert {clip.role for clip in clips} == {"Pirate"} and {clip.domain for clip in clips} == {"speech"}
    assert {clip.speaker for clip in clips} == {"sonata-Actor01", "sonata-Actor02"}
    assert clips[1].aliases == ("seduction_ecstasy -> ecstasy",) and clips[2].aliases == ()
    assert all(clip.labelled == "sonata-25" and clip.cut_seconds == 4.0 for clip in clips)
    split_of = {clip.speaker: clip.split for clip in clips}
    assert all(clip.split == split_of[clip.speaker] for clip in clips)


def test_sonata_other_names_and_a_table_of_splits(tmp_path):
    root = make_sonata(tmp_path / "root")
    for file in root.iterdir():
        file.rename(file.with_name(f"Pirate by {file.stem[5:7]} take 2{file.suffix}"))
    table = write_csv(
        root / "who.csv", [{"speaker": "01", "split": "val"}, {"speaker": "02", "split": "train"}]
    )
    pattern = r"(?P<role>\w+) by (?P<speaker>\d+)"
    clips = list(read_sonata(root, filename=pattern, splits=table, window=2.0))
    assert {(c.speaker, c.role, c.split, c.cut_seconds) for c in clips} == {
        ("sonata-01", "Pirate", "dev", 2.0),
        ("sonata-02", "Pirate", "train", 2.0),
    }
    write_csv(table, [{"speaker": "01", "split": "val"}])
    with pytest.raises(InputDataError, match=r"names no split for the speaker '02'"):
        list(read_sonata(root, filename=pattern, splits=table))
    with pytest.raises(InputDataError, match=r"does not match .*; give another with --filename"):
        list(read_sonata(root, filename=r"(?P<speaker>actor\d+)"))
    with pytest.raises(InputDataError, match=r"expected a group"):
        list(read_sonata(root, filename=r"\d+"))


def test_sonata_segments(tmp_path):
    clips = {clip.split: clip for clip in read_sonata(make_sonata_segments(tmp_path))}
    assert {split: next(iter(clip.emotions)) for split, clip in clips.items()} == {
        "train": "ecstasy",
        "dev": "hype",
        "test": "awe",
    }
    assert clips["dev"].path == "val/hype/Actor02_Nobility_1.mp3" and clips["dev"].role == "Nobility"
    make_sonata_segments(tmp_path)
    write_sound(tmp_path / "train" / "joy" / "Actor04_Pirate.wav", voice(0.2, 24_000), 24_000)
    with pytest.raises(InputDataError, match=r"Actor04_Pirate\.wav: unknown emotion 'joy'; nearest: "):
        list(read_sonata(tmp_path))


def test_sonata_recording_without_text_and_the_reverse(tmp_path):
    make_sonata(tmp_path)
    (tmp_path / "Actor02_Pirate.txt").rename(tmp_path / "Actor03_Pirate.txt")
    with pytest.raises(InputDataError, match=r"Actor02_Pirate\.mp3: has no timestamp text"):
        list(read_sonata(tmp_path))
    (tmp_path / "Actor02_Pirate.mp3").unlink()
    with pytest.raises(InputDataError, match=r"Actor03_Pirate\.txt: has no recording"):
        list(read_sonata(tmp_path))


def test_sonata_recording_that_is_no_sound(tmp_path):
    make_sonata(tmp_path)
    (tmp_path / "Actor01_Pirate.mp3").write_bytes(b"no sound")
    with pytest.raises(InputDataError, match=r"Actor01_Pirate\.mp3: cannot be read as audio"):
        list(read_sonata(tmp_path))


# --- folder --------------------------------------------------------------------------


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
