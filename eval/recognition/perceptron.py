"""The perceptron head: two hidden layers on standardised features, one network for all columns of a task.

Shape letters: N clips, B clips of a batch, D features, H hidden units, C columns of the task, O outputs.

Outputs and losses are those of `outputs`, so that clips which lack labels of some columns teach the others. The weights
of the epoch of the least dev loss are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vocalburst.eval.recognition.estimator import Answers
from vocalburst.eval.recognition.heads import HeadSettings, Labelled, Standardiser
from vocalburst.eval.recognition.outputs import Outputs
from vocalburst.eval.tasks.registry import Task
from vocalburst.gen.data.errors import RunError


class Perceptron(nn.Module):
    """z [B, D] -> hidden [B, H] and raw outputs [B, O]."""

    def __init__(self, task: Task, dim: int, hidden: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
        )  # fmt: skip
        self.outputs = Outputs(task, hidden)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.layers(z)
        return hidden, self.outputs(hidden)


@dataclass(frozen=True, eq=False)
class PerceptronHead:
    """A trained perceptron with the standardiser of its features."""

    standardiser: Standardiser
    network: Perceptron

    @property
    def dim(self) -> int:
        return self.network.outputs.linear.in_features

    @torch.no_grad()
    def hear(self, x: np.ndarray) -> Answers:
        """Answers of features [N, D]; their embeddings are the second hidden layer."""
        hidden, raw = self.network.eval()(torch.from_numpy(self.standardiser(x)))
        return Answers(hidden.numpy(), *self.network.outputs.read(raw))

    def tensors(self) -> dict[str, np.ndarray]:
        weights = {f"network.{name}": value.numpy() for name, value in self.network.state_dict().items()}
        return self.standardiser.tensors() | weights

    @classmethod
    def take(cls, task: Task, tensors: dict[str, np.ndarray]) -> PerceptronHead:
        """Of what `tensors` gave. Raises KeyError, ValueError or RuntimeError for others."""
        first = tensors["network.layers.0.weight"]
        network = Perceptron(task, first.shape[1], first.shape[0], 0.0)
        network.load_state_dict(
            {
                name.removeprefix("network."): torch.from_numpy(value)
                for name, value in tensors.items()
                if name.startswith("network.")
            }
        )
        return cls(Standardiser(tensors["mean"], tensors["scale"]), network.eval())


def fit_perceptron(
    task: Task, settings: HeadSettings, seed: int, train: Labelled, dev: Labelled | None
) -> tuple[PerceptronHead, dict]:
    """The head of the epoch of the least dev loss (the last one without dev); the second value is for the card."""
    head, report = train_epochs(task, settings, seed, train, dev, settings.epochs)
    refit = dev is not None and settings.refit_on_dev
    if refit:
        both = tuple(np.concatenate(pair) for pair in zip(train, dev, strict=True))
        head, _ = train_epochs(task, settings, seed, both, None, report["best_epoch"])
    return head, report | {"refitted_on_dev": refit}


def train_epochs(
    task: Task, settings: HeadSettings, seed: int, train: Labelled, dev: Labelled | None, epochs: int
) -> tuple[PerceptronHead, dict]:
    standardiser = Standardiser.fit(train[0])
    z, y = torch.from_numpy(standardiser(train[0])), torch.from_numpy(train[1])
    held = None if dev is None else (torch.from_numpy(standardiser(dev[0])), torch.from_numpy(dev[1]))
    best, kept, best_epoch, history = math.inf, None, epochs, []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Perceptron(task, z.shape[1], settings.hidden, settings.dropout)
        optimizer = torch.optim.AdamW(network.parameters(), settings.lr, weight_decay=settings.weight_decay)
        for epoch in range(1, epochs + 1):
            loss = train_once(network, optimizer, z, y, settings.batch_size)
            record = {"epoch": epoch, "train_loss": round(loss, 4)}
            if held is not None:
                watched = dev_loss(network, *held)
                record["dev_loss"] = round(watched, 4)
                if watched < best:
                    best, best_epoch = watched, epoch
                    kept = {name: value.clone() for name, value in network.state_dict().items()}
            history.append(record)
            if not math.isfinite(loss):
                raise RunError(f"the perceptron's loss is {loss} in epoch {epoch}; lower the setting lr")
            if held is not None and epoch - best_epoch >= settings.patience and kept is not None:
                break
    if kept is not None:
        network.load_state_dict(kept)
    return PerceptronHead(standardiser, network.eval()), {"best_epoch": best_epoch, "history": history}


def train_once(
    network: Perceptron, optimizer: torch.optim.Optimizer, z: torch.Tensor, y: torch.Tensor, size: int
) -> float:
    """One pass over shuffled clips in batches of about `size`, none left out; returns the mean loss."""
    network.train()
    losses = []
    for batch in torch.randperm(len(z)).tensor_split(max(1, round(len(z) / size))):
        loss = network.outputs.loss(network(z[batch])[1], y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


@torch.no_grad()
def dev_loss(network: Perceptron, z: torch.Tensor, y: torch.Tensor) -> float:
    """Loss over all dev clips at once, so that it does not depend on how they are cut into batches."""
    network.eval()
    return float(network.outputs.loss(network(z)[1], y))
