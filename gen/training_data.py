"""Everything a diffusion run reads: its sources, the names behind its conditions, normaliser and prior."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vocalburst.gen.checkpoint import load_part, locate_checkpoint
from vocalburst.gen.data.emotions import VOCABULARY, labelled_names
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip, check_files, manifest_root, read_manifest
from vocalburst.gen.data.store import WaveStore
from vocalburst.gen.dataset import BurstDataset, Source, active_part
from vocalburst.gen.example_store import CHUNK, ExampleStore
from vocalburst.gen.models.conditioning import Condition
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.models.outline import OutlineEncoder
from vocalburst.gen.models.prior import ClipPrior
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.train_config import DataSection, TrainConfig

STATISTICS_CLIPS = 2000  # enough for per-bin statistics to three digits


@dataclass(frozen=True)
class TrainingData:
    train: BurstDataset
    dev: BurstDataset
    emotions: tuple[str, ...]
    voices: tuple[str, ...]
    countries: tuple[str, ...]
    normalizer: MelNormalizer
    prior: ClipPrior
    outline: OutlineEncoder | None = None
    kept: ExampleStore | None = None  # of `train`


def load_training_data(config: TrainConfig, show: bool = True) -> TrainingData:
    """Read the manifests, open (or build) the wave stores, fit the normaliser and collect the prior.

    The model's emotions are those that any train clip labels, in the order of the vocabulary; its voices are the
    train speakers.
    """
    train_sources, dev_sources = open_sources(config.data, show)
    clips = [clip for source in train_sources for clip in source.clips]
    known = {name for clip in clips for name in labelled_names(clip.labelled)}
    emotions = tuple(name for name in VOCABULARY if name in known)
    if not emotions:
        raise InputDataError(f"{config.data.manifests[0].path}: no train clip carries an emotion label")
    voices = tuple(sorted({clip.speaker for clip in clips if clip.speaker}))
    countries = tuple(sorted({clip.country for clip in clips if clip.country}))

    def dataset(sources: list[Source], **augmentation: float) -> BurstDataset:
        return BurstDataset(
            sources,
            emotions,
            voices,
            countries,
            seed=config.seed,
            max_seconds=config.data.max_seconds,
            **augmentation,
        )

    train = dataset(train_sources, p_pitch=config.data.p_pitch, p_crop=config.data.p_crop)
    if config.init is None:
        normalizer = fit_normalizer(train, config.seed, config.workers)
    else:
        normalizer = load_part(MelNormalizer, locate_checkpoint(config.init) / "normalizer")
        train.log_mel.config.check_equal(normalizer.mel_config, f"the checkpoint {config.init}")
    dev = dataset(dev_sources)
    encoder = load_outline_encoder(config, train)
    train.outline = dev.outline = encoder
    prior = collect_prior(train, show, config.workers)
    kept = keep_examples(train, config.data, config.workers, show)
    return TrainingData(train, dev, emotions, voices, countries, normalizer, prior, encoder, kept)


def keep_examples(
    dataset: BurstDataset, data: DataSection, workers: int, show: bool = True
) -> ExampleStore | None:
    """The store of `data.kept_epochs`; None when each example is to be made anew."""
    if not data.kept_epochs:
        return None

    def progress(chunks):
        return tqdm(chunks, desc="examples", unit=f"x{CHUNK}", file=sys.stderr, disable=not show)

    return ExampleStore.build(dataset, data.kept_epochs, Path(data.cache), workers, progress)


def open_sources(data: DataSection, show: bool = True) -> tuple[list[Source], list[Source]]:
    """Train and dev clips of every manifest with their wave stores; train clips that are too quiet are left out."""
    train_sources: list[Source] = []
    dev_sources: list[Source] = []
    for section in data.manifests:
        clips = read_manifest(section.path)
        check_files(section.path, clips)
        for split, sources in (("train", train_sources), ("dev", dev_sources)):
            chosen = [clip for clip in clips if clip.split == split]
            if not chosen:
                raise InputDataError(
                    f"{section.path}: has no {split} clips; training needs both train and dev"
                )
            waves = _store(section.path, chosen, data.cache, show)
            if split == "train" and data.min_level_db is not None:
                chosen, waves = loud_enough(section.path, chosen, waves, data.min_level_db, show)
            sources.append(Source(chosen, waves, section.weight))
    return train_sources, dev_sources


def loud_enough(
    manifest: str, clips: list[Clip], waves: WaveStore, min_level_db: float, show: bool
) -> tuple[list[Clip], WaveStore]:
    """The clips whose voice-active part is loud enough, and their waves: below, a recording is mostly noise."""
    rows = [row for row, clip in enumerate(clips) if clip.level_db >= min_level_db]
    if not rows:
        raise InputDataError(f"{manifest}: no train clip reaches {min_level_db:g} dBFS (data.min_level_db)")
    if show:
        left_out = len(clips) - len(rows)
        print(
            f"{manifest}: {left_out} of {len(clips)} train clips under {min_level_db:g} dBFS are left out",
            file=sys.stderr,
        )
    return [clips[row] for row in rows], waves.take(rows)


def _store(manifest: str, clips: list[Clip], cache: str, show: bool) -> WaveStore:
    def progress(items):
        return tqdm(items, desc=f"decode {manifest}", unit="file", file=sys.stderr, disable=not show)

    return WaveStore.build(manifest_root(manifest), clips, Path(cache), progress)


class Recorded(Dataset):
    """Examples of some clips, each a (source, clip) of a dataset, as they were recorded."""

    def __init__(self, dataset: BurstDataset, places: Sequence[tuple[int, int]]):
        self.dataset, self.places = dataset, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, Condition]:
        source, index = self.places[row]
        return self.dataset.example(self.dataset.sources[source], index)

    def examples(self, workers: int = 0) -> Iterator[tuple[torch.Tensor, Condition]]:
        """All of them in order, made by `workers` processes."""
        batches = DataLoader(
            self, CHUNK, collate_fn=self.dataset.collate, num_workers=workers, generator=torch.Generator()
        )
        return (example for batch in batches for example in batch.examples())


def places_of(dataset: BurstDataset) -> list[tuple[int, int]]:
    """(source, clip) of every clip."""
    return [(s, i) for s, source in enumerate(dataset.sources) for i in range(len(source.clips))]


def chosen_examples(
    dataset: BurstDataset, seed: int, workers: int = 0
) -> Iterator[tuple[torch.Tensor, Condition]]:
    """Mel [M, T] and condition of a seeded choice of clips from all sources, as they were recorded."""
    places = places_of(dataset)
    chosen = np.random.default_rng([seed, 3]).permutation(len(places))[:STATISTICS_CLIPS]
    return Recorded(dataset, [places[k] for k in chosen]).examples(workers)


def chosen_mels(dataset: BurstDataset, seed: int, workers: int = 0) -> Iterator[torch.Tensor]:
    return (mel for mel, _ in chosen_examples(dataset, seed, workers))


def load_outline_encoder(config: TrainConfig, train: BurstDataset) -> OutlineEncoder | None:
    """That of the checkpoint that the run starts from, else one fitted to the chosen clips; None without outlines."""
    size = config.outline.size
    if not size:
        return None
    folder = None if config.init is None else locate_checkpoint(config.init) / "outline"
    if folder is not None and folder.is_dir():
        encoder = load_part(OutlineEncoder, folder)
        if encoder.config.size != size:
            raise InputDataError(
                f"{config.init}: its outlines have {encoder.config.size} numbers, this run needs {size}"
            )
        return encoder
    encoder = OutlineEncoder(train.log_mel.config.n_mels, size, config.outline.jitter)
    return encoder.fit(
        [
            active_part(mel, tuple(condition.span[0].tolist()))
            for mel, condition in chosen_examples(train, config.seed, config.workers)
        ]
    )


def fit_normalizer(dataset: BurstDataset, seed: int, workers: int = 0) -> MelNormalizer:
    """Per-bin statistics of the chosen clips."""
    return MelNormalizer(dataset.log_mel.config.to_dict()).fit(chosen_mels(dataset, seed, workers))


def load_initial(model: BurstTransformer, checkpoint: str) -> None:
    """Give `model` the weights of a checkpoint's denoiser, principal axes included.

    Raises InputDataError when its sizes, emotions or voices are not those of `model`.
    """
    initial = load_part(BurstTransformer, locate_checkpoint(checkpoint) / "transformer")
    for name in (
        "emotions",
        "voices",
        "countries",
        "n_mels",
        "patch",
        "dim",
        "n_layers",
        "n_heads",
        "bottleneck",
    ):
        wanted, found = model.config[name], initial.config[name]
        if wanted != found:
            raise InputDataError(f"{checkpoint}: its denoiser has {name} {found}, this run needs {wanted}")
    if initial.config.outline not in (0, model.config.outline):
        raise InputDataError(
            f"{checkpoint}: its denoiser hears outlines of {initial.config.outline} numbers, this run has "
            f"{model.config.outline} (outline.size)"
        )
    # What hears outlines is new when the checkpoint has none; it starts at zero, so the answers are the same.
    model.load_state_dict({**model.state_dict(), **initial.state_dict()})


def fit_preconditioner(model: BurstTransformer, data: TrainingData, seed: int, workers: int = 0) -> None:
    """Set the principal axes of the model's patches from the chosen clips; parts of a patch at the end are left out."""
    mels = (
        mel[:, : mel.shape[-1] // model.patch * model.patch] for mel in chosen_mels(data.train, seed, workers)
    )
    patches = (model.patches(data.normalizer.normalize(mel[None]))[0] for mel in mels)
    model.preconditioner.fit(patches)


def collect_prior(dataset: BurstDataset, show: bool = False, workers: int = 0) -> ClipPrior:
    """One row per train clip and emotion that it carries most of (a tie gives several rows)."""
    emotion_row = {name: row for row, name in enumerate(dataset.emotions)}
    seconds_a_frame = dataset.log_mel.config.hop_length / dataset.log_mel.config.sample_rate
    places = places_of(dataset)
    told = dataset.outline is not None
    bar = tqdm(places, desc="outlines", unit="clip", file=sys.stderr, disable=not (told and show))
    conditions = (condition for _, condition in Recorded(dataset, places).examples(workers))
    rows, onsets, outlines = [], [], []
    for (source, index), condition in zip(
        bar, conditions if told else repeat(None, len(places)), strict=True
    ):
        clip = dataset.sources[source].clips[index]
        strongest = max(clip.emotions.values(), default=0.0)
        for name, value in clip.emotions.items():
            if value > 0 and value >= strongest - 1e-6:
                seconds = min(clip.seconds, dataset.max_seconds)
                row = (seconds, min(clip.active_seconds, seconds), clip.level_db)
                rows.append((emotion_row[name], dataset.voices.get(clip.speaker, -1), *row))
                if condition is not None:
                    onsets.append(float(condition.span[0, 0]) * seconds_a_frame)
                    outlines.append(condition.outline[0].numpy())
    table = np.array(rows, dtype=np.float32)
    return (
        ClipPrior.from_rows(table, np.array(outlines), np.array(onsets))
        if told
        else ClipPrior.from_rows(table)
    )
