"""Labelled clips of recognition models: what a manifest or a label file gives, speaker folds, and every refusal."""

from __future__ import annotations

import json

import numpy as np
import pytest
from recognition_fixtures import clip_of, emogator, hume, sounds_of, tone, write_sound
from task_fixtures import avb_high, avb_two, compare, exvo, read_rows, write_rows

from vocalburst.eval.recognition.labelled_clips import ClipSource, LabelledClips, load_split
from vocalburst.eval.recognition.model_settings import merged_settings, parse_setting, read_settings
from vocalburst.eval.recognition.speaker_folds import held_out, speaker_folds
from vocalburst.eval.tasks.registry import EMOTIONS, TASKS
from vocalburst.gen.data.audio import read_wave
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import read_manifest, write_manifest


@pytest.fixture(scope="module")
def thirty(tmp_path_factory):
    return emogator(tmp_path_factory.mktemp("emogator"))


@pytest.fixture(scope="module")
def hume_manifest(tmp_path_factory):
    return hume(tmp_path_factory.mktemp("hume"))


def load(task, labels, tmp_path, split, **options):
    scored = options.pop("scored", True)
    source = ClipSource(labels, cache=tmp_path / "cache", **options)
    return load_split(TASKS[task], source, split, scored=scored)


def refused(sentence, *arguments, **options):
    with pytest.raises(InputDataError) as error:
        load(*arguments, **options)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_manifest_gives_classes_speakers_and_sound(thirty, tmp_path):
    clips = load("emogator-30", thirty, tmp_path, "dev")
    listed = [clip for clip in read_manifest(thirty) if clip.split == "dev"]
    assert clips.ids == tuple(clip.id for clip in listed) and len(clips) == 90
    assert clips.speakers == tuple(clip.speaker for clip in listed) and clips.n_speakers == 3
    assert [EMOGATOR_30[int(k)] for k in clips.y[:, 0]] == [next(iter(clip.emotions)) for clip in listed]
    wave = read_wave(thirty.parent / listed[-1].path)
    np.testing.assert_allclose(clips.waves[89], wave, atol=1 / 32767)
    assert clips.waves.samples.tolist() == [2400] * 90


def test_ten_emotions_of_thirty_share_the_decoded_clips(thirty, tmp_path):
    every = load("emogator-30", thirty, tmp_path, "dev")
    clips = load("exvo-10", thirty, tmp_path, "dev")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    # Ten of the thirty names count as one of the ten: both surprises, elation, embarrassment and six of the same name.
    assert len(clips) == 3 * 10
    assert clips.notes == (
        f"{thirty}: 60 clips of the split dev are left out; the first, s5-00-0: adoration is none of the 10 emotions "
        "of the task",
    )
    for index, name in enumerate(clips.ids):
        np.testing.assert_array_equal(clips.waves[index], every.waves[every.ids.index(name)])
    elated = [
        name for name, k in zip(clips.ids, clips.y[:, 0], strict=True) if EXVO_10[int(k)] == "excitement"
    ]
    number = EMOGATOR_30.index("elation")
    assert elated == [f"s{speaker}-{number:02d}-0" for speaker in (5, 6, 7)]


def test_manifest_gives_numbers(hume_manifest, tmp_path):
    clips = load("exvo-multitask", hume_manifest, tmp_path, "dev")
    listed = [clip for clip in read_manifest(hume_manifest) if clip.split == "dev"]
    assert clips.ids == tuple(clip.id.removeprefix("hume-") for clip in listed)
    columns = [column.name for column in TASKS["exvo-multitask"].columns]
    for row, clip in zip(clips.y, listed, strict=True):
        named = dict(zip(columns, row, strict=True))
        assert [named[name] for name in EMOTIONS] == [clip.emotions[name.lower()] for name in EMOTIONS]
        assert named["Age"] == clip.age
        assert named["Country"] == ("china", "south africa", "usa", "venezuela").index(clip.country)
    ten = load("avb-high", hume_manifest, tmp_path, "dev")
    np.testing.assert_array_equal(ten.y, clips.y[:, :10])


def test_label_file_finds_its_sound(tmp_path):
    labels = avb_high(tmp_path / "high_info.csv")
    audio = sounds_of(labels, tmp_path / "deep" / "wav")
    clips = load("avb-high", labels, tmp_path, "Val", audio=tmp_path / "deep")
    assert len(clips) == 24 and clips.ids[0] == "00013" and clips.speakers is None
    np.testing.assert_allclose(clips.waves[0], read_wave(audio / "00013.wav"), atol=1 / 32767)
    row = read_rows(labels)[12]
    assert clips.y[0].tolist() == [float(row[name]) for name in EMOTIONS]
    two = load("avb-two", avb_two(tmp_path / "two_info.csv"), tmp_path, "Train", audio=audio)
    assert 0 <= two.y.min() < two.y.max() <= 1  # written as 1 to 9


def test_folder_of_labels_is_its_own_sound(tmp_path):
    names = [f"100{s}_DFA_{e}_XX.wav" for s in (1, 2) for e in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")]
    for number, name in enumerate(names):
        write_sound(tmp_path / "AudioWAV" / name, tone(300 + 20 * number, number))
    clips = load("crema-d", tmp_path / "AudioWAV", tmp_path, None)
    assert clips.split == "all" and len(clips) == 12 and clips.n_speakers == 2


def test_speakers_of_another_file(tmp_path):
    labels, info = avb_high(tmp_path / "high_info.csv"), exvo(tmp_path / "data_info.csv", n=48)
    audio = sounds_of(labels, tmp_path / "wav")
    clips = load("avb-high", labels, tmp_path, "Val", audio=audio, speakers=info)
    assert clips.speakers[:7] == ("Speaker_2",) * 6 + ("Speaker_3",)


def test_few_shot_leaves_support_out_of_what_is_scored_only(hume_manifest, tmp_path):
    assert len(load("exvo-fewshot", hume_manifest, tmp_path, "dev")) == 8
    assert len(load("exvo-fewshot", hume_manifest, tmp_path, "dev", scored=False)) == 16


def test_take_and_join(thirty, tmp_path):
    train, dev = (load("emogator-30", thirty, tmp_path, split) for split in ("train", "dev"))
    both = LabelledClips.joined([train, dev])
    assert both.split == "train+dev" and len(both) == 240 and both.n_speakers == 8
    chosen = both.take(np.array([200, 3]))
    assert chosen.ids == (dev.ids[50], train.ids[3])
    np.testing.assert_array_equal(chosen.waves[0], dev.waves[50])
    np.testing.assert_array_equal(chosen.y[1], train.y[3])
    with pytest.raises(IndexError):
        chosen.waves[2]


def changed(manifest, tmp_path, change):
    """The manifest with changed clips, in a folder of its own whose report names the sound's."""
    clips = [change(clip) for clip in read_manifest(manifest)]
    place = tmp_path / "changed" / "manifest.jsonl"
    place.parent.mkdir(exist_ok=True)
    write_manifest(place, [clip for clip in clips if clip])
    (place.parent / "report.json").write_text(json.dumps({"root": str(manifest.parent)}))
    return place


def test_refusals_of_a_manifest(thirty, hume_manifest, tmp_path):
    def moved(clip):
        return clip.model_copy(update={"split": "train"}) if clip.id == "s5-03-0" else clip

    def without_awe(clip):
        return None if clip.split == "dev" and "awe" in clip.emotions else clip

    place = changed(thirty, tmp_path, moved)
    refused(f"{place}: the speaker speaker-5 is in two splits, ", "emogator-30", place, tmp_path, "dev")
    place = changed(thirty, tmp_path, without_awe)
    refused(f"{place}: has no clip of awe in the split dev", "emogator-30", place, tmp_path, "dev")
    refused(
        "has no clip of the split test; it has train (150), dev (90)", "emogator-30", thirty, tmp_path, "test"
    )
    refused("s0-00-0 has no label for Excitement", "avb-high", thirty, tmp_path, "train")
    refused(
        "a manifest holds no Valence, which avb-two asks for; give the corpus's own label file as --labels FILE "
        "--audio FOLDER",
        "avb-two", hume_manifest, tmp_path, "dev",
    )  # fmt: skip
    refused("China_Awe", "avb-culture", hume_manifest, tmp_path, "dev")
    refused("no labels to score by", "avb-high", hume_manifest, tmp_path, "test")
    refused("so --audio has no meaning", "avb-high", hume_manifest, tmp_path, "dev", audio=tmp_path)
    refused("a manifest has no partition 'table-3'", "sonata-25", thirty, tmp_path, "table-3:dev")


def test_a_clip_shorter_than_a_frame_is_named(thirty, tmp_path):
    write_sound(tmp_path / "short.wav", tone(300, 1, seconds=0.01))
    clips = [clip.model_copy(update={"path": f"sound/{clip.path}"}) for clip in read_manifest(thirty)]
    (tmp_path / "sound").symlink_to(thirty.parent)
    short = clip_of(
        "too-short", "short.wav", "dev", "speaker-9", labelled="emogator-30", emotions={"awe": 1.0}
    )
    write_manifest(tmp_path / "manifest.jsonl", [*clips, short])
    sentence = "too-short: lasts 10.0 ms, expected at least a frame of 25 ms"
    refused(sentence, "emogator-30", tmp_path / "manifest.jsonl", tmp_path, "dev")


def test_refusals_of_a_label_file(tmp_path):
    labels = avb_high(tmp_path / "high_info.csv")
    refused("give the folder of their files as --audio", "avb-high", labels, tmp_path, "Val")
    audio = sounds_of(labels, tmp_path / "wav")
    (audio / "00013.wav").rename(audio / "00013.webm")
    refused(
        f"{labels}: the clip 00013 has no sound file below {audio}",
        "avb-high",
        labels,
        tmp_path,
        "Val",
        audio=audio,
    )
    for folder in ("a", "b"):
        write_sound(audio / folder / "00013.wav", tone(200, 0))
    refused("more than one sound file below", "avb-high", labels, tmp_path, "Val", audio=audio)
    rows = read_rows(labels)
    rows[13]["Awe"] = "1.2"
    write_rows(labels, rows)
    refused("File_ID [00014], Awe: 1.2 is outside 0 to 1", "avb-high", labels, tmp_path, "Val", audio=audio)


def test_hash_of_the_labels_follows_their_content(thirty, tmp_path):
    labels = compare(tmp_path / "lab")
    before = ClipSource(labels).sha256()
    assert before == ClipSource(labels).sha256() != ClipSource(thirty).sha256()
    rows = read_rows(labels / "devel.csv")
    write_rows(labels / "devel.csv", rows[:-1])
    assert ClipSource(labels).sha256() != before


def test_folds_share_no_speaker_and_depend_on_names_alone():
    rng = np.random.default_rng(0)
    names = [f"speaker-{k}" for k in rng.integers(23, size=400)]
    fold = speaker_folds(names, 5)
    homes = {name: {int(f) for n, f in zip(names, fold, strict=True) if n == name} for name in set(names)}
    assert all(len(home) == 1 for home in homes.values())
    sizes = np.bincount([next(iter(home)) for home in homes.values()])
    assert sorted(sizes) == [4, 4, 5, 5, 5]
    order = rng.permutation(400)
    np.testing.assert_array_equal(speaker_folds([names[i] for i in order], 5), fold[order])
    inside, outside = (
        {n for n, a in zip(names, held_out(names), strict=True) if a == side} for side in (True, False)
    )
    assert len(inside) == 2 and not inside & outside  # a tenth of 23
    with pytest.raises(InputDataError, match=r"^5 folds need at least as many speakers, got 3$"):
        speaker_folds(["a", "b", "c"], 5)
    with pytest.raises(
        InputDataError, match=r"^holding out train speakers needs at least two of them, got one$"
    ):
        held_out(["a", "a"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("models: {cnnat: {}}", "'cnnat' is no recognition model; nearest: cnnatt"),
        ("model: {}", "expected one key `models` with a mapping of models to their settings"),
        ("models: {cnnatt: 3}", "expected settings of cnnatt as KEY: VALUE, got 3"),
        ("models: {cnnatt: {lr: 1, lr: 2}}", "the key 'lr' stands there twice, again on line 1"),
        ("models: [", "is no YAML"),
    ],
)
def test_refusals_of_a_settings_file(tmp_path, text, sentence):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InputDataError) as error:
        read_settings(path)
    assert str(error.value).startswith(f"{path}: ") and sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_of_a_file_and_of_the_command_line(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("models:\n  cnnatt: {epochs: 8, lr: 0.001}\n  cnnlstm:\n")
    assert read_settings(path) == {"cnnatt": {"epochs": 8, "lr": 0.001}, "cnnlstm": {}}
    pairs = [parse_setting("lr=0.002"), parse_setting("schedule=cosine"), parse_setting("parts=[a, b]")]
    assert merged_settings("cnnatt", path, pairs, 3) == {
        "epochs": 3, "lr": 0.002, "schedule": "cosine", "parts": ["a", "b"],
    }  # fmt: skip
    with pytest.raises(InputDataError, match=r"has no settings of wav2small; it has cnnatt, cnnlstm$"):
        merged_settings("wav2small", path, [], None)
    with pytest.raises(InputDataError, match=r"^the setting epochs is given twice on the command line$"):
        merged_settings("cnnatt", None, [("epochs", 2)], 3)


def test_shipped_settings_are_of_models_that_exist():
    from conftest import ROOT

    from vocalburst.eval.recognition.registry import build

    for name, settings in read_settings(ROOT / "configs" / "recognition" / "emogator.yaml").items():
        build(name, "emogator-30", **settings)
