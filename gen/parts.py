"""What a checkpoint folder holds: its settings, and parts that fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffusers import ModelMixin, SchedulerMixin

from vocalburst.gen.checkpoint import check_finite, load_part, load_scheduler, read_json
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.models.outline import OutlineEncoder
from vocalburst.gen.models.prior import ClipPrior
from vocalburst.gen.models.refiner import MelRefiner
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.models.vocoder import load_vocoder

GENERATION_DEFAULTS = {
    "steps": 16,
    "guidance": 1.5,
    "guidance_interval": [0.0, 1.0],  # of sigma
    "guidance_learnt": 1.0,  # what the network has learnt from a guided teacher for that interval, see `teacher`
    "guidance_by": "emotion",  # "emotion": classifier-free; "guide": autoguidance by the folder guide/
    "scheduler": "euler",
    "shift": 1.0,
    "stretch": 1.0,  # of the noise levels, see `sampling.stretched`
    "grain": 1.0,  # how much of what the refiner adds
    "steadying": 0.0,  # of the level from frame to frame, see `refiner.steadied`
    "moderation": {},  # emotion -> share of its weight that all emotions get, negative: give; `Synthesis.moderated`
    "license": "Apache-2.0",
}


def load_settings(folder: Path) -> dict:
    """`GENERATION_DEFAULTS` with what the folder's generation.json changes."""
    settings = read_json(folder / "generation.json")
    if unknown := settings.keys() - GENERATION_DEFAULTS.keys():
        raise MissingModelError(
            f"{folder}: generation.json has settings of another version of vocalburst: {', '.join(sorted(unknown))}"
        )
    return {**GENERATION_DEFAULTS, **settings}


def check_moderation(folder: Path, moderation: object, emotions: Sequence[str]) -> None:
    """Raise MissingModelError unless it is shares, -1 to 1, of emotions that the denoiser knows."""
    if not isinstance(moderation, dict):
        raise MissingModelError(
            f"{folder}: expected a moderation such as {{'{emotions[0]}': 0.5}}, got {moderation!r}"
        )
    for name, share in moderation.items():
        if name not in emotions:
            raise MissingModelError(
                f"{folder}: generation.json moderates {name}, which the denoiser does not know"
            )
        if not isinstance(share, int | float) or not -1 <= share <= 1:
            raise MissingModelError(
                f"{folder}: generation.json moderates {name} by {share!r}, expected -1 to 1"
            )


def load_parts(folder: Path, vocoder: str | Path) -> dict[str, ModelMixin | SchedulerMixin | None]:
    """The arguments of a `BurstPipeline`. Raises MissingModelError for parts that are not there or do not fit."""

    def optional(kind: type[ModelMixin], name: str) -> ModelMixin | None:
        return load_part(kind, folder / name) if (folder / name).is_dir() else None

    normalizer = load_part(MelNormalizer, folder / "normalizer")
    try:
        mel = normalizer.mel_config
    except MissingModelError as error:
        raise MissingModelError(f"{folder / 'normalizer'}: {error}") from None
    if mel.sample_rate != SAMPLE_RATE:
        raise MissingModelError(
            f"{folder}: made for {mel.sample_rate} Hz, this package works at {SAMPLE_RATE} Hz"
        )
    transformer = load_part(BurstTransformer, folder / "transformer")
    guide = optional(BurstTransformer, "guide")
    for network in (transformer, guide):
        if network is not None and network.config.n_mels != mel.n_mels:
            raise MissingModelError(
                f"{folder}: a denoiser of {network.config.n_mels} mel bins, a normaliser of {mel.n_mels}"
            )
    settings = load_settings(folder)
    check_moderation(folder, settings["moderation"], transformer.config.emotions)
    if guide is None and settings["guidance_by"] == "guide":
        raise MissingModelError(f"{folder}: guidance_by is guide, but the checkpoint has no folder guide")
    outline = optional(OutlineEncoder, "outline")
    if (outline.config.size if outline else 0) != transformer.config.outline:
        raise MissingModelError(
            f"{folder}: the denoiser hears outlines of {transformer.config.outline} numbers, the folder outline "
            f"{'is missing' if outline is None else f'makes {outline.config.size}'}"
        )
    refiner = optional(MelRefiner, "refiner")
    if refiner is not None:
        its, own = refiner.config, transformer.config
        if (its.n_mels, tuple(its.emotions)) != (own.n_mels, tuple(own.emotions)):
            raise MissingModelError(f"{folder}: a refiner of other emotions or mel bins than the denoiser's")
    vocoder_part = load_vocoder(vocoder, mel)
    check_finite(vocoder_part, vocoder)
    return {
        "transformer": transformer,
        "normalizer": normalizer,
        "prior": load_part(ClipPrior, folder / "prior"),
        "vocoder": vocoder_part,
        "scheduler": load_scheduler(folder),
        "guide": guide,
        "outline": outline,
        "refiner": refiner,
    }
