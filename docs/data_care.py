"""What leaving train clips out would do: how near the rest is to dev, by both evaluators.

    vocalburst embed emogator:train --evaluator emo18 --out train-emo18.safetensors     # and dev, and logmel
    python docs/data_care.py manifests/emogator/manifest.jsonl train-emo18.safetensors dev-emo18.safetensors

A generator that learnt the train clips perfectly would stand where they stand. So KAD of train against dev clips (mean
over emotions, zero for the same law) says what a choice of clips is worth before anything is trained on it; a random
choice of as many clips stands beside each, because fewer clips alone change nothing in an unbiased distance.

Speech-like clips are looked for by what tells speech from music, energy that comes and goes at the rate of syllables;
the last line says which emotions they are of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import scipy.signal
import torch
from tqdm import tqdm

from vocalburst.eval.embed import EmbeddedClips
from vocalburst.eval.kernel import kernel_audio_distance
from vocalburst.gen.data.manifest import manifest_root, read_manifest
from vocalburst.gen.data.mel import LogMel
from vocalburst.gen.data.store import WaveStore

LEVELS = (-60.0, -50.0, -45.0, -40.0, -35.0)  # dBFS of the voice-active part
SYLLABLES = (3.0, 5.0)  # Hz
SYLLABIC = (0.95, 0.9)  # quantiles above which a clip counts as speech-like


def syllabic_modulation(wave: np.ndarray, log_mel: LogMel) -> float:
    """Modulation energy around 4 Hz in mel bands over their mean energy (Scheirer & Slaney 1997, section 2)."""
    energy = log_mel(torch.from_numpy(np.asarray(wave, dtype=np.float32))).exp().square().numpy()
    config = log_mel.config
    band = scipy.signal.butter(
        2, SYLLABLES, btype="bandpass", fs=config.sample_rate / config.hop_length, output="sos"
    )
    moved = scipy.signal.sosfilt(band, energy, axis=-1)
    return float(np.square(moved).sum() / max(np.square(energy).sum(), 1e-12))


def mean_distance(train: EmbeddedClips, keep: np.ndarray, dev: EmbeddedClips) -> float:
    """Mean over emotions of KAD between the kept train clips and dev."""
    train_emotions, dev_emotions = np.array(train.clips.emotions), np.array(dev.clips.emotions)
    distances = [
        kernel_audio_distance(
            train.embeddings[(train_emotions == emotion) & keep], dev.embeddings[dev_emotions == emotion]
        )
        for emotion in sorted(set(dev_emotions))
    ]
    return float(np.mean(distances))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("train", type=Path, help="output of `vocalburst embed emogator:train`")
    parser.add_argument("dev", type=Path, help="output of `vocalburst embed emogator:dev`, same evaluator")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="of decoded waves")
    arguments = parser.parse_args()
    clips = {clip.id: clip for clip in read_manifest(arguments.manifest)}
    train, dev = EmbeddedClips.load(arguments.train), EmbeddedClips.load(arguments.dev)
    own = [clips[name] for name in train.clips.names]
    levels = np.array([clip.level_db for clip in own])
    full = np.array([clip.active_seconds >= 0.98 * clip.seconds for clip in own])
    choices = {"all": np.ones(len(own), dtype=bool)}
    choices |= {f"voice-active part at least {level:g} dBFS": levels >= level for level in LEVELS}
    choices["active part shorter than the clip"] = ~full
    waves = WaveStore.build(manifest_root(arguments.manifest), own, arguments.cache)
    log_mel = LogMel()
    syllabic = np.array(
        [syllabic_modulation(waves[row], log_mel) for row in tqdm(range(len(own)), unit="clip")]
    )
    for quantile in SYLLABIC:
        name = f"without the {1 - quantile:.0%} with the most syllabic modulation"
        choices[name] = syllabic <= np.quantile(syllabic, quantile)
    rng = np.random.default_rng(0)
    print(f"| train clips kept | share | KAD to dev, {train.evaluator} | as many at random |")
    print("|---|---|---|---|")
    for name, keep in choices.items():
        chance = np.zeros(len(keep), dtype=bool)
        chance[rng.permutation(len(keep))[: keep.sum()]] = True
        print(
            f"| {name} | {keep.mean():.3f} | {mean_distance(train, keep, dev):.3f} "
            f"| {mean_distance(train, chance, dev):.3f} |"
        )
    emotions = np.array(train.clips.emotions)
    most = syllabic > np.quantile(syllabic, SYLLABIC[0])
    share = {emotion: most[emotions == emotion].mean() for emotion in sorted(set(emotions))}
    told = ", ".join(f"{name} {share[name]:.0%}" for name in sorted(share, key=share.get, reverse=True)[:6])
    print(f"\nMost syllabic modulation: {told} of the clips of that emotion.")


if __name__ == "__main__":
    main()
