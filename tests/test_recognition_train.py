"""`vocalburst recognise train`: a folder that loads, what it records, and every refusal in one sentence."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from recognition_fixtures import (
    TinyModel,
    clip_of,
    emogator,
    hume,
    run_vocalburst,
    sounds_of,
    tiny,  # noqa: F401 (a fixture)
    write_sound,
)
from task_fixtures import avb_high

from vocalburst.eval.recognition import training_run
from vocalburst.eval.recognition.estimator import RecognitionModel
from vocalburst.eval.recognition.labelled_clips import ClipSource, load_split
from vocalburst.eval.tasks.registry import TASKS
from vocalburst.eval.tasks.scoring import score
from vocalburst.gen.data.manifest import read_manifest, write_manifest

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return emogator(tmp_path_factory.mktemp("emogator"))


@pytest.fixture(scope="module")
def hume_manifest(tmp_path_factory):
    return hume(tmp_path_factory.mktemp("hume"))


def train(monkeypatch, tmp_path, *arguments, model="tiny", task="emogator-30"):
    common = ("--model", model, "--task", task, "--cache", tmp_path / "cache")
    return run_vocalburst(monkeypatch, "recognise", "train", *common, *arguments)


def test_train_writes_a_folder_that_loads(monkeypatch, tmp_path, manifest, capsys):
    out = tmp_path / "runs" / "tiny"
    settings = ("--set", "sharpness=20", "--epochs", "3", "--seed", "7")
    assert train(monkeypatch, tmp_path, "--manifest", manifest, "--out", out, *settings) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("UAR 0.") and printed.endswith(f"(dev, 90 clips), saved in {out}\n")
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert [path.name for path in out.parent.iterdir()] == ["tiny"]
    model = RecognitionModel.load(out)
    assert (model.seed, model.settings.sharpness, model.settings.epochs) == (7, 20.0, 3)
    dev = load_split(TASKS["emogator-30"], ClipSource(manifest, cache=tmp_path / "cache"), "dev")
    value, low, high = (getattr(score(model.task, dev.y, model.predict(dev.waves), dev.speakers)[0], name)
                        for name in ("value", "low", "high"))  # fmt: skip
    run = model.training_["run"]
    assert run["scores"][0] == {"measure": "UAR", "value": value, "low": low, "high": high, "n": 90}
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert run["identity"] == {
        "model": "tiny",
        "task": "emogator-30",
        "settings": model.settings.model_dump(),
        "seed": 7,
        "labels_sha256": digest,
        "train": "train",
        "choose_on": "a tenth of the train speakers, held out",
    }
    assert run["train"] == {"split": "train", "clips": 120, "speakers": 4}
    assert run["choose"] == {"split": "train", "clips": 30, "speakers": 1}
    assert run["measured"] == {"split": "dev", "clips": 90, "speakers": 3}
    assert run["parameters"] == 93 and run["chance"] == pytest.approx(1 / 30)
    card = (out / "README.md").read_text()
    assert (
        f"**UAR {value:.3f}, 95 % interval {low:.3f} to {high:.3f}** on 90 clips of 3 speakers (dev)" in card
    )
    assert digest in card and "chance 0.033" in card and "seed 7" in card and "sharpness 20.0" in card


@pytest.mark.parametrize(
    ("choice", "kept", "chosen"), [("train", 120, 30), ("dev", 150, 90), ("nothing", 150, None)]
)
def test_what_epochs_and_settings_are_chosen_on(monkeypatch, tmp_path, manifest, choice, kept, chosen):
    arguments = ("--manifest", manifest, "--out", tmp_path / "run", "--choose-on", choice)
    assert train(monkeypatch, tmp_path, *arguments) == 0
    training = RecognitionModel.load(tmp_path / "run").training_
    assert training["run"]["train"]["clips"] == kept and training["dev_clips"] == chosen


def test_numbers_from_a_manifest_of_hume(monkeypatch, tmp_path, hume_manifest, capsys):
    for task in ("avb-high", "exvo-multitask", "exvo-fewshot"):
        out = tmp_path / task
        assert train(monkeypatch, tmp_path, "--manifest", hume_manifest, "--out", out, task=task) == 0
        scores = RecognitionModel.load(out).training_["run"]["scores"]
        assert scores[0]["measure"] == TASKS[task].headline
        # The tiny model can learn the intensities, which follow the pitch; ages and countries do not.
        assert next(row["value"] for row in scores if row["measure"] == "mean CCC, exact") > 0.98
        assert capsys.readouterr().out.startswith(f"{TASKS[task].headline} ")


def test_label_file_without_speakers(monkeypatch, tmp_path, capsys):
    labels = avb_high(tmp_path / "high_info.csv")
    audio = sounds_of(labels, tmp_path / "wav")
    arguments = ("--labels", labels, "--audio", audio, "--out", tmp_path / "run", "--split-dev", "Val")
    assert train(monkeypatch, tmp_path, *arguments, task="avb-high") == 0
    run = RecognitionModel.load(tmp_path / "run").training_["run"]
    assert run["measured"] == {"split": "dev", "clips": 24, "speakers": None}
    assert (run["train"]["clips"], run["choose"]["clips"]) == (11, 1)
    assert "on 24 clips (dev)" in (tmp_path / "run" / "README.md").read_text()


def test_a_model_that_is_fitted_again_says_what_its_number_is_worth(monkeypatch, tmp_path, manifest, capsys):
    said = {"train": ", and the model was then fitted on these 30 clips too.\n"}
    said["dev"] = ", and the model was fitted on them too: the number is no measure of it.\n"
    for choice, sentence in said.items():
        arguments = ("--manifest", manifest, "--out", tmp_path / choice, "--choose-on", choice)
        assert train(monkeypatch, tmp_path, *arguments, "--set", "refit_on_dev=true") == 0
        assert sentence in (tmp_path / choice / "README.md").read_text()
        note = "note: tiny is fitted on the split dev too, so that its number there is no measure\n"
        assert (note in capsys.readouterr().err) == (choice == "dev")


def test_settings_of_a_file(monkeypatch, tmp_path, manifest):
    path = tmp_path / "settings.yaml"
    path.write_text("models: {tiny: {sharpness: 9, epochs: 2}}")
    arguments = ("--manifest", manifest, "--config", path, "--set", "epochs=4")
    assert train(monkeypatch, tmp_path, *arguments, "--out", tmp_path / "run") == 0
    settings = RecognitionModel.load(tmp_path / "run").settings
    assert (settings.sharpness, settings.epochs) == (9, 4)


def refused(monkeypatch, tmp_path, capsys, sentence, *arguments, code=3, **options):
    assert train(monkeypatch, tmp_path, *arguments, **options) == code
    lines = [line for line in capsys.readouterr().err.split("\n") if line.startswith("error: ")]
    assert len(lines) == 1 and sentence in lines[0]
    assert TinyModel.fits == 0 or "silence" in sentence


def test_refusals(monkeypatch, tmp_path, manifest, capsys):
    def check(sentence, *arguments, **options):
        chosen = ("--manifest", manifest, "--out", tmp_path / "run", *arguments)
        refused(monkeypatch, tmp_path, capsys, sentence, *chosen, **options)
        assert not (tmp_path / "run").exists()

    check("settings of tiny: sharpness: Input should be greater than 0", "--set", "sharpness=-1")
    check("settings of tiny: lr: Extra inputs are not permitted", "--set", "lr=1")
    check("the setting epochs is given twice", "--set", "epochs=2", "--epochs", "3")
    check("has no clip of the split test; it has train (150), dev (90)", "--split-dev", "test")
    check("a manifest holds no Voc_Type", task="avb-type")
    check("cannot be read as settings (No such file or directory)", "--config", tmp_path / "none.yaml")


def test_an_out_that_is_taken(monkeypatch, tmp_path, manifest, capsys):
    out = tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    taken = ("--manifest", manifest, "--out", out)
    refused(monkeypatch, tmp_path, capsys, f"{out}: is not empty, expected a new folder", *taken)
    (out / "config.json").write_text("{}")
    refused(monkeypatch, tmp_path, capsys, f"{out}: holds a model already, expected a new folder", *taken)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_clip_that_cannot_be_heard_is_named(monkeypatch, tmp_path, manifest, capsys):
    clips = read_manifest(manifest)
    (tmp_path / "sound").symlink_to(manifest.parent)
    silent = clip_of(
        "quiet", "quiet.wav", "train", "speaker-0", labelled="emogator-30", emotions={"awe": 1.0}
    )
    write_sound(tmp_path / "quiet.wav", np.zeros(4800, np.float32))
    moved = [clip.model_copy(update={"path": f"sound/{clip.path}"}) for clip in clips]
    write_manifest(tmp_path / "manifest.jsonl", [*moved, silent])
    arguments = ("--manifest", tmp_path / "manifest.jsonl", "--out", tmp_path / "run")
    refused(monkeypatch, tmp_path, capsys, "error: quiet: a clip is digital silence", *arguments)
    assert not (tmp_path / "run").exists()


def test_a_place_in_one_set_is_named(tmp_path, manifest):
    dev = load_split(TASKS["emogator-30"], ClipSource(manifest, cache=tmp_path / "cache"), "dev")
    model = TinyModel("emogator-30", name="tiny")
    error = training_run.with_clip_name(training_run.InputDataError("wave 4: is too short"), model, [dev])
    assert str(error) == f"{dev.ids[4]}: is too short"
    other = training_run.InputDataError("3 clips are too few")
    assert training_run.with_clip_name(other, model, [dev]) is other


def test_a_class_that_only_the_held_out_speakers_have(monkeypatch, tmp_path, manifest, capsys):
    apart = training_run.held_out([clip.speaker for clip in read_manifest(manifest) if clip.split == "train"])
    train_clips = [clip for clip in read_manifest(manifest) if clip.split == "train"]
    only = {clip.speaker for clip, held in zip(train_clips, apart, strict=True) if held}
    clips = [
        clip
        for clip in read_manifest(manifest)
        if "awe" not in clip.emotions or clip.split == "dev" or clip.speaker in only
    ]
    place = tmp_path / "manifest.jsonl"
    write_manifest(place, clips)
    (tmp_path / "report.json").write_text(json.dumps({"root": str(manifest.parent)}))
    sentence = "train: no clip of the class awe of Emotion"
    refused(monkeypatch, tmp_path, capsys, sentence, "--manifest", place, "--out", tmp_path / "run")


def test_an_interrupted_run_leaves_nothing(monkeypatch, tmp_path, manifest, capsys):
    def killed(self, folder, card=""):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    arguments = ("--manifest", manifest, "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(TinyModel, "save", killed)
        assert train(monkeypatch, tmp_path, *arguments) == 130
    assert not (tmp_path / "run").exists()
    assert train(monkeypatch, tmp_path, *arguments) == 0
    assert not (tmp_path / ".run.part").exists() and RecognitionModel.load(tmp_path / "run")


def test_only_the_first_process_writes(monkeypatch, tmp_path, manifest, capsys):
    monkeypatch.setenv("RANK", "1")
    assert train(monkeypatch, tmp_path, "--manifest", manifest, "--out", tmp_path / "run") == 0
    assert not (tmp_path / "run").exists() and capsys.readouterr().out == ""
    assert TinyModel.fits == 1


def test_help_names_models_with_what_they_need_and_tasks(monkeypatch, capsys):
    monkeypatch.undo()
    from vocalburst.eval.recognition.registry import MODELS

    assert run_vocalburst(monkeypatch, "recognise", "train", "--help") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.split("\n")]
    words = {"": "", "opensmile": "; needs pip install 'vocalburst[opensmile]'"}
    words["pretrained"] = "; needs local weights"
    for name, row in MODELS.items():
        assert f"{name} {row.title}{words[row.needs]}" in lines
    for task in TASKS.values():
        assert f"{task.name} {task.title}" in lines


def test_recognise_lists_its_verbs_and_a_folder_of_that_name_is_a_folder(monkeypatch, tmp_path, capsys):
    assert run_vocalburst(monkeypatch, "recognise", "--help") == 0
    out = capsys.readouterr().out
    for verb in ("train", "predict", "benchmark"):
        assert f"vocalburst recognise {verb} --help" in out
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").mkdir()
    assert run_vocalburst(monkeypatch, "recognise", "./train") == 3
    assert "error: train: " in capsys.readouterr().err
