"""Train a recogniser on the train speakers of a manifest; the dev speakers only measure it.

    python -m vocalburst.eval.train_recogniser --config configs/recogniser/logmel.yaml \\
        --manifest manifests/emogator/manifest.jsonl --out checkpoints/evaluators/logmel
    python -m vocalburst.eval.train_recogniser --config configs/recogniser/emo18.yaml \\
        --manifest manifests/emogator/manifest.jsonl --out checkpoints/evaluators/emo18

One process, one thread is enough. The features of all clips stay in memory as float16 (about 1 GB).
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from vocalburst.eval.augmentation import Augmentation, MelAugmentation, WaveAugmentation, mixed_batch
from vocalburst.eval.rates import confusion, interval_over_groups, recalls, unweighted_average_recall
from vocalburst.eval.recogniser import NetworkConfig, Recogniser, pad_features, recogniser_class
from vocalburst.eval.recogniser_card import render_card
from vocalburst.gen.cli import run
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, check_files, first_problem, manifest_root, read_manifest
from vocalburst.gen.data.store import WaveStore

AUGMENTATIONS = {"emo18": WaveAugmentation, "logmel": MelAugmentation}  # by family


class TrainingConfig(BaseModel):
    """One training run; comments in configs/recogniser."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    seed: int
    network: SerializeAsAny[NetworkConfig]
    batch_size: int = Field(gt=1)
    epochs: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    label_smoothing: float = Field(ge=0, lt=1)
    ema_decay: float = Field(ge=0, lt=1)
    bf16: bool
    augmentation: SerializeAsAny[Augmentation]

    def build(self) -> Recogniser:
        """The network, with random weights."""
        return recogniser_class(self.family)(self.network)


def read_config(path: Path) -> TrainingConfig:
    """Read the YAML file; a network without `emotions` hears EmoGator's thirty."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        family = recogniser_class(values["family"])
        values["network"] = family.config_class(**{"emotions": EMOGATOR_30, **values["network"]})
        values["augmentation"] = AUGMENTATIONS[family.family](**values["augmentation"])
        return TrainingConfig(**values)
    except ValidationError as error:
        raise InputDataError(f"{path}: {first_problem(error)}") from None
    except InputDataError as error:
        raise InputDataError(f"{path}: {error}") from None
    except (yaml.YAMLError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise InputDataError(
            f"{path}: expected a mapping with a family, a network and an augmentation ({error})"
        ) from None


def labelled_clips(clips: Sequence[Clip], split: str, emotions: Sequence[str]) -> list[Clip]:
    """Clips of a split that carry one of `emotions` and no other. Raises InputDataError when none does."""
    chosen = [
        c for c in clips if c.split == split and len(c.emotions) == 1 and next(iter(c.emotions)) in emotions
    ]
    if not chosen:
        raise InputDataError(
            f"the manifest has no {split} clip with one of the emotions {', '.join(emotions)}"
        )
    return chosen


def load_features(model: Recogniser, store: WaveStore, name: str) -> list[torch.Tensor]:
    """Features [..., T] (float16) of every clip of the store."""
    return [model.features(store[i]).half() for i in tqdm(range(len(store)), desc=f"{name} features")]


def batch_indices(lengths: np.ndarray, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """One epoch of shuffled batches of similar length (little padding); short rests are left out."""
    order = generator.permutation(len(lengths))
    pools = [order[i : i + 16 * size] for i in range(0, len(order), 16 * size)]
    sorted_pools = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    groups = [pool[i : i + size] for pool in sorted_pools for i in range(0, len(pool) - size + 1, size)]
    for i in generator.permutation(len(groups)):
        yield groups[i]


def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move `average` towards `model`; batch-norm statistics included, step counts copied."""
    with torch.no_grad():
        for old, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)


def dev_logits(model: Recogniser, clips: Sequence[torch.Tensor], batch_size: int = 64) -> torch.Tensor:
    """Log-odds [N, E] of features [..., T], computed by order of length."""
    order = sorted(range(len(clips)), key=lambda i: clips[i].shape[-1])
    logits = torch.zeros(len(clips), len(model.config.emotions))
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            padded, lengths = pad_features([clips[i].float() for i in part])
            logits[part] = model.classify(model.embed_features(padded, lengths))
    return logits


def cosine_schedule(
    optimizer: torch.optim.Optimizer, n_steps: int, warmup: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear rise over `warmup` steps, then half a cosine that ends at zero after `n_steps`."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: min(
            (s + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * max(0, s - warmup) / (n_steps - warmup + 1))
        ),
    )


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW whose weight decay leaves vectors (biases and norms) alone."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def train(
    config: TrainingConfig,
    clips: list[torch.Tensor],
    labels: np.ndarray,
    dev: tuple[list[torch.Tensor], np.ndarray],
) -> tuple[Recogniser, list[dict]]:
    """Train on features [..., T] and labels [N]; returns the averaged model and one record per epoch."""
    torch.manual_seed(config.seed)
    generator = np.random.default_rng(config.seed)
    model, average = config.build(), config.build().eval()
    model.fit_scale(clips)
    average.load_state_dict(model.state_dict())
    lengths = np.array([x.shape[-1] for x in clips])
    # A draw of its own counts the steps: pools leave out different rests, but never a different number.
    n_steps = config.epochs * sum(
        1 for _ in batch_indices(lengths, config.batch_size, np.random.default_rng(0))
    )
    if n_steps == 0:
        raise InputDataError(f"{len(clips)} train clips do not fill one batch of {config.batch_size}")
    optimizer = build_optimizer(model, config)
    schedule = cosine_schedule(optimizer, n_steps, max(1, round(config.warmup * n_steps)))
    step, history = 0, []
    for epoch in range(1, config.epochs + 1):
        model.train()
        losses = []
        chosen = tqdm(
            list(batch_indices(lengths, config.batch_size, generator)), desc=f"epoch {epoch}", mininterval=5
        )
        for part in chosen:
            changed = [config.augmentation(clips[i], generator) for i in part]
            asked = torch.from_numpy(labels[part])
            loss = training_loss(model, config, changed, asked, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            step += 1
            # The first steps would otherwise keep the random start in the average.
            update_average(average, model, min(config.ema_decay, (step + 1) / (step + 10)))
            losses.append(loss.item())
            chosen.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", refresh=False)
        predicted = dev_logits(average, dev[0]).argmax(dim=1).numpy()
        uar = unweighted_average_recall(confusion(dev[1], predicted, len(config.network.emotions)))
        history.append(
            {"epoch": epoch, "train_loss": round(float(np.mean(losses)), 4), "dev_uar": round(uar, 4)}
        )
        print(history[-1], file=sys.stderr)
    return average, history


def training_loss(
    model: Recogniser,
    config: TrainingConfig,
    clips: list[torch.Tensor],
    labels: torch.Tensor,
    generator: np.random.Generator,
) -> torch.Tensor:
    """Cross-entropy of a mixed batch of changed clips [..., T] and their labels [B]."""
    x, lengths, targets = mixed_batch(
        clips, labels, len(config.network.emotions), config.augmentation.mixup_alpha, generator
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
        logits = model.classify(model.embed_features(x, lengths))
    return functional.cross_entropy(logits.float(), targets, label_smoothing=config.label_smoothing)


def train_command(arguments: argparse.Namespace) -> None:
    config = read_config(arguments.config)
    emotions = config.network.emotions
    clips = read_manifest(arguments.manifest)
    check_files(arguments.manifest, clips)
    root = manifest_root(arguments.manifest)
    started = time.process_time()  # a shared machine's clock says little about the cost
    front_end = config.build()
    features, labels, speakers = {}, {}, {}
    for split in ("train", "dev"):
        chosen = labelled_clips(clips, split, emotions)
        store = WaveStore.build(root, chosen, arguments.cache, progress=lambda x: tqdm(x, desc="decoding"))
        features[split] = load_features(front_end, store, split)
        labels[split] = np.array([emotions.index(next(iter(clip.emotions))) for clip in chosen])
        speakers[split] = [clip.speaker or clip.id for clip in chosen]
    model, history = train(config, features["train"], labels["train"], (features["dev"], labels["dev"]))
    minutes = (time.process_time() - started) / 60
    model.load_tensors(model.stored_tensors())  # what is reported is what the float16 file scores
    predicted = dev_logits(model, features["dev"]).argmax(dim=1).numpy()
    counts = confusion(labels["dev"], predicted, len(emotions))
    hits = (predicted == labels["dev"]).astype(float)
    low, high = interval_over_groups(hits, labels["dev"], speakers["dev"], seed=config.seed)
    heard = np.flatnonzero(counts.sum(axis=1))  # emotions that dev has
    dev_recalls = {emotions[e]: round(float(recalls(counts)[e]), 4) for e in heard}
    manifest_hash = hashlib.sha256(arguments.manifest.read_bytes()).hexdigest()
    report = {
        "config": config.model_dump(mode="json", exclude={"network"}),
        "manifest_sha256": manifest_hash,
        "train_clips": len(labels["train"]),
        "train_speakers": len(set(speakers["train"])),
        "dev_clips": len(labels["dev"]),
        "dev_speakers": len(set(speakers["dev"])),
        "dev_uar": unweighted_average_recall(counts),
        "dev_uar_interval": [low, high],
        "dev_recalls": dev_recalls,
        "cpu_minutes": round(minutes, 1),
        "history": history,
    }
    model.save(arguments.out, render_card(model, report, arguments.config.name), report)
    print(f"dev UAR {report['dev_uar']:.4f} ({low:.4f} to {high:.4f}), saved in {arguments.out}")


def main() -> None:
    """`python -m vocalburst.eval.train_recogniser`"""
    parser = argparse.ArgumentParser(
        prog="python -m vocalburst.eval.train_recogniser",
        description="Train a recogniser on the train speakers of a manifest.",
        epilog=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML file, e.g. configs/recogniser/emo18.yaml"
    )
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.jsonl of `vocalburst prepare`")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, config and card")
    parser.add_argument("--cache", type=Path, default=Path("cache/waves"), help="folder for decoded waves")
    arguments = parser.parse_args()
    sys.exit(run(lambda: train_command(arguments)))


if __name__ == "__main__":
    main()
