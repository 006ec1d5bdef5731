"""Where the distance to real clips comes from: the phases, a noise level of the sampler, the grain.

    python docs/gap.py error
    python docs/gap.py phases
    python docs/gap.py levels [--strengths 0.25 0.5 0.7 0.85 0.95 1]
    python docs/gap.py grain

Two start from the first n dev clips of ten emotions and compare what is made of them with the other dev clips.
`phases` takes magnitudes from the one and phases from the other. `levels` noises a clip up to a noise share and lets
the model finish it (`generate --like`): what the distance gains between two shares is lost between these noise levels.
`error` prints how wrong the denoiser is about dev clips at some noise shares, summed over a clip: what it does not know
there. `grain` prints by how many dB a log-mel moves from frame to frame, on average, and by how much the mean of its
bins does, of real clips and of generated ones with and without the checkpoint's refiner.
Run from the repository root; manifests/emogator must be prepared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torchaudio
from sampling_sweep import hear, made_waves, real_waves, summary

from vocalburst.eval.evaluators import load_evaluators
from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.audio import SAMPLE_RATE
from vocalburst.gen.data.mel import LogMel
from vocalburst.gen.dataset import normalise_level
from vocalburst.gen.diffusion import add_noise
from vocalburst.gen.pipeline import BurstPipeline, load_generator

ERROR_SIGMAS = (0.9995, 0.99, 0.98, 0.97, 0.95, 0.93, 0.9, 0.8, 0.5, 0.2)


def phase_systems(pipeline: BurstPipeline, wave: np.ndarray) -> dict[str, np.ndarray]:
    """One clip [L] with its own and the vocoder's magnitudes and phases."""
    config, vocoder = pipeline.mel_config, pipeline.vocoder
    window = torch.hann_window(config.n_fft)
    level_wave, _, level = normalise_level(wave)
    real = torch.from_numpy(level_wave)

    def stft(x: torch.Tensor) -> torch.Tensor:
        return torch.stft(x, config.n_fft, config.hop_length, window=window, return_complex=True)

    def istft(x: torch.Tensor) -> torch.Tensor:
        return torch.istft(x, config.n_fft, config.hop_length, window=window, length=len(real))

    def vocoded(pulses: bool) -> torch.Tensor:
        shipped = vocoder.config.pulses
        vocoder.register_to_config(pulses=pulses)
        made = vocoder(LogMel(config)(real)[None])[0]
        vocoder.register_to_config(pulses=shipped)
        return torch.nn.functional.pad(made, (0, max(0, len(real) - len(made))))[: len(real)]

    plain, theirs = vocoded(False), stft(real)
    own = stft(plain)
    search = torchaudio.transforms.GriffinLim(
        config.n_fft, 32, hop_length=config.hop_length, power=1, length=len(real)
    )
    torch.manual_seed(0)  # of the phases that Griffin-Lim starts from
    systems = {
        "the clips themselves": real,
        "vocoder, its own phases": plain,
        "real magnitudes, the vocoder's own phases": istft(torch.polar(theirs.abs(), own.angle())),
        "the vocoder's magnitudes, real phases": istft(torch.polar(own.abs(), theirs.angle())),
        "real magnitudes, phases of Griffin-Lim": search(theirs.abs()),
        "upside down": -real,
        "vocoder with pulses": vocoded(True),
    }
    gain = 10 ** ((level - pipeline.normalizer.config.level_db) / 20)
    return {name: np.clip(made.numpy() * gain, -1, 1) for name, made in systems.items()}


def flux(pipeline: BurstPipeline, waves: list[np.ndarray]) -> str:
    """Mean absolute change from frame to frame, in dB: of a bin of the log-mel, and of the mean of its bins."""
    log_mel = LogMel(pipeline.mel_config)
    changes = [log_mel(torch.from_numpy(wave.astype(np.float32))).diff(dim=-1) for wave in waves]
    of_bin, of_all = (
        float(np.mean([f(change) for change in changes])) * 20 / np.log(10)
        for f in (lambda change: change.abs().mean(), lambda change: change.mean(dim=0).abs().mean())
    )
    return f"{of_bin:.2f} dB a bin, {of_all:.2f} dB all bins together"


def print_grain(pipeline: BurstPipeline, dev: dict[str, list[np.ndarray]], n: int) -> None:
    print(f"real: {flux(pipeline, [wave for waves in dev.values() for wave in waves[:n]])}")
    chosen = pipeline.defaults
    for name, refiner in (("without", None), ("with", pipeline.refiner)):
        pipeline.register_modules(refiner=refiner)
        sets = made_waves(pipeline, n, chosen["steps"], chosen["guidance"])
        made = [wave for waves in sets.values() for wave in waves]
        print(f"generated, {name} the refiner: {flux(pipeline, made)}", flush=True)


@torch.inference_mode()
def print_error(pipeline: BurstPipeline, dev: dict[str, list[np.ndarray]], n: int) -> None:
    totals = dict.fromkeys(ERROR_SIGMAS, 0.0)
    chosen = pipeline.defaults
    clips = [(emotion, wave) for emotion, waves in dev.items() for wave in waves[:n]]
    clips = [(e, wave) for e, wave in clips if len(wave) <= pipeline.durations[1] * SAMPLE_RATE]
    for seed, (emotion, wave) in enumerate(clips):
        spec = BurstSpec(
            {emotion: 1.0}, seed, chosen["steps"], chosen["guidance"], chosen["scheduler"], like=wave
        )
        drawn = [pipeline.attributes(spec)]
        condition = pipeline.condition([spec], drawn)
        x = pipeline.encode_clips([spec], pipeline.mel_config.n_frames(len(wave)))
        noise = pipeline.noise([spec], drawn, x.shape[-1])
        for level in ERROR_SIGMAS:
            sigma = torch.tensor([level])
            answer = pipeline.transformer(add_noise(x, noise, sigma), sigma, condition)
            totals[level] += float((answer - x).square().sum()) / len(clips)
    print("| noise share | squared error of a clip |\n|---|---|")
    for level, total in totals.items():
        print(f"| {level:g} | {total:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["phases", "levels", "grain", "error"])
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.25, 0.5, 0.7, 0.85, 0.95, 1.0])
    parser.add_argument("--checkpoint", type=Path, help="folder (default: the one that ships)")
    parser.add_argument("--vocoder", type=Path, help="folder (default: the checkpoint's)")
    parser.add_argument("--n", type=int, default=24, help="clips of each emotion")
    parser.add_argument("--manifest", type=Path, default=Path("manifests/emogator/manifest.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("cache/waves"))
    arguments = parser.parse_args()
    pipeline = load_generator(arguments.checkpoint, vocoder=arguments.vocoder)
    dev = real_waves(arguments.manifest, "dev", arguments.cache)
    if arguments.part == "error":
        print_error(pipeline, dev, arguments.n)
        return
    if arguments.part == "grain":
        print_grain(pipeline, dev, arguments.n)
        return
    evaluators = load_evaluators(["default"])
    first = {name: waves[: arguments.n] for name, waves in dev.items()}
    rest = {e.id: {name: hear(e, waves[arguments.n :]) for name, waves in dev.items()} for e in evaluators}
    columns = "KAD | FID∞ | coverage | precision | recognised | HEEP"
    print("| clips | " + " | ".join(f"{e.id}: {columns}" for e in evaluators) + " |")
    print("|---" * (1 + 6 * len(evaluators)) + "|")

    def print_row(name: str, sets: dict[str, list[np.ndarray]]) -> None:
        heard = {e.id: {emotion: hear(e, waves) for emotion, waves in sets.items()} for e in evaluators}
        row = " | ".join(summary(e, heard[e.id], rest[e.id]) for e in evaluators)
        print(f"| {name} | {row} |", flush=True)

    if arguments.part == "phases":
        with torch.inference_mode():
            made = {name: [phase_systems(pipeline, wave) for wave in waves] for name, waves in first.items()}
        for system in next(iter(made.values()))[0]:
            print_row(system, {name: [one[system] for one in clips] for name, clips in made.items()})
        return
    chosen = pipeline.defaults
    longest = pipeline.durations[1]
    for strength in arguments.strengths:
        sets = {}
        for place, (emotion, waves) in enumerate(first.items()):
            specs = [
                BurstSpec(
                    {emotion: 1.0}, 1000 * place + i, chosen["steps"], chosen["guidance"], chosen["scheduler"],
                    like=wave, strength=strength,
                )
                for i, wave in enumerate(waves)
                if len(wave) <= longest * SAMPLE_RATE
            ]  # fmt: skip
            with torch.autocast("cpu", torch.bfloat16):
                sets[emotion] = [np.clip(burst.wave, -1, 1) for burst in pipeline.synthesise(specs)]
        print_row(f"from noise share {strength:g} on", sets)


if __name__ == "__main__":
    main()
