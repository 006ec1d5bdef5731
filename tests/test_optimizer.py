"""Which parameter goes to which optimiser, and the learning-rate schedule."""

import pytest
import torch
from test_transformer import tiny

from vocalburst.gen.optimizer import build_optimizers, learning_rate_factor


def names_of(model, optimizer) -> set[str]:
    ids = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in ids}


def test_every_parameter_once_and_block_matrices_to_muon():
    model = tiny()
    muon, adamw = build_optimizers(model, lr=1e-3, lr_matrices=2e-3, weight_decay=0.1)
    assert isinstance(muon, torch.optim.Muon) and isinstance(adamw, torch.optim.AdamW)
    layers = ("qkv", "out", "feed_in", "feed_out")
    assert names_of(model, muon) == {f"blocks.{b}.{layer}.weight" for b in (0, 1) for layer in layers}
    everything = {name for name, _ in model.named_parameters()}
    assert names_of(model, adamw) == everything - names_of(model, muon)
    assert (muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"]) == (2e-3, 1e-3)
    assert muon.param_groups[0]["weight_decay"] == adamw.param_groups[0]["weight_decay"] == 0.1


def test_without_a_rate_for_matrices_adamw_takes_all():
    model = tiny()
    (adamw,) = build_optimizers(model, lr=1e-3, lr_matrices=0.0, weight_decay=0.0)
    assert names_of(model, adamw) == {name for name, _ in model.named_parameters()}


def test_warm_up_plateau_and_decay():
    def rate(seen: int) -> float:
        return learning_rate_factor(seen, total=1000, warmup=100, decay=400)

    assert rate(0) == pytest.approx(0.01)
    assert rate(49) == pytest.approx(0.5)
    assert rate(99) == rate(300) == rate(600) == 1.0
    assert rate(800) == pytest.approx(0.5)
    assert rate(1000) == rate(1100) == 0.0
    values = [rate(seen) for seen in range(0, 1001, 10)]
    peak = values.index(1.0)
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)


def test_no_warm_up_and_no_decay():
    assert [learning_rate_factor(seen, 100, 0, 0) for seen in (0, 50, 100)] == [1.0, 1.0, 1.0]
