"""Train the vocoder: a warm-up on mel and multi-resolution STFT distance, then against discriminators.

Everything is counted in samples seen (pieces of recordings), so that a run's numbers survive another batch
size or another number of processes. Shape letters: B batch, L wave sample, M mel bin, T mel frame.

Written into the output folder: `config.yaml` (resolved), `metrics.jsonl`, `checkpoints/<seen>/` (all that an exact
continuation needs) and `export/` (the averaged weights, what `load_vocoder` reads).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from vocalburst.gen.cli import run
from vocalburst.gen.config import Section, dump_config, load_config
from vocalburst.gen.data.errors import InputDataError, MissingModelError, RunError
from vocalburst.gen.run_folder import MetricsLog, latest_checkpoint, prune_checkpoints, written_whole

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


class ModelConfig(Section):
    dim: int = 512  # channels of the ConvNeXt blocks
    intermediate_dim: int = 1536
    num_layers: int = Field(8, ge=1)
    magnitude_skip: bool = True  # False gives the plain Vocos
    level_corrections: int = Field(16, ge=0)  # of the exported vocoder
    pulses: bool = True  # of the exported vocoder


class DataConfig(Section):
    manifest: str
    split: str = "train"
    cache: str  # folder for the decoded waves
    segment_samples: int = Field(16384, ge=2048)  # a multiple of the hop
    candidates: int = Field(2, ge=1)  # of so many random pieces the loudest is taken
    gain_db: tuple[float, float] = (-12.0, 3.0)
    workers: int = Field(0, ge=0)  # loader processes


class LossConfig(Section):
    mel: float = 45.0
    warmup_stft: float = 15.0
    adversarial_stft: float = 5.0
    matching: float = 1.0


class DiscriminatorConfig(Section):
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_divisor: int = Field(1, ge=1)  # of the channel numbers
    fft_sizes: tuple[int, ...] = (2048, 1024, 512)
    resolution_channels: int = Field(32, ge=1)
    resolution_weight: float = 1.0

    @model_validator(mode="after")
    def _one_at_least(self) -> DiscriminatorConfig:
        if not self.periods and not self.fft_sizes:
            raise ValueError("expected periods or fft_sizes, found neither")
        return self


class OptimiserConfig(Section):
    warmup_learning_rate: float = Field(5e-4, gt=0)  # after the ramp; half a cosine down to learning_rate
    learning_rate: float = Field(5e-4, gt=0)  # of the second stage, discriminators too; half a cosine to 0
    ramp_samples: int = Field(0, ge=0)
    betas: tuple[float, float] = (0.8, 0.9)
    weight_decay: float = 0.01
    clip_norm: float = Field(1000.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)


class VocoderTraining(Section):
    """All settings of a run; see configs/vocoder/base.yaml."""

    out: str
    data: DataConfig
    seed: int = Field(0, ge=0)
    batch_size: int = Field(16, ge=1)  # over all processes together
    warmup_samples: int = Field(ge=0)
    total_samples: int = Field(ge=1)
    save_samples: int = Field(ge=1)
    log_samples: int = Field(ge=1)
    keep: int = Field(2, ge=1)  # checkpoints
    training_corrections: int = Field(4, ge=0)  # while training, for speed
    precision: Literal["no", "fp16", "bf16"] = "no"
    threads: int | None = Field(None, ge=1)  # None leaves torch's choice
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    discriminators: DiscriminatorConfig = DiscriminatorConfig()
    optimiser: OptimiserConfig = OptimiserConfig()


def learning_rate(config: VocoderTraining, samples: int) -> float:
    """A ramp, then half a cosine in each stage: warmup_learning_rate -> learning_rate -> 0."""
    rates, start = config.optimiser, config.warmup_samples
    if samples < start:
        ramp = min(1.0, (samples + config.batch_size) / max(1, rates.ramp_samples))
        fall = 0.5 * (1 + math.cos(math.pi * samples / start))
        return ramp * (rates.learning_rate + (rates.warmup_learning_rate - rates.learning_rate) * fall)
    progress = min(1.0, (samples - start) / max(1, config.total_samples - start))
    return rates.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


class VocoderTrainer:
    """Generator, discriminators, both optimisers and the moving average, stepped together."""

    def __init__(self, config: VocoderTraining, accelerator: Accelerator):
        import torch
        from diffusers.training_utils import EMAModel

        from vocalburst.gen.data.mel import LogMel, MelConfig
        from vocalburst.gen.models.vocoder import BurstVocoder
        from vocalburst.gen.vocoder_losses import Discriminators

        self.config, self.accelerator = config, accelerator
        torch.manual_seed(config.seed)
        mel_config = MelConfig()
        self.log_mel = LogMel(mel_config).to(accelerator.device)
        generator = BurstVocoder(**config.model.model_dump(), mel=mel_config.to_dict())
        discriminators = Discriminators(**config.discriminators.model_dump())
        # torch's Hann window is a slice of a longer one, which safetensors writes but does not read back.
        for buffer in (*generator.buffers(), *discriminators.buffers()):
            buffer.data = buffer.data.clone()
        rates = config.optimiser

        def adamw(module: torch.nn.Module) -> torch.optim.AdamW:
            return torch.optim.AdamW(module.parameters(), betas=rates.betas, weight_decay=rates.weight_decay)

        # The bare module takes part in the generator's step: through the wrapper of several processes its
        # frozen parameters would wait for gradients that never come.
        self.bare_discriminators = discriminators
        self.generator, self.discriminators, self.optimiser, self.discriminator_optimiser = (
            accelerator.prepare(generator, discriminators, adamw(generator), adamw(discriminators))
        )
        self.ema = EMAModel(generator.parameters(), decay=rates.ema_decay)
        self.ema.to(accelerator.device)
        accelerator.register_for_checkpointing(self.ema)

    def step(self, wave: torch.Tensor, samples: int) -> dict[str, torch.Tensor]:
        """One update on `wave` [B, L]; `samples` seen before it choose stage and learning rate."""
        from vocalburst.gen.vocoder_losses import discriminator_loss, generator_losses, multi_resolution_stft

        config, accelerator, weights = self.config, self.accelerator, self.config.loss
        adversarial = samples >= config.warmup_samples
        for optimiser in (self.optimiser, self.discriminator_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(config, samples)
        mel = self.log_mel(wave)
        wave_hat = self.generator(mel, corrections=config.training_corrections)
        losses = {}

        if adversarial:
            with accelerator.autocast():
                verdicts = self.discriminators(wave, wave_hat.detach())
            losses["discriminator"] = discriminator_loss(verdicts)
            self._update(losses["discriminator"], self.discriminators, self.discriminator_optimiser)

        losses["mel"] = (self.log_mel(wave_hat) - mel).abs().mean()
        losses["convergence"], losses["log_magnitude"] = multi_resolution_stft(wave_hat, wave)
        stft_weight = weights.adversarial_stft if adversarial else weights.warmup_stft
        total = weights.mel * losses["mel"] + stft_weight * (losses["convergence"] + losses["log_magnitude"])
        if adversarial:
            self.bare_discriminators.requires_grad_(False)
            with accelerator.autocast():
                verdicts = self.bare_discriminators(wave, wave_hat)
            losses["adversarial"], losses["matching"] = generator_losses(verdicts)
            total = total + losses["adversarial"] + weights.matching * losses["matching"]
        losses["gradient_norm"] = self._update(total, self.generator, self.optimiser)
        self.bare_discriminators.requires_grad_(True)
        self.ema.step(accelerator.unwrap_model(self.generator).parameters())
        return {name: value.detach() for name, value in losses.items()}

    def _update(
        self, loss: torch.Tensor, module: torch.nn.Module, optimiser: torch.optim.Optimizer
    ) -> torch.Tensor:
        optimiser.zero_grad()
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(module.parameters(), self.config.optimiser.clip_norm)
        optimiser.step()
        return norm

    def save(self, out: Path, samples: int) -> None:
        """Write a checkpoint and `export`; each folder has its name only when it is whole."""
        import torch

        with written_whole(out / "checkpoints" / f"{samples:012d}", self.accelerator) as part:
            self.accelerator.save_state(str(part), safe_serialization=True)
            if self.accelerator.is_main_process:
                (part / "position.json").write_text(json.dumps({"samples": samples}))
        if not self.accelerator.is_main_process:
            return
        prune_checkpoints(out / "checkpoints", self.config.keep)
        # Folders of this machine are nobody else's business.
        told = self.config.model_dump(mode="json", exclude={"out": True, "data": {"manifest", "cache"}})
        training = {"samples": samples, "torch": str(torch.__version__), "config": told}
        generator = self.accelerator.unwrap_model(self.generator)
        with written_whole(out / "export") as export:
            self.ema.store(generator.parameters())
            self.ema.copy_to(generator.parameters())
            generator.save_pretrained(export, safe_serialization=True)
            self.ema.restore(generator.parameters())
            (export / "training.json").write_text(json.dumps(training, indent=2) + "\n")

    def load(self, folder: Path) -> int:
        """Restore everything from a checkpoint; returns the samples seen."""
        try:
            self.accelerator.load_state(str(folder))
            samples = json.loads((folder / "position.json").read_text())["samples"]
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise MissingModelError(f"{folder}: cannot be continued from ({reason})") from None
        self.ema.to(self.accelerator.device)
        return samples


def find_checkpoint(out: Path, resume: str) -> Path | None:
    """`latest` (None when there is none yet) or a folder."""
    if resume == "latest":
        return latest_checkpoint(out / "checkpoints")
    if not (Path(resume) / "position.json").is_file():
        raise MissingModelError(
            f"{resume}: no training checkpoint there, expected a folder of its checkpoints/"
        )
    return Path(resume)


def open_waves(config: DataConfig, accelerator: Accelerator):
    """The `WaveStore` of the manifest's clips of one split; the first process decodes, the others wait."""
    from tqdm import tqdm

    from vocalburst.gen.data.manifest import check_files, manifest_root, read_manifest
    from vocalburst.gen.data.store import WaveStore

    clips = [clip for clip in read_manifest(config.manifest) if clip.split == config.split]
    if not clips:
        raise InputDataError(f"{config.manifest}: has no clips of the split {config.split!r}")
    check_files(config.manifest, clips)
    with accelerator.main_process_first():
        return WaveStore.build(
            manifest_root(config.manifest),
            clips,
            Path(config.cache),
            progress=lambda items: tqdm(items, desc="decoding", unit="file", file=sys.stderr),
        )


def batches(
    config: VocoderTraining, waves, samples: int, rank: int, processes: int
) -> Iterator[torch.Tensor]:
    """This process's share [B / processes, L] of every batch from sample number `samples` to the end."""
    from torch.utils.data import DataLoader

    from vocalburst.gen.segments import SegmentDataset

    data, share = config.data, config.batch_size // processes
    dataset = SegmentDataset(waves, data.segment_samples, config.seed, data.candidates, data.gain_db)
    starts = range(samples + rank * share, config.total_samples, config.batch_size)
    numbers = [range(start, start + share) for start in starts]
    return iter(DataLoader(dataset, batch_sampler=numbers, num_workers=data.workers))


def train(config: VocoderTraining, resume: str | None = None) -> None:
    """Run to `total_samples`, from the beginning or from a checkpoint."""
    import torch
    from accelerate import Accelerator
    from tqdm import tqdm

    from vocalburst.gen.data.mel import MelConfig

    out = Path(config.out)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)  # fading weights and silence otherwise slow a CPU down severalfold
    accelerator = Accelerator(mixed_precision=config.precision)
    processes = accelerator.num_processes
    if config.batch_size % processes:
        raise InputDataError(f"batch_size {config.batch_size} cannot be shared by {processes} processes")
    if config.data.segment_samples % MelConfig().hop_length:
        raise InputDataError(
            f"segment_samples must be a multiple of the hop, {MelConfig().hop_length} samples"
        )
    if resume is None and latest_checkpoint(out / "checkpoints") is not None:
        raise InputDataError(
            f"{out}: already holds a run; continue it with --resume latest or choose another out"
        )
    waves = open_waves(config.data, accelerator)
    trainer = VocoderTrainer(config, accelerator)
    checkpoint = find_checkpoint(out, resume) if resume else None
    samples = trainer.load(checkpoint) if checkpoint else 0
    if accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(dump_config(config))
    log = MetricsLog(out / "metrics.jsonl", accelerator.is_main_process)
    log.rewind(samples)
    board = log.open_tensorboard(out) if accelerator.is_main_process else None

    bar = tqdm(
        total=config.total_samples,
        initial=samples,
        unit="sample",
        file=sys.stderr,
        disable=not accelerator.is_main_process,
    )
    last_log, last_time = samples, time.monotonic()
    for wave in batches(config, waves, samples, accelerator.process_index, processes):
        losses = trainer.step(wave.to(accelerator.device), samples)
        before, samples = samples, samples + config.batch_size
        bar.update(config.batch_size)
        last = samples >= config.total_samples
        if last or samples // config.log_samples > before // config.log_samples:
            row = {"learning_rate": learning_rate(config, before)}
            row |= {name: round(float(value), 6) for name, value in losses.items()}
            if not all(map(math.isfinite, row.values())):
                raise RunError(f"the loss is no longer finite after {samples} samples: {row}")
            now = time.monotonic()
            row["samples_per_second"] = round((samples - last_log) / (now - last_time), 2)
            last_log, last_time = samples, now
            bar.set_postfix(mel=row["mel"], stage="gan" if "adversarial" in row else "warm-up")
            log.write(seen=samples, **row)
        stage_ends = before < config.warmup_samples <= samples
        if last or stage_ends or samples // config.save_samples > before // config.save_samples:
            trainer.save(out, samples)
    bar.close()
    if board is not None:
        board.close()
    if accelerator.is_main_process:
        print(out / "export")
    accelerator.end_training()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="""examples:
  accelerate launch -m vocalburst.gen.train_vocoder --config configs/vocoder/base.yaml
  python -m vocalburst.gen.train_vocoder --config configs/vocoder/laptop.yaml --resume latest
  vocalburst train-vocoder --config configs/vocoder/laptop.yaml --set out=runs/small""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, help="YAML file, see configs/vocoder")
    parser.add_argument("--resume", metavar="latest|FOLDER", help="continue exactly from a checkpoint")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    arguments = parser.parse_args()
    sys.exit(
        run(lambda: train(load_config(arguments.config, VocoderTraining, arguments.set), arguments.resume))
    )


if __name__ == "__main__":
    main()
