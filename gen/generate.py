"""`generate`: clips on disk, a manifest beside them. Puts `jobs`, `workers`, `journal` and the pipeline together."""

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

from vocalburst.gen.cli import load_selector, run
from vocalburst.gen.data.errors import RunError
from vocalburst.gen.options import parse_arguments, refuse

BATCH_SIZES = {"cpu": 4, "mps": 32, "cuda": 32}  # clips per call; others than `synthesis.ROWS` only cost
CLIPS_PER_WORKER = 4  # fewer are made before another process has started


def choose_device(name: str) -> str:
    """`cpu`, `cuda` or `mps`; ends the program when the one asked for is not there."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[name]:
        refuse(f"--device {name}: this machine or this build of torch has none")
    return name


def requested_jobs(args: argparse.Namespace, pipeline, selector=None):
    """The job list of what was asked for; the checkpoint fills it in and bounds it."""
    from vocalburst.gen.data.emotions import parse_request
    from vocalburst.gen.jobs import RequestedJobs
    from vocalburst.gen.selection import check_selector
    from vocalburst.gen.variation import open_variations

    check_bounds(args, pipeline)
    sweep = requested_sweep(args, pipeline.emotions)
    intensity = 1.0 if len(args.intensity) == 2 else args.intensity[0]
    if args.start is not None:
        requests = (sweep.request,)
    else:
        names = pipeline.emotions if args.all_emotions else [args.emotion]
        requests = tuple(parse_request(name, pipeline.emotions, intensity) for name in names)
    if selector is not None:
        check_selector(selector, [name for request in requests for name in request.vector])
    sampling = {
        name: pipeline.defaults[name] if getattr(args, name) is None else getattr(args, name)
        for name in ("steps", "guidance", "scheduler")
    }
    return RequestedJobs(
        requests=requests,
        n=args.n,
        intensity=intensity,
        run_seed=args.seed,
        **sampling,
        voice=args.voice and args.voice[0],
        second_voice=args.voice[1] if args.voice and len(args.voice) == 2 else None,
        duration=args.duration,
        file_format=args.format,
        raw=args.raw,
        trim=args.trim,
        folders=args.all_emotions,
        sweep=sweep,
        variations=open_variations(args.like or (), args.strength, pipeline.durations),
        best_of=args.best_of,
        selected_by=() if selector is None else (selector.id,),
    )


def requested_sweep(args: argparse.Namespace, emotions: tuple[str, ...]):
    """The sweep over emotions or intensities that was asked for; None when none was."""
    from vocalburst.gen.data.emotions import parse_request
    from vocalburst.gen.sweep import EmotionSweep, IntensitySweep

    if args.start is not None:
        start, end = (parse_request(name, emotions, args.intensity[0]) for name in (args.start, args.to))
        if start.vector == end.vector:
            refuse(f"--from {args.start} and --to {args.to} are the same to this checkpoint")
        return EmotionSweep(start, end, args.intensity[0], args.positions)
    if len(args.intensity) == 2:
        return IntensitySweep(*args.intensity, args.positions)
    return None


def check_bounds(args: argparse.Namespace, pipeline) -> None:
    """End the program when the checkpoint cannot answer a number or name that was asked for."""
    from vocalburst.gen.sampling import SCHEDULERS

    for voice in args.voice or ():
        if voice >= pipeline.n_voices:
            refuse(f"--voice {voice}: this checkpoint has the voices 0 to {pipeline.n_voices - 1}")
    shortest, longest = pipeline.durations
    if args.duration is not None and not shortest <= args.duration <= longest:
        refuse(f"--duration {args.duration:g}: this checkpoint makes {shortest:g} to {longest:.2f} s")
    if args.scheduler is not None and args.scheduler not in SCHEDULERS:
        refuse(f"--scheduler {args.scheduler}: unknown; known: {', '.join(SCHEDULERS)}")


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
    from vocalburst.gen.generated import read_generated
    from vocalburst.gen.jobs import RepeatedJobs
    from vocalburst.gen.selection import load_best_of
    from vocalburst.gen.workers import Ranks, Workers, load_maker, starting

    repeated = vocoder = None
    if args.from_manifest is not None:
        repeated = RepeatedJobs(args.from_manifest, tuple(args.like or ()))
        named = {row.vocoder for row in read_generated(args.from_manifest)} - {"checkpoint"}
        vocoder = min(named, default=None)
    vocoder = args.vocoder or vocoder

    def load_on(place: str):
        """A loader of what makes clips on a device; picklable, as a helper is handed it."""
        load = partial(load_maker, args.checkpoint, place, vocoder)
        if args.best_of is None:
            return load
        return partial(load_best_of, load, partial(load_selector, args.selector), args.best_of)

    ranks, workers = Ranks(), Workers(load_on("cpu"))
    count = count_workers(args, ranks, repeated)
    try:
        if args.device in ("auto", "cpu"):
            # Whether there is a GPU is known when torch is imported: until then a first helper does the same.
            workers.start(min(2, count))
        with starting():
            device = choose_device(args.device)
        if device == "cpu":
            workers.start(count)
        else:
            workers.close()
        ranks.join(device)
        place = f"cuda:{ranks.local_rank}" if device == "cuda" and ranks.world > 1 else device
        with starting():
            maker = load_on(place)()
        make(args, maker, workers, ranks, repeated, device, vocoder, started)
    finally:
        workers.close()
        ranks.close()


def count_workers(args: argparse.Namespace, ranks, repeated) -> int:
    """Processes of this rank on a CPU, this one included: as asked, else one per core, fewer for few clips."""
    from vocalburst.gen.workers import usable_cores

    if args.dry_run:
        return 1
    if args.workers is not None:
        return args.workers
    cores = max(1, usable_cores() // ranks.local_world)
    if args.all_emotions:
        return cores
    if repeated is not None:
        n = len(repeated)
    else:
        n = args.n * (args.positions or 1) * len(args.like or [None]) * (args.best_of or 1)
    return max(1, min(cores, n // (CLIPS_PER_WORKER * ranks.world)))


def make(
    args: argparse.Namespace, maker, workers, ranks, repeated, device: str, vocoder, started: float
) -> None:
    """The run itself, from the loaded maker of clips (a pipeline, or best-of-k around one) to the printed result."""
    from vocalburst.gen import journal

    chooses = args.best_of is not None
    pipeline = maker.pipeline if chooses else maker

    def say(text: str) -> None:
        if ranks.first and not args.quiet:
            print(text, file=sys.stderr)

    aliases = []
    if repeated is None:
        jobs = requested_jobs(args, pipeline, maker.selector if chooses else None)
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
    make_unfinished(args, maker, jobs, shared, workers, ranks, len(jobs) - kept)
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


def make_unfinished(args: argparse.Namespace, maker, jobs, shared, workers, ranks, unfinished: int) -> None:
    """Make this rank's share of the `unfinished` clips, with a progress bar when a person is watching."""
    from tqdm import tqdm

    hidden = args.quiet or not ranks.first or not sys.stderr.isatty()
    with tqdm(total=math.ceil(unfinished / ranks.world), unit="clip", disable=hidden, file=sys.stderr) as bar:
        try:
            workers.run(
                maker,
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
