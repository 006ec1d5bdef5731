"""What leaving train clips out would do: how near the rest is to dev, by both evaluators.

    vocalburst embed emogator:train --evaluator emo18 --out train-emo18.safetensors     # and dev, and logmel
    python docs/data_care.py manifests/emogator/manifest.jsonl train-emo18.safetensors dev-emo18.safetensors

A generator that learnt the train clips perfectly would stand where they stand. So KAD of train against dev clips (mean
over emotions, zero for the same law) says what a choice of clips is worth before anything is trained on it; a random
choice of as many clips stands beside each, because fewer clips alone change nothing in an unbiased distance.

Speech-like clips are looked for in two ways: by what tells speech from music, energy that comes and goes at the rate of
syllables, and by the speech detector of Silero (MIT; `pip install silero-vad` brings its weights). The last lines say
which emotions they are of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import scipy.signal
import torch
import torchaudio.functional as AF
from silero_vad import load_silero_vad
from tqdm import tqdm

from vocalburst.eval.embed import EmbeddedClips
from vocalburst.eval.kernel import kernel_audio_distance
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.manifest import manifest_root, read_manifest
from vocalburst.gen.data.mel import LogMel
from vocalburst.gen.data.store import WaveStore

LEVELS = (-60.0, -50.0, -45.0, -40.0, -35.0)  # dBFS of the voice-active part
SYLLABLES = (3.0, 5.0)  # Hz
SPEECH_LIKE = (0.95, 0.9)  # quantiles above which a clip counts as speech-like
SPEECH_RATE, SPEECH_WINDOW = 16000, 512  # Hz and samples that the speech detector hears


def syllabic_modulation(wave: np.ndarray, log_mel: LogMel) -> float:
    """Modulation energy around 4 Hz in mel bands over their mean energy (Scheirer & Slaney 1997, section 2)."""
    energy = log_mel(torch.from_numpy(np.asarray(wave, dtype=np.float32))).exp().square().numpy()
    config = log_mel.config
    band = scipy.signal.butter(
        2, SYLLABLES, btype="bandpass", fs=config.sample_rate / config.hop_length, output="sos"
    )
    moved = scipy.signal.sosfilt(band, energy, axis=-1)
    return float(np.square(moved).sum() / max(np.square(energy).sum(), 1e-12))


def speech_seconds(wave: np.ndarray, detector: torch.nn.Module) -> float:
    """How long the detector says speech with at least 0.5, in windows of 32 ms of the clip at a peak of 0.7."""
    heard = torch.from_numpy(np.asarray(wave, dtype=np.float32))
    heard = AF.resample(0.7 * heard / heard.abs().max().clamp(min=1e-4), SAMPLE_RATE, SPEECH_RATE)
    detector.reset_states()  # it remembers what came before
    windows = heard[: len(heard) // SPEECH_WINDOW * SPEECH_WINDOW].view(-1, 1, SPEECH_WINDOW)
    with torch.inference_mode():
        speech = sum(float(detector(window, SPEECH_RATE)) >= 0.5 for window in windows)
    return speech * SPEECH_WINDOW / SPEECH_RATE


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
    log_mel, detector = LogMel(), load_silero_vad()
    measures = {"syllabic modulation": [], "speech by Silero": []}
    for row, clip in enumerate(tqdm(own, unit="clip")):
        measures["syllabic modulation"].append(syllabic_modulation(waves[row], log_mel))
        active = max(clip.active_seconds, 0.1)
        measures["speech by Silero"].append(speech_seconds(waves[row], detector) / active)
    measures = {name: np.array(values) for name, values in measures.items()}
    for name, values in measures.items():
        for quantile in SPEECH_LIKE:
            choices[f"without the {1 - quantile:.0%} with the most {name}"] = values <= np.quantile(
                values, quantile
            )
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
    for name, values in measures.items():
        most = values > np.quantile(values, SPEECH_LIKE[0])
        share = {emotion: most[emotions == emotion].mean() for emotion in sorted(set(emotions))}
        first = sorted(share, key=share.get, reverse=True)[:6]
        told = ", ".join(f"{emotion} {share[emotion]:.0%}" for emotion in first)
        print(f"\nMost {name}: {told} of the clips of that emotion.")


if __name__ == "__main__":
    main()
