"""Vocoder training: the order of the data, exact continuation, kills at bad moments; and copy-synthesis."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vocalburst.gen import cli, vocoder_trainer
from vocalburst.gen.config import dump_config, load_config
from vocalburst.gen.data.audio import encode_wave
from vocalburst.gen.data.errors import InputDataError, MissingModelError
from vocalburst.gen.data.manifest import Clip, write_manifest
from vocalburst.gen.data.mel import MelConfig
from vocalburst.gen.models.vocoder import load_vocoder
from vocalburst.gen.run_folder import list_checkpoints
from vocalburst.gen.segments import PEAK, SegmentDataset
from vocalburst.gen.train_vocoder import VocoderTraining
from vocalburst.gen.vocoder_trainer import learning_rate, train

PRESETS = Path(__file__).parents[1] / "configs" / "vocoder"


def burst(seed: int, seconds: float = 0.5) -> np.ndarray:
    """A decaying harmonic tone with some noise, float32 at 24 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 24000)) / 24000
    pitch = rng.uniform(120, 400)
    tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6))
    return (0.2 * np.exp(-4 * time) * (tone + 0.1 * rng.standard_normal(len(time)))).astype(np.float32)


def write_corpus(folder: Path) -> Path:
    """12 short bursts of 6 speakers, the first 8 for training; returns the manifest."""
    clips = []
    for index in range(12):
        name, seconds = f"clip-{index:02d}", 0.1 + 0.05 * index
        wave = burst(index, seconds)
        (folder / f"{name}.wav").write_bytes(encode_wave(wave))
        clips.append(
            Clip(
                id=name,
                path=f"{name}.wav",
                corpus="toy",
                split="train" if index < 8 else "dev",
                speaker=f"speaker-{index // 2}",
                labelled=("awe",),
                emotions={"awe": 1.0},
                seconds=len(wave) / 24000,
                active_seconds=len(wave) / 24000,
                level_db=-20.0,
                peak_db=-6.0,
            )
        )
    write_manifest(folder / "manifest.jsonl", clips)
    return folder / "manifest.jsonl"


@pytest.fixture
def manifest(tmp_path) -> Path:
    return write_corpus(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> VocoderTraining:
    """A finished, never interrupted run."""
    config = settings(write_corpus(tmp_path_factory.mktemp("whole")))
    train(config)
    return config


def in_folder(config: VocoderTraining, folder: Path) -> VocoderTraining:
    return config.model_copy(update={"out": str(folder / "another")})


def settings(manifest: Path, **changes) -> VocoderTraining:
    """12 steps of 4 samples, adversarial after 5, saved after 5, 6 and 12."""
    values = {
        "out": str(manifest.parent / "run"),
        "data": {"manifest": str(manifest), "cache": str(manifest.parent / "cache"), "segment_samples": 4096},
        "batch_size": 4,
        "warmup_samples": 20,
        "total_samples": 48,
        "save_samples": 24,
        "log_samples": 4,
        "threads": 1,
        "model": {"dim": 16, "intermediate_dim": 32, "num_layers": 1},
        "discriminators": {
            "periods": [3],
            "period_divisor": 64,
            "fft_sizes": [512],
            "resolution_channels": 2,
        },
    }
    return VocoderTraining.model_validate(values | changes)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Everything of a run that is made of numbers: generator, discriminators, average, optimisers."""
    found = {}
    for name in ("model.safetensors", "model_1.safetensors"):
        found |= {f"{name}/{key}": value for key, value in load_file(folder / name).items()}
    for name in ("optimizer.bin", "optimizer_1.bin"):
        state = torch.load(folder / name, weights_only=True)["state"]
        found |= {f"{name}/{i}/{key}": v for i, values in state.items() for key, v in values.items()}
    average = torch.load(folder / "custom_checkpoint_0.pkl", weights_only=True)["shadow_params"]
    return found | {f"ema/{i}": value for i, value in enumerate(average)}


def metrics(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "samples_per_second"} for row in rows]


def assert_same_run(one: Path, other: Path):
    a, b = (weights(list_checkpoints(out / "checkpoints")[-1]) for out in (one, other))
    assert a.keys() == b.keys() and any(key.startswith("optimizer_1") for key in a)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert metrics(one) == metrics(other)
    exported = [load_file(out / "export" / "diffusion_pytorch_model.safetensors") for out in (one, other)]
    assert all(torch.equal(exported[0][key], exported[1][key]) for key in exported[0])


class Killed(Exception):
    pass


def test_a_run_killed_between_saves_continues_bitwise(whole, tmp_path, monkeypatch):
    broken = in_folder(whole, tmp_path)
    step = vocoder_trainer.VocoderTrainer.step

    def step_or_die(self, wave, samples):
        if samples == 36:
            raise Killed
        return step(self, wave, samples)

    monkeypatch.setattr(vocoder_trainer.VocoderTrainer, "step", step_or_die)
    with pytest.raises(Killed):
        train(broken)
    monkeypatch.undo()
    # Lines written after the save (24) are there and must not come twice.
    assert metrics(Path(broken.out))[-1]["seen"] == 36
    train(broken, resume="latest")
    assert_same_run(Path(whole.out), Path(broken.out))


def test_a_kill_during_a_save_loses_only_that_save(whole, tmp_path, monkeypatch):
    from accelerate import Accelerator

    broken = in_folder(whole, tmp_path)
    save_state = Accelerator.save_state

    def die_halfway(self, folder, **options):
        save_state(self, folder, **options)
        if ".000000000048.part" in folder:
            (Path(folder) / "optimizer.bin").write_bytes(b"")
            raise Killed

    monkeypatch.setattr(Accelerator, "save_state", die_halfway)
    with pytest.raises(Killed):
        train(broken)
    monkeypatch.undo()
    out = Path(broken.out)
    assert [folder.name for folder in list_checkpoints(out / "checkpoints")] == [
        "000000000020",
        "000000000024",
    ]
    load_vocoder(out / "export", MelConfig())
    train(broken, resume="latest")
    assert_same_run(Path(whole.out), out)
    assert not list((out / "checkpoints").glob(".*"))


def test_two_processes_take_the_steps_of_one(manifest, tmp_path):
    """Each has half of every batch; averaged gradients are those of the whole batch, in both stages.

    Tiny rates, since Adam turns the last digit of a gradient near 0 into a step of full size.
    """
    rates = {"warmup_learning_rate": 1e-6, "learning_rate": 1e-6}
    one = settings(manifest, warmup_samples=8, total_samples=16, save_samples=16, optimiser=rates)
    train(one)
    two = in_folder(one, tmp_path)
    (tmp_path / "two.yaml").write_text(dump_config(two))
    port = str(20_000 + os.getpid() % 20_000)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port]
    command += ["-m", "vocalburst.gen.train_vocoder", "--config", str(tmp_path / "two.yaml")]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [metrics(Path(config.out)) for config in (one, two)]
    assert [row["seen"] for row in rows[0]] == [row["seen"] for row in rows[1]] == [4, 8, 12, 16]
    norms = [[row["gradient_norm"] for row in row_list] for row_list in rows]
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-4)
    checkpoint = list_checkpoints(Path(two.out) / "checkpoints")[-1]
    assert len(list(checkpoint.glob("random_states_*"))) == 2


def test_training_lowers_the_loss_and_exports_the_average(manifest):
    config = settings(
        manifest,
        warmup_samples=240,
        total_samples=240,
        save_samples=240,
        optimiser={"warmup_learning_rate": 3e-3, "ema_decay": 0.9},
    )
    train(config)
    rows = metrics(Path(config.out))
    first, last = (np.mean([row["log_magnitude"] for row in part]) for part in (rows[:10], rows[-10:]))
    assert last < 0.9 * first
    exported = load_vocoder(Path(config.out) / "export", MelConfig())
    checkpoint = list_checkpoints(Path(config.out) / "checkpoints")[-1]
    average = torch.load(checkpoint / "custom_checkpoint_0.pkl", weights_only=True)["shadow_params"]
    assert all(torch.equal(a, b) for a, b in zip(exported.parameters(), average, strict=True))
    raw = load_file(checkpoint / "model.safetensors")
    assert not torch.equal(raw["head.out.weight"], exported.head.out.weight)


def test_only_the_split_asked_for_is_read(manifest):
    """Files of other splits may be missing; of this one they may not."""
    for index in range(8, 12):
        (manifest.parent / f"clip-{index:02d}.wav").unlink()
    config = settings(manifest, warmup_samples=8, total_samples=8)
    train(config)
    dev = settings(manifest, out=str(manifest.parent / "dev"))
    dev = dev.model_copy(update={"data": dev.data.model_copy(update={"split": "dev"})})
    with pytest.raises(InputDataError, match="4 of 4 files are missing"):
        train(dev)


def test_a_run_is_not_overwritten_and_a_damaged_one_not_continued(manifest):
    config = settings(manifest, warmup_samples=8, total_samples=8)
    train(config)
    with pytest.raises(InputDataError, match="already holds a run"):
        train(config)
    with pytest.raises(MissingModelError, match="no training checkpoint"):
        train(config, resume=str(manifest.parent))
    checkpoint = list_checkpoints(Path(config.out) / "checkpoints")[-1]
    data = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(MissingModelError, match="cannot be continued from"):
        train(config, resume="latest")


def test_wrong_settings_are_named(manifest):
    base = settings(manifest).data.model_dump()
    with pytest.raises(InputDataError, match="multiple of the hop"):
        train(settings(manifest, data=base | {"segment_samples": 4097}))
    with pytest.raises(InputDataError, match="no clips of the split 'test'"):
        train(settings(manifest, data=base | {"split": "test"}))


def test_a_run_begins_with_another_vocoder(whole, tmp_path):
    """After one step at a rate near 0 the average is that vocoder; without it the weights are those of the seed."""
    other = str(Path(whole.out) / "export")
    short = {"init": other, "warmup_samples": 0, "total_samples": 4, "optimiser": {"learning_rate": 1e-12}}
    began = settings(Path(whole.data.manifest), out=str(tmp_path / "began"), **short)
    train(began)
    ended, given = (load_vocoder(folder, MelConfig()) for folder in (Path(began.out) / "export", other))
    for key, value in given.state_dict().items():
        torch.testing.assert_close(ended.state_dict()[key], value, atol=1e-6, rtol=0)
    told = json.loads((Path(began.out) / "export" / "training.json").read_text())["config"]
    assert "init" not in told and told["warmup_samples"] == 0
    fresh = settings(Path(whole.data.manifest), out=str(tmp_path / "fresh"), **short | {"init": None})
    train(fresh)
    unlike = load_vocoder(Path(fresh.out) / "export", MelConfig()).state_dict()
    assert not torch.allclose(unlike["head.out.weight"], given.state_dict()["head.out.weight"], atol=1e-3)


def test_a_vocoder_of_other_sizes_or_none_is_refused_as_a_beginning(whole, tmp_path):
    model = {"dim": 16, "intermediate_dim": 32, "num_layers": 2}
    other = {"init": str(Path(whole.out) / "export"), "out": str(tmp_path / "run")}
    with pytest.raises(InputDataError, match=r"a vocoder of num_layers 1, expected 2 \(model.num_layers\)"):
        train(settings(Path(whole.data.manifest), **other, model=model))
    with pytest.raises(MissingModelError, match="no such folder"):
        train(settings(Path(whole.data.manifest), **other | {"init": str(tmp_path / "nowhere")}))


@pytest.mark.parametrize("name", ["base", "laptop", "h200", "adversarial"])
def test_presets_are_valid(name):
    config = load_config(PRESETS / f"{name}.yaml", VocoderTraining)
    assert config.warmup_samples < config.total_samples
    assert config.discriminators.resolution_weight == 1.0


def test_learning_rate_ramps_and_falls_in_both_stages():
    config = settings(Path("m.jsonl"), warmup_samples=100, total_samples=300, batch_size=4)
    rates = {"warmup_learning_rate": 3e-3, "learning_rate": 1e-3, "ramp_samples": 20}
    config = config.model_copy(update={"optimiser": config.optimiser.model_copy(update=rates)})
    assert learning_rate(config, 0) == pytest.approx(3e-3 * 4 / 20)
    assert learning_rate(config, 50) == pytest.approx(2e-3)
    assert learning_rate(config, 25) == pytest.approx(2e-3 + 1e-3 * math.sqrt(0.5))
    assert learning_rate(config, 100) == 1e-3
    assert learning_rate(config, 150) == pytest.approx(1e-3 * 0.5 * (1 + math.sqrt(0.5)))
    assert learning_rate(config, 200) == pytest.approx(5e-4)
    assert learning_rate(config, 300) == pytest.approx(0)


def test_a_piece_depends_on_seed_and_number_alone():
    waves = [burst(i) for i in range(5)]
    forward = SegmentDataset(waves, 2048, seed=3, candidates=2, gain_db=(-6, 6))
    backward = SegmentDataset(waves, 2048, seed=3, candidates=2, gain_db=(-6, 6))
    pieces = [forward[i] for i in range(20)]
    for i in reversed(range(20)):
        np.testing.assert_array_equal(backward[i], pieces[i])
    assert not np.array_equal(SegmentDataset(waves, 2048, seed=4)[0], SegmentDataset(waves, 2048, seed=3)[0])


def test_an_epoch_visits_every_clip_once_in_a_new_order():
    dataset = SegmentDataset([burst(0)] * 50, 2048, seed=0)
    epochs = [[dataset.clip_number(epoch * 50 + i) for i in range(50)] for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(50))
    assert epochs[0] != epochs[1]


def test_a_short_clip_is_padded_with_zeros_not_repeated():
    wave = burst(0, 0.05)
    piece = SegmentDataset([wave], 4096, seed=0)[0]
    np.testing.assert_array_equal(piece[: len(wave)], wave)
    assert not piece[len(wave) :].any()


def test_the_louder_of_the_candidates_wins_and_gain_stays_below_full_scale():
    wave = np.concatenate([np.zeros(20000), np.full(20000, 0.5)]).astype(np.float32)
    shares = [
        np.mean([SegmentDataset([wave], 2048, seed, candidates)[0].any() for seed in range(200)])
        for candidates in (1, 3)
    ]
    assert shares[0] == pytest.approx(0.52, abs=0.12)
    assert shares[1] == pytest.approx(1 - 0.48**3, abs=0.08)
    loud = SegmentDataset([wave[20000:]], 2048, seed=0, gain_db=(12, 12))[0]
    assert np.abs(loud).max() == pytest.approx(PEAK)
    quiet = SegmentDataset([wave[20000:]], 2048, seed=0, gain_db=(-6, -6))[0]
    assert np.abs(quiet).max() == pytest.approx(0.5 * 10 ** (-6 / 20))


def test_command_line_trains_then_judges(manifest, tmp_path, monkeypatch, capsys):
    """train-vocoder, then copy-synthesis with its JSON, its files and a vocoder that is not there."""

    def vocalburst(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["vocalburst", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        done = capsys.readouterr()
        assert (ended.value.code or 0) == code, done.err
        return done

    config = settings(manifest, warmup_samples=8, total_samples=12)
    (tmp_path / "toy.yaml").write_text(dump_config(config))
    done = vocalburst("train-vocoder", "--config", tmp_path / "toy.yaml", "--set", "seed=5")
    assert done.out.strip() == str(Path(config.out) / "export") and "sample/s" in done.err
    assert load_config(Path(config.out) / "config.yaml", VocoderTraining).seed == 5
    judged = [
        "copy-synthesis",
        manifest,
        "--vocoder",
        Path(config.out) / "export",
        "--n",
        3,
        "--iterations",
        4,
    ]
    done = vocalburst(*judged, "--json", "--out", tmp_path / "listen", "--examples", 2)
    rows = {row["system"]: row for row in json.loads(done.out)["rows"]}
    systems = ["Vocoder", "Griffin-Lim, 4 iterations", "Vocos at initialisation"]
    assert list(rows) == [*systems, "Same vocoder, untrained weights"]
    for row in rows.values():
        assert row["n"] == 3 and row["mel_interval"][0] <= row["mel"] <= row["mel_interval"][1]
    assert rows["Griffin-Lim, 4 iterations"]["mel"] < rows["Vocos at initialisation"]["mel"]
    assert len(list((tmp_path / "listen").glob("*.wav"))) == 6
    assert (tmp_path / "listen" / "mels.png").stat().st_size
    assert "no such folder" in vocalburst(*judged[:3], tmp_path / "nowhere", code=4).err
    assert "asked for 9 clips" in vocalburst(*judged[:4], "--n", 9, code=3).err
    assert (
        "nearest valid one is 'seed'"
        in vocalburst("train-vocoder", "--config", tmp_path / "toy.yaml", "--set", "sede=5", code=3).err
    )


def test_old_checkpoints_are_pruned(manifest):
    config = settings(manifest, warmup_samples=0, save_samples=8, total_samples=40, keep=2)
    train(config)
    assert [folder.name[-3:] for folder in list_checkpoints(Path(config.out) / "checkpoints")] == [
        "032",
        "040",
    ]
