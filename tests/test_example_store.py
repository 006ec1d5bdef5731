"""Kept examples: those of the dataset itself, made once, the same for any number of workers, round and round."""

from dataclasses import fields

import pytest
import torch
from training_fixtures import assert_same_end, corpus, fresh_accelerate, metrics, train

from vocalburst.gen.config import load_config
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.dataset import BurstDataset, DrawSampler
from vocalburst.gen.example_store import ExampleStore
from vocalburst.gen.models.outline import OutlineEncoder
from vocalburst.gen.train_config import DataSection
from vocalburst.gen.training_data import open_sources

__all__ = ["corpus", "fresh_accelerate"]  # fixtures

EPOCHS = 3  # of nine clips


@pytest.fixture
def dataset(corpus):
    def build(**options) -> BurstDataset:
        manifest = str(corpus / "manifest" / "manifest.jsonl")
        data = DataSection(manifests=[{"path": manifest}], cache=str(corpus / "cache"))
        encoder = OutlineEncoder(100, 4)
        encoder.axes.copy_(torch.randn(encoder.axes.shape, generator=torch.Generator().manual_seed(0)))
        options = {"p_pitch": 0.5, "p_crop": 0.5, "outline": encoder, **options}
        return BurstDataset(open_sources(data, False)[0], ("amusement", "awe", "fear"), **options)

    return build


def same_condition(first, second) -> bool:
    return all(
        torch.equal(getattr(first, f.name).nan_to_num(-9e9), getattr(second, f.name).nan_to_num(-9e9))
        for f in fields(first)
    )


def test_kept_examples_are_the_draws_of_the_first_epochs(dataset, tmp_path):
    draws = dataset()
    store = ExampleStore.build(draws, EPOCHS, tmp_path)
    assert len(store) == EPOCHS * len(draws) == 27
    lengths = set()
    for draw in range(len(store)):
        for number in (draw, draw + 2 * len(store)):
            mel, condition = store[number]
            torch.testing.assert_close(mel, draws[draw][0], atol=0.005, rtol=0)  # 16 bits, down to -16.1
            assert same_condition(condition, draws[draw][1])
        lengths.add(mel.shape[1])
    assert len(lengths) > 5  # so that lengths cannot be mixed up


def test_a_batch_is_what_collate_makes_of_the_draws(dataset, tmp_path):
    draws = dataset()
    store = ExampleStore.build(draws, EPOCHS, tmp_path).on(torch.device("cpu"))
    sampler = DrawSampler(5, 5 + 48, 4, 1, 2)  # goes round once
    batches = list(store.batches(sampler))
    assert len(batches) == 6
    for batch, numbers in zip(batches, sampler, strict=True):
        wanted = draws.collate([draws[number % len(store)] for number in numbers])
        assert torch.equal(batch.mask, wanted.mask)
        torch.testing.assert_close(batch.mel, wanted.mel, atol=0.005, rtol=0)
        assert (batch.mel.transpose(1, 2)[~batch.mask] == draws.log_mel.config.floor).all()
        assert same_condition(batch.condition, wanted.condition)


def test_a_store_is_built_once_for_the_same_draws(dataset, tmp_path, monkeypatch):
    first = ExampleStore.build(dataset(), 1, tmp_path)
    several = ExampleStore.build(dataset(), 1, tmp_path / "several", workers=2)
    assert first.file.read_bytes() == several.file.read_bytes()
    assert same_condition(first.condition, several.condition)
    with monkeypatch.context() as patch:
        patch.setattr(BurstDataset, "__getitem__", None)  # nothing is made again
        assert ExampleStore.build(dataset(), 1, tmp_path).file == first.file
    others = [dataset(seed=1), dataset(p_crop=0.0), dataset(outline=None), dataset(max_seconds=0.3)]
    shifted = dataset()
    shifted.outline.mean.add_(1.0)
    files = {ExampleStore.build(other, 1, tmp_path).file for other in (*others, shifted)}
    files.add(ExampleStore.build(dataset(), 2, tmp_path).file)
    assert len(files) == 6 and first.file not in files


def test_a_store_whose_making_was_cut_short_is_made_again(dataset, tmp_path):
    store = ExampleStore.build(dataset(), 1, tmp_path)
    whole = store.file.read_bytes()
    store.file.write_bytes(whole[:100])
    (store.file.parent / "examples.safetensors").unlink()
    assert ExampleStore.build(dataset(), 1, tmp_path).file.read_bytes() == whole


def test_training_on_kept_examples(monkeypatch, corpus, tmp_path):
    """The loss is that of the examples made anew, up to the rounding; a run continues exactly; epochs repeat."""
    still = {"optimizer": {"lr": 1e-9, "lr_matrices": 1e-9}}
    runs = [
        train(monkeypatch, corpus, tmp_path / name, data={"kept_epochs": epochs}, **still)
        for name, epochs in (("two", 2), ("anew", 0))
    ]
    losses = [[line["loss"] for line in metrics(run) if "loss" in line] for run in runs]
    assert losses[0][:4] == pytest.approx(losses[1][:4], rel=0.01)  # 16 of 18 draws
    assert losses[0][5:] != pytest.approx(losses[1][5:], rel=0.01)
    kept = train(monkeypatch, corpus, tmp_path / "kept", data={"kept_epochs": 2})
    part = train(monkeypatch, corpus, tmp_path / "part", data={"kept_epochs": 2})
    for folder in (part / "checkpoints").iterdir():
        if folder.name != "000000000016":
            for file in sorted(folder.rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
            folder.rmdir()
    train(monkeypatch, corpus, part, "--resume", "latest", data={"kept_epochs": 2})
    assert_same_end(kept, part)


def test_a_negative_number_of_epochs_is_refused(tmp_path):
    from vocalburst.gen.train_config import TrainConfig

    path = tmp_path / "config.yaml"
    path.write_text("output: x\ndata: {manifests: [{path: m}], kept_epochs: -1}\nsamples: {total: 1}\n")
    with pytest.raises(InputDataError, match="kept_epochs"):
        load_config(path, TrainConfig)
