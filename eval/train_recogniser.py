"""Train the log-mel recogniser on the train speakers of a manifest; the dev speakers only measure it.

    python -m vocalburst.eval.train_recogniser --config configs/recogniser/base.yaml \\
        --manifest manifests/emogator/manifest.jsonl --out checkpoints/evaluators/logmel

One process, one thread is enough. The spectrograms of all clips stay in memory as float16 (about 0.5 GB).
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
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from vocalburst.eval.augmentation import Augmentation, augment, mixed_batch
from vocalburst.eval.recogniser import NetworkConfig, Recogniser, pad_mels
from vocalburst.eval.recognition import confusion, interval_over_groups, recalls, unweighted_average_recall
from vocalburst.gen.cli import run
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, check_files, first_problem, manifest_root, read_manifest
from vocalburst.gen.data.store import WaveStore


class TrainingConfig(BaseModel):
    """One training run; comments in configs/recogniser/base.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    network: NetworkConfig
    batch_size: int = Field(gt=1)
    epochs: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    label_smoothing: float = Field(ge=0, lt=1)
    ema_decay: float = Field(ge=0, lt=1)
    bf16: bool
    augmentation: Augmentation


def read_config(path: Path) -> TrainingConfig:
    """Read the YAML file; a network without `emotions` hears EmoGator's thirty."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        values["network"] = {"emotions": EMOGATOR_30, **values["network"]}
        return TrainingConfig(**values)
    except ValidationError as error:
        raise InputDataError(f"{path}: {first_problem(error)}") from None
    except (yaml.YAMLError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise InputDataError(f"{path}: expected a mapping with a network section ({error})") from None


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


def load_mels(model: Recogniser, store: WaveStore, name: str) -> list[torch.Tensor]:
    """mel [M, T] (float16) of every clip of the store."""
    return [model.features(store[i]).half() for i in tqdm(range(len(store)), desc=f"{name} spectrograms")]


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


def dev_logits(model: Recogniser, mels: Sequence[torch.Tensor], batch_size: int = 64) -> torch.Tensor:
    """Log-odds [N, E] of mels [M, T], computed by order of length."""
    order = sorted(range(len(mels)), key=lambda i: mels[i].shape[1])
    logits = torch.zeros(len(mels), len(model.config.emotions))
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            logits[part] = model.classify(model.embed_mel(*pad_mels([mels[i].float() for i in part])))
    return logits


def train(
    config: TrainingConfig,
    mels: list[torch.Tensor],
    labels: np.ndarray,
    dev: tuple[list[torch.Tensor], np.ndarray],
) -> tuple[Recogniser, list[dict]]:
    """Train on mels [M, T] and labels [N]; returns the averaged model and one record per epoch."""
    torch.manual_seed(config.seed)
    generator = np.random.default_rng(config.seed)
    model = Recogniser(config.network)
    bins = torch.cat([mel.float() for mel in mels[:: max(1, len(mels) // 2000)]], dim=1)
    model.mel_mean.copy_(bins.mean(dim=1))
    model.mel_std.copy_(bins.std(dim=1).clamp(min=0.1))  # a bin that never moves stays finite
    model = model.to(memory_format=torch.channels_last)
    average = Recogniser(config.network)
    average.load_state_dict(model.state_dict())
    average.eval()
    lengths = np.array([mel.shape[1] for mel in mels])
    # A draw of its own counts the steps: pools leave out different rests, but never a different number.
    n_steps = config.epochs * sum(
        1 for _ in batch_indices(lengths, config.batch_size, np.random.default_rng(0))
    )
    if n_steps == 0:
        raise InputDataError(f"{len(mels)} train clips do not fill one batch of {config.batch_size}")
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    warmup = max(1, round(config.warmup * n_steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: min(
            (s + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * max(0, s - warmup) / (n_steps - warmup + 1))
        ),
    )
    step, history = 0, []
    for epoch in range(1, config.epochs + 1):
        model.train()
        losses = []
        chosen = tqdm(list(batch_indices(lengths, config.batch_size, generator)), desc=f"epoch {epoch}")
        for part in chosen:
            clips = [augment(mels[i], config.augmentation, generator) for i in part]
            mel, n_frames, targets = mixed_batch(
                clips,
                torch.from_numpy(labels[part]),
                len(config.network.emotions),
                config.augmentation.mixup_alpha,
                generator,
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                logits = model.classify(model.embed_mel(mel, n_frames))
            loss = functional.cross_entropy(logits.float(), targets, label_smoothing=config.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            step += 1
            # The first steps would otherwise keep the random start in the average.
            update_average(average, model, min(config.ema_decay, (step + 1) / (step + 10)))
            losses.append(loss.item())
        predicted = dev_logits(average, dev[0]).argmax(dim=1).numpy()
        uar = unweighted_average_recall(confusion(dev[1], predicted, len(config.network.emotions)))
        history.append(
            {"epoch": epoch, "train_loss": round(float(np.mean(losses)), 4), "dev_uar": round(uar, 4)}
        )
        print(history[-1], file=sys.stderr)
    return average, history


CARD = """# Log-mel recogniser

Which of {n_emotions} emotions a vocal burst was meant to carry, and a {dim}-d embedding of bursts.
Used to judge generated clips (`vocalburst recognise`), never to train the generator.

* Dev recall, mean over {n_emotions} emotions (UAR): **{uar:.3f}**, 95 % interval over {n_speakers} speakers
  {low:.3f} to {high:.3f}; {n_dev} clips; chance {chance:.3f}.
* Data: EmoGator (Buhl 2022, arXiv 2301.00508), {n_train} clips of {n_train_speakers} train speakers; no dev
  speaker was trained on. Manifest sha256 `{manifest}`.
* Network: {parameters:.2f} M parameters, {epochs} epochs, seed {seed}; {minutes:.1f} minutes of one CPU core.
* Weights: averaged over the training, matrices float16; the resolved config is in `config.json`.

      python -m vocalburst.eval.train_recogniser --config {config} --manifest MANIFEST --out OUT

Limits: acted bursts from the web; the label is what the contributor *meant*, which listeners too often miss.
A recognition rate compares sets of clips with each other; it says nothing about what a person feels.

| emotion | dev recall in % |
|---|---|
{recalls}
"""


def render_card(model: Recogniser, report: dict, config_name: str) -> str:
    """The README of a checkpoint; `report` is the `training` section of its config.json."""
    low, high = report["dev_uar_interval"]
    return CARD.format(
        n_emotions=len(model.config.emotions),
        dim=model.config.embedding_dim,
        uar=report["dev_uar"],
        low=low,
        high=high,
        n_speakers=report["dev_speakers"],
        n_dev=report["dev_clips"],
        chance=1 / len(model.config.emotions),
        n_train=report["train_clips"],
        n_train_speakers=report["train_speakers"],
        manifest=report["manifest_sha256"],
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        epochs=report["config"]["epochs"],
        seed=report["config"]["seed"],
        minutes=report["cpu_minutes"],
        config=f"configs/recogniser/{config_name}",
        recalls="\n".join(
            f"| {name} | {100 * recall:.1f} |" for name, recall in report["dev_recalls"].items()
        ),
    )


def train_command(arguments: argparse.Namespace) -> None:
    config = read_config(arguments.config)
    emotions = config.network.emotions
    clips = read_manifest(arguments.manifest)
    check_files(arguments.manifest, clips)
    root = manifest_root(arguments.manifest)
    started = time.process_time()  # a shared machine's clock says little about the cost
    front_end = Recogniser(config.network)
    mels, labels, speakers = {}, {}, {}
    for split in ("train", "dev"):
        chosen = labelled_clips(clips, split, emotions)
        store = WaveStore.build(root, chosen, arguments.cache, progress=lambda x: tqdm(x, desc="decoding"))
        mels[split] = load_mels(front_end, store, split)
        labels[split] = np.array([emotions.index(next(iter(clip.emotions))) for clip in chosen])
        speakers[split] = [clip.speaker or clip.id for clip in chosen]
    model, history = train(config, mels["train"], labels["train"], (mels["dev"], labels["dev"]))
    minutes = (time.process_time() - started) / 60
    model.load_tensors(model.stored_tensors())  # what is reported is what the float16 file scores
    predicted = dev_logits(model, mels["dev"]).argmax(dim=1).numpy()
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
        description="Train the log-mel recogniser on the train speakers of a manifest.",
        epilog=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="YAML file, e.g. configs/recogniser/base.yaml"
    )
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.jsonl of `vocalburst prepare`")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, config and card")
    parser.add_argument("--cache", type=Path, default=Path("cache/waves"), help="folder for decoded waves")
    arguments = parser.parse_args()
    sys.exit(run(lambda: train_command(arguments)))


if __name__ == "__main__":
    main()
