"""Training a generator against discriminators: what the vocoder's and the refiner's training share.

Everything is counted in samples seen, so that a run's numbers survive another batch size or another number of
processes. Written into the output folder: `config.yaml` (resolved), `metrics.jsonl`, `checkpoints/<seen>/` (all that an
exact continuation needs) and `export/` (the averaged weights).
"""

from __future__ import annotations

import json
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import ModelMixin
from diffusers.training_utils import EMAModel
from torch import nn
from tqdm import tqdm

from vocalburst.gen.config import dump_config
from vocalburst.gen.data.errors import InputDataError, MissingModelError, RunError
from vocalburst.gen.processes import start_accelerator
from vocalburst.gen.run_folder import MetricsLog, latest_checkpoint, prune_checkpoints, written_whole

# Folders of this machine, which are nobody else's business and are left out of what an export says of its run.
PLACES = {"out": True, "checkpoint": True, "init": True, "data": {"manifest", "manifests", "cache"}}


class AdversarialTrainer(ABC):
    """Generator, discriminators, both optimisers and the moving average, stepped together."""

    def __init__(
        self,
        config: Any,
        accelerator: Accelerator,
        generator: ModelMixin,
        discriminators: nn.Module,
        discriminator_decay: float,
    ):
        self.config, self.accelerator = config, accelerator
        # torch's Hann window is a slice of a longer one, which safetensors writes but does not read back.
        for buffer in (*generator.buffers(), *discriminators.buffers()):
            buffer.data = buffer.data.clone()
        rates = config.optimiser

        def adamw(module: nn.Module, decay: float) -> torch.optim.AdamW:
            return torch.optim.AdamW(module.parameters(), betas=rates.betas, weight_decay=decay)

        # The bare module takes part in the generator's step: through the wrapper of several processes its
        # frozen parameters would wait for gradients that never come.
        self.bare_discriminators = discriminators
        self.generator, self.discriminators, self.optimiser, self.discriminator_optimiser = (
            accelerator.prepare(
                generator,
                discriminators,
                adamw(generator, rates.weight_decay),
                adamw(discriminators, discriminator_decay),
            )
        )
        self.ema = EMAModel(generator.parameters(), decay=rates.ema_decay)
        self.ema.to(accelerator.device)
        accelerator.register_for_checkpointing(self.ema)

    @abstractmethod
    def step(self, batch: Any, samples: int) -> dict[str, torch.Tensor]:
        """One update on a batch; `samples` seen before it choose stage and learning rates. Returns the losses."""

    @abstractmethod
    def rates(self, samples: int) -> dict[str, float]:
        """Learning rates after `samples`, by the name they have in the log."""

    def _update(
        self, loss: torch.Tensor, module: nn.Module, optimiser: torch.optim.Optimizer
    ) -> torch.Tensor:
        optimiser.zero_grad()
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(module.parameters(), self.config.optimiser.clip_norm)
        optimiser.step()
        return norm

    def average(self) -> None:
        self.ema.step(self.accelerator.unwrap_model(self.generator).parameters())

    def save(self, out: Path, samples: int) -> None:
        """Write a checkpoint and `export`; each folder has its name only when it is whole."""
        with written_whole(out / "checkpoints" / f"{samples:012d}", self.accelerator) as part:
            self.accelerator.save_state(str(part), safe_serialization=True)
            if self.accelerator.is_main_process:
                (part / "position.json").write_text(json.dumps({"samples": samples}))
        if not self.accelerator.is_main_process:
            return
        prune_checkpoints(out / "checkpoints", self.config.keep)
        told = self.config.model_dump(mode="json", exclude=PLACES)
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


def half_cosine(progress: float) -> float:
    """1 at 0, 0 at 1 and after."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def start_run(config: Any, resume: str | None) -> Accelerator:
    """The accelerator of a run; raises InputDataError for one that would overwrite another or cannot be shared."""
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)  # fading weights and silence otherwise slow a CPU down severalfold
    accelerator = start_accelerator(mixed_precision=config.precision)
    if config.batch_size % accelerator.num_processes:
        raise InputDataError(
            f"batch_size {config.batch_size} cannot be shared by {accelerator.num_processes} processes"
        )
    if resume is None and latest_checkpoint(Path(config.out) / "checkpoints") is not None:
        raise InputDataError(
            f"{config.out}: already holds a run; continue it with --resume latest or choose another out"
        )
    return accelerator


def find_checkpoint(out: Path, resume: str) -> Path | None:
    """`latest` (None when there is none yet) or a folder."""
    if resume == "latest":
        return latest_checkpoint(out / "checkpoints")
    if not (Path(resume) / "position.json").is_file():
        raise MissingModelError(
            f"{resume}: no training checkpoint there, expected a folder of its checkpoints/"
        )
    return Path(resume)


def run_to_the_end(
    trainer: AdversarialTrainer, batches: Callable[[int], Iterator[Any]], resume: str | None
) -> None:
    """Step to `total_samples`, from the beginning or from a checkpoint; `batches(samples)` go on from there."""
    config, accelerator = trainer.config, trainer.accelerator
    main, out = accelerator.is_main_process, Path(config.out)
    checkpoint = find_checkpoint(out, resume) if resume else None
    samples = trainer.load(checkpoint) if checkpoint else 0
    if main:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(dump_config(config))
    log = MetricsLog(out / "metrics.jsonl", main)
    log.rewind(samples)
    board = log.open_tensorboard(out) if main else None

    bar = tqdm(total=config.total_samples, initial=samples, unit="sample", file=sys.stderr, disable=not main)
    last_log, last_time = samples, time.monotonic()
    for batch in batches(samples):
        losses = trainer.step(batch, samples)
        before, samples = samples, samples + config.batch_size
        bar.update(config.batch_size)
        last = samples >= config.total_samples
        if last or samples // config.log_samples > before // config.log_samples:
            row = trainer.rates(before)
            row |= {name: round(float(value), 6) for name, value in losses.items()}
            if not all(map(math.isfinite, row.values())):
                raise RunError(f"the loss is no longer finite after {samples} samples: {row}")
            now = time.monotonic()
            row["samples_per_second"] = round((samples - last_log) / (now - last_time), 2)
            last_log, last_time = samples, now
            bar.set_postfix(stage="gan" if "adversarial" in row else "warm-up")
            log.write(seen=samples, **row)
        stage_ends = before < config.warmup_samples <= samples
        if last or stage_ends or samples // config.save_samples > before // config.save_samples:
            trainer.save(out, samples)
    bar.close()
    if board is not None:
        board.close()
    if main:
        print(out / "export")
    accelerator.end_training()
