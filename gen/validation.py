"""What a training run looks at while it goes: loss on fixed dev clips, pictures and sounds of fixed seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vocalburst.gen.checkpoint import locate_checkpoint
from vocalburst.gen.data.audio import encode_wave, fade_edges, limit_peak, write_file
from vocalburst.gen.dataset import BurstDataset
from vocalburst.gen.diffusion import add_noise, sample_sigma, velocity_loss
from vocalburst.gen.models.conditioning import AUGMENTATIONS, SCALARS, Condition
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.models.vocoder import load_vocoder
from vocalburst.gen.pictures import save_mels
from vocalburst.gen.sampling import build_scheduler, guided, sample
from vocalburst.gen.train_config import SHIPPED_VOCODER, NoiseSection, ValidationSection
from vocalburst.gen.training_data import TrainingData

BATCH = 32


def validation_loss(
    model: BurstTransformer,
    dev: BurstDataset,
    normalizer: MelNormalizer,
    noise: NoiseSection,
    settings: ValidationSection,
    jitter: float = 0.0,
) -> float:
    """Loss over the same clips, noise and noise levels at every call. Dev speakers have no voice row: it is null."""
    places = [(s, i) for s, source in enumerate(dev.sources) for i in range(len(source.clips))]
    chosen = np.random.default_rng(0).permutation(len(places))[: settings.clips]
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    total, frames = 0.0, 0
    for first in range(0, len(chosen), BATCH):
        items = [dev.example(dev.sources[places[k][0]], places[k][1]) for k in chosen[first : first + BATCH]]
        batch = dev.collate(items)
        x = normalizer.normalize(batch.mel.to(normalizer.mean.device))
        mask = batch.mask.to(x.device)
        sigma = sample_sigma(len(x), noise.mean, noise.std).to(x.device)
        noisy = add_noise(x, torch.randn(x.shape, generator=generator).to(x.device), sigma)
        condition = batch.condition.jittered(jitter).to(x.device)
        loss = velocity_loss(model(noisy, sigma, condition, mask), x, sigma, mask)
        n = int(mask.sum())
        total, frames = total + float(loss) * n, frames + n
    return total / frames


def write_samples(
    folder: Path,
    model: BurstTransformer,
    data: TrainingData,
    normalizer: MelNormalizer,
    settings: ValidationSection,
) -> None:
    """`mels.png`: generated over real mels, a column per emotion; `<emotion>.wav`: the generated ones, vocoded."""
    device = normalizer.mean.device
    mel_config = normalizer.mel_config
    names = [name for name in settings.emotions if name in data.emotions] or list(data.emotions[:6])
    mels = []
    for seed, name in enumerate(names):
        index = data.emotions.index(name)
        drawn = data.prior.draw({index: 1.0}, None, None, np.random.default_rng(seed))
        emotion = torch.zeros(1, len(data.emotions))
        emotion[0, index] = 1.0
        condition = Condition(
            emotion=emotion,
            emotion_known=torch.ones_like(emotion, dtype=torch.bool),
            voice=torch.tensor([drawn.voice]),
            country=torch.tensor([-1]),
            scalars=torch.tensor([[drawn.seconds, drawn.active_seconds, drawn.level_db, float("nan")]]),
            augmentation=torch.zeros(1, len(AUGMENTATIONS)),
            outline=torch.from_numpy(drawn.outline)[None],
            span=drawn.span(mel_config.hop_length / mel_config.sample_rate),
        ).to(device)
        assert condition.scalars.shape[1] == len(SCALARS)
        frames = mel_config.n_frames(round(drawn.seconds * mel_config.sample_rate))
        noise = torch.randn(1, mel_config.n_mels, frames, generator=torch.Generator().manual_seed(seed))
        x = sample(
            guided(model, condition, settings.guidance),
            noise.to(device),
            build_scheduler("euler"),
            settings.steps,
        )
        mels.append(normalizer.denormalize(x)[0].cpu())
    real = [_first_real(data.dev, name) for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    save_mels(folder / "mels.png", [mels, real], names, ["generated", "real"], mel_config)
    if settings.vocoder is not None:
        shipped = settings.vocoder == SHIPPED_VOCODER
        vocoder = load_vocoder(
            locate_checkpoint(None) / "vocoder" if shipped else settings.vocoder, mel_config
        )
        for name, mel in zip(names, mels, strict=True):
            wave = vocoder(mel[None])[0].numpy()
            write_file(folder / f"{name}.wav", encode_wave(limit_peak(fade_edges(wave))))


def _first_real(dev: BurstDataset, name: str) -> torch.Tensor:
    """Mel of the first dev clip that carries the emotion most."""
    for source in dev.sources:
        for index, clip in enumerate(source.clips):
            if clip.emotions and max(clip.emotions, key=clip.emotions.get) == name:
                return dev.example(source, index)[0]
    return torch.full((dev.log_mel.config.n_mels, 1), dev.log_mel.config.floor)
