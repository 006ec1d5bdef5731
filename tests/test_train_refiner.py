"""Refiner training: sketches, pairs by their number, exact continuation, and the way into a checkpoint."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import ROOT, run_command, synthetic_burst
from safetensors import safe_open
from test_train_vocoder import assert_same_run, metrics

from vocalburst.gen import refiner_trainer
from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.config import load_config
from vocalburst.gen.data.audio import encode_wave
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, write_manifest
from vocalburst.gen.dataset import BurstDataset, Source
from vocalburst.gen.models.refiner import MelRefiner
from vocalburst.gen.pipeline import load_generator
from vocalburst.gen.refiner_trainer import rate_scale, train
from vocalburst.gen.sketches import SketchPairs, draw_sketches, read_sketches, sketch_file
from vocalburst.gen.train_refiner import RefinerTraining

FRAMES = 24


def write_corpus(folder: Path, emotions: tuple[str, ...] = ("awe", "fear")) -> Path:
    """10 bursts, the first 8 for training, their emotions in turn; returns the manifest."""
    clips = []
    for index in range(10):
        name, emotion = f"clip-{index:02d}", emotions[index % len(emotions)]
        wave = synthetic_burst(index, 0.2 + 0.05 * index)
        (folder / f"{name}.wav").write_bytes(encode_wave(wave))
        clips.append(
            Clip(
                id=name, path=f"{name}.wav", corpus="toy", split="train" if index < 8 else "dev",
                speaker=f"speaker-{index // 2}", labelled=emotions, emotions={emotion: 1.0},
                seconds=len(wave) / 24000, active_seconds=len(wave) / 24000, level_db=-20.0, peak_db=-6.0,
            )
        )  # fmt: skip
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


def settings(manifest: Path, checkpoint: Path, **changes) -> RefinerTraining:
    """10 steps of 4 samples, the discriminators alone in the first two, saved after 2, 5 and 10."""
    values = {
        "out": str(manifest.parent / "run"),
        "checkpoint": str(checkpoint),
        "data": {"manifests": [{"path": str(manifest)}], "cache": str(manifest.parent / "cache")},
        "batch_size": 4,
        "warmup_samples": 8,
        "total_samples": 40,
        "save_samples": 20,
        "log_samples": 4,
        "threads": 1,
        "sketches": {"n": 2, "frames": FRAMES},
        "model": {"dim": 16, "intermediate_dim": 32, "num_layers": 1},
        "discriminator_width": 4,
    }
    return RefinerTraining.model_validate(values | changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_checkpoint) -> RefinerTraining:
    """A finished, never interrupted run."""
    config = settings(write_corpus(tmp_path_factory.mktemp("whole")), tiny_checkpoint)
    train(config)
    return config


@pytest.fixture(scope="module")
def pipeline(tiny_checkpoint):
    return load_generator(tiny_checkpoint)


def test_a_killed_run_continues_bitwise(whole, tmp_path, monkeypatch):
    broken = whole.model_copy(update={"out": str(tmp_path / "another")})
    step = refiner_trainer.RefinerTrainer.step

    def step_or_die(self, batch, samples):
        if samples == 32:
            raise KeyboardInterrupt
        return step(self, batch, samples)

    monkeypatch.setattr(refiner_trainer.RefinerTrainer, "step", step_or_die)
    with pytest.raises(KeyboardInterrupt):
        train(broken)
    monkeypatch.undo()
    train(broken, resume="latest")
    assert_same_run(Path(whole.out), Path(broken.out))


def test_loader_processes_and_kept_examples_change_next_to_nothing(whole, tmp_path):
    """Processes change no bit; examples that are kept in 16 bits change the losses by their rounding."""

    def losses(name: str, **changes) -> list[dict]:
        config = whole.model_copy(update={"out": str(tmp_path / name), **changes})
        shutil.copytree(Path(whole.out) / "sketches", tmp_path / name / "sketches")
        train(config)
        return [
            {key: row[key] for key in row if key != "samples_per_second"} for row in metrics(Path(config.out))
        ]

    plain = [
        {key: row[key] for key in row if key != "samples_per_second"} for row in metrics(Path(whole.out))
    ]
    assert losses("processes", workers=2) == plain
    kept = losses("kept", data=whole.data.model_copy(update={"kept_epochs": 5}))
    assert [row["discriminator"] for row in kept] == pytest.approx(
        [row["discriminator"] for row in plain], rel=0.02
    )
    assert kept != plain


def test_at_first_the_discriminators_learn_alone(whole):
    rows = metrics(Path(whole.out))
    assert ["adversarial" in row for row in rows] == [False, False] + [True] * 8
    assert all(row["change"] > 0 for row in rows[4:])
    assert rows[0]["discriminator_rate"] / rows[0]["learning_rate"] == pytest.approx(5 / 3)


def test_the_rates_rise_then_fall_to_nothing(whole):
    config = whole.model_copy(update={"optimiser": whole.optimiser.model_copy(update={"ramp_samples": 16})})
    assert rate_scale(config, 0) == pytest.approx(0.25)
    assert rate_scale(config, 20) == pytest.approx(0.5)
    assert rate_scale(config, 40) == pytest.approx(0, abs=1e-9)


def test_the_export_starts_from_the_moments_of_recordings(whole, pipeline):
    """The line of each bin is what `match` says of the run's sketches and clips."""
    refiner = MelRefiner.from_pretrained(Path(whole.out) / "export")
    sketches = read_sketches(Path(whole.out) / "sketches", pipeline.emotions)
    x = torch.cat([x.float() for of_emotion in sketches for x in of_emotion], dim=1)
    matched = refiner.matched(x[None])[0]
    mels = [pipeline.normalizer.normalize(mel) for mel in recorded_mels(whole, pipeline)]
    wanted = torch.cat(mels, dim=1)
    torch.testing.assert_close(matched.mean(1), wanted.mean(1), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(matched.std(1), wanted.std(1), atol=1e-2, rtol=1e-2)


def recorded(config: RefinerTraining, pipeline) -> BurstDataset:
    sources = refiner_trainer.open_sources(config.data, show=False)[0]
    return BurstDataset(sources, pipeline.emotions, mel=pipeline.mel_config, seed=config.seed)


def recorded_mels(config: RefinerTraining, pipeline) -> list[torch.Tensor]:
    dataset = recorded(config, pipeline)
    source: Source = dataset.sources[0]
    return [dataset.example(source, index)[0] for index in range(len(source.clips))]


def test_sketches_are_the_pipelines_and_are_made_once(whole, pipeline, tmp_path):
    draw_sketches(pipeline, tmp_path, 2, 7, Accelerator())
    sketches = read_sketches(tmp_path, pipeline.emotions)
    assert [len(of_emotion) for of_emotion in sketches] == [2] * 30
    row, chosen = pipeline.emotions.index("fear"), pipeline.defaults
    spec = BurstSpec({"fear": 1.0}, 7 + 2 * row + 1, chosen["steps"], chosen["guidance"], chosen["scheduler"])
    torch.testing.assert_close(sketches[row][1].float(), pipeline.sketch([spec])[0], atol=5e-3, rtol=5e-3)
    path = sketch_file(tmp_path, "fear")
    before = path.stat().st_mtime_ns
    draw_sketches(pipeline, tmp_path, 2, 7, Accelerator())
    assert path.stat().st_mtime_ns == before
    with safe_open(path, "pt") as file:
        assert file.metadata()["checkpoint"] == pipeline.content_hash
    with pytest.raises(InputDataError, match=r"made by .*'seed': '7'.* this run needs .*'seed': '8'"):
        draw_sketches(pipeline, tmp_path, 2, 8, Accelerator())


def test_pairs_are_pieces_of_one_emotion_and_a_function_of_their_number(whole, pipeline):
    sketches = read_sketches(Path(whole.out) / "sketches", pipeline.emotions)
    pairs = SketchPairs(recorded(whole, pipeline), pipeline.normalizer, sketches, FRAMES, seed=3)
    mels = [pipeline.normalizer.normalize(mel) for mel in recorded_mels(whole, pipeline)]
    seen = set()
    for number in range(16):
        pair = pairs[number]
        assert all(torch.equal(value, pairs[number][name]) for name, value in pair.items())
        row = int(pair["emotion"].argmax())
        assert pair["emotion"].sum() == 1 and pipeline.emotions[row] in ("awe", "fear")
        length = int(pair["mask"].sum())
        assert any(contains(x.float(), pair["sketch"][:, :length]) for x in sketches[row])
        assert not pair["sketch"][:, length:].any()
        clip = [
            index
            for index, x in enumerate(mels)
            if contains(x, pair["recorded"][:, : min(FRAMES, x.shape[1])])
        ]
        assert len(clip) == 1 and ("awe", "fear")[clip[0] % 2] == pipeline.emotions[row]
        seen.add(clip[0])
    assert seen == set(range(8))
    noise = torch.stack([pairs[number]["noise"] for number in range(16)])
    assert float(noise.std()) == pytest.approx(1, abs=0.02) and noise.unique().numel() > 0.99 * noise.numel()


def contains(x: torch.Tensor, piece: torch.Tensor) -> bool:
    """Whether piece [M, t] is a part of x [M, T]."""
    return any(
        torch.equal(x[:, start : start + piece.shape[1]], piece)
        for start in range(x.shape[1] - piece.shape[1] + 1)
    )


def test_a_checkpoint_that_does_not_know_the_emotions_is_refused(tmp_path, tiny_checkpoint):
    config = settings(write_corpus(tmp_path, ("awe", "awkwardness")), tiny_checkpoint)
    with pytest.raises(InputDataError, match=r"does not know the emotions awkwardness of the manifests"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_clips_without_an_emotion_are_refused(whole, pipeline):
    clips = list(recorded(whole, pipeline).sources[0].clips)
    clips[3] = clips[3].model_copy(update={"emotions": {"awe": 0.0}})
    with pytest.raises(InputDataError, match=r"1 have none, such as clip-03"):
        refiner_trainer.check_emotions("c", pipeline.emotions, clips)


def test_it_learns_the_grain_of_recordings(tmp_path):
    """Sketches that stand still, recordings that move from frame to frame: refined ones move as much."""
    config = settings(
        tmp_path / "manifest.jsonl", tmp_path, batch_size=16, warmup_samples=320, total_samples=3200, save_samples=9999,
        log_samples=9999, model={"dim": 32, "intermediate_dim": 64, "num_layers": 2}, discriminator_width=8,
        optimiser={"learning_rate": 1e-3, "discriminator_rate": 2e-3, "ema_decay": 0.9},
    )  # fmt: skip
    torch.set_num_threads(1)

    def smooth(n: int, generator: torch.Generator) -> torch.Tensor:
        return 0.3 * torch.randn(n, 12, 1, generator=generator).expand(-1, -1, FRAMES)

    clips = smooth(64, torch.Generator().manual_seed(1))
    grain = 0.1 * torch.randn(clips.shape, generator=torch.Generator().manual_seed(2))
    trainer = refiner_trainer.RefinerTrainer(config, Accelerator(), ["awe"], list(clips), list(clips + grain))
    for samples in range(0, config.total_samples, config.batch_size):
        generator = torch.Generator().manual_seed(samples)
        batch = {
            "sketch": smooth(16, generator),
            "recorded": smooth(16, generator) + 0.1 * torch.randn(16, 12, FRAMES, generator=generator),
            "noise": torch.randn(16, 12, FRAMES, generator=generator),
            "mask": torch.ones(16, FRAMES, dtype=torch.bool),
            "emotion": torch.ones(16, 1),
        }
        trainer.step(batch, samples)
    refiner, x = trainer.generator.eval(), smooth(16, torch.Generator().manual_seed(3))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        one, other = (refiner(x, value, torch.ones(16, 1)) for value in (noise, -noise))
    wanted = float((x + 0.1 * noise).diff(dim=-1).abs().mean())
    assert float(one.diff(dim=-1).abs().mean()) == pytest.approx(wanted, rel=0.35)
    assert float((one - other).abs().mean()) > 0.05
    assert float((one - x).mean(dim=-1).abs().mean()) < 0.15


def small_run(folder: Path, checkpoint: Path) -> list[str | Path]:
    """Options of a run of three steps in `folder`."""
    changes = (
        f"out={folder / 'run'}", f"checkpoint={checkpoint}", f"data.cache={folder / 'cache'}",
        f"data.manifests=[{{path: {write_corpus(folder)}}}]", "data.min_level_db=null", "batch_size=2",
        "warmup_samples=2", "total_samples=6", "log_samples=2", "sketches.n=1", "sketches.frames=24", "model.dim=16",
        "model.intermediate_dim=32", "model.num_layers=1", "discriminator_width=4", "precision=no",
    )  # fmt: skip
    preset = ROOT / "configs" / "refiner" / "laptop.yaml"
    return ["--config", preset, *(part for change in changes for part in ("--set", change))]


def test_command_line_trains_exports_and_generates(tmp_path, tiny_checkpoint):
    ended = run_command("vocalburst.gen.train_refiner", *small_run(tmp_path, tiny_checkpoint))
    assert ended.returncode == 0, ended.stderr
    export = tmp_path / "run" / "export"
    assert ended.stdout.strip() == str(export)
    told = (export / "training.json").read_text()
    assert json.loads(told)["samples"] == 6 and str(tmp_path) not in told

    model = tmp_path / "denoiser" / "model"
    for part in ("transformer", "normalizer", "prior"):
        shutil.copytree(tiny_checkpoint / part, model / part)
    ended = run_command(
        "vocalburst.gen.export", "--run", tmp_path / "denoiser", "--vocoder", tiny_checkpoint / "vocoder",
        "--refiner", export, "--out", tmp_path / "mine", "--settings", '{"steps": 2}',
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    waves = [
        load_generator(folder)("awe", seed=1, num_inference_steps=2).audios[0]
        for folder in (tmp_path / "mine", tiny_checkpoint)
    ]
    assert np.isfinite(waves[0]).all() and waves[0].tobytes() != waves[1].tobytes()


def test_the_configuration_that_ships_is_whole():
    config = load_config(ROOT / "configs" / "refiner" / "laptop.yaml", RefinerTraining)
    assert config.warmup_samples < config.total_samples and config.batch_size % 2 == 0


def test_two_processes_share_the_work(tmp_path, tiny_checkpoint):
    """Under torchrun on CPUs: one run of one log, every emotion's sketches once."""
    ended = run_command(
        "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "vocalburst.gen.train_refiner",
        *small_run(tmp_path, tiny_checkpoint),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.split() == [str(tmp_path / "run" / "export")]
    assert [row["seen"] for row in metrics(tmp_path / "run")] == [2, 4, 6]
    assert len(list((tmp_path / "run" / "sketches").iterdir())) == 30
