"""Judge a vocoder: real mel -> wave, against Griffin-Lim and against Vocos at initialisation.

Two distances per clip, lower is better: the multi-resolution STFT distance (spectral convergence plus
log-magnitude L1, see `vocoder_losses`) and the mel L1 (natural log, floor of the front end). Intervals are
95 % percentile bootstraps over speakers, since clips of one speaker are alike. Shape letters: M mel bin,
T mel frame, L wave sample, F STFT bin.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vocalburst.gen.cli import run
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import Clip

if TYPE_CHECKING:
    import torch

    from vocalburst.gen.data.mel import MelConfig
    from vocalburst.gen.models.vocoder import BurstVocoder

    System = Callable[[torch.Tensor], torch.Tensor]  # mel [1, M, T] -> wave [1, (T - 1) * hop_length]

METRICS = {"stft": "MR-STFT distance", "mel": "mel L1"}
RESAMPLES = 2000


def choose_clips(clips: Sequence[Clip], split: str, n: int, seed: int) -> list[Clip]:
    """`n` random clips of a split, without repeats; an error when it has fewer."""
    pool = sorted((clip for clip in clips if clip.split == split), key=lambda clip: clip.id)
    if len(pool) < n:
        raise InputDataError(f"asked for {n} clips of the split {split!r}, the manifest has {len(pool)}")
    return [pool[i] for i in sorted(np.random.default_rng(seed).choice(len(pool), size=n, replace=False))]


def griffin_lim(config: MelConfig, iterations: int, seed: int) -> System:
    """Linear magnitude by the pseudo-inverse of the mel filters (negative values cut), then Griffin-Lim.

    The fast variant of Perraudin, Balazs and Sondergaard 2013 (momentum 0.99) as in torchaudio, from a random
    phase drawn anew from `seed` for each clip.
    """
    import torch
    import torchaudio

    from vocalburst.gen.data.mel import LogMel

    inverse = torch.linalg.pinv(LogMel(config).spectrogram.mel_scale.fb.T)  # [F, M]
    phase_search = torchaudio.transforms.GriffinLim(
        n_fft=config.n_fft, n_iter=iterations, hop_length=config.hop_length, power=1.0
    )

    def reconstruct(mel: torch.Tensor) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return phase_search((inverse @ mel.exp()).clamp(min=0))

    return reconstruct


def untrained(vocoder: BurstVocoder, seed: int, **changes: object) -> BurstVocoder:
    """`vocoder` with fresh weights and some settings changed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return type(vocoder).from_config(vocoder.config, **changes).eval()


def bootstrap_over_speakers(
    values: Sequence[float], speakers: Sequence[str], seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of the mean over clips, whole speakers being drawn with replacement."""
    names, index = np.unique(list(speakers), return_inverse=True)
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def distances(wave_hat: torch.Tensor, wave: torch.Tensor, config: MelConfig) -> dict[str, float]:
    """Both distances of one pair of waves [1, L]."""
    from vocalburst.gen.data.mel import LogMel
    from vocalburst.gen.vocoder_losses import multi_resolution_stft

    log_mel = LogMel(config)
    return {
        "stft": float(sum(multi_resolution_stft(wave_hat, wave))),
        "mel": float((log_mel(wave_hat) - log_mel(wave)).abs().mean()),
    }


def judge(
    clips: Sequence[Clip], waves: Sequence[torch.Tensor], systems: dict[str, System], seed: int
) -> list[dict]:
    """One row per system: mean and interval of both distances, n, speakers, times real time.

    waves: [1, L] each, L a multiple of the hop.
    """
    import torch
    from tqdm import tqdm

    from vocalburst.gen.data.mel import LogMel, MelConfig

    config = MelConfig()
    log_mel = LogMel(config)
    speakers = [clip.speaker or clip.id for clip in clips]
    audio_seconds = sum(wave.shape[-1] for wave in waves) / config.sample_rate
    rows = []
    for name, system in systems.items():
        values: dict[str, list[float]] = {metric: [] for metric in METRICS}
        busy = 0.0
        for wave in tqdm(waves, desc=name, unit="clip", file=sys.stderr, leave=False):
            mel = log_mel(wave)
            start = time.perf_counter()
            with torch.inference_mode():
                wave_hat = system(mel)
            busy += time.perf_counter() - start
            for metric, value in distances(wave_hat, wave, config).items():
                values[metric].append(value)
        row = {"system": name, "n": len(waves), "speakers": len(set(speakers))}
        for metric in METRICS:
            row[metric] = float(np.mean(values[metric]))
            row[f"{metric}_interval"] = bootstrap_over_speakers(values[metric], speakers, seed)
        rows.append(row | {"times_real_time": audio_seconds / busy})
    return rows


def markdown(rows: Sequence[dict]) -> str:
    """The table; 95 % intervals in brackets."""
    lines = [
        "| system | " + " | ".join(METRICS.values()) + " | n | speakers | × real time |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            f"{row[m]:.3f} [{row[f'{m}_interval'][0]:.3f}, {row[f'{m}_interval'][1]:.3f}]" for m in METRICS
        ]
        tail = f"{row['n']} | {row['speakers']} | {row['times_real_time']:.0f}"
        lines.append(f"| {row['system']} | {' | '.join(cells)} | {tail} |")
    return "\n".join(lines)


def write_examples(
    out: Path, clips: Sequence[Clip], waves: Sequence[torch.Tensor], systems: dict[str, System]
) -> None:
    """For each clip a wav of the recording and of every system, and one picture of all their mels."""
    import torch

    from vocalburst.gen.data.audio import encode_wave, write_file
    from vocalburst.gen.data.mel import LogMel, MelConfig
    from vocalburst.gen.pictures import save_mels

    out.mkdir(parents=True, exist_ok=True)
    log_mel = LogMel(MelConfig())
    rows = []
    for clip, wave in zip(clips, waves, strict=True):
        with torch.inference_mode():
            sounds = {"real": wave} | {name: system(log_mel(wave)) for name, system in systems.items()}
        for name, sound in sounds.items():
            part = name.split(",")[0].lower().replace(" ", "-")
            write_file(out / f"{clip.id}_{part}.wav", encode_wave(sound[0].clamp(-1, 1).numpy()))
        rows.append([log_mel(sound)[0] for sound in sounds.values()])
    save_mels(out / "mels.png", rows, ["real", *systems], [clip.id for clip in clips], MelConfig())


def read_waves(manifest: str, clips: Sequence[Clip]) -> list[torch.Tensor]:
    """The recordings [1, L], cut to whole hops so that a vocoder's output has the same length."""
    import torch
    from tqdm import tqdm

    from vocalburst.gen.data.audio import read_wave
    from vocalburst.gen.data.manifest import iterate_file_bytes, manifest_root
    from vocalburst.gen.data.mel import MelConfig

    root, hop, shortest = manifest_root(manifest), MelConfig().hop_length, MelConfig().n_fft
    by_path: dict[str, list[int]] = {}
    for index, clip in enumerate(clips):
        by_path.setdefault(clip.path, []).append(index)
    waves: dict[int, torch.Tensor] = {}
    bar = tqdm(total=len(clips), desc="reading", unit="clip", file=sys.stderr, leave=False)
    for path, data in iterate_file_bytes(root, by_path):
        for index in by_path[path]:
            wave = read_wave(data, start=clips[index].start, end=clips[index].end, name=f"{root / path}")
            if len(wave) < shortest:
                raise InputDataError(
                    f"{clips[index].id}: lasts {len(wave)} samples, expected at least {shortest}"
                )
            waves[index] = torch.from_numpy(wave[: len(wave) // hop * hop])[None]
            bar.update()
    bar.close()
    return [waves[index] for index in range(len(clips))]


def copy_synthesis(arguments: argparse.Namespace) -> None:
    from vocalburst.gen.data.manifest import read_manifest
    from vocalburst.gen.data.mel import MelConfig
    from vocalburst.gen.models.vocoder import load_vocoder

    config, seed = MelConfig(), arguments.seed
    vocoder = load_vocoder(arguments.vocoder, config)
    clips = choose_clips(read_manifest(arguments.manifest), arguments.split, arguments.n, seed)
    waves = read_waves(arguments.manifest, clips)
    search = griffin_lim(config, arguments.iterations, seed)
    systems = {
        "Vocoder": vocoder,
        f"Griffin-Lim, {arguments.iterations} iterations": search,
        "Vocos at initialisation": untrained(
            vocoder, seed, magnitude_skip=False, level_corrections=0, pulses=False
        ),
    }
    if vocoder.config.level_corrections or vocoder.config.pulses:
        # What the weights add to what follows them.
        systems["Same vocoder, untrained weights"] = untrained(vocoder, seed)
    rows = judge(clips, waves, systems, seed)
    if arguments.json:
        settings = {"split": arguments.split, "seed": seed, "resamples": RESAMPLES}
        print(json.dumps({"rows": rows, **settings}, indent=2))
    else:
        print(markdown(rows))
    if arguments.out:
        shown = dict(list(systems.items())[:2])
        write_examples(Path(arguments.out), clips[: arguments.examples], waves[: arguments.examples], shown)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="""examples:
  vocalburst copy-synthesis manifests/emogator/manifest.jsonl --vocoder checkpoints/default/vocoder
  vocalburst copy-synthesis manifest.jsonl --vocoder charactr/vocos-mel-24khz --n 50 --json
  vocalburst copy-synthesis manifest.jsonl --vocoder runs/vocoder/laptop/export --out listen/""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("manifest", metavar="MANIFEST", help="manifest.jsonl of real clips")
    parser.add_argument("--vocoder", required=True, metavar="PATH_OR_HUB_ID", help="the vocoder to judge")
    parser.add_argument("--n", type=positive, default=200, help="clips (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of clips, phases, fresh weights and bootstrap")
    parser.add_argument("--split", default="dev", help="split to take clips from (default: %(default)s)")
    parser.add_argument(
        "--iterations", type=positive, default=32, help="of Griffin-Lim (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a Markdown table")
    parser.add_argument("--out", metavar="DIR", help="also write example wavs and a picture of mels there")
    parser.add_argument("--examples", type=positive, default=4, help="clips to write (default: %(default)s)")
    arguments = parser.parse_args()
    sys.exit(run(lambda: copy_synthesis(arguments)))


if __name__ == "__main__":
    main()
