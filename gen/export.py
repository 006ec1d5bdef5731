"""Put a trained denoiser and a trained vocoder together into a checkpoint folder (`checkpoint.py` says what is in it).

vocalburst export --run runs/laptop --vocoder runs/vocoder/laptop/export --out checkpoints/mine
vocalburst export --run runs/student --towards runs/teacher --share 0.15 --vocoder ... --out checkpoints/mine
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vocalburst.gen.cli import run
from vocalburst.gen.data.errors import InputDataError

if TYPE_CHECKING:
    from vocalburst.gen.models.transformer import BurstTransformer


def move_towards(model: BurstTransformer, other: BurstTransformer, share: float) -> None:
    """Move the weights of `model` the `share` (0 to 1) of the way to those of `other`.

    Between a fine-tuned network and the one it began with lie networks that keep of both (Wortsman et al. 2022, "Robust
    fine-tuning of zero-shot models"). Raises InputDataError for a network of other sizes, emotions or voices.
    """
    names = [name for name in model.config if not name.startswith("_") and name != "dropout"]
    unlike = [name for name in names if model.config[name] != other.config[name]]
    if unlike:
        raise InputDataError(
            f"expected two networks of the same {unlike[0]} to move the one towards the other"
        )
    theirs = other.state_dict()
    model.load_state_dict(
        {
            name: weight.float().lerp(theirs[name].float(), share)
            for name, weight in model.state_dict().items()
        }
    )


def export(
    run_folder: Path,
    vocoder: Path,
    out: Path,
    guide: Path | None = None,
    refiner: Path | None = None,
    settings: dict | None = None,
    towards: Path | None = None,
    share: float = 0.0,
    min_level_db: float | None = None,
) -> str:
    """Write the checkpoint, weights in float16; returns its content hash.

    run_folder: output of `vocalburst train` (its `model/` is read). guide: a folder of its `snapshots/`. refiner: the
    `export/` of a run of `vocalburst train-refiner` on this very denoiser.
    settings: changes to `parts.GENERATION_DEFAULTS`. A model card that is already in `out` stays.
    towards, share: a checkpoint folder to whose denoiser the run's is moved by that share of the way (`move_towards`).
    min_level_db: dBFS; generated clips take length, level, voice and outline of no quieter train clip.
    """
    from vocalburst.gen.checkpoint import content_hash, load_part
    from vocalburst.gen.models.normalizer import MelNormalizer
    from vocalburst.gen.models.outline import OutlineEncoder
    from vocalburst.gen.models.prior import ClipPrior
    from vocalburst.gen.models.refiner import MelRefiner
    from vocalburst.gen.models.transformer import BurstTransformer
    from vocalburst.gen.models.vocoder import load_vocoder
    from vocalburst.gen.parts import GENERATION_DEFAULTS, check_moderation
    from vocalburst.gen.pipeline import BurstPipeline
    from vocalburst.gen.run_folder import written_whole
    from vocalburst.gen.sampling import build_scheduler

    unknown = [name for name in settings or {} if name not in GENERATION_DEFAULTS]
    if unknown:
        known = ", ".join(GENERATION_DEFAULTS)
        raise InputDataError(f"unknown setting {unknown[0]!r}; known: {known}")
    if (towards is None) != (share == 0) or not 0 <= share <= 1:
        raise InputDataError(
            f"expected a share above 0 and up to 1 of the way to a checkpoint, or neither, got {share} to {towards}"
        )
    model = run_folder / "model"
    normalizer = load_part(MelNormalizer, model / "normalizer")
    defaults = {**GENERATION_DEFAULTS, **(settings or {})}
    denoiser = load_part(BurstTransformer, model / "transformer")
    if towards is not None:
        move_towards(denoiser, load_part(BurstTransformer, towards / "transformer"), share)
    prior = load_part(ClipPrior, model / "prior")
    pipeline = BurstPipeline(
        denoiser.half(),
        normalizer,
        prior if min_level_db is None else prior.at_least(min_level_db),
        load_vocoder(vocoder, normalizer.mel_config).half(),
        build_scheduler(defaults["scheduler"], defaults["shift"]),
        None if guide is None else load_part(BurstTransformer, guide / "transformer").half(),
        load_part(OutlineEncoder, model / "outline") if (model / "outline").is_dir() else None,
        None if refiner is None else load_part(MelRefiner, refiner).half(),
    )
    check_moderation(out, defaults["moderation"], pipeline.emotions)
    pipeline.defaults = defaults
    with written_whole(out) as part:
        pipeline.save_pretrained(part)
        if (out / "README.md").exists():
            shutil.copy(out / "README.md", part / "README.md")
    return content_hash(out)


def main() -> None:
    """Entry point of `vocalburst export`."""
    parser = argparse.ArgumentParser(description="Make a checkpoint folder of a trained run and a vocoder.")
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run")
    parser.add_argument("--vocoder", type=Path, required=True, help="folder of a vocoder")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--guide", type=Path, help="snapshot folder of the run, for autoguidance")
    parser.add_argument("--refiner", type=Path, help="export folder of a refiner's run")
    parser.add_argument(
        "--settings", type=json.loads, default={}, help="defaults to change: '{\"steps\": 12}'"
    )
    parser.add_argument("--towards", type=Path, help="checkpoint to whose denoiser the run's is moved")
    parser.add_argument("--share", type=float, default=0.0, help="of the way there, above 0 and up to 1")
    parser.add_argument(
        "--min-level-db", type=float, help="dBFS: the prior leaves out quieter train clips (default: none)"
    )
    arguments = parser.parse_args()

    def command() -> None:
        print(
            export(
                arguments.run,
                arguments.vocoder,
                arguments.out,
                guide=arguments.guide,
                refiner=arguments.refiner,
                settings=arguments.settings,
                towards=arguments.towards,
                share=arguments.share,
                min_level_db=arguments.min_level_db,
            )
        )

    raise SystemExit(run(command))


if __name__ == "__main__":
    main()
