"""Training through the command line: learning, exact resuming, kills, mixes of corpora, several processes.

Most runs call the command's `main` in this process, which saves the seconds that importing torch takes; the kill and
the launch of two processes are real processes.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from conftest import RATE, run_command, synthetic_burst
from safetensors.torch import load_file

from vocalburst.gen import train as train_command
from vocalburst.gen.config import load_config
from vocalburst.gen.data import prepare_command
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.manifest import Clip, read_manifest, write_manifest
from vocalburst.gen.export import export
from vocalburst.gen.models.prior import ClipPrior
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.train_config import TrainConfig

PITCHES = {"amusement": 300.0, "awe": 150.0, "fear": 500.0}
WEIGHTS = "model/transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Each run in this process starts as in a new one; one thread, so that bytes can be compared."""
    from accelerate.state import AcceleratorState, GradientState

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


def call(main, monkeypatch, *arguments) -> int:
    """A command's exit code, its `main` called in this process."""
    monkeypatch.setattr(sys, "argv", ["vocalburst", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Twelve clips of three emotions in a folder, prepared by the command: the folder of the manifest."""
    root = tmp_path_factory.mktemp("corpus")
    for split, count in (("train", 3), ("dev", 1)):
        for e, (emotion, pitch) in enumerate(PITCHES.items()):
            folder = root / "clips" / split / emotion
            folder.mkdir(parents=True)
            for k in range(count):
                wave = synthetic_burst(
                    50 * (split == "dev") + 10 * e + k, 0.3 + 0.05 * k, pitch * (1 + 0.1 * k)
                )
                soundfile.write(folder / f"{split}{k}_{emotion}.wav", wave, RATE)
    with pytest.MonkeyPatch.context() as patch:
        code = call(
            prepare_command.main, patch, "folder", root / "clips", "--corpus", "toy",
            "--speaker-pattern", r"/(?P<speaker>[a-z]+\d)_", "--out", root / "manifest",
        )  # fmt: skip
    assert code == 0
    return root


@pytest.fixture(scope="module")
def hume(corpus) -> Path:
    """A second corpus: soft intensities of ten emotions, country and age; no clip names its speaker."""
    folder = corpus / "hume"
    folder.mkdir()
    clips = []
    for k in range(4):
        wave = synthetic_burst(100 + k, 0.4, 250 + 30 * k)
        soundfile.write(folder / f"{k}.wav", wave, RATE)
        record = {
            "id": f"hume-{k}", "path": f"{k}.wav", "corpus": "hume", "split": "train" if k < 3 else "dev",
            "labelled": "exvo-10", "emotions": {"awe": 0.25, "horror": 1.0, "fear": 0.6}, "age": 25.0 + k,
            "country": ("china", "venezuela")[k % 2], "seconds": 0.4, "active_seconds": 0.3,
            "level_db": -20.0, "peak_db": -6.0,
        }  # fmt: skip
        clips.append(Clip(**record))
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


def settings(corpus: Path, output: Path, **changes) -> dict:
    """A run of 8 steps of 4 clips; `changes` replace whole sections or keys."""
    values = {
        "output": str(output),
        "batch_size": 4,
        "data": {
            "manifests": [{"path": str(corpus / "manifest" / "manifest.jsonl")}],
            "cache": str(corpus / "cache"), "p_pitch": 0.3, "p_crop": 0.3,
        },
        "model": {"patch": 4, "dim": 32, "n_layers": 2, "n_heads": 2, "bottleneck": 16, "dropout": 0.1},
        "optimizer": {"lr": 0.003, "lr_matrices": 0.003},
        "ema": {"decay": 0.9},
        "samples": {"total": 32, "warmup": 8, "decay": 16, "log_every": 4, "save_every": 16, "keep": 3},
        "validation": {"clips": 3, "emotions": ["awe", "fear"], "steps": 2},
    }  # fmt: skip
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(values.get(key), dict) else value
    return values


def write_config(corpus: Path, output: Path, **changes) -> Path:
    output.parent.mkdir(parents=True, exist_ok=True)
    path = output.parent / f"{output.name}.yaml"
    path.write_text(yaml.safe_dump(settings(corpus, output, **changes)))
    return path


def train(monkeypatch, corpus: Path, output: Path, *arguments, expect: int = 0, **changes) -> Path:
    from accelerate.state import AcceleratorState, GradientState

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    config = write_config(corpus, output, **changes)
    assert call(train_command.main, monkeypatch, "--config", config, *arguments) == expect
    return output


def metrics(run: Path, *without: str) -> list[dict]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in without} for line in lines]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_same_tensors(first, second, where: str = "") -> None:
    """Equality to the bit of two structures of tensors and numbers."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same_tensors(first[key], second[key], f"{where}/{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for place, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same_tensors(a, b, f"{where}/{place}")
    else:
        assert first == second, where


def assert_same_end(run: Path, other: Path) -> None:
    """Weights, averages, optimisers and metrics of two finished runs agree to the bit."""
    last = "checkpoints/000000000032"
    assert_same_tensors(
        load_file(run / last / "model.safetensors"), load_file(other / last / "model.safetensors")
    )
    states = ["custom_checkpoint_0.pkl", *sorted(path.name for path in (run / last).glob("*.bin"))]
    assert len(states) >= 3  # two optimisers and the averages
    for name in states:
        first, second = (torch.load(r / last / name, weights_only=False) for r in (run, other))
        assert_same_tensors(first, second, name)
    assert (run / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
    assert metrics(run, "clips_per_second") == metrics(other, "clips_per_second")


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory, tiny_checkpoint) -> Path:
    """An uninterrupted run of 8 steps that writes everything a run can write."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.set_num_threads(1)
        return train(
            patch, corpus, tmp_path_factory.mktemp("runs") / "whole",
            samples={"validate_every": 16, "snapshots": [8]},
            validation={"vocoder": str(tiny_checkpoint / "vocoder")},
        )  # fmt: skip


def test_a_run_leaves_all_its_files(whole, corpus):
    config = load_config(whole / "config.yaml", TrainConfig)
    assert config.samples.total == 32 and config.output == str(whole)
    steps = [line for line in metrics(whole) if "loss" in line]
    assert [line["seen"] for line in steps] == list(range(4, 33, 4))
    assert all(math.isfinite(line["loss"]) and line["clips_per_second"] > 0 for line in steps)
    assert [line["seen"] for line in metrics(whole) if "validation_loss" in line] == [16, 32]
    for seen in ("000000016", "000000032"):
        folder = whole / "samples" / seen
        assert sorted(p.name for p in folder.iterdir()) == ["awe.wav", "fear.wav", "mels.png"]
        assert (folder / "mels.png").read_bytes().startswith(b"\x89PNG")
        assert soundfile.info(folder / "awe.wav").samplerate == SAMPLE_RATE
    assert sorted(p.name for p in (whole / "checkpoints").iterdir()) == ["000000000016", "000000000032"]
    assert [p.name for p in (whole / "snapshots").iterdir()] == ["000000008"]
    assert not list(whole.rglob("*.part"))


def test_a_run_logs_to_tensorboard(whole):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "tensorboard")).Reload()
    written = [(e.step, pytest.approx(e.value)) for e in events.Scalars("loss")]
    assert [(line["seen"], line["loss"]) for line in metrics(whole) if "loss" in line] == written
    assert len(events.Scalars("validation_loss")) == 2


def test_the_saved_model_knows_its_names(whole, corpus):
    transformer = BurstTransformer.from_pretrained(whole / "model" / "transformer")
    assert list(transformer.config.emotions) == list(PITCHES)
    train_clips = [c for c in read_manifest(corpus / "manifest" / "manifest.jsonl") if c.split == "train"]
    assert list(transformer.config.voices) == sorted({clip.speaker for clip in train_clips})
    rows = ClipPrior.from_pretrained(whole / "model" / "prior").rows
    assert len(rows) == len(train_clips) == 9
    assert sorted(rows[:, 0].tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    torch.testing.assert_close(
        rows[:, 2].sort().values, torch.tensor(sorted(clip.seconds for clip in train_clips))
    )


def test_snapshots_and_the_end_hold_averaged_weights(whole):
    average = load_file(whole / WEIGHTS)
    early = load_file(whole / "snapshots/000000008/transformer/diffusion_pytorch_model.safetensors")
    last = load_file(whole / "checkpoints/000000000032/model.safetensors")
    assert average.keys() == last.keys() == early.keys()
    assert any(not torch.equal(average[key], last[key]) for key in last)
    assert any(not torch.equal(average[key], early[key]) for key in last)


def copy_run(whole: Path, target: Path, keep: str = "000000000016") -> Path:
    """The run as it lay there after 16 samples, but for its metrics, which a kill left further on."""
    shutil.copytree(whole, target)
    for path in (target / "checkpoints").iterdir():
        if path.name != keep:
            shutil.rmtree(path)
    shutil.rmtree(target / "model")
    return target


def same_options(tiny_checkpoint) -> dict:
    return {
        "samples": {"validate_every": 16, "snapshots": [8]},
        "validation": {"vocoder": str(tiny_checkpoint / "vocoder")},
    }


@pytest.mark.parametrize("named", [False, True])
def test_resume_is_exact(monkeypatch, corpus, whole, tmp_path, tiny_checkpoint, named):
    """4 steps and 4 more after a resume are 8 steps, to the bit."""
    run = copy_run(whole, tmp_path / "again")
    resume = run / "checkpoints" / "000000000016" if named else "latest"
    train(monkeypatch, corpus, run, "--resume", resume, **same_options(tiny_checkpoint))
    assert_same_end(run, whole)


def test_resume_is_exact_with_worker_processes_and_accumulation(monkeypatch, corpus, tmp_path):
    options = {"batch_size": 2, "gradient_accumulation": 2, "workers": 1}
    first = train(monkeypatch, corpus, tmp_path / "first", **options)
    assert [line["seen"] for line in metrics(first) if "loss" in line] == list(range(4, 33, 4))
    second = copy_run(first, tmp_path / "second")
    train(monkeypatch, corpus, second, "--resume", "latest", **options)
    assert_same_end(second, first)


def test_a_half_written_save_is_passed_over(monkeypatch, corpus, whole, tmp_path, tiny_checkpoint):
    run = copy_run(whole, tmp_path / "cut")
    part = run / "checkpoints" / ".000000000032.part"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"half")
    old_model = run / ".model.part"
    old_model.mkdir()
    (old_model / "leftover").write_bytes(b"x")
    train(monkeypatch, corpus, run, "--resume", "latest", **same_options(tiny_checkpoint))
    assert_same_end(run, whole)
    assert not part.exists() and not (run / "model" / "leftover").exists()


def test_a_kill_in_the_first_save_is_no_dead_end(monkeypatch, corpus, tmp_path):
    (tmp_path / "run" / "checkpoints" / ".000000000016.part").mkdir(parents=True)
    short = {"total": 8, "save_every": 0}
    run = train(monkeypatch, corpus, tmp_path / "run", "--resume", "latest", samples=short)
    assert (run / WEIGHTS).exists()


def test_a_killed_process_loses_nothing_older(monkeypatch, corpus, tmp_path):
    """SIGKILL at a moment nobody chose; the run then ends where an unharmed one ends."""
    options = {"samples": {"save_every": 4, "keep": 2}}
    unharmed = train(monkeypatch, corpus, tmp_path / "unharmed", **options)
    run = tmp_path / "killed"
    config = write_config(corpus, run, **options)
    process = subprocess.Popen(
        [sys.executable, "-m", "vocalburst.gen.train", "--config", config],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    checkpoints, end = run / "checkpoints", time.monotonic() + 200
    while not (checkpoints.is_dir() and any(p.name.isdigit() for p in checkpoints.iterdir())):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.15)  # somewhere in a later step or save
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole_ones = [p for p in checkpoints.iterdir() if p.name.isdigit()]
    assert whole_ones
    for path in whole_ones:
        load_file(path / "model.safetensors")
    train(monkeypatch, corpus, run, "--resume", "latest", **options)
    assert_same_end(run, unharmed)


@pytest.fixture(scope="module")
def trained_checkpoint(whole, tiny_checkpoint, tmp_path_factory) -> Path:
    """The run `whole` as a checkpoint folder, weights in float16."""
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    export(whole, tiny_checkpoint / "vocoder", folder)
    return folder


def test_a_run_starts_from_a_checkpoint(monkeypatch, corpus, trained_checkpoint, tmp_path):
    """With a rate of next to nothing it stays where it started, in spite of another seed."""
    run = train(
        monkeypatch, corpus, tmp_path / "run", init=str(trained_checkpoint), seed=5,
        samples={"total": 4}, optimizer={"lr": 1e-12, "lr_matrices": 1e-12},
    )  # fmt: skip
    start = load_file(trained_checkpoint / "transformer" / "diffusion_pytorch_model.safetensors")
    end = load_file(run / WEIGHTS)
    assert set(start) == set(end)
    for name, tensor in start.items():
        torch.testing.assert_close(end[name], tensor.float(), rtol=0, atol=1e-9)
    for name in ("normalizer/config.json", "normalizer/diffusion_pytorch_model.safetensors"):
        assert (run / "model" / name).read_bytes() == (trained_checkpoint / name).read_bytes()


def test_a_checkpoint_of_other_sizes_is_no_start(monkeypatch, corpus, trained_checkpoint, tmp_path, capsys):
    options = {"init": str(trained_checkpoint), "model": {"dim": 64}}
    train(monkeypatch, corpus, tmp_path / "run", expect=3, **options)
    assert f"{trained_checkpoint}: its denoiser has dim 32, this run needs 64" in capsys.readouterr().err


def test_a_second_start_refuses(monkeypatch, corpus, whole, tmp_path, capsys):
    before = files(whole)
    config = write_config(corpus, tmp_path / "x")
    arguments = ("--config", config, "--set", f"output={whole}")
    assert call(train_command.main, monkeypatch, *arguments) == 3
    assert "already holds a run; pass --resume latest" in capsys.readouterr().err
    assert files(whole) == before


def test_resuming_a_finished_run_changes_no_weights(monkeypatch, corpus, whole, tmp_path, tiny_checkpoint):
    shutil.copytree(whole, tmp_path / "done")
    train(monkeypatch, corpus, tmp_path / "done", "--resume", "latest", **same_options(tiny_checkpoint))
    assert (tmp_path / "done" / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_resume_from_nowhere(monkeypatch, corpus, tmp_path, capsys):
    train(monkeypatch, corpus, tmp_path / "run", "--resume", tmp_path / "none", expect=3)
    assert "none: no such checkpoint folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("sampels.total=3", "unknown key 'sampels'; the nearest valid one is 'samples'"),
        (
            "optimizer.lr_matrix=0",
            "unknown key 'optimizer.lr_matrix'; the nearest valid one is 'lr_matrices'",
        ),
        ("model.dim=30", "dim 30 is not a multiple of twice n_heads 2"),
        ("mixed_precision=int8", "mixed_precision"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch, corpus, tmp_path, capsys, key, sentence):
    train(monkeypatch, corpus, tmp_path / "run", "--set", key, expect=3)
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_manifest_without_dev_clips(monkeypatch, corpus, tmp_path, capsys):
    clips = [c for c in read_manifest(corpus / "manifest" / "manifest.jsonl") if c.split == "train"]
    path = corpus / "clips" / "train-only.jsonl"
    write_manifest(path, clips)
    data = {"manifests": [{"path": str(path)}]}
    train(monkeypatch, corpus, tmp_path / "run", expect=3, data=data)
    assert "has no dev clips" in capsys.readouterr().err


def test_it_learns(monkeypatch, corpus, tmp_path):
    """Two short clips are learnt by heart: told the emotion, the model finds them in little but noise."""
    clips = []
    for emotion, split in (("awe", "train"), ("fear", "train"), ("awe", "dev")):
        name = f"{split}-{emotion}"
        soundfile.write(tmp_path / f"{name}.wav", synthetic_burst(len(clips), 0.12, PITCHES[emotion]), RATE)
        record = {
            "id": name, "path": f"{name}.wav", "corpus": "toy", "split": split, "speaker": split,
            "labelled": ("awe", "fear"), "emotions": {emotion: 1.0}, "seconds": 0.12, "active_seconds": 0.1,
            "level_db": -20.0, "peak_db": -6.0,
        }  # fmt: skip
        clips.append(Clip(**record))
    write_manifest(tmp_path / "manifest.jsonl", clips)
    run = train(
        monkeypatch, corpus, tmp_path / "run", batch_size=4, dropout={"emotion": 0.0, "attribute": 0.0},
        data={"manifests": [{"path": str(tmp_path / "manifest.jsonl")}], "p_pitch": 0.0, "p_crop": 0.0},
        noise={"mean": 2.0, "std": 0.2}, model={"dim": 64, "bottleneck": 64, "dropout": 0.0},
        optimizer={"lr": 0.01, "lr_matrices": 0.01},
        samples={"total": 400, "decay": 200, "log_every": 40, "save_every": 0},
    )  # fmt: skip
    losses = [line["loss"] for line in metrics(run) if "loss" in line]
    assert len(losses) == 10
    assert losses[-1] < 0.88 * losses[0], losses


def test_a_student_learns_what_guidance_does(monkeypatch, corpus, trained_checkpoint, tmp_path):
    """Taught by itself it has nothing to learn; taught by its own guided answers it has."""
    teacher = {"checkpoint": str(trained_checkpoint)}
    calm = {
        "init": str(trained_checkpoint), "model": {"dropout": 0.0}, "samples": {"total": 16, "save_every": 0},
        "optimizer": {"lr": 1e-6, "lr_matrices": 1e-6},
    }  # fmt: skip
    own = train(monkeypatch, corpus, tmp_path / "own", teacher=teacher, **calm)
    nothing = [line["loss"] for line in metrics(own) if "loss" in line]
    teacher["guidance"] = 100.0  # so short a training leaves the emotion next to no effect
    guided = train(monkeypatch, corpus, tmp_path / "guided", teacher=teacher, **calm)
    something = [line["loss"] for line in metrics(guided) if "loss" in line]
    assert max(nothing) < 1e-6 < 1e-3 < max(something), (nothing, something)


def test_a_weak_network_and_autoguidance_go_together(monkeypatch, corpus, tmp_path, capsys):
    train(monkeypatch, corpus, tmp_path / "run", expect=3, teacher={"checkpoint": "x", "autoguidance": 1.0})
    assert "weak and autoguidance go together: expected both or neither" in capsys.readouterr().err


def test_quiet_clips_are_left_out(monkeypatch, corpus, tmp_path, capsys):
    manifest = corpus / "manifest" / "manifest.jsonl"
    levels = sorted(clip.level_db for clip in read_manifest(manifest) if clip.split == "train")
    quiet = 1 + max(range(len(levels) - 1), key=lambda i: levels[i + 1] - levels[i])
    least = (levels[quiet - 1] + levels[quiet]) / 2
    small = {"total": 4, "save_every": 0}
    run = train(monkeypatch, corpus, tmp_path / "run", data={"min_level_db": least}, samples=small)
    assert (
        f"{quiet} of {len(levels)} train clips under {least:g} dBFS are left out" in capsys.readouterr().err
    )
    rows = ClipPrior.from_pretrained(run / "model" / "prior").rows
    assert sorted(rows[:, 4].tolist()) == pytest.approx(levels[quiet:])
    train(monkeypatch, corpus, tmp_path / "none", expect=3, data={"min_level_db": 0.0}, samples=small)
    assert "no train clip reaches 0 dBFS (data.min_level_db)" in capsys.readouterr().err


def test_bfloat16(monkeypatch, corpus, tmp_path):
    run = train(
        monkeypatch, corpus, tmp_path / "run", mixed_precision="bf16", samples={"total": 12, "save_every": 0}
    )
    assert all(math.isfinite(line["loss"]) for line in metrics(run) if "loss" in line)
    assert all(tensor.dtype == torch.float32 for tensor in load_file(run / WEIGHTS).values())


def test_two_corpora_in_one_run(monkeypatch, corpus, hume, tmp_path):
    manifests = [{"path": str(corpus / "manifest" / "manifest.jsonl")}, {"path": str(hume), "weight": 2.0}]
    run = train(
        monkeypatch, corpus, tmp_path / "run", data={"manifests": manifests},
        samples={"total": 12, "save_every": 0}, validation={"emotions": ["awe", "horror"]},
    )  # fmt: skip
    assert all(math.isfinite(line["loss"]) for line in metrics(run) if "loss" in line)
    config = BurstTransformer.from_pretrained(run / "model" / "transformer").config
    union = {*PITCHES, "excitement", "awkwardness", "horror", "distress", "triumph", "sadness", "surprise"}
    assert set(config.emotions) == union
    assert list(config.countries) == ["china", "venezuela"]
    rows = ClipPrior.from_pretrained(run / "model" / "prior").rows
    horror = rows[rows[:, 0] == list(config.emotions).index("horror")]
    assert len(horror) == 3 and (horror[:, 1] == -1).all()  # the strongest emotion; nobody's voice


def first_update(monkeypatch, corpus, output: Path, **options) -> dict[str, torch.Tensor]:
    """The change of every weight in the first step, noise and noise level being functions of the clip alone."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    from vocalburst.gen import trainer
    from vocalburst.gen.training_data import load_training_data

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    monkeypatch.setattr(trainer, "sample_sigma", lambda n, *_: torch.full((n,), 0.4))
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.sin(1000 * x))
    path = write_config(
        corpus, output, dropout={"emotion": 0.0, "attribute": 0.0}, data={"max_seconds": 0.2, "p_crop": 0.0},
        model={"dropout": 0.0}, samples={"total": 4, "warmup": 0, "decay": 0}, **options,
    )  # fmt: skip
    config = load_config(path, TrainConfig)
    accelerator = Accelerator(gradient_accumulation_steps=config.gradient_accumulation)
    data = load_training_data(config, show=False)
    torch.manual_seed(0)
    run = trainer.Trainer(config, data, accelerator)
    for parameter in run.model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    results = [run.step(b) for b in trainer.training_batches(data, config, accelerator, 0)]
    assert [r is None for r in results] == [True] * (config.gradient_accumulation - 1) + [False]
    assert (run.progress.step, run.progress.seen) == (1, 4)
    return {name: p.detach() - before[name] for name, p in run.model.named_parameters()}


def test_accumulated_gradients_are_those_of_the_whole_batch(monkeypatch, corpus, tmp_path):
    """2 x 2 clips move the weights as 4 do (all of one length, since the loss is a mean over frames)."""
    parts = first_update(monkeypatch, corpus, tmp_path / "parts", batch_size=2, gradient_accumulation=2)
    once = first_update(monkeypatch, corpus, tmp_path / "once", batch_size=4)
    other = first_update(monkeypatch, corpus, tmp_path / "other", batch_size=4, seed=1)
    for name, update in once.items():
        scale = update.norm()
        assert (parts[name] - update).norm() <= 0.02 * scale, name
    assert any((other[name] - once[name]).norm() > 0.3 * once[name].norm() for name in once)


def test_two_processes(corpus, tmp_path):
    """`accelerate launch` with two processes: each half of every batch, one set of weights on both."""
    run = tmp_path / "run"
    config = write_config(
        corpus, run, batch_size=2, samples={"total": 16, "save_every": 8, "warmup": 0, "decay": 0}
    )
    spy = tmp_path / "spy.py"  # writes down what each process drew, and its weights at the end
    spy.write_text(
        "import json, sys, torch\n"
        "from vocalburst.gen import trainer, train\n"
        "step, drawn = trainer.Trainer.step, []\n"
        "def spying(self, batch):\n"
        "    drawn.append(batch.condition.scalars[:, 0].tolist())\n"
        "    value = step(self, batch)\n"
        "    weights = [float(p.double().sum()) for p in self.model.parameters()]\n"
        f"    path = {str(tmp_path)!r} + f'/rank{{self.accelerator.process_index}}.json'\n"
        "    json.dump({'drawn': drawn, 'weights': weights}, open(path, 'w'))\n"
        "    return value\n"
        "trainer.Trainer.step = spying\n"
        "train.main()\n"
    )
    # --multi_gpu only means several processes: --cpu starts one, however many are asked for.
    launch = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no")  # fmt: skip
    port = 20_000 + os.getpid() % 20_000
    done = run_command(*launch, "--main_process_port", str(port), spy, "--config", config)
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    logged = [line for line in metrics(run) if "loss" in line]
    assert [line["seen"] for line in logged] == [4, 8, 12, 16]  # over both processes, written once
    assert all(math.isfinite(line["loss"]) for line in logged)
    assert len(ranks[0]["drawn"]) == len(ranks[1]["drawn"]) == 4

    from vocalburst.gen.training_data import load_training_data

    data = load_training_data(load_config(config, TrainConfig), show=False)
    alone = [[data.train[draw][1].scalars[0, 0].item() for draw in range(s, s + 4)] for s in range(0, 16, 4)]
    assert [a + b for a, b in zip(ranks[0]["drawn"], ranks[1]["drawn"], strict=True)] == alone
    states = sorted(p.name for p in (run / "checkpoints" / "000000000016").glob("random_states_*"))
    assert len(states) == 2
