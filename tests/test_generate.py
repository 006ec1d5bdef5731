"""The commands `generate` and `benchmark`, end to end on a tiny random checkpoint."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from conftest import build_tiny_checkpoint, run_command, synthetic_burst
from generate_fixtures import (
    FAST,
    contents,
    generate_command,  # noqa: F401 (a fixture)
    sounds,
)

from vocalburst.gen import generate, options
from vocalburst.gen.data.audio import FORMATS, SAMPLE_RATE, encode_wave, peak_db, read_wave
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.generated import read_generated
from vocalburst.gen.selection import candidate_seeds


def test_help_imports_no_torch():
    code = "import sys, vocalburst.gen.generate, vocalburst.gen.benchmark; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    printed = run_command("vocalburst.gen.generate", "--help")
    assert printed.returncode == 0 and "examples:" in printed.stdout


def test_formats_of_the_parser_are_those_of_the_writer():
    assert tuple(FORMATS) == options.AUDIO_FORMATS


def test_one_emotion_with_defaults(command, tiny_checkpoint):
    code, out, err = command("--emotion", "awe", "--n", 3, *FAST)
    assert code == 0 and err == ""
    assert out.splitlines()[0] == "out/awe" and out.splitlines()[1].startswith("3 clips, ")
    rows = list(read_generated("out/awe/manifest.jsonl"))
    assert [row.file_name for row in rows] == [f"awe_0_{i:05d}.wav" for i in range(3)]
    assert rows[0].run_seed == 0 and rows[0].guidance == 1.5 and rows[0].scheduler == "euler"
    assert rows[0].license == "Apache-2.0" and rows[0].device == "cpu" and rows[0].vocoder == "checkpoint"
    for row in rows:
        data = soundfile.info(Path("out/awe") / row.file_name)
        assert (data.samplerate, data.channels, data.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert peak_db(read_wave(Path("out/awe") / row.file_name)) < -1.0
    assert len({row.sha256 for row in rows}) == 3


def test_a_mixed_voice_is_asked_for_again(command):
    """The two voices of a row, asked for with another emotion; one of them alone is another clip."""
    for voice in ("3+1", "3", "1+3"):
        asked = ("--emotion", "fear", "--n", 1, "--voice", voice, "--duration", 0.4, "--out", voice, *FAST)
        assert command(*asked)[0] == 0
    mixed, alone, swapped = (
        next(read_generated(Path(voice) / "manifest.jsonl")) for voice in ("3+1", "3", "1+3")
    )
    assert (mixed.voice, mixed.voice_asked, mixed.second_voice) == (3, 3, 1)
    assert (alone.voice, alone.second_voice) == (3, None)
    assert (swapped.voice, swapped.second_voice) == (1, 3)
    assert len({mixed.sha256, alone.sha256, swapped.sha256}) == 3
    assert command("--from-manifest", "3+1/manifest.jsonl", "--out", "again")[0] == 0
    assert Path("again", mixed.file_name).read_bytes() == Path("3+1", mixed.file_name).read_bytes()


def test_everything_at_once_in_every_format(command):
    for file_format, (suffix, _, _) in FORMATS.items():
        asked = ("--emotion", "awe:0.7,awkwardness:0.3", "--intensity", 0.8, "--n", 1, "--voice", 3, "--trim")
        more = ("--duration", 0.4, "--seed", 7, "--format", file_format, "--out", file_format, "--save-mel")
        code, out, err = command(*asked, *more, *FAST, "--scheduler", "heun", "--guidance", 2, "--json")
        assert code == 0 and err == "note: awkwardness -> embarrassment\n"
        result = json.loads(out)
        assert result["aliases"] == ["awkwardness -> embarrassment"] and result["made"] == 1
        (row,) = read_generated(Path(file_format) / "manifest.jsonl")
        assert row.file_name == f"awe+awkwardness_7_00000{suffix}"
        assert row.emotion_vector == pytest.approx({"awe": 0.56, "embarrassment": 0.24})
        assert (row.voice, row.duration_asked, row.guidance, row.scheduler) == (3, 0.4, 2.0, "heun")
        mel = np.load(Path(file_format) / row.mel_file_name)
        assert mel.dtype == np.float32 and mel.shape[0] == 100
        with soundfile.SoundFile(Path(file_format) / row.file_name) as file:
            assert f"seed={row.seed}" in file.comment and row.checkpoint in file.comment


def test_all_emotions_get_a_folder_each(command):
    code, _, _ = command("--all-emotions", "--n", 1, "--out", "submission", *FAST)
    assert code == 0
    rows = list(read_generated("submission/manifest.jsonl"))
    assert [row.emotion for row in rows] == list(EMOGATOR_30)
    assert all(row.file_name == f"{row.emotion}/{row.emotion}_0_00000.wav" for row in rows)
    assert len({row.sha256 for row in rows}) == 30
    command("--emotion", "fear", "--out", "fear", *FAST)
    assert sounds(Path("fear"))["fear_0_00000.wav"] == sounds(Path("submission"))["fear/fear_0_00000.wav"]


def test_bytes_depend_neither_on_n_nor_on_the_batch_nor_on_the_process(command):
    command("--emotion", "pain", "--n", 5, "--out", "five", *FAST)
    command("--emotion", "pain", "--n", 2, "--out", "two", *FAST)
    command("--emotion", "pain", "--n", 5, "--out", "batch", *FAST, "--batch-size", 3)
    code, _, _ = command("--emotion", "pain", "--n", 5, "--out", "workers", "--steps", 2, "--workers", 2)
    assert code == 0
    assert sounds(Path("two")).items() < sounds(Path("five")).items()
    assert contents(Path("batch")) == contents(Path("workers")) == contents(Path("five"))
    command("--emotion", "pain", "--n", 5, "--seed", 1, "--out", "other", *FAST)
    assert not set(sounds(Path("other")).values()) & set(sounds(Path("five")).values())


def test_accelerate_ranks_write_the_same_bytes_and_one_manifest(command, tiny_checkpoint, tmp_path):
    command("--emotion", "pride", "--n", 5, "--out", "alone", *FAST)
    # `--cpu` would start a single process; `--multi_gpu` starts two, also where there is no GPU.
    launch = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
    launch += ("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")
    ours = ("--emotion", "pride", "--n", "5", "--out", "ranks", *FAST, "--checkpoint", tiny_checkpoint)
    script = tmp_path / "rank.py"
    script.write_text(
        "import os, pathlib\n"
        'pathlib.Path(f\'rank {os.environ["RANK"]} of {os.environ["WORLD_SIZE"]}\').touch()\n'
        "from vocalburst.gen.generate import main\n"
        "main()\n"
    )
    ended = run_command(*launch, script, *ours)
    assert ended.returncode == 0, ended.stderr
    assert Path("rank 0 of 2").exists() and Path("rank 1 of 2").exists()
    assert ended.stdout.splitlines()[0] == "ranks" and len(ended.stdout.splitlines()) == 2
    assert contents(Path("ranks")) == contents(Path("alone"))


def test_a_killed_command_goes_on_where_it_stopped(command, tiny_checkpoint):
    command("--emotion", "relief", "--n", 200, "--out", "whole", *FAST)
    arguments = ["--emotion", "relief", "--n", "200", "--out", "killed", "--steps", "2", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vocalburst.gen.generate", *arguments, "--checkpoint", str(tiny_checkpoint)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    # Names only: a file may be renamed between its listing and its reading.
    while (
        len(list(Path("killed").rglob("*.wav"))) < 4
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not Path("killed/manifest.jsonl").exists()
    code, out, _ = command("--emotion", "relief", "--n", 200, "--out", "killed", *FAST, "--json")
    assert code == 0 and json.loads(out)["kept"] >= 1
    assert contents(Path("killed")) == contents(Path("whole"))


def test_a_manifest_is_made_again_byte_for_byte(command, tiny_checkpoint, tmp_path):
    command(
        "--emotion",
        "awe:0.5,fear",
        "--n",
        3,
        "--format",
        "ogg",
        "--out",
        "first",
        *FAST,
        "--scheduler",
        "dpm++",
    )
    code, out, err = command("--from-manifest", "first/manifest.jsonl", "--out", "again", "--json")
    assert code == 0 and err == "" and json.loads(out)["differing"] == 0
    assert sounds(Path("again")) == sounds(Path("first"))
    assert Path("again/manifest.jsonl").read_bytes() == Path("first/manifest.jsonl").read_bytes()
    other = build_tiny_checkpoint(tmp_path / "other", seed=1)
    code, _, err = command("--from-manifest", "first/manifest.jsonl", "--out", "third", checkpoint=other)
    assert code == 4 and err.count("\n") == 1 and "was made by the checkpoint" in err
    assert not Path("third").exists()


def test_a_manifest_that_does_not_keep_its_word_is_noticed(command):
    command("--emotion", "awe", "--n", 2, "--out", "first", *FAST)
    lines = Path("first/manifest.jsonl").read_text().splitlines()
    row = json.loads(lines[1])
    lines[1] = json.dumps({**row, "sha256": "0" * 64})
    Path("edited.jsonl").write_text("\n".join(lines) + "\n")
    code, out, err = command("--from-manifest", "edited.jsonl", "--out", "again", "--json")
    assert code == 1 and json.loads(out)["differing"] == 1
    assert "differ from the sha256" in err and err.count("\n") == 1


def test_a_sweep_from_one_emotion_to_another(command):
    code, out, err = command(
        "--from", "awe", "--to", "awkwardness", "--positions", 3, "--n", 2, "--json", "--save-mel", *FAST
    )
    assert code == 0 and err == "note: awkwardness -> embarrassment\n" and json.loads(out)["n"] == 6
    rows = list(read_generated("out/awe+awkwardness/manifest.jsonl"))
    assert [row.file_name for row in rows[:2]] == [f"awe+awkwardness_0_00000_p0{i}.wav" for i in range(2)]
    assert [row.emotion_vector for row in rows[:3]] == [
        {"awe": 1.0}, {"awe": 0.5, "embarrassment": 0.5}, {"embarrassment": 1.0},
    ]  # fmt: skip
    assert [row.sweep_position for row in rows] == [0.0, 0.5, 1.0] * 2
    for start in (0, 3):
        one = rows[start : start + 3]
        assert len({(row.seed, row.voice, row.seconds) for row in one}) == 1
        assert len({row.mel_sha256 for row in one}) == 3
    assert rows[0].seed != rows[3].seed
    code, out, _ = command(
        "--from-manifest", "out/awe+awkwardness/manifest.jsonl", "--out", "again", "--json", "--save-mel"
    )
    assert code == 0 and json.loads(out)["differing"] == 0
    assert contents(Path("again")).items() ^ contents(Path("out/awe+awkwardness")).items() and (
        Path("again/manifest.jsonl").read_bytes() == Path("out/awe+awkwardness/manifest.jsonl").read_bytes()
    )


def test_a_sweep_of_intensities_holds_the_clips_of_single_runs(command):
    command("--emotion", "awe", "--intensity", "0.2:1", "--positions", 3, "--n", 2, "--out", "sweep", *FAST)
    rows = list(read_generated("sweep/manifest.jsonl"))
    assert [row.intensity for row in rows] == pytest.approx([0.2, 0.6, 1.0] * 2)
    command("--emotion", "awe", "--intensity", "0.2", "--n", 2, "--out", "low", *FAST)
    command("--emotion", "awe", "--n", 2, "--out", "full", *FAST)
    swept = sounds(Path("sweep"))
    for index in range(2):
        assert swept[f"awe_0_0000{index}_p00.wav"] == sounds(Path("low"))[f"awe_0_0000{index}.wav"]
        assert swept[f"awe_0_0000{index}_p02.wav"] == sounds(Path("full"))[f"awe_0_0000{index}.wav"]


def test_variations_of_a_real_clip(command, tmp_path):
    clip = tmp_path / "clip.flac"
    clip.write_bytes(encode_wave(0.3 * synthetic_burst(1, 0.6), "flac"))
    asked = ("--emotion", "awe", "--like", clip.name, "--strength", 0.4, "--n", 2)
    code, _, err = command(*asked, "--out", "first", "--steps", 5)
    assert code == 0 and err == ""
    rows = list(read_generated("first/manifest.jsonl"))
    assert [row.file_name for row in rows] == [f"awe_0_0000{i}_clip.wav" for i in range(2)]
    for row in rows:
        assert (row.like, row.strength, row.voice, row.duration_asked) == ("clip.flac", 0.4, None, None)
        assert row.like_sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
        assert row.seconds == pytest.approx(0.6, abs=0.011)
    command(*asked, "--out", "batch", "--steps", 5, "--batch-size", 2, "--workers", 1)
    assert contents(Path("batch")) == contents(Path("first"))
    code, out, _ = command("--from-manifest", "first/manifest.jsonl", "--out", "again", "--json")
    assert code == 0 and json.loads(out)["differing"] == 0
    clip.rename(tmp_path / "moved.flac")
    code, _, err = command("--from-manifest", "first/manifest.jsonl", "--out", "third")
    assert code == 3 and err == (
        "error: first/manifest.jsonl: awe_0_00000_clip.wav varies clip.flac, which is not there; name it with --like\n"
    )
    code, out, _ = command(
        "--from-manifest", "first/manifest.jsonl", "--like", "moved.flac", "--out", "third", "--json"
    )
    assert code == 0 and json.loads(out)["differing"] == 0
    clip.write_bytes(encode_wave(synthetic_burst(2)))
    code, _, err = command("--from-manifest", "first/manifest.jsonl", "--out", "fourth")
    assert code == 3 and "clip.flac: is not the clip that awe_0_00000_clip.wav of" in err
    assert not Path("fourth").exists()


class FakeEvaluator:
    """Prefers loud clips of whatever is asked first among its emotions."""

    id, emotions = "loud-000000000000", EMOGATOR_30

    def listen(self, waves):
        loud = np.array([float(np.square(wave).mean()) for wave in waves])
        probabilities = np.tile((1 - loud)[:, None] / 29, (1, 30))
        probabilities[:, EMOGATOR_30.index("awe")] = loud
        return SimpleNamespace(probabilities=probabilities)


@pytest.fixture
def fake_selector(monkeypatch):
    asked = []
    monkeypatch.setattr(generate, "load_selector", lambda spec: asked.append(spec) or FakeEvaluator())
    return asked


def test_best_of_keeps_the_clearest_candidate_and_says_so(command, fake_selector):
    code, _, err = command("--emotion", "awe", "--best-of", 3, "--n", 2, "--out", "best", *FAST)
    assert code == 0 and err == "" and fake_selector == [options.SELECTOR]
    rows = list(read_generated("best/manifest.jsonl"))
    assert {(row.best_of, row.selected_by) for row in rows} == {(3, (FakeEvaluator.id,))}
    command("--emotion", "awe", "--n", 2, "--out", "plain", *FAST)
    for row, plain in zip(rows, read_generated("plain/manifest.jsonl"), strict=True):
        assert row.seed in candidate_seeds(plain.seed, 3)
        with soundfile.SoundFile(Path("best") / row.file_name) as file:
            assert f"seed={row.seed};" in file.comment
            assert file.comment.endswith(f"; best_of=3; selected_by={FakeEvaluator.id}")
    code, out, _ = command("--from-manifest", "best/manifest.jsonl", "--out", "again", "--json")
    assert (
        code == 0 and json.loads(out)["differing"] == 0 and len(fake_selector) == 1
    )  # nothing is chosen again
    assert Path("again/manifest.jsonl").read_bytes() == Path("best/manifest.jsonl").read_bytes()
    command("--emotion", "awe", "--best-of", 3, "--n", 1, "--out", "one", "--batch-size", 2, *FAST)
    assert sounds(Path("one")).items() < sounds(Path("best")).items()


def test_best_of_by_the_evaluator_that_ships(command):
    """The one place where both halves meet: what `load_evaluator` gives is what the choice needs."""
    from vocalburst.eval.clips import open_clips
    from vocalburst.eval.evaluators import load_evaluator

    code, _, err = command("--emotion", "awe", "--best-of", 2, "--n", 1, "--out", "best", *FAST)
    assert code == 0 and err == ""
    assert open_clips("best").selected_by == (load_evaluator(options.SELECTOR).id,)
    code, _, err = command("--emotion", "awe", "--best-of", 2, "--selector", "nobody", *FAST)
    assert code == 4 and err.startswith("error: nobody: is no evaluator") and err.count("\n") == 1


def test_best_of_says_which_emotion_its_evaluator_does_not_know(command, fake_selector, monkeypatch):
    monkeypatch.setattr(FakeEvaluator, "emotions", EMOGATOR_30[1:])
    code, _, err = command("--emotion", "adoration", "--best-of", 2, *FAST)
    assert code == 3 and err.count("\n") == 1
    assert "the evaluator loud-000000000000 cannot choose among clips of adoration" in err


def test_raw_and_trim(command):
    command("--emotion", "awe", "--out", "plain", "--format", "wav-float", *FAST)
    command("--emotion", "awe", "--out", "raw", "--format", "wav-float", "--raw", *FAST)
    command("--emotion", "awe", "--out", "trim", "--format", "wav-float", "--trim", *FAST)
    plain, raw, trim = (read_wave(f"{name}/awe_0_00000.wav") for name in ("plain", "raw", "trim"))
    assert plain[0] == 0 and raw[0] != 0 and len(plain) == len(raw) and len(trim) <= len(plain)


def test_dry_run_writes_nothing(command):
    code, out, _ = command("--all-emotions", "--n", 4, "--dry-run")
    assert code == 0 and out.startswith("out/all\nwould make 120 clips: adoration/adoration_0_00000.wav, ")
    code, out, _ = command("--emotion", "awe", "--dry-run", "--json")
    assert code == 0 and json.loads(out)["settings"]["seed"] == 0
    assert list(Path.cwd().iterdir()) == []


def test_benchmark_adds_up(tiny_checkpoint):
    ended = run_command("vocalburst.gen.benchmark", "--checkpoint", tiny_checkpoint, "--n", "5", "--json")
    assert ended.returncode == 0, ended.stderr
    numbers = json.loads(ended.stdout)
    parts = [numbers[key] for key in ("process_start", "load", "denoiser", "vocoder", "rest")]
    assert min(parts) > 0 and sum(parts) == pytest.approx(numbers["total"], rel=1e-6)
    assert numbers["denoiser_calls"] == 2 * 4  # two batches of four rows, four steps
