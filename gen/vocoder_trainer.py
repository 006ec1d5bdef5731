"""What happens in a run of `train_vocoder`.

Shape letters: B batch, L wave sample, M mel bin, T mel frame.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from tqdm import tqdm

from vocalburst.gen.adversarial import AdversarialTrainer, half_cosine, run_to_the_end, start_run
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import check_files, manifest_root, read_manifest
from vocalburst.gen.data.mel import LogMel, MelConfig
from vocalburst.gen.data.store import WaveStore
from vocalburst.gen.dataset import DrawSampler
from vocalburst.gen.models.vocoder import BurstVocoder, load_vocoder
from vocalburst.gen.segments import SegmentDataset
from vocalburst.gen.train_vocoder import DataConfig, VocoderTraining
from vocalburst.gen.vocoder_losses import (
    Discriminators,
    discriminator_loss,
    generator_losses,
    multi_resolution_stft,
)


def learning_rate(config: VocoderTraining, samples: int) -> float:
    """A ramp, then half a cosine in each stage: warmup_learning_rate -> learning_rate -> 0."""
    rates, start = config.optimiser, config.warmup_samples
    if samples < start:
        ramp = min(1.0, (samples + config.batch_size) / max(1, rates.ramp_samples))
        fall = half_cosine(samples / start)
        return ramp * (rates.learning_rate + (rates.warmup_learning_rate - rates.learning_rate) * fall)
    return rates.learning_rate * half_cosine((samples - start) / max(1, config.total_samples - start))


def begin_with(generator: BurstVocoder, path_or_hub_id: str) -> None:
    """Give `generator` the weights of another vocoder of its sizes. Raises InputDataError for one of others."""
    other = load_vocoder(path_or_hub_id, generator.mel_config)
    for name in ("dim", "intermediate_dim", "num_layers", "magnitude_skip"):
        its, own = other.config[name], generator.config[name]
        if its != own:
            raise InputDataError(
                f"{path_or_hub_id}: a vocoder of {name} {its}, expected {own} (model.{name})"
            )
    generator.load_state_dict(other.state_dict())


class VocoderTrainer(AdversarialTrainer):
    """Learns to turn the mels of recordings back into waves."""

    def __init__(self, config: VocoderTraining, accelerator: Accelerator):
        torch.manual_seed(config.seed)
        mel_config = MelConfig()
        self.log_mel = LogMel(mel_config).to(accelerator.device)
        generator = BurstVocoder(**config.model.model_dump(), mel=mel_config.to_dict())
        if config.init is not None:
            begin_with(generator, config.init)
        discriminators = Discriminators(**config.discriminators.model_dump())
        super().__init__(config, accelerator, generator, discriminators, config.optimiser.weight_decay)

    def rates(self, samples: int) -> dict[str, float]:
        return {"learning_rate": learning_rate(self.config, samples)}

    def step(self, wave: torch.Tensor, samples: int) -> dict[str, torch.Tensor]:
        """One update on `wave` [B, L]; `samples` seen before it choose stage and learning rate."""
        config, accelerator, weights = self.config, self.accelerator, self.config.loss
        adversarial = samples >= config.warmup_samples
        for optimiser in (self.optimiser, self.discriminator_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(config, samples)
        wave = wave.to(accelerator.device)
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
        self.average()
        return {name: value.detach() for name, value in losses.items()}


def open_waves(config: DataConfig, accelerator: Accelerator):
    """The `WaveStore` of the manifest's clips of one split; the first process decodes, the others wait."""
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
    data, share = config.data, config.batch_size // processes
    dataset = SegmentDataset(waves, data.segment_samples, config.seed, data.candidates, data.gain_db)
    numbers = DrawSampler(samples, config.total_samples, share, rank, processes)
    return iter(DataLoader(dataset, batch_sampler=numbers, num_workers=data.workers))


def train(config: VocoderTraining, resume: str | None = None) -> None:
    """Run to `total_samples`, from the beginning or from a checkpoint."""
    accelerator = start_run(config, resume)
    if config.data.segment_samples % MelConfig().hop_length:
        raise InputDataError(
            f"segment_samples must be a multiple of the hop, {MelConfig().hop_length} samples"
        )
    waves = open_waves(config.data, accelerator)
    trainer = VocoderTrainer(config, accelerator)
    rank, processes = accelerator.process_index, accelerator.num_processes
    run_to_the_end(trainer, lambda samples: batches(config, waves, samples, rank, processes), resume)
