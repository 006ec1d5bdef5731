"""`generate`: clips on disk, a manifest beside them. The command line of `batch`, `journal` and `workers`."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from vocalburst.gen.cli import run
from vocalburst.gen.data.errors import RunError

DEVICES = ("auto", "cpu", "cuda", "mps")
AUDIO_FORMATS = ("wav", "wav-float", "flac", "ogg")  # the keys of audio.FORMATS, which is slow to import
BATCH_SIZES = {"cpu": 1, "mps": 32, "cuda": 32}  # clips per call; on the CPU more only costs memory
CLIPS_PER_WORKER = 4  # fewer are made before another process has started

# Given together with --from-manifest these would contradict its rows.
ROW_OPTIONS = (
    "n", "intensity", "seed", "steps", "guidance", "scheduler", "voice", "duration", "format", "raw", "trim",
)  # fmt: skip

EXAMPLES = """\
examples:
  generate --emotion awe --n 100
  generate --emotion awe:0.7,fear:0.3 --intensity 0.8 --n 8 --voice 3 --duration 1.2 --seed 7 \\
           --format flac --out out/
  generate --all-emotions --n 100 --out submission/
  generate --from-manifest out/manifest.jsonl --out again/       (the same clips again, byte for byte)
  accelerate launch -m vocalburst.gen.generate --all-emotions --n 1000 --out many/

The same command goes on where an interrupted one stopped. Results go to stdout, the rest to stderr.
exit codes: 0 done, 1 failed, 2 usage, 3 input data, 4 model missing or damaged, 130 interrupted
"""


class Parser(argparse.ArgumentParser):
    """Says one sentence about wrong usage instead of the whole usage text."""

    def error(self, message: str) -> NoReturn:
        refuse(f"{message} ({self.prog} --help tells more)")


def refuse(message: str) -> NoReturn:
    """End with one sentence about wrong usage."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def whole_number(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
    return value


def count_or_auto(text: str) -> int | None:
    return None if text == "auto" else whole_number(text, 1)


def finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def build_parser() -> Parser:
    parser = Parser(
        description="Make vocal bursts of an emotion.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    positive, natural = partial(whole_number, least=1), partial(whole_number, least=0)
    what = parser.add_argument_group("what to make").add_mutually_exclusive_group(required=True)
    what.add_argument("--emotion", metavar="E", help="awe, or a mix: awe:0.7,fear:0.3")
    what.add_argument(
        "--all-emotions", action="store_true", help="every emotion of the checkpoint, a folder each"
    )
    what.add_argument(
        "--from-manifest", type=Path, metavar="FILE", help="the clips of a manifest.jsonl again"
    )
    clip = parser.add_argument_group("clips")
    clip.add_argument("--n", type=positive, metavar="N", help="clips per emotion (1)")
    clip.add_argument("--intensity", type=finite, metavar="X", help="strength of the emotion, 0 to 1 (1)")
    clip.add_argument("--voice", type=natural, metavar="V", help="number of the voice (drawn by the seed)")
    clip.add_argument("--duration", type=finite, metavar="S", help="seconds of voice (drawn by the seed)")
    clip.add_argument("--seed", type=natural, metavar="N", help="another seed, other clips (0)")
    sampling = parser.add_argument_group("sampling (defaults come with the checkpoint)")
    sampling.add_argument("--steps", type=positive, metavar="N", help="steps of the sampler")
    sampling.add_argument("--guidance", type=finite, metavar="W", help="strength of classifier-free guidance")
    sampling.add_argument("--scheduler", metavar="NAME", help="euler, heun or dpm++")
    model = parser.add_argument_group("model")
    model.add_argument("--checkpoint", type=Path, metavar="FOLDER", help="(the one that ships)")
    model.add_argument("--vocoder", metavar="PATH_OR_HUB_ID", help="another vocoder with the same mel config")
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, metavar="FOLDER", help="(out/<emotion>, out/all)")
    output.add_argument("--format", choices=AUDIO_FORMATS, help="(wav: 16 bit)")
    output.add_argument(
        "--raw", action="store_true", help="leave the model's output alone: no fades, no peak limit"
    )
    output.add_argument("--trim", action="store_true", help="cut the silence before and after the voice")
    output.add_argument("--save-mel", action="store_true", help="the log-mel spectrogram [M, T] too, as .npy")
    output.add_argument("--overwrite", action="store_true", help="remove the run that the folder holds first")
    output.add_argument("--dry-run", action="store_true", help="say what would be made, write nothing")
    output.add_argument("--json", action="store_true", help="print the result as one JSON object")
    output.add_argument("-q", "--quiet", action="store_true", help="no progress bar and no notes")
    speed = parser.add_argument_group("speed (changes no byte of a clip on the CPU)")
    speed.add_argument("--device", choices=DEVICES, default="auto", help="(auto)")
    speed.add_argument("--batch-size", type=count_or_auto, metavar="auto|N", help="clips per call (auto)")
    speed.add_argument(
        "--workers", type=count_or_auto, metavar="auto|N", help="processes (auto: one per core)"
    )
    return parser


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Arguments with every default filled in that needs no checkpoint; wrong usage ends the program."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.from_manifest is not None:
        given = [name for name in ROW_OPTIONS if getattr(args, name) not in (None, False)]
        if given:
            parser.error(f"--{given[0]} cannot be combined with --from-manifest, whose rows say it")
        if args.out is None:
            parser.error("--from-manifest needs --out")
        if args.out.resolve() == args.from_manifest.resolve().parent:
            parser.error("--out must be another folder than the one of the manifest")
        return args
    if args.raw and args.trim:
        parser.error("--raw leaves the model's output alone, so it cannot be combined with --trim")
    defaults = {"n": 1, "intensity": 1.0, "seed": 0, "format": "wav"}
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if not 0 < args.intensity <= 1:
        parser.error(f"argument --intensity: must be above 0 and at most 1, got {args.intensity:g}")
    return args


def choose_device(name: str) -> str:
    """`cpu`, `cuda` or `mps`; ends the program when the one asked for is not there."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[name]:
        refuse(f"--device {name}: this machine or this build of torch has none")
    return name


def requested_jobs(args: argparse.Namespace, pipeline):
    """The job list of --emotion or --all-emotions; the checkpoint fills in and bounds what was asked for."""
    from vocalburst.gen.batch import RequestedJobs
    from vocalburst.gen.data.emotions import parse_request
    from vocalburst.gen.pipeline import SCHEDULERS

    if args.voice is not None and args.voice >= pipeline.n_voices:
        refuse(f"--voice {args.voice}: this checkpoint has the voices 0 to {pipeline.n_voices - 1}")
    shortest, longest = pipeline.durations
    if args.duration is not None and not shortest <= args.duration <= longest:
        refuse(f"--duration {args.duration:g}: this checkpoint makes {shortest:g} to {longest:.2f} s")
    if args.scheduler is not None and args.scheduler not in SCHEDULERS:
        refuse(f"--scheduler {args.scheduler}: unknown; known: {', '.join(SCHEDULERS)}")
    names = pipeline.emotions if args.all_emotions else [args.emotion]
    requests = tuple(parse_request(name, pipeline.emotions, args.intensity) for name in names)
    sampling = {
        name: pipeline.defaults[name] if getattr(args, name) is None else getattr(args, name)
        for name in ("steps", "guidance", "scheduler")
    }
    return RequestedJobs(
        requests=requests,
        n=args.n,
        intensity=args.intensity,
        run_seed=args.seed,
        **sampling,
        voice=args.voice,
        duration=args.duration,
        file_format=args.format,
        raw=args.raw,
        trim=args.trim,
        folders=args.all_emotions,
    )


def check_repeatable(manifest: Path, content_hash: str, device: str, say) -> None:
    """Raise when the rows of `manifest` were made by another checkpoint; say what else may change bytes."""
    import torch

    from vocalburst.gen import __version__
    from vocalburst.gen.data.errors import MissingModelError
    from vocalburst.gen.generated import read_generated

    here = {"device": device, "package_version": __version__, "torch_version": torch.__version__}
    other: dict[str, str] = {}
    for row in read_generated(manifest):
        if row.checkpoint != content_hash:
            raise MissingModelError(
                f"{manifest}: {row.file_name} was made by the checkpoint {row.checkpoint[:12]}, this one is "
                f"{content_hash[:12]}; name the right one with --checkpoint"
            )
        other.update({key: getattr(row, key) for key, value in here.items() if getattr(row, key) != value})
    for key, value in other.items():
        say(f"note: made with {key} {value}, here it is {here[key]}: bytes may differ")


def generate(args: argparse.Namespace) -> None:
    """Run the command; `args` come from `parse_arguments`."""
    started = time.perf_counter()
    device = choose_device(args.device)

    from vocalburst.gen.batch import RepeatedJobs
    from vocalburst.gen.generated import read_generated
    from vocalburst.gen.workers import Ranks, Workers, load_pipeline

    repeated = vocoder = None
    if args.from_manifest is not None:
        repeated = RepeatedJobs(args.from_manifest)
        named = {row.vocoder for row in read_generated(args.from_manifest)} - {"checkpoint"}
        vocoder = min(named, default=None)
    vocoder = args.vocoder or vocoder
    ranks = Ranks(device)
    place = f"cuda:{ranks.local_rank}" if device == "cuda" and ranks.world > 1 else device
    load = partial(load_pipeline, args.checkpoint, place, vocoder)
    workers = Workers(load, count_workers(args, device, ranks, repeated))
    try:
        make(args, load(), workers, ranks, repeated, device, vocoder, started)
    finally:
        workers.close()
        ranks.close()


def count_workers(args: argparse.Namespace, device: str, ranks, repeated) -> int:
    """Processes of this rank, this one included: as asked, else one per core, fewer for few clips."""
    from vocalburst.gen.workers import usable_cores

    if args.dry_run or device != "cpu":
        return 1
    if args.workers is not None:
        return args.workers
    cores = max(1, usable_cores() // ranks.local_world)
    if args.all_emotions:
        return cores
    n = len(repeated) if repeated is not None else args.n
    return max(1, min(cores, n // (CLIPS_PER_WORKER * ranks.world)))


def make(
    args: argparse.Namespace, pipeline, workers, ranks, repeated, device: str, vocoder, started: float
) -> None:
    """The run itself, from the loaded pipeline to the printed result."""
    from vocalburst.gen import journal

    def say(text: str) -> None:
        if ranks.first and not args.quiet:
            print(text, file=sys.stderr)

    aliases = []
    if repeated is None:
        jobs = requested_jobs(args, pipeline)
        aliases = [alias for request in jobs.requests for alias in request.aliases]
    else:
        jobs = repeated
        check_repeatable(args.from_manifest, pipeline.content_hash, device, say)
    for alias in aliases:
        say(f"note: {alias}")
    folder = args.out or Path("out") / ("all" if args.all_emotions else jobs.requests[0].label)
    shared = describe_run(folder, pipeline, vocoder, device, args.save_mel)
    settings = {**jobs.settings(), **shared.settings()}
    result = {"folder": str(folder), "n": len(jobs), "checkpoint": shared.checkpoint, "aliases": aliases}
    if args.dry_run:
        refused = None if args.overwrite else journal.other_run(folder, settings)
        names = [job.file_name for job in itertools.islice(jobs, 3)]
        show(
            args, {**result, "dry_run": True, "settings": settings, "first_files": names, "refused": refused}
        )
        return

    kept = damaged = 0
    if ranks.first:
        journal.claim(folder, settings, overwrite=args.overwrite)
        kept, damaged = journal.verify(folder)
    if damaged:
        say(f"note: {damaged} clips are missing or damaged and will be made again")
    ranks.wait()
    shared = replace(shared, created_utc=journal.claim(folder, settings))
    make_unfinished(args, pipeline, jobs, shared, workers, ranks, len(jobs) - kept)
    ranks.wait()
    if not ranks.first:
        return
    journal.finish(folder, len(jobs))
    seconds = time.perf_counter() - started
    made = len(jobs) - kept
    result |= {"made": made, "kept": kept, "seconds": round(seconds, 2)}
    result["clips_per_second"] = round(made / seconds, 3)
    if repeated is not None:
        result["differing"] = count_differing(jobs, folder)
    show(args, result)
    if result.get("differing"):
        raise RunError(
            f"{result['differing']} of {len(jobs)} clips differ from the sha256 in {args.from_manifest}; "
            "the new ones are kept"
        )


def describe_run(folder: Path, pipeline, vocoder: str | None, device: str, save_mel: bool):
    """What the rows of this run have in common, a `batch.Run`."""
    import torch

    from vocalburst.gen import __version__
    from vocalburst.gen.batch import Run

    return Run(
        folder=folder,
        checkpoint=pipeline.content_hash,
        license=pipeline.license,
        vocoder=vocoder or "checkpoint",
        device=device,
        package_version=__version__,
        torch_version=torch.__version__,
        save_mel=save_mel,
    )


def make_unfinished(
    args: argparse.Namespace, pipeline, jobs, shared, workers, ranks, unfinished: int
) -> None:
    """Make this rank's share of the `unfinished` clips, with a progress bar when a person is watching."""
    from tqdm import tqdm

    hidden = args.quiet or not ranks.first or not sys.stderr.isatty()
    with tqdm(total=math.ceil(unfinished / ranks.world), unit="clip", disable=hidden, file=sys.stderr) as bar:
        try:
            workers.run(
                pipeline,
                jobs,
                shared,
                rank=ranks.rank,
                world=ranks.world,
                batch_size=args.batch_size or BATCH_SIZES[shared.device],
                made=bar.update,
            )
        except OSError as error:
            what = f"{error.strerror or error}; finished clips are kept, the same command goes on from there"
            raise OSError(error.errno or 0, what, error.filename or str(shared.folder)) from error


def count_differing(jobs, folder: Path) -> int:
    """Clips whose hash is not the one that the job says."""
    from vocalburst.gen.generated import read_generated
    from vocalburst.gen.journal import MANIFEST

    rows = read_generated(folder / MANIFEST)
    return sum(job.sha256 != row.sha256 for job, row in zip(jobs, rows, strict=True))


def show(args: argparse.Namespace, result: dict) -> None:
    """The result on stdout: one JSON object, or the folder and a line of numbers."""
    if args.json:
        print(json.dumps(result))
        return
    print(result["folder"])
    if result.get("dry_run"):
        print(
            f"would make {result['n']} clips: {', '.join(result['first_files'])}{' ...' * (result['n'] > 3)}"
        )
        if result["refused"]:
            print(f"but the folder {result['refused']}")
        return
    there = f" ({result['kept']} were there)" if result["kept"] else ""
    print(f"{result['n']} clips{there}, {result['seconds']:.1f} s, {result['clips_per_second']:.2f} clips/s")


def main() -> None:
    """Entry point of `generate` and `vocalburst generate`."""
    args = parse_arguments(sys.argv[1:])
    sys.exit(run(lambda: generate(args)))


if __name__ == "__main__":
    main()
