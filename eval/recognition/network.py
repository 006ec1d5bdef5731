"""A recognition model that is a network: what it takes from a wave, its body, the outputs of the task.

Shape letters: N clips, B clips of a batch, L wave sample, T time step of a clip's features, D embedding, O outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from vocalburst.eval.recogniser import pad_features
from vocalburst.eval.recognition.estimator import Answers, RecognitionModel
from vocalburst.eval.recognition.outputs import Outputs
from vocalburst.eval.recognition.recipe import Recipe

HEARD_AT_ONCE = 32
IN_MEMORY = 2048  # clips whose features are held, of any number that is heard


class Network(nn.Module):
    """x [B, ..., T], lengths [B] -> embedding [B, D] of the body, and raw outputs [B, O]."""

    def __init__(self, body: nn.Module, outputs: Outputs):
        super().__init__()
        self.body, self.outputs = body, outputs

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.body(x, lengths)
        return embedding, self.outputs(embedding)


class NetworkModel(RecognitionModel):
    """A subclass writes `features`, `build_body` and `preprocessing`.

    `features` gives [..., T] of a wave; a batch of them is padded with zeros to the longest T. The body takes the
    padded batch and the own lengths [B], has an attribute `dim` (D), and may not let the padding change an embedding.
    """

    settings_class = Recipe
    settings: Recipe

    def __init__(self, task: str, *, name: str, seed: int = 0, **settings):
        super().__init__(task, name=name, seed=seed, **settings)
        self.network_: Network | None = None

    @abstractmethod
    def features(self, wave: np.ndarray) -> torch.Tensor:
        """[..., T] of a wave [L]. Raises InputDataError for one that is silent or too short."""

    @abstractmethod
    def build_body(self) -> nn.Module:
        """The body with random (or pretrained) weights, drawn from torch's global generator."""

    def fit_scale(self, body: nn.Module, features: Sequence[torch.Tensor]) -> None:
        """Take from the features of train clips what the body needs to know before its first step."""

    def augment(self, x: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
        """Features [..., T] of a train clip as they are shown this time."""
        return x

    def soft_targets(self, waves: Sequence[np.ndarray]) -> np.ndarray | None:
        """Probabilities [N, K] of a teacher for train clips; None trains on the labels alone."""
        return None

    def loss(
        self, network: Network, raw: torch.Tensor, y: torch.Tensor, soft: torch.Tensor | None
    ) -> torch.Tensor:
        """Loss of a train batch: raw [B, O], y [B, C], soft [B, K] or None."""
        return network.outputs.loss(raw, y)

    def parameter_groups(self, network: Network) -> list[dict]:
        """Groups for the optimiser, each with params, lr and weight_decay."""
        s = self.settings
        return [{"params": list(network.parameters()), "lr": s.lr, "weight_decay": s.weight_decay}]

    @property
    def network(self) -> Network:
        if self.network_ is None:
            raise ValueError(f"{self.name} is not fitted; call fit or load first")
        return self.network_

    @property
    def dim(self) -> int:
        return self.network.body.dim

    def new_network(self) -> Network:
        """A network that starts as the seed says; the caller's random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            body = self.build_body()
            return Network(body, Outputs(self.task, body.dim))

    def learn(
        self, waves: Sequence[np.ndarray], y: np.ndarray, dev: tuple[Sequence[np.ndarray], np.ndarray] | None
    ) -> dict:
        from vocalburst.eval.recognition.training import train_network

        self.network_, report = train_network(self, waves, y, dev)
        return report

    def hear(self, waves: Sequence[np.ndarray]) -> Answers:
        parts = []
        for start in range(0, len(waves), IN_MEMORY):
            features = [self.features(waves[i]) for i in range(start, min(len(waves), start + IN_MEMORY))]
            parts.append(self.hear_features(self.network, features))
        probabilities = None
        if self.class_column is not None:
            probabilities = np.concatenate([part.probabilities for part in parts])
        return Answers(
            np.concatenate([part.embeddings for part in parts]),
            np.concatenate([part.values for part in parts]),
            probabilities,
        )

    @torch.no_grad()
    def hear_features(self, network: Network, features: Sequence[torch.Tensor]) -> Answers:
        """Answers, computed by order of length so that little is padded."""
        network.eval()
        device = next(network.parameters()).device
        order = np.argsort([x.shape[-1] for x in features], kind="stable")
        embeddings, raws = [], []
        for start in range(0, len(order), HEARD_AT_ONCE):
            x, lengths = pad_features([features[i].float() for i in order[start : start + HEARD_AT_ONCE]])
            embedding, raw = network(x.to(device), lengths.to(device))
            embeddings.append(embedding.float().cpu())
            raws.append(raw.float().cpu())
        back = np.argsort(order)
        values, probabilities = network.outputs.read(torch.cat(raws)[back])
        return Answers(torch.cat(embeddings)[back].numpy(), values, probabilities)

    def tensors(self) -> dict[str, np.ndarray]:
        return {
            name: value.detach().cpu().contiguous().numpy()
            for name, value in self.network.state_dict().items()
        }

    def take_tensors(self, tensors: dict[str, np.ndarray]) -> None:
        network = self.new_network()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        self.network_ = network.eval()
