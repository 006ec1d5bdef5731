"""The training loop of every network, on one process or, under `accelerate launch`, on many.

All processes draw the same batches and the same changes of a clip, and each takes its own share of every batch. So the
number of processes changes the order of sums, and what is computed over a share: batch norms, dropout and concordance.

Shape letters: N clips, B clips of a batch, C columns, K classes.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn
from tqdm import tqdm

from vocalburst.eval.recogniser import pad_features
from vocalburst.eval.recognition.network import Network, NetworkModel
from vocalburst.eval.recognition.outputs import Outputs
from vocalburst.eval.recognition.recipe import Recipe
from vocalburst.gen.data.errors import InputDataError, RunError


def train_network(
    model: NetworkModel,
    waves: Sequence[np.ndarray],
    y: np.ndarray,
    dev: tuple[Sequence[np.ndarray], np.ndarray] | None,
) -> tuple[Network, dict]:
    """Train on y [N, C] of waves; returns the network of the best epoch by dev loss (the last one without `dev`).

    The second value is the history of epochs, for the card. Raises InputDataError for fewer clips than a batch or a
    smaller batch than there are processes, RunError for a loss that is no number.
    """
    settings = model.settings
    if len(waves) < settings.batch_size:
        raise InputDataError(f"{len(waves)} train clips do not fill one batch of {settings.batch_size}")
    # Unless told so, accelerate takes several processes without a GPU for so many runs of one process.
    several_on_cpu = int(os.environ.get("WORLD_SIZE", 1)) > 1 and not torch.cuda.is_available()
    accelerator = Accelerator(cpu=several_on_cpu)
    if settings.batch_size < accelerator.num_processes:
        raise InputDataError(
            f"a batch of {settings.batch_size} cannot be shared by {accelerator.num_processes} processes"
        )
    main = accelerator.is_main_process
    features = read_features(model, waves, "train features", main)
    dev_features = read_features(model, dev[0], "dev features", main) if dev else None
    soft = model.soft_targets(waves)
    network = model.new_network()
    model.fit_scale(network.body, features)
    optimizer = build_optimizer(settings, model.parameter_groups(network))
    prepared, optimizer = accelerator.prepare(network, optimizer)
    scheduler = build_scheduler(settings, optimizer)
    generator = np.random.default_rng(model.seed)
    best, kept, history = math.inf, None, []
    with torch.random.fork_rng(devices=[accelerator.device] if accelerator.device.type == "cuda" else []):
        torch.manual_seed(model.seed + 1)
        for epoch in range(1, settings.epochs + 1):
            loss = run_epoch(model, prepared, optimizer, accelerator, (features, y, soft), generator, epoch)
            record = {"epoch": epoch, "lr": optimizer.param_groups[0]["lr"], "train_loss": round(loss, 4)}
            watched = loss
            if dev is not None:
                watched = shared(accelerator, lambda: dev_loss(model, network, dev_features, dev[1]))
                if not math.isfinite(watched):
                    raise RunError(
                        f"{model.name}: the dev loss is {watched} after epoch {epoch}; lower the setting lr"
                    )
                record["dev_loss"] = round(watched, 4)
            step_schedule(settings, scheduler, watched)
            history.append(record)
            if main:
                print(record, file=sys.stderr)
            if dev is None or watched < best:
                best, kept = watched, {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
                best_epoch = epoch
    network = network.cpu()
    network.load_state_dict(kept)
    return network.eval(), {"best_epoch": best_epoch, "history": history}


def read_features(
    model: NetworkModel, waves: Sequence[np.ndarray], title: str, show: bool
) -> list[torch.Tensor]:
    """Features [..., T] of all waves, as float16 to hold many of them."""
    return [
        model.features(waves[i]).half()
        for i in tqdm(range(len(waves)), desc=title, disable=not show, mininterval=5)
    ]


def build_optimizer(settings: Recipe, groups: list[dict]) -> torch.optim.Optimizer:
    cls = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return cls([group for group in groups if group["params"]])


def build_scheduler(settings: Recipe, optimizer: torch.optim.Optimizer):
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(
            getattr(optimizer, "optimizer", optimizer), settings.epochs
        )
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        getattr(optimizer, "optimizer", optimizer),
        factor=1 / settings.rho,
        patience=settings.patience - 1,  # torch counts the epochs that it lets pass
    )


def step_schedule(settings: Recipe, scheduler, watched: float) -> None:
    if settings.schedule == "cosine":
        scheduler.step()
    else:
        scheduler.step(watched)


def epoch_batches(lengths: np.ndarray, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """One epoch of shuffled batches of similar length (little padding); a rest, another each time, is left out."""
    order = generator.permutation(len(lengths))[: len(lengths) // size * size]
    pools = [order[i : i + 16 * size] for i in range(0, len(order), 16 * size)]
    pools = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    groups = [pool[i : i + size] for pool in pools for i in range(0, len(pool), size)]
    for i in generator.permutation(len(groups)):
        yield groups[i]


def run_epoch(
    model: NetworkModel,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    data: tuple[list[torch.Tensor], np.ndarray, np.ndarray | None],
    generator: np.random.Generator,
    epoch: int,
) -> float:
    """One pass over the train clips; returns its mean loss."""
    features, y, soft = data
    settings, device = model.settings, accelerator.device
    lengths = np.array([x.shape[-1] for x in features])
    batches = list(epoch_batches(lengths, settings.batch_size, generator))
    network.train()
    losses = []
    for step, batch in enumerate(
        tqdm(batches, desc=f"epoch {epoch}", disable=not accelerator.is_main_process, mininterval=5)
    ):
        own = batch[accelerator.process_index :: accelerator.num_processes]
        changed = [
            model.augment(features[i].float(), np.random.default_rng([model.seed, epoch, i])) for i in own
        ]
        x, own_lengths = pad_features(changed)
        targets = torch.from_numpy(y[own]).to(device)
        taught = None if soft is None else torch.from_numpy(soft[own]).float().to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
            _, raw = network(x.to(device), own_lengths.to(device))
        loss = model.loss(accelerator.unwrap_model(network), raw.float(), targets, taught)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RunError(
                f"{model.name}: the loss is {value} in epoch {epoch}, step {step}; lower the setting lr"
            )
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
        losses.append(value)
    mean = torch.tensor(float(np.mean(losses)), device=device)
    return float(accelerator.reduce(mean, reduction="mean"))


@torch.no_grad()
def dev_loss(model: NetworkModel, network: Network, features: list[torch.Tensor], y: np.ndarray) -> float:
    """Loss of the labels alone over all dev clips at once."""
    network.eval()
    device = next(network.parameters()).device
    raws = torch.zeros(len(features), network.outputs.linear.out_features)
    order = np.argsort([x.shape[-1] for x in features], kind="stable")
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        x, lengths = pad_features([features[i].float() for i in part])
        with torch.autocast(device.type, torch.bfloat16, enabled=model.settings.bf16):
            _, raw = network(x.to(device), lengths.to(device))
        raws[part] = raw.float().cpu()
    outputs: Outputs = network.outputs
    return float(outputs.loss(raws, torch.from_numpy(y)))


def shared(accelerator: Accelerator, number) -> float:
    """The main process's number, on all of them: batch norms see other clips on each."""
    value = torch.zeros(1, device=accelerator.device, dtype=torch.float64)
    if accelerator.is_main_process:
        value += number()
    return float(broadcast(value, from_process=0))
