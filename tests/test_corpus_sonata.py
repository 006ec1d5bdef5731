"""The reader of MODULATE-SONATA: time stamps in every form, recordings, segments, and what can be wrong."""

import pytest
from corpora_fixtures import (
    make_sonata,
    make_sonata_segments,
    voice,
    write_csv,
    write_sound,
)

from vocalburst.gen.data.corpora.sonata import label_words, read_sonata
from vocalburst.gen.data.corpora.timestamps import parse_timestamps
from vocalburst.gen.data.emotions import normalise_name
from vocalburst.gen.data.errors import InputDataError


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
