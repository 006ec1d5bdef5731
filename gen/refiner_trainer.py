"""What happens in a run of `train_refiner`.

Shape letters: B batch, E emotion, M mel bin, T mel frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch.utils.data import DataLoader

from vocalburst.gen.adversarial import AdversarialTrainer, half_cosine, run_to_the_end, start_run
from vocalburst.gen.checkpoint import locate_checkpoint
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip
from vocalburst.gen.dataset import BurstDataset, DrawSampler
from vocalburst.gen.mel_discriminators import MelDiscriminators, discriminator_hinge, refiner_hinge
from vocalburst.gen.models.refiner import MelRefiner
from vocalburst.gen.pipeline import BurstPipeline
from vocalburst.gen.sketches import SketchPairs, draw_sketches, read_sketches
from vocalburst.gen.train_refiner import RefinerTraining
from vocalburst.gen.training_data import chosen_mels, keep_examples, open_sources


def rate_scale(config: RefinerTraining, samples: int) -> float:
    """A ramp, then half a cosine from 1 to 0."""
    ramp = min(1.0, (samples + config.batch_size) / max(1, config.optimiser.ramp_samples))
    return ramp * half_cosine(samples / config.total_samples)


class RefinerTrainer(AdversarialTrainer):
    """Learns to give sampled mels the grain of recorded ones."""

    def __init__(
        self,
        config: RefinerTraining,
        accelerator: Accelerator,
        emotions: list[str],
        sampled: Iterable[torch.Tensor],
        recorded: Iterable[torch.Tensor],
    ):
        """sampled, recorded: x [M, T] whose moments are matched."""
        torch.manual_seed(config.seed)
        sampled = list(sampled)
        n_mels = len(sampled[0])
        generator = MelRefiner(emotions, n_mels, **config.model.model_dump())
        generator.match(sampled, recorded)
        discriminators = MelDiscriminators(len(emotions), n_mels, config.discriminator_width)
        super().__init__(config, accelerator, generator, discriminators, discriminator_decay=0.0)

    def rates(self, samples: int) -> dict[str, float]:
        scale, optimiser = rate_scale(self.config, samples), self.config.optimiser
        return {
            "learning_rate": scale * optimiser.learning_rate,
            "discriminator_rate": scale * optimiser.discriminator_rate,
        }

    def step(self, batch: dict[str, torch.Tensor], samples: int) -> dict[str, torch.Tensor]:
        """One update on a batch of `SketchPairs`; `samples` seen before it choose stage and learning rates."""
        accelerator, weights = self.accelerator, self.config.loss
        for optimiser, rate in zip(
            (self.optimiser, self.discriminator_optimiser), self.rates(samples).values(), strict=True
        ):
            for group in optimiser.param_groups:
                group["lr"] = rate
        batch = {name: value.to(accelerator.device) for name, value in batch.items()}
        sketch, emotion = batch["sketch"], batch["emotion"]
        with accelerator.autocast():
            refined = self.generator(sketch, batch["noise"], emotion, batch["mask"])
            scores = self.discriminators(
                torch.cat([batch["recorded"], refined.detach().float()]), torch.cat([emotion, emotion])
            )
        losses = {"discriminator": discriminator_hinge(scores)}
        self._update(losses["discriminator"], self.discriminators, self.discriminator_optimiser)
        if samples >= self.config.warmup_samples:
            self.bare_discriminators.requires_grad_(False)
            with accelerator.autocast():
                losses["adversarial"] = refiner_hinge(self.bare_discriminators(refined, emotion))
            self.bare_discriminators.requires_grad_(True)
            change = (refined.float() - self.accelerator.unwrap_model(self.generator).matched(sketch))[
                :, None
            ]
            change = change * batch["mask"][:, None, None]
            losses["coarse"] = F.avg_pool2d(change, (weights.bins, weights.frames)).abs().mean()
            losses["change"] = change.abs().mean().detach()
            total = losses["adversarial"] + weights.coarse * losses["coarse"]
            losses["gradient_norm"] = self._update(total, self.generator, self.optimiser)
            self.average()
        return {name: value.detach() for name, value in losses.items()}


def batches(
    config: RefinerTraining, pairs: SketchPairs, samples: int, rank: int, processes: int
) -> Iterator[dict[str, torch.Tensor]]:
    """This process's share of every batch from sample number `samples` to the end."""
    share = config.batch_size // processes
    numbers = DrawSampler(samples, config.total_samples, share, rank, processes)
    return iter(
        DataLoader(pairs, batch_sampler=numbers, num_workers=config.workers, generator=torch.Generator())
    )


def check_emotions(checkpoint: str, emotions: Sequence[str], clips: Sequence[Clip]) -> None:
    """Raise InputDataError unless every clip carries emotions, and only such as the checkpoint knows."""
    strange = {name for clip in clips for name in clip.emotions} - {*emotions}
    if strange:
        raise InputDataError(
            f"{checkpoint}: does not know the emotions {', '.join(sorted(strange))} of the manifests"
        )
    blank = [clip.id for clip in clips if not any(clip.emotions.values())]
    if blank:
        raise InputDataError(
            f"expected train clips with an emotion to make sketches of; {len(blank)} have none, such as {blank[0]}"
        )


def train(config: RefinerTraining, resume: str | None = None) -> None:
    """Draw the sketches, then run to `total_samples`, from the beginning or from a checkpoint."""
    accelerator = start_run(config, resume)
    with accelerator.main_process_first():
        sources = open_sources(config.data, accelerator.is_main_process)[0]
    pipeline = BurstPipeline.from_pretrained(locate_checkpoint(config.checkpoint)).to(accelerator.device)
    emotions, normalizer = pipeline.emotions, pipeline.normalizer
    recorded = BurstDataset(
        sources, emotions, mel=pipeline.mel_config, seed=config.seed, max_seconds=config.data.max_seconds,
        p_pitch=config.data.p_pitch, p_crop=config.data.p_crop,
    )  # fmt: skip
    check_emotions(config.checkpoint, emotions, [clip for source in sources for clip in source.clips])
    folder = Path(config.out) / "sketches"
    draw_sketches(pipeline, folder, config.sketches.n, config.sketches.seed, accelerator)
    del pipeline
    normalizer.cpu()
    sketches = read_sketches(folder, emotions)
    trainer = RefinerTrainer(
        config,
        accelerator,
        list(emotions),
        (sketch for of_emotion in sketches for sketch in of_emotion),
        (normalizer.normalize(mel) for mel in chosen_mels(recorded, config.seed, config.workers)),
    )
    with accelerator.main_process_first():
        kept = keep_examples(recorded, config.data, config.workers, accelerator.is_main_process)
    pairs = SketchPairs(kept or recorded, normalizer, sketches, config.sketches.frames, config.seed)
    rank, processes = accelerator.process_index, accelerator.num_processes
    run_to_the_end(trainer, lambda samples: batches(config, pairs, samples, rank, processes), resume)
