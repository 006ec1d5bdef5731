"""`vocalburst evaluate` from folders of synthetic clips to table, JSON, page and bars; and everything it refuses."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import run_command
from recogniser_fixtures import EMOTIONS, small_logmel, tone

from vocalburst.eval import emotion_statistics, evaluate, memorisation_scores
from vocalburst.eval.scores import CONTROLS, MEASURES, Scores
from vocalburst.gen.data.audio import encode_wave
from vocalburst.gen.data.manifest import Clip, write_manifest

PITCH = dict(zip(EMOTIONS, (200.0, 600.0, 1800.0), strict=True))
SPEAKERS = {"train": 12, "dev": 6}
N = 12  # clips of an emotion in dev and in every entry


def clip_bytes(emotion: str, seed: int, wobble: float = 0.2) -> bytes:
    """A short tone whose pitch tells the emotion and whose length and colour vary."""
    rng = np.random.default_rng([seed, EMOTIONS.index(emotion)])
    pitch = PITCH[emotion] * np.exp(wobble * rng.standard_normal())
    wave = tone(pitch, rng.uniform(0.12, 0.3), seed) + rng.uniform(0, 0.3) * tone(2 * pitch, 0.3, seed)[0]
    return encode_wave(wave.astype(np.float32))


def write_entry(
    folder: Path,
    sounds: dict[str, list[bytes]],
    *,
    name: str = "{emotion}_{i:03d}.wav",
    selected_by: Sequence[str] = (),
    **more: str,
) -> Path:
    """An output folder as `generate` writes it, as far as a judge looks."""
    folder.mkdir()
    rows = []
    for emotion, own in sounds.items():
        for i, data in enumerate(own):
            file_name = name.format(emotion=emotion, i=i)
            (folder / file_name).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            row = {"file_name": file_name, "emotion": emotion, "sha256": digest, "selected_by": selected_by}
            rows.append({**row, **{key: value.format(i // 2) for key, value in more.items()}})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def made(seed: int, n: int = N, emotions=EMOTIONS, **options) -> dict[str, list[bytes]]:
    return {e: [clip_bytes(e, seed + i, **options) for i in range(n)] for e in emotions}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """real/manifest.jsonl with speakers in train and dev, entry/, copies/, a small evaluator in judge/."""
    root = tmp_path_factory.mktemp("world")
    (root / "real").mkdir()
    records = []
    for split, n_speakers in SPEAKERS.items():
        for i in range(2 * n_speakers):
            for emotion in EMOTIONS:
                name = f"{split}-{emotion}-{i}"
                data = clip_bytes(emotion, 1000 * (split == "dev") + i)
                (root / "real" / f"{name}.wav").write_bytes(data)
                records.append(Clip(
                    id=name, path=f"{name}.wav", corpus="toy", split=split, speaker=f"{split}-{i // 2}",
                    labelled=EMOTIONS, emotions={emotion: 1.0}, seconds=0.2, active_seconds=0.2, level_db=-20,
                    peak_db=-6,
                ))  # fmt: skip
    write_manifest(root / "real" / "manifest.jsonl", records)
    write_entry(root / "entry", made(5000), checkpoint="abc123")
    copies = {e: [clip_bytes(e, 1000 + i, 0.19) for i in range(N)] for e in EMOTIONS}
    write_entry(root / "copies", copies, name="{emotion}_dev-{emotion}-{i}.wav", speaker="dev-{}")
    small_logmel().save(root / "judge", "", {})
    return root


@pytest.fixture(autouse=True)
def _small_draws(monkeypatch):
    monkeypatch.setattr(memorisation_scores, "FLD_CLIPS", 30)
    monkeypatch.setattr(memorisation_scores, "FLD_TRAIN", 60)


class Ran:
    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def command(world, monkeypatch, capsys):
    """Run the command in this process, in the world's folder; returns exit code, stdout and stderr."""

    def call(*arguments: object, module=evaluate) -> Ran:
        monkeypatch.chdir(world)
        monkeypatch.setattr(sys, "argv", ["vocalburst evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            module.main()
        return Ran(ended.value.code, *capsys.readouterr())

    return call


REAL = ("--reference", "real/manifest.jsonl:dev", "--evaluator", "judge", "--cache", "cache")


@pytest.fixture(scope="module")
def scored(world, tmp_path_factory) -> tuple[Scores, str, str, Path]:
    """One whole run in a process of its own: scores, table, progress and page."""
    out = tmp_path_factory.mktemp("out")
    ran = run_command(
        "vocalburst.eval.evaluate", world / "entry", "--reference", f"{world / 'real' / 'manifest.jsonl'}:dev",
        "--evaluator", world / "judge", "--copy-synthesis", world / "copies", "--cache", world / "cache",
        "--out", out / "scores.json", "--html", out / "report.html", "--bars",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return Scores.load(out / "scores.json"), ran.stdout, ran.stderr, out / "report.html"


def test_the_file_holds_every_set_and_every_measure(scored):
    scores, *_ = scored
    (heard,) = scores.evaluators
    assert [s.name for s in heard.sets] == ["entry", *CONTROLS]
    for one in heard.sets:
        assert set(one.emotions) == set(EMOTIONS)
        assert one.n == N * 3
        assert all((row.n, row.n_reference) == (N, N) for row in one.emotions.values())
        for name in MEASURES:
            assert one.mean[name].value is not None, (one.name, name)
            assert one.mean[name].low <= one.mean[name].value <= one.mean[name].high, (one.name, name)
    notes = {s.name: s.notes for s in heard.sets}
    assert any("the floor is the mean over 2 draws of train clips" in note for note in notes["floor"])
    assert any("these are copies of reference clips" in note for note in notes["copy-synthesis"])
    assert {s.name for s in heard.sets if not s.s_gen} == {"copy-synthesis"}
    assert [s.resampled for s in heard.sets] == [
        "clips", "speakers", "speakers", "speakers", "labels", "clips", "clips"
    ]  # fmt: skip
    assert scores.entry.n == 36
    assert scores.entry.checkpoint == "abc123"
    assert (scores.reference.split, scores.reference.n, scores.reference.speakers) == ("dev", 36, 6)
    assert heard.real_heep.low < heard.real_heep.value < heard.real_heep.high
    assert heard.evaluator.startswith("logmel-")
    assert "evaluate" in scores.command


def test_the_order_is_right(scored):
    (heard,) = scored[0].evaluators
    by_name = {s.name: s.mean for s in heard.sets}
    for name in ("kad", "fid"):
        near = max(by_name[s][name].value for s in ("entry", "floor", "copy-synthesis"))
        assert near < min(by_name[s][name].value for s in ("emotion-blind", "shuffled")), name
        assert by_name["emotion-blind"][name].value < by_name["noise"][name].value, name
    assert by_name["floor"]["coverage"].value > by_name["emotion-blind"]["coverage"].value


def test_the_screen_names_n_evaluator_intervals_and_controls(scored):
    scores, table, progress, _ = scored
    for expected in (scores.evaluators[0].evaluator, *CONTROLS, "36 (12 × 3)", "speakers", "S_GEN"):
        assert expected in table, expected
    assert "Without the controls" not in table
    assert "scoring emotion-blind" in progress
    assert "scoring" not in table


def test_the_page_and_the_bars_are_of_the_same_scores(scored, command, tmp_path):
    scores, table, _, page = scored
    html = page.read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>") or "<html" in html
    assert all(name in html for name in (*CONTROLS, scores.evaluators[0].evaluator))
    scores.save(tmp_path / "scores.json")
    bars = command("--bars-of", tmp_path / "scores.json")
    assert bars.code == 0
    assert bars.out.strip() in table
    assert "FID∞ over the floor's, worst emotion" in bars.out


def test_memorisation_is_judged_for_the_entry_and_finds_nothing(scored):
    (heard,) = scored[0].evaluators
    found = heard.entry.memorisation
    assert not found.suspicious
    assert len(found.pairs) == 20
    assert all(pair.train_clip.startswith("train-") for pair in found.pairs)
    assert all(s.memorisation is None for s in heard.sets[1:])


def test_train_clips_exported_again_are_flagged(world, command, tmp_path):
    sounds = {
        e: [clip_bytes(e, i) + bytes(2) for i in range(N)] for e in EMOTIONS
    }  # other bytes, the same sound
    folder = write_entry(tmp_path / "copycat", sounds)
    ran = command(folder, *REAL, "--out", tmp_path / "scores.json")
    assert ran.code == 0, ran.err
    found = Scores.load(tmp_path / "scores.json").evaluators[0].entry.memorisation
    assert found.suspicious
    assert found.copied == 36
    assert all(pair.clip.split("_")[0] in pair.train_clip for pair in found.pairs)
    assert "Looks memorised" in ran.out


def test_reference_clips_exported_again_are_told(command, tmp_path):
    sounds = {e: [clip_bytes(e, 1000 + i) + bytes(2) for i in range(N)] for e in EMOTIONS}
    ran = command(write_entry(tmp_path / "peek", sounds), *REAL)
    assert ran.code == 0, ran.err
    assert "36 clips are nearer to a reference clip than any of as many train clips is" in ran.out
    assert "no distance here means anything" in ran.out


def test_two_runs_of_one_seed_agree_and_another_seed_does_not(command, tmp_path):
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert command("entry", *REAL, "--n", 8, "--out", tmp_path / name, "--seed", seed).code == 0
        runs.append(Scores.load(tmp_path / name))
    assert runs[0].evaluators == runs[1].evaluators
    assert runs[0].reference == runs[1].reference
    assert runs[0].evaluators != runs[2].evaluators
    assert runs[0].reference.clips_sha256 != runs[2].reference.clips_sha256
    assert {row.n for row in runs[0].evaluators[0].entry.emotions.values()} == {8}
    assert any("8 of up to 12 clips of an emotion were drawn" in n for n in runs[0].evaluators[0].entry.notes)
    assert any("there is no copy-synthesis row" in n for n in runs[0].evaluators[0].entry.notes)


def test_an_entry_that_shares_clips_with_the_reference_is_refused(command, tmp_path):
    sounds = made(5000)
    sounds["awe"][3] = clip_bytes("awe", 1003)
    ran = command(write_entry(tmp_path / "peek", sounds), *REAL)
    assert ran.code == 3
    assert (
        "1 clips are also in real/manifest.jsonl:dev, the first is awe_003.wav (dev-awe-3 there)" in ran.err
    )


@pytest.mark.parametrize("how", ["id", "family", "hash"])
def test_the_evaluator_that_chose_the_clips_is_refused_and_named(world, command, tmp_path, how, scored):
    judge = scored[0].evaluators[0].evaluator
    name = {"id": judge, "family": "logmel", "hash": judge.split("-")[1]}[how]
    chosen = write_entry(tmp_path / "best", made(7000), selected_by=[name])
    ran = command(chosen, *REAL)
    assert ran.code == 3
    assert f"were chosen or guided by {name}, so {judge} cannot score them" in ran.err


def test_clips_chosen_by_another_evaluator_are_scored_with_a_note(command, tmp_path):
    chosen = write_entry(tmp_path / "best", made(7000), selected_by=["emo18-000000000000"])
    ran = command(chosen, *REAL)
    assert ran.code == 0
    assert "chosen or guided by emo18-000000000000, which does not score them" in ran.out


def test_a_missing_emotion_is_refused_unless_the_entry_is_partial(command, tmp_path):
    some = write_entry(tmp_path / "some", made(5000, emotions=("awe", "fear")))
    ran = command(some, *REAL)
    assert ran.code == 3
    assert "has no clips of anger, which the reference has" in ran.err
    ran = command(some, *REAL, "--partial", "--out", tmp_path / "scores.json")
    assert ran.code == 0, ran.err
    scores = Scores.load(tmp_path / "scores.json")
    assert set(scores.evaluators[0].entry.emotions) == {"awe", "fear"}
    assert "2 of the 3 emotions of the reference were submitted" in ran.out


def test_an_emotion_that_the_reference_lacks_is_refused(command, tmp_path):
    sounds = made(5000)
    sounds["guilt"] = sounds.pop("fear")
    ran = command(write_entry(tmp_path / "other", sounds), *REAL, "--partial")
    assert ran.code == 3
    assert "the reference real/manifest.jsonl:dev has no clips of guilt" in ran.err


def test_fewer_clips_than_asked_are_refused_on_either_side(command, tmp_path):
    few = made(5000)
    few["awe"] = few["awe"][:1]
    ran = command(write_entry(tmp_path / "few", few), *REAL)
    assert (ran.code, "few: expected 2 clips of awe, found 1" in ran.err) == (3, True)
    ran = command("entry", *REAL, "--n", 13)
    assert (ran.code, "entry: expected 13 clips of anger, found 12" in ran.err) == (3, True)
    more = write_entry(tmp_path / "more", made(5000, n=14))
    ran = command(more, *REAL, "--n", 13)
    assert (ran.code, "real/manifest.jsonl:dev: expected 13 clips of anger, found 12" in ran.err) == (3, True)


def test_an_altered_clip_is_refused(world, command, tmp_path):
    folder = write_entry(tmp_path / "altered", made(5000))
    (folder / "awe_002.wav").write_bytes(clip_bytes("awe", 77))
    ran = command(folder, *REAL)
    assert ran.code == 3
    assert "awe_002.wav" in ran.err


def test_a_reference_without_train_clips_has_no_real_controls_and_says_so(world, command, tmp_path):
    folder = write_entry(tmp_path / "reference", made(8000))
    ran = command("entry", "--reference", folder, *REAL[2:], "--out", tmp_path / "scores.json")
    assert ran.code == 0, ran.err
    (heard,) = Scores.load(tmp_path / "scores.json").evaluators
    assert [s.name for s in heard.sets] == ["entry", "shuffled", "silence", "noise"]
    assert heard.entry.memorisation is None
    assert (
        "There are no real train clips (--train), so floor, emotion-blind and memorisation are missing"
        in ran.out
    )
    assert (
        command("entry", "--reference", folder, *REAL[2:], "--train", "real/manifest.jsonl:train").code == 0
    )


def test_train_clips_that_are_the_reference_are_refused(command):
    ran = command("entry", *REAL, "--train", "real/manifest.jsonl:dev")
    assert ran.code == 3
    assert "real train clips would be judged by themselves" in ran.err


def test_statistics_stand_in_for_the_reference(world, command, tmp_path, scored):
    stats = tmp_path / "stats.safetensors"
    made_stats = command(
        "real/manifest.jsonl:dev", "--evaluator", "judge", "--out", stats, module=emotion_statistics
    )
    assert made_stats.code == 0, made_stats.err
    ran = command("entry", "--reference", stats, *REAL[2:], "--out", tmp_path / "scores.json")
    assert ran.code == 0, ran.err
    scores = Scores.load(tmp_path / "scores.json")
    (heard,) = scores.evaluators
    assert [s.name for s in heard.sets] == ["entry", "shuffled", "silence", "noise"]
    assert "The reference is a file of statistics: only Fréchet distances" in ran.out
    whole = scored[0].evaluators[0].entry  # n is all of dev there, so the same clips
    assert heard.entry.mean["fid"].value == pytest.approx(whole.mean["fid"].value, rel=1e-6)
    assert heard.entry.mean["kad"].value is None
    assert heard.entry.mean["heep"] == whole.mean["heep"]
    copied = write_entry(
        tmp_path / "copied", {**made(5000), "awe": [clip_bytes("awe", 1000 + i) for i in range(N)]}
    )
    ran = command(copied, "--reference", stats, *REAL[2:])
    assert (ran.code, "12 clips are also in" in ran.err) == (3, True)
    ran = command("entry", "--reference", stats, *REAL[2:], "--protocol", "exvo-10")
    assert (ran.code, "--protocol needs the clips" in ran.err) == (3, True)


def test_a_protocol_maps_emotions_and_tells_what_it_leaves_out(command, tmp_path):
    ran = command("entry", *REAL, "--protocol", "exvo-10", "--out", tmp_path / "scores.json")
    assert ran.code == 0, ran.err
    (heard,) = Scores.load(tmp_path / "scores.json").evaluators
    assert set(heard.entry.emotions) == {"awe", "fear"}
    assert [s.protocol for s in heard.entry.s_gen] == ["exvo-10"]
    assert len(heard.entry.s_gen[0].missing) == 8
    assert "Entry: anger are not judged by exvo-10" in ran.out


def write_ratings(path: Path, names: list[str], right: float = 0.9) -> Path:
    lines = ["clip," + ",".join(EMOTIONS)]
    for name in names:
        asked = name.split("_")[0]
        lines.append(",".join([name, *(f"{right if e == asked else 0.2}" for e in EMOTIONS)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_people_s_ratings_give_real_heep(command, tmp_path):
    names = [f"{e}_{i:03d}" for e in EMOTIONS for i in range(5)]
    ratings = write_ratings(tmp_path / "ratings.csv", [*names, *names])
    ran = command("entry", *REAL, "--ratings", ratings, "--out", tmp_path / "scores.json")
    assert ran.code == 0, ran.err
    found = Scores.load(tmp_path / "scores.json").ratings
    assert (found.n, found.ratings) == (15, 30)
    assert found.heep.value == pytest.approx(1)  # every clip is rated as what it is
    assert found.recognised.value == 1
    assert found.heep_column.value == pytest.approx(1)
    assert set(found.emotions) == set(EMOTIONS)
    assert "People heard HEEP 1" in ran.out


def test_ratings_of_foreign_or_too_few_clips_are_refused(command, tmp_path):
    names = [f"{e}_{i:03d}" for e in EMOTIONS for i in range(2)]
    ran = command("entry", *REAL, "--ratings", write_ratings(tmp_path / "a.csv", [*names, "awe_999"]))
    assert (ran.code, "rates 'awe_999', which is no clip of entry" in ran.err) == (3, True)
    ran = command("entry", *REAL, "--ratings", write_ratings(tmp_path / "b.csv", names[:-1]))
    assert (ran.code, "expected at least 2 rated clips of fear, found 1" in ran.err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected ENTRY"),
        (("entry",), "expected --reference"),
        (("entry", *REAL, "--n", "1"), "--n must be at least 2, got 1"),
        (("entry", *REAL, "--weights", "w.pt"), "given together or not at all"),
        (("entry", "--protocol", "exvo2022"), "given together or not at all"),
        (("entry", "--protocol", "exvo2022", "--weights", "w", "--statistics", "s", "--bars"), "not take --bars"),
        (("entry", "--bars-of", "scores.json"), "takes no ENTRY"),
        (("entry", *REAL, "--protocol", "exvo-9"), "invalid choice"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(command, arguments, message):
    ran = command(*arguments)
    assert (ran.code, message in ran.err) == (2, True), ran.err


def test_what_cannot_be_written_is_told_before_any_work(command):
    ran = command("entry", *REAL, "--out", "nowhere/scores.json")
    assert (ran.code, ran.err) == (3, "error: nowhere/scores.json: the folder nowhere does not exist\n")


def test_the_official_protocol_is_handed_over(command, tmp_path):
    ran = command(
        "entry", "--protocol", "exvo2022", "--weights", "predictions_model_webm.pt", "--statistics", tmp_path
    )
    assert ran.code in (3, 4)
    assert "official statistics" in ran.err or "predictions_model_webm.pt" in ran.err
