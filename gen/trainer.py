"""The training run of the diffusion model: its parts, a step, validation, saving, exact resuming.

Randomness of the data is a function of (seed, samples seen), see `dataset`; the rest is in the random states
that a checkpoint carries.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader
from tqdm import tqdm

from vocalburst.gen.config import dump_config
from vocalburst.gen.data.errors import InputDataError, RunError
from vocalburst.gen.dataset import Batch, DrawSampler
from vocalburst.gen.diffusion import add_noise, sample_sigma, velocity_loss
from vocalburst.gen.models.conditioning import drop_conditions
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.optimizer import build_optimizers, learning_rate_factor
from vocalburst.gen.processes import start_accelerator
from vocalburst.gen.run_folder import MetricsLog, latest_checkpoint, prune_checkpoints, written_whole
from vocalburst.gen.teacher import Teacher
from vocalburst.gen.train_config import TrainConfig
from vocalburst.gen.training_data import TrainingData, fit_preconditioner, load_initial, load_training_data
from vocalburst.gen.validation import validation_loss, write_samples


def trained_attention(device: torch.device) -> AbstractContextManager:
    """On a CPU, attention by plain matrix products: the fused kernel's backward pass in bf16 takes twice as long."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


class Progress:
    """Samples seen, optimiser steps taken, samples seen at the last validation; saved with the checkpoint."""

    def __init__(self) -> None:
        self.seen = 0
        self.step = 0
        self.validated = -1

    def state_dict(self) -> dict:
        return {"seen": self.seen, "step": self.step, "validated": self.validated}

    def load_state_dict(self, state: dict) -> None:
        self.seen, self.step = state["seen"], state["step"]
        self.validated = state.get("validated", -1)  # absent in older checkpoints


class Trainer:
    """One run: the parts that training needs, and the verbs step, validate, save, resume."""

    def __init__(self, config: TrainConfig, data: TrainingData, accelerator: Accelerator):
        self.config, self.data, self.accelerator = config, data, accelerator
        self.folder = Path(config.output)
        settings = config.optimizer
        model = BurstTransformer(
            emotions=list(data.emotions),
            voices=list(data.voices),
            countries=list(data.countries),
            n_mels=data.train.log_mel.config.n_mels,
            outline=config.outline.size,
            **config.model.model_dump(),
        )
        if config.init is None:
            fit_preconditioner(model, data, config.seed, config.workers)
        else:
            load_initial(model, config.init)
        optimizers = build_optimizers(model, settings.lr, settings.lr_matrices, settings.weight_decay)
        self.peak_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        self.model, *self.optimizers = accelerator.prepare(model, *optimizers)
        self.normalizer: MelNormalizer = data.normalizer.to(accelerator.device)
        self.ema = EMAModel(
            model.parameters(), decay=config.ema.decay, use_ema_warmup=True, power=config.ema.power,
            model_cls=BurstTransformer, model_config=model.config,
        )  # fmt: skip
        self.ema.to(accelerator.device)
        self.teacher = None
        if config.teacher is not None:
            teacher = Teacher.load(config.teacher, model, data.normalizer, data.outline)
            self.teacher = teacher.to(accelerator.device)
        self.jitter = 0.0 if data.outline is None else data.outline.config.jitter
        self.progress = Progress()
        accelerator.register_for_checkpointing(self.ema, self.progress)
        self.log = MetricsLog(self.folder / "metrics.jsonl", accelerator.is_main_process)

    @property
    def samples_per_step(self) -> int:
        c = self.config
        return c.batch_size * c.gradient_accumulation * self.accelerator.num_processes

    @property
    def end(self) -> int:
        """Samples seen after the last optimiser step: batches that do not fill a step are left over."""
        left = max(0, self.config.samples.total - self.progress.seen)
        batches = -(-left // (self.config.batch_size * self.accelerator.num_processes))
        return self.progress.seen + batches // self.config.gradient_accumulation * self.samples_per_step

    def loss(self, batch: Batch) -> torch.Tensor:
        """Flow-matching loss of one batch, with conditions dropped per sample.

        With a teacher its guided estimate is the x to hit, else the clips' own.
        """
        config = self.config
        x = self.normalizer.normalize(batch.mel.to(self.accelerator.device))
        mask = batch.mask.to(x.device)
        condition = drop_conditions(
            batch.condition.to(x.device).jittered(self.jitter), config.dropout.emotion, config.dropout.attribute
        )  # fmt: skip
        sigma = sample_sigma(len(x), config.noise.mean, config.noise.std, x.device)
        noisy = add_noise(x, torch.randn_like(x), sigma)
        if self.teacher is not None:
            with self.accelerator.autocast():
                x = self.teacher(noisy, sigma, condition, mask).float()
        return velocity_loss(self.model(noisy, sigma, condition, mask), x, sigma, mask)

    def step(self, batch: Batch) -> float | None:
        """Accumulate one batch; the loss, or None between two optimiser steps."""
        accelerator = self.accelerator
        self.model.train()
        with accelerator.accumulate(self.model), trained_attention(accelerator.device):
            loss = self.loss(batch)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
            factor = learning_rate_factor(
                self.progress.seen,
                self.config.samples.total,
                self.config.samples.warmup,
                self.config.samples.decay,
            )
            for optimizer, rates in zip(self.optimizers, self.peak_rates, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
                optimizer.step()
                optimizer.zero_grad()
        if not accelerator.sync_gradients:
            return None
        self.ema.step(accelerator.unwrap_model(self.model).parameters())
        self.progress.step += 1
        self.progress.seen += self.samples_per_step
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RunError(
                f"the loss is {value} after {self.progress.seen} samples; continue from the last checkpoint "
                "with --resume latest and a lower optimizer.lr"
            )
        return value

    @contextmanager
    def averaged_weights(self) -> Iterator[BurstTransformer]:
        """The model with its averaged weights, in evaluation mode, for the time of the block."""
        model = self.accelerator.unwrap_model(self.model)
        self.ema.store(model.parameters())
        self.ema.copy_to(model.parameters())
        model.eval()
        try:
            yield model
        finally:
            self.ema.restore(model.parameters())
            model.train()

    def validate(self) -> None:
        """Loss of the averaged weights on fixed dev clips, sample mels and waves.

        Leaves the random states alone.
        """
        if self.accelerator.is_main_process:
            with torch.random.fork_rng(), self.averaged_weights() as model, torch.no_grad():
                loss = validation_loss(
                    model,
                    self.data.dev,
                    self.normalizer,
                    self.config.noise,
                    self.config.validation,
                    self.jitter,
                )
                self.log.write(seen=self.progress.seen, validation_loss=loss)
                folder = self.folder / "samples" / f"{self.progress.seen:09d}"
                write_samples(folder, model, self.data, self.normalizer, self.config.validation)
        self.progress.validated = self.progress.seen
        self.accelerator.wait_for_everyone()

    def save(self) -> None:
        """Write a checkpoint and the averaged model; a folder has its name only when it is whole."""
        accelerator, seen = self.accelerator, self.progress.seen
        target = self.folder / "checkpoints" / f"{seen:012d}"
        if not target.exists():
            with written_whole(target, accelerator) as part:
                accelerator.save_state(str(part))
        if accelerator.is_main_process:
            with self.averaged_weights() as model:
                self.write_model(self.folder / "model", model)
            prune_checkpoints(self.folder / "checkpoints", self.config.samples.keep)
        accelerator.wait_for_everyone()

    def write_model(self, folder: Path, model: BurstTransformer) -> None:
        with written_whole(folder) as part:
            model.save_pretrained(part / "transformer")
            self.normalizer.save_pretrained(part / "normalizer")
            self.data.prior.save_pretrained(part / "prior")
            if self.data.outline is not None:
                self.data.outline.save_pretrained(part / "outline")

    def write_snapshot(self) -> None:
        if self.accelerator.is_main_process:
            with self.averaged_weights() as model:
                self.write_model(self.folder / "snapshots" / f"{self.progress.seen:09d}", model)
        self.accelerator.wait_for_everyone()

    def resume(self, checkpoint: Path) -> None:
        self.accelerator.load_state(str(checkpoint))
        self.ema.to(self.accelerator.device)
        self.accelerator.print(f"resumed after {self.progress.seen} samples from {checkpoint}")


def due(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` samples was passed (0 = never)."""
    return every > 0 and before // every < after // every


def training_batches(
    data: TrainingData, config: TrainConfig, accelerator: Accelerator, seen: int
) -> Iterable[Batch]:
    """Batches of this process from sample `seen` to the end of the run."""
    dataset = data.train
    sampler = DrawSampler(
        seen, config.samples.total, config.batch_size, accelerator.process_index, accelerator.num_processes
    )
    if data.kept is not None:
        return data.kept.on(accelerator.device).batches(sampler)
    return DataLoader(
        dataset, batch_sampler=sampler, collate_fn=dataset.collate, num_workers=config.workers,
        persistent_workers=config.workers > 0,
        # The loader draws a number when it starts: from the global generator, a resumed run would differ.
        generator=torch.Generator(),
    )  # fmt: skip


def train(config: TrainConfig, resume: str | None = None) -> Path:
    """Train to `config.samples.total`; returns the run folder.

    resume: None, "latest" (from the start when there is no checkpoint yet), or a checkpoint folder.
    Raises InputDataError for a folder that already holds a run, and for data that cannot be trained on.
    """
    tensorboard = None
    accelerator = start_accelerator(
        mixed_precision=config.mixed_precision, gradient_accumulation_steps=config.gradient_accumulation
    )
    set_seed(config.seed + accelerator.process_index)
    folder = Path(config.output)
    checkpoint = latest_checkpoint(folder / "checkpoints") if resume == "latest" else resume and Path(resume)
    if resume is None and latest_checkpoint(folder / "checkpoints") is not None:
        raise InputDataError(
            f"{folder} already holds a run; pass --resume latest to continue it or choose another output"
        )
    if resume not in (None, "latest") and not Path(resume).is_dir():
        raise InputDataError(f"{resume}: no such checkpoint folder")
    with accelerator.main_process_first():
        data = load_training_data(config, show=accelerator.is_main_process)
    set_seed(config.seed)  # the same first weights on every process
    trainer = Trainer(config, data, accelerator)
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(dump_config(config))
        tensorboard = trainer.log.open_tensorboard(folder)
    set_seed(config.seed + 1000 * (accelerator.process_index + 1))  # but other noise
    if checkpoint is not None:
        trainer.resume(checkpoint)
    trainer.log.rewind(trainer.progress.seen)
    samples, progress = config.samples, trainer.progress
    bar = tqdm(
        total=samples.total, initial=progress.seen, unit="clip", unit_scale=True, desc="train",
        smoothing=0.05, disable=not accelerator.is_main_process,
    )  # fmt: skip
    total, count, since = 0.0, 0, time.monotonic()
    start, end = progress.seen, trainer.end
    for batch in training_batches(data, config, accelerator, progress.seen):
        loss = trainer.step(batch)
        if loss is None:
            continue
        before, after = progress.seen - trainer.samples_per_step, progress.seen
        total, count = total + loss, count + 1
        bar.update(after - before)
        if due(samples.log_every, before, after):
            rate = (after - start) / (time.monotonic() - since)
            trainer.log.write(seen=after, loss=total / count, clips_per_second=rate)
            bar.set_postfix(loss=f"{total / count:.4f}")
            total, count, since, start = 0.0, 0, time.monotonic(), after
        if any(before < moment <= after for moment in samples.snapshots):
            trainer.write_snapshot()
        # The last checkpoint knows of the last validation: a kill after it does not make the log tell it twice.
        if due(samples.validate_every, before, after) or after == end:
            trainer.validate()
        if due(samples.save_every, before, after):
            trainer.save()
    bar.close()
    if progress.validated != progress.seen:  # a run that ends where no step is left
        trainer.validate()
    trainer.save()
    if tensorboard is not None:
        tensorboard.close()
    accelerator.end_training()
    return folder
