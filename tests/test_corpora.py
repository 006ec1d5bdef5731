"""The readers of EmoGator and HUME-VOCALBURST, and the splits, against a tiny corpus in each layout and against the
ways such a corpus can be broken."""

import csv
import hashlib
from pathlib import Path

import pytest
from corpora_fixtures import (
    hume_row,
    make_emogator,
    make_emogator_shards,
    make_hume,
    voice,
    write_csv,
    write_sound,
)

from vocalburst.gen.data.corpora import LeftOut
from vocalburst.gen.data.corpora.emogator import emogator_splits, read_emogator
from vocalburst.gen.data.corpora.hume import country_name, read_hume_vocalburst
from vocalburst.gen.data.corpora.splits import hashed_splits, split_name
from vocalburst.gen.data.corpora.table import read_table
from vocalburst.gen.data.emotions import EXVO_10
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
