"""The training loop: its schedule, which epoch it keeps, what several processes may change, and real clips learned.

As a script it trains the small model below on one of several processes: see `test_two_processes`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED
from emogator_fixtures import real_clips
from safetensors.numpy import load_file, save_file
from torch import nn

from vocalburst.eval.recognition import training
from vocalburst.eval.recognition.network import NetworkModel
from vocalburst.eval.recognition.recipe import Recipe
from vocalburst.eval.recognition.registry import build
from vocalburst.eval.recognition.training import build_scheduler, epoch_batches, step_schedule
from vocalburst.gen.data.errors import InputDataError, RunError


class MeanBody(nn.Module):
    """[B, 2, T] -> [B, 4] of the mean over a clip's own steps."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 4)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.linear(x.sum(dim=2) / lengths[:, None]).tanh()


class MeanModel(NetworkModel):
    """Learns from mean and spread of a wave, with noise from the generator that the loop gives."""

    title, source, preprocessing = "Mean", "For tests.", "none"

    def features(self, wave):
        return torch.from_numpy(np.stack([wave, wave**2]))

    def build_body(self):
        return MeanBody()

    def augment(self, x, generator):
        return x + torch.from_numpy(generator.normal(scale=0.1, size=(2, 1)).astype(np.float32))


def data(n: int = 24, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.random((n, 2))
    waves = [
        (a + 0.2 * (1 + b) * rng.normal(size=int(rng.integers(20, 60)))).astype(np.float32) for a, b in y
    ]
    return waves, y


def mean_model(**settings) -> MeanModel:
    settings = {"epochs": 3, "batch_size": 8, "lr": 0.05, **settings}
    return MeanModel("avb-two", name="mean", seed=4, **settings)


def classes_model() -> tuple[MeanModel, list[np.ndarray], np.ndarray]:
    """Cross-entropy, whose mean over a batch is that of its shares."""
    waves, _ = data()
    model = MeanModel("avb-type", name="mean", seed=4, epochs=3, batch_size=8, lr=0.05)
    return model, waves, np.arange(24.0) % 8


def weights(model: NetworkModel) -> np.ndarray:
    return np.concatenate([value.ravel() for value in model.tensors().values()])


# --- schedule ------------------------------------------------------------------------------


def rates(settings: Recipe, watched: list[float]) -> list[float]:
    """The learning rate in every epoch."""
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=settings.lr)
    scheduler = build_scheduler(settings, optimizer)
    seen = []
    for value in watched:
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        step_schedule(settings, scheduler, value)
    return seen


def test_the_rate_is_divided_after_some_epochs_without_improvement():
    settings = Recipe(lr=1.0, rho=4, patience=3)
    watched = [3.0, 2.0, 2.5, 2.5, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 0.5]
    # 1.0 is the best; the third epoch without a better one is the eighth, and the third after that the eleventh.
    assert rates(settings, watched) == pytest.approx([1.0] * 8 + [0.25] * 3 + [0.0625])


def test_cosine_ends_at_zero():
    seen = rates(Recipe(lr=1.0, schedule="cosine", epochs=10), [1.0] * 10)
    expected = [(1 + np.cos(np.pi * epoch / 10)) / 2 for epoch in range(10)]
    assert seen == pytest.approx(expected)


# --- batches ---------------------------------------------------------------------------------


def test_batches_are_whole_and_of_similar_length():
    lengths = np.random.default_rng(0).integers(1, 1000, size=203)
    batches = list(epoch_batches(lengths, 8, np.random.default_rng(1)))
    assert len(batches) == 25 and all(len(batch) == 8 for batch in batches)
    chosen = np.concatenate(batches)
    assert len(set(chosen.tolist())) == 200
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 0.2 * np.ptp(lengths)
    starts = [lengths[batch].mean() for batch in batches]
    assert any(a > b for a, b in pairwise(starts))  # not from short to long


def test_no_clip_is_left_out_every_time():
    lengths = np.arange(11)
    generator = np.random.default_rng(0)
    epochs = [np.concatenate(list(epoch_batches(lengths, 4, generator))) for _ in range(20)]
    assert all(len(epoch) == 8 for epoch in epochs)
    assert set(np.concatenate(epochs).tolist()) == set(range(11))


# --- what is kept --------------------------------------------------------------------------


@pytest.fixture
def scripted(monkeypatch):
    """Dev losses as given; returns the weights after every epoch."""

    def script(losses: list[float]) -> list[np.ndarray]:
        seen: list[np.ndarray] = []

        def dev_loss(model, network, features, y):
            seen.append(np.concatenate([v.detach().numpy().ravel() for v in network.state_dict().values()]))
            return losses[len(seen) - 1]

        monkeypatch.setattr(training, "dev_loss", dev_loss)
        return seen

    return script


def test_the_best_epoch_is_kept(scripted):
    seen = scripted([0.9, 0.3, 0.5, 0.3])
    model = mean_model(epochs=4).fit(*data(), dev=data(6, seed=1))
    assert model.training_["best_epoch"] == 2
    np.testing.assert_array_equal(weights(model), seen[1])
    assert not np.array_equal(seen[1], seen[3])
    assert [record["dev_loss"] for record in model.training_["history"]] == [0.9, 0.3, 0.5, 0.3]


def test_the_last_epoch_is_kept_without_dev():
    model = mean_model(epochs=2).fit(*data())
    assert model.training_["best_epoch"] == 2
    assert set(model.training_["history"][0]) == {"epoch", "lr", "train_loss"}


def test_dev_loss_is_that_of_all_clips_at_once():
    """1 - CCC over many clips is no mean over batches of them."""
    model = mean_model(epochs=1).fit(*data())
    waves, y = data(150, seed=2)
    features = [model.features(wave) for wave in waves]
    came = training.dev_loss(model, model.network, features, y)
    raw = torch.cat([model.network(x[None], torch.tensor([x.shape[-1]]))[1].detach() for x in features])
    assert came == pytest.approx(float(model.network.outputs.loss(raw, torch.from_numpy(y))), rel=1e-4)


def test_equal_seeds_equal_models_and_no_trace_in_the_callers_randomness():
    before = torch.get_rng_state()
    one, two = mean_model().fit(*data()), mean_model().fit(*data())
    np.testing.assert_array_equal(weights(one), weights(two))
    assert torch.equal(torch.get_rng_state(), before)
    other = MeanModel("avb-two", name="mean", seed=5, epochs=3, batch_size=8, lr=0.05).fit(*data())
    assert not np.array_equal(weights(one), weights(other))


def test_it_learns_what_there_is_to_learn():
    waves, y = data(64)
    model = mean_model(epochs=60, batch_size=32).fit(waves, y)
    assert np.corrcoef(model.predict(waves)[:, 0], y[:, 0])[0, 1] > 0.9


# --- runs that end badly -------------------------------------------------------------------


def test_fewer_clips_than_a_batch():
    with pytest.raises(InputDataError) as raised:
        mean_model(batch_size=30).fit(*data())
    assert str(raised.value) == "24 train clips do not fill one batch of 30"


def test_a_loss_that_is_no_number(monkeypatch, scripted):
    scripted([float("nan")])
    with pytest.raises(RunError) as raised:
        mean_model().fit(*data(), dev=data(6))
    assert str(raised.value) == "mean: the dev loss is nan after epoch 1; lower the setting lr"
    monkeypatch.setattr(MeanModel, "loss", lambda *arguments: arguments[2].sum() * float("inf"))
    with pytest.raises(
        RunError, match=r"^mean: the loss is -?(inf|nan) in epoch 1, step 0; lower the setting lr$"
    ):
        mean_model().fit(*data())


# --- several processes -----------------------------------------------------------------------


def test_two_processes(tmp_path):
    """Two shares of every batch, their clips changed alike: the weights of one process, but for the order of sums."""
    model, waves, y = classes_model()
    model.fit(waves, y, dev=(waves[:8], y[:8]))
    place = Path(__file__)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", place, tmp_path],
        capture_output=True, text=True, timeout=240, cwd=place.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    for name, value in model.tensors().items():
        np.testing.assert_array_equal(ranks[0][name], ranks[1][name])
        np.testing.assert_allclose(ranks[0][name], value, atol=1e-5)


# --- real clips ------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared clips of EmoGator")
def test_cnnatt_learns_32_real_clips():
    waves, classes = real_clips(32)
    fast = {"epochs": 25, "batch_size": 8, "lr": 3e-3, "schedule": "cosine", "bf16": True}
    model = build("cnnatt", "avb-type", **fast).fit(waves, classes % 8)
    assert (model.predict(waves)[:, 0] == classes % 8).mean() > 0.9


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared clips of EmoGator")
@pytest.mark.parametrize(("name", "lr"), [("end2you", 2e-3), ("cnnlstm", 1e-3), ("fcmfcc", 1e-3)])
def test_eight_real_clips_are_soon_told_apart(name, lr):
    waves, _ = real_clips(32)
    settings = {"epochs": 12, "batch_size": 8, "lr": lr, "bf16": True}
    settings |= {} if name == "end2you" else {"dropout": 0.0}
    model = build(name, "avb-type", **settings).fit([wave[:24_000] for wave in waves[:8]], np.arange(8.0))
    losses = [record["train_loss"] for record in model.training_["history"]]
    assert losses[0] > 1.8 and losses[-1] < 0.5 * losses[0]


if __name__ == "__main__":
    own_model, own_waves, own_y = classes_model()
    own_model.fit(own_waves, own_y, dev=(own_waves[:8], own_y[:8]))
    save_file(own_model.tensors(), Path(sys.argv[1]) / f"{os.environ['RANK']}.safetensors")
