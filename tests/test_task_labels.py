"""Readers of label files: the layouts of the corpora, and everything that is refused, sentence by sentence."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
import task_fixtures as made

from vocalburst.eval.tasks.acted import read_name
from vocalburst.eval.tasks.columns import bare_id, file_id
from vocalburst.eval.tasks.label_files import LabelOptions
from vocalburst.eval.tasks.labels import load_labels
from vocalburst.eval.tasks.registry import CULTURE_COLUMNS, SHARES, TASKS, Part, Task, register_task
from vocalburst.eval.tasks.stream import COLUMNS, read_stream
from vocalburst.gen.data.emotions import EMOGATOR_30, SONATA_25
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, write_manifest


def load(task, path, split=None, **options):
    extra = {name: options.pop(name) for name in ("support", "speakers") if name in options}
    return load_labels(TASKS[task], path, LabelOptions(split, **options), **extra)


def edited(path, change):
    """The same file with its rows changed by `change(rows)`, which may also give other rows."""
    rows = made.read_rows(path)
    return made.write_rows(path, change(rows) or rows)


def test_ids_are_written_in_several_ways():
    assert [bare_id(name) for name in ("[10119]", "10119", " [ 7 ] ", "7")] == [
        "10119",
        "10119",
        "00007",
        "00007",
    ]
    assert bare_id("a/b.mp3") == "a/b" and file_id("wav/devel_00001.wav") == "devel_00001"
    assert file_id("AudioData/DC/sa01.wav") == file_id("DC_sa01.wav") == file_id("DC\\sa01.wav") == "DC_sa01"


def test_avb_high(tmp_path):
    labels = load("avb-high", made.avb_high(tmp_path / "high_info.csv"))
    rows = [row for row in made.read_rows(tmp_path / "high_info.csv") if row["Split"] == "Val"]
    assert labels.split == "dev" and labels.speakers is None
    assert labels.ids == tuple(row["File_ID"].strip("[]") for row in rows)
    awe = [float(row["Awe"]) for row in rows]  # the file has its columns in another order than the task
    assert TASKS["avb-high"].columns[0].name == "Awe"
    assert labels.values[:, 0].tolist() == awe
    assert labels.left_out["00001"] == "it is in the split train, expected dev"
    assert len(load("avb-high", tmp_path / "high_info.csv", "Train")) == 12


def test_avb_two_is_stored_from_0_to_1_with_the_raw_beside_it(tmp_path):
    labels = load("avb-two", made.avb_two(tmp_path / "two_info.csv"))
    assert labels.raw.max() > 5 and labels.values.min() >= 0 and labels.values.max() <= 1
    np.testing.assert_allclose(labels.values, (labels.raw - 1) / 8)
    assert labels.notes == (f"{tmp_path / 'two_info.csv'}: written as 1 to 9, compared as 0 to 1",)
    edited(tmp_path / "two_info.csv", lambda rows: [r | {"Valence": "0.5", "Arousal": f"0.{k}1"}
                                                    | ({"Valence": "0.4"} if k % 2 else {})
                                                    for k, r in enumerate(rows)])  # fmt: skip
    plain = load("avb-two", tmp_path / "two_info.csv")
    assert plain.notes == () and set(plain.values[:, 0]) == {0.4, 0.5}


def test_avb_culture_has_the_labels_of_one_country_a_clip(tmp_path):
    labels = load("avb-culture", made.avb_culture(tmp_path / "culture_info.csv"))
    known = ~np.isnan(labels.values)
    assert (known.sum(axis=1) == 10).all() and (known.sum(axis=0) == len(labels) // 4).all()
    assert CULTURE_COLUMNS[:2] == ("China_Awe", "China_Excitement")
    assert CULTURE_COLUMNS[36:] == tuple(f"{c}_Surprise" for c in made.CULTURES)


def test_avb_type(tmp_path):
    labels = load("avb-type", made.avb_type(tmp_path / "type_info.csv"))
    assert np.bincount(labels.values[:, 0].astype(int)).tolist() == [4] * 8


def test_exvo_multitask(tmp_path):
    labels = load("exvo-multitask", made.exvo(tmp_path / "data_info.csv"))
    assert len(labels) == 48 and len(set(labels.speakers)) == 8
    assert labels.values[0, 10] == 24.5 and set(labels.values[:, 11]) == {0, 1, 2, 3}
    edited(tmp_path / "data_info.csv", lambda rows: [r | {"Country": "South Africa"} for r in rows])
    with pytest.raises(InputDataError, match=r"has no clip of china, usa, venezuela in the split dev$"):
        load("exvo-multitask", tmp_path / "data_info.csv")


def test_fewshot_gives_two_clips_of_each_speaker(tmp_path):
    path = made.exvo(tmp_path / "data_info.csv")
    labels = load("exvo-fewshot", path)
    assert len(labels) == 48 - 2 * 8
    assert (
        labels.left_out["00025"] == labels.left_out["00026"] == "it is a support clip, whose labels are given"
    )
    assert labels.ids[0] == "00027"
    assert "support: the first 2 clips of each speaker" in labels.notes[-1] + labels.notes[0]
    others = [f"[{first + k:05d}]" for first in range(25, 73, 6) for k in (4, 5)]
    support = made.write_rows(tmp_path / "support.csv", [{"File_ID": name} for name in others])
    named = load("exvo-fewshot", path, support=support)
    assert len(named) == 32 and "00029" in named.left_out and "00025" in named.ids


def test_fewshot_rule_is_checked(tmp_path):
    path = made.exvo(tmp_path / "data_info.csv")
    support = tmp_path / "support.csv"
    names = [f"[{first + k:05d}]" for first in range(25, 73, 6) for k in (0, 1)]

    def refused(listed, sentence):
        made.write_rows(support, [{"File_ID": name} for name in listed])
        with pytest.raises(InputDataError, match=re.escape(sentence)):
            load("exvo-fewshot", path, support=support)

    refused(names[1:], "Speaker_4 has 1 support clips and 5 others, expected 2 and at least one")
    refused([*names, "[00027]"], "Speaker_4 has 3 support clips and 3 others, expected 2 and at least one")
    refused([*names, "[00001]"], "00001 is no clip of the split dev")
    refused([*names, "25"], "00025 stands there twice")
    edited(
        path,
        lambda rows: [r for r in rows if r["File_ID"] not in ("[00027]", "[00028]", "[00029]", "[00030]")],
    )
    with pytest.raises(InputDataError, match="Speaker_4 has 2 support clips and 0 others"):
        load("exvo-fewshot", path)


def test_speakers_of_another_file(tmp_path):
    high = made.avb_high(tmp_path / "high_info.csv", n=96)
    labels = load("avb-high", high, speakers=made.exvo(tmp_path / "data_info.csv"))
    assert labels.speakers[0] == "Speaker_4" and len(set(labels.speakers)) == 8
    edited(tmp_path / "data_info.csv", lambda rows: rows[1:])
    with pytest.raises(InputDataError, match=r"data_info.csv: names no speaker for 00001$"):
        load("avb-high", high, speakers=tmp_path / "data_info.csv")


def test_prosody_in_the_layout_of_compare(tmp_path):
    folder = made.compare(tmp_path / "lab")
    labels = load("prosody-share", folder)
    assert labels.split == "dev" and labels.ids[0] == "devel_00000" and len(labels) == 30
    assert load("prosody-share", folder / "devel.csv").ids == labels.ids
    with pytest.raises(InputDataError, match="the split test has no labels to score by"):
        load("prosody-share", folder, "test")
    rows = [{"clip": r["filename"]} | {f"{k} share": v for k, v in r.items() if k != "filename"}
            for r in made.read_rows(folder / "devel.csv")]  # fmt: skip
    other = made.write_rows(tmp_path / "shares.csv", rows)
    renamed = load("prosody-share", other, id_column="clip", columns={s: f"{s} share" for s in SHARES})
    np.testing.assert_array_equal(renamed.values, labels.values)
    with pytest.raises(InputDataError, match="lacks a column File_ID or filename"):
        load("prosody-share", other)


def test_sonata_names_both_published_splits(tmp_path):
    """Rows as many as Table 3 prints for Test, and a second column for the split of Table 4."""
    sizes = {"train": (516, 16), "dev": (125, 4), "test": (115, 3)}
    rows = []
    for split, (clips, speakers) in sizes.items():
        rows += [
            {"filename": f"{split}/{k}.mp3", "emotion": SONATA_25[k % 25], "speaker": f"{split}-{k % speakers}",
             "split": split, "table-4": "train"} for k in range(clips)
        ]  # fmt: skip
    path = made.write_rows(tmp_path / "sonata.csv", rows)
    labels = load("sonata-25", path, "table-3:Test")
    assert labels.split == "table-3:test" and len(labels) == 115 and len(set(labels.speakers)) == 3
    assert len(load("sonata-25", path, "Test")) == 115
    with pytest.raises(
        InputDataError, match=r"table-4 train is 578 clips of 16 speakers in .*Table 4.*got 756 of 23"
    ):
        load("sonata-25", path, "table-4:train")
    with pytest.raises(InputDataError, match="has no partition 'table-5'; published: table-3, table-4"):
        load("sonata-25", path, "table-5:test")


def clip(number, emotions, speaker="s1", split="dev"):
    return Clip(
        id=f"c{number}", path=f"{number}.wav", corpus="emogator", split=split, speaker=speaker, labelled="emogator-30",
        emotions=emotions, seconds=1, active_seconds=1, level_db=-20, peak_db=-3,
    )  # fmt: skip


def test_manifests_are_labels_of_thirty_and_of_ten_emotions(tmp_path):
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, [clip(k, {name: 1.0}, f"s{k % 3}") for k, name in enumerate(EMOGATOR_30)])
    thirty = load("emogator-30", path)
    assert thirty.values[:, 0].tolist() == list(range(30)) and len(set(thirty.speakers)) == 3
    ten = load("exvo-10", path)
    column = TASKS["exvo-10"].columns[0]
    names = {f"c{k}": name for k, name in enumerate(EMOGATOR_30)}
    meant = {names[i]: column.classes[int(v)] for i, v in zip(ten.ids, ten.values[:, 0], strict=True)}
    assert meant == {
        "amusement": "amusement", "awe": "awe", "distress": "distress", "elation": "excitement",
        "embarrassment": "awkwardness", "fear": "fear", "sadness": "sadness", "surprise_negative": "surprise",
        "surprise_positive": "surprise", "triumph": "triumph",
    }  # fmt: skip
    assert ten.left_out["c2"] == "anger is none of the 10 emotions of the task"
    assert "1 clips of the split are not scored: anger is none of the 10 emotions of the task" in ten.notes
    write_manifest(path, [clip(0, {"awe": 1.0, "fear": 1.0}), clip(1, {"awe": 0.5})])
    with pytest.raises(InputDataError, match="has no labels to score by"):
        load("emogator-30", path)


@pytest.mark.parametrize(
    ("name", "speaker", "emotion"),
    [
        ("1001_DFA_ANG_XX.wav", "crema-d-1001", "Angry"),
        ("1040_ITH_SAD_X.wav", "crema-d-1040", "Sad"),
        ("AudioWAV/1091_WSI_NEU_XX.wav", "crema-d-1091", "Neutral"),
        ("Actor_12/03-01-05-01-02-01-12.wav", "ravdess-12", "Angry"),
        ("03-01-06-02-01-02-01.wav", "ravdess-01", "Fear"),
        ("03-01-08-02-01-02-24.wav", "ravdess-24", "Surprise"),
        ("AudioData/JE/sa03.wav", "savee-JE", "Sad"),
        ("KL_su15.wav", "savee-KL", "Surprise"),
        ("DC_a01.wav", "savee-DC", "Angry"),
        ("OAF_back_ps.wav", "tess-OAF", "Surprise"),
        ("YAF_germ_fear.wav", "tess-YAF", "Fear"),
        ("OA_bite_neutral.wav", "tess-OAF", "Neutral"),
    ],
)
def test_names_of_acted_speech(name, speaker, emotion):
    file = read_name(name)
    assert (file.speaker, file.emotion, file.left_out) == (speaker, emotion, None)


def test_names_that_are_left_out_or_refused():
    assert read_name("03-01-02-01-02-01-12.wav").left_out == "calm is none of the seven emotions"
    assert read_name("03-02-05-01-02-01-12.wav").left_out == "it is song, expected speech"
    for name in ("1001_DFA_SUR_XX.wav", "03-01-09-01-02-01-12.wav", "DC_x01.wav", "OAF_back_calm.wav", "x"):
        with pytest.raises(InputDataError, match=re.escape(f"{name}: is no file name of crema-d or ravdess")):
            read_name(name)
    with pytest.raises(InputDataError, match=r"is no file name of tess$"):
        read_name("DC_a01.wav", ("tess",))


def test_a_folder_of_acted_speech(tmp_path):
    for actor in ("01", "02"):
        for emotion in ("01", "02", "03", "04", "05", "06", "07", "08"):
            file = tmp_path / f"Actor_{actor}" / f"03-01-{emotion}-01-01-01-{actor}.wav"
            file.parent.mkdir(exist_ok=True)
            file.touch()
    labels = load("ravdess", tmp_path)
    assert (
        labels.split == "all" and len(labels) == 14 and set(labels.speakers) == {"ravdess-01", "ravdess-02"}
    )
    assert np.bincount(labels.values[:, 0].astype(int)).tolist() == [2] * 7
    assert labels.notes == ("2 clips of the split are not scored: calm is none of the seven emotions",)
    with pytest.raises(InputDataError, match="has no clip of the split dev; it has no splits"):
        load("ravdess", tmp_path, "dev")
    (tmp_path / "stray.wav").touch()
    with pytest.raises(InputDataError, match=r"stray.wav: is no file name of ravdess$"):
        load("ravdess", tmp_path)


def test_lists_of_acted_speech(tmp_path):
    names = [f"1001_DFA_{emotion}_XX.wav" for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    assert len(load("crema-d", tmp_path / "names.txt")) == 6  # no Surprise, which CREMA-D never has
    rows = [{"filename": name, "split": "test"} for name in names] + [
        {"filename": "DC/su01.wav", "split": "test"}, {"filename": "OAF_back_sad.wav", "split": "train"},
    ]  # fmt: skip
    pooled = load("loopq", made.write_rows(tmp_path / "names.csv", rows), "test")
    assert len(pooled) == 7 and pooled.speakers[-1] == "savee-DC"
    (tmp_path / "names.txt").write_text("\n".join(names[:5]))
    with pytest.raises(InputDataError, match="has no clip of Sad in the split all"):
        load("crema-d", tmp_path / "names.txt")


def test_what_a_label_file_must_not_be(tmp_path):
    def refused(change, sentence, task="avb-high", fixture=made.avb_high, split=None):
        path = edited(fixture(tmp_path / "labels.csv"), change)
        with pytest.raises(InputDataError, match=re.escape(sentence)):
            load(task, path, split)

    def at(index, **cells):
        return lambda rows: rows[index].update(cells)

    where = f"{tmp_path / 'labels.csv'}"
    refused(at(20, Awe="1.2"), f"{where}, File_ID [00021], Awe: 1.2 is outside 0 to 1")
    refused(at(20, Awe="high"), f"{where}, File_ID [00021], Awe: expected a number, found 'high'")
    refused(at(20, Awe=""), f"{where}: 00021 has no label for Awe")
    refused(at(20, File_ID="[00020]"), f"{where}: 00020 stands there twice")
    refused(at(20, Split="Vla"), f"{where}, File_ID [00021]: split 'Vla' is not one of")
    refused(lambda rows: None, f"{where}: the split test has no labels to score by", split="Test")
    refused(
        lambda rows: [{k: v for k, v in r.items() if k != "Fear"} for r in rows],
        "lacks the columns Fear; it has",
    )
    refused(
        lambda rows: [{k: v for k, v in r.items() if k != "Split"} for r in rows],
        "lacks the columns Split; it has",
    )
    refused(
        lambda rows: [r | {"awe": "1"} for r in rows], "the column 'awe' stands there twice, also as 'Awe'"
    )
    refused(
        lambda rows: [r | {"Awe": "0.5"} for r in rows],
        "Awe has 24 labels in the split dev and no two different",
    )
    typed = {"task": "avb-type", "fixture": made.avb_type}
    refused(at(0, Voc_Type="Laughter"), "'Laughter' is not one of the 8 classes; nearest: Laugh", **typed)
    refused(lambda rows: [r | {"Voc_Type": "Cry"} if r["Voc_Type"] == "Gasp" else r for r in rows],
            "has no clip of Gasp in the split dev", **typed)  # fmt: skip
    refused(at(0, Valence="0.2"), "Valence: 0.2 is outside 1 to 9", task="avb-two", fixture=made.avb_two)
    multi = {"task": "exvo-multitask", "fixture": made.exvo}
    refused(at(30, Subject_ID="Speaker_1"), "the speaker Speaker_1 is in two splits, train and dev", **multi)
    refused(at(30, Subject_ID=""), "names no speaker for 00031, but for others", **multi)
    refused(at(30, Country="7"), "Country: country '7' is not 0 to 3", **multi)
    refused(at(30, Age="200"), "Age: 200 is outside 0 to 120", **multi)


def test_tasks_are_registered_once_and_whole():
    task = TASKS["avb-two"]
    with pytest.raises(ValueError, match="expected a new name"):
        register_task(dict(TASKS), task)
    odd = Task("odd", "", "", task.columns, (Part("CCC", ("Dominance",)),), "mean CCC", "avb")
    with pytest.raises(ValueError, match="odd: CCC is of"):
        register_task({}, odd)
    assert set(TASKS) == {
        "exvo-multitask", "exvo-fewshot", "avb-high", "avb-two", "avb-culture", "avb-type", "sonata-25",
        "prosody-share", "emogator-30", "exvo-10", "crema-d", "ravdess", "savee", "tess", "loopq",
    }  # fmt: skip


def stream_line(k, child="0.1"):
    return f'a/{k}.opus\t13400\tso he said "no\t{child}\t0.75\t{"Game" if k % 2 else ""}\n'


def test_stream_is_read_with_and_without_a_header(tmp_path):
    path = tmp_path / "stream.tsv"
    path.write_text(stream_line(0) + stream_line(1, "0.5") + stream_line(2, "0.49"), encoding="utf-8")
    clips = list(read_stream(path))
    assert [clip.path for clip in clips] == ["a/0.opus", "a/2.opus"]
    assert len(list(read_stream(path, child_below=None))) == 3
    assert (clips[0].seconds, clips[0].transcript, clips[0].game) == (13.4, 'so he said "no', None)
    path.write_text(
        "\t".join(reversed(COLUMNS)) + "\n" + "\t".join(["Doom", "0.2", "0.9", "hi", "1000", "b.opus"])
    )
    assert not list(read_stream(path))
    (only,) = read_stream(path, child_below=None)
    assert (only.path, only.game, only.is_child_probability, only.is_female_probability) == (
        "b.opus",
        "Doom",
        0.9,
        0.2,
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (stream_line(0) + "a\tb\n", "line 2: expected 6 cells, found 2"),
        (stream_line(0, "1.5"), "line 1, is_child_probability: 1.5 is outside 0 to 1"),
        (stream_line(0, "nan"), "line 1, is_child_probability: nan is outside 0 to 1"),
        (stream_line(0, "no"), "line 1, is_child_probability: expected a number, found 'no'"),
        ("clip_name\ttranscript\n", "lacks the columns clip_duration_msec, is_child_probability"),
    ],
)
def test_stream_rows_that_are_refused(tmp_path, text, sentence):
    path = tmp_path / "stream.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputDataError, match=re.escape(sentence)):
        list(read_stream(path, child_below=None))
    with pytest.raises(InputDataError, match="cannot be read as a table"):
        list(read_stream(tmp_path / "none.tsv"))


def test_stream_takes_no_more_memory_for_more_rows(tmp_path):
    peaks = []
    for n in (2_000, 20_000):
        path = tmp_path / f"{n}.tsv"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(stream_line(k) for k in range(n))
        tracemalloc.start()
        assert sum(1 for _ in read_stream(path)) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
