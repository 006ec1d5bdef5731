"""Training through the command line: learning, mixes of corpora, precision, several processes.

Most runs call the command's `main` in this process, which saves the seconds that importing torch takes; the launch of
two processes is a real one.
"""

import json
import math
import os
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import RATE, run_command, synthetic_burst
from safetensors.torch import load_file
from training_fixtures import (
    PITCHES,
    WEIGHTS,
    corpus,
    fresh_accelerate,
    hume,
    metrics,
    train,
    whole,
    write_config,
)

from vocalburst.gen.config import load_config
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.manifest import Clip, read_manifest, write_manifest
from vocalburst.gen.export import export
from vocalburst.gen.models.prior import ClipPrior
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.train_config import TrainConfig

__all__ = ["corpus", "fresh_accelerate", "hume", "whole"]  # fixtures


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
