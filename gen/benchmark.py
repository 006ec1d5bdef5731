"""`vocalburst benchmark`: what a clip costs and where the time goes.

One run in a process of its own, from its start to the last file, with a stopwatch around the network calls.
The shares are ratios within that run, so they mean something on a busy machine too; the seconds do not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vocalburst.gen.cli import run
from vocalburst.gen.generate import choose_device
from vocalburst.gen.options import Parser, finite, whole_number

EXAMPLES = """\
examples:
  vocalburst benchmark
  vocalburst benchmark --n 100 --steps 8 --json
  vocalburst benchmark --checkpoint runs/base/checkpoint --device cuda
"""


WORK = ("denoiser", "refiner", "vocoder", "rest")  # the parts of making clips, in their order


class Stopwatch:
    """Seconds spent inside the calls of a module; on an accelerator each call is waited for."""

    def __init__(self, *modules):
        self.seconds = 0.0
        self.calls = 0
        self._started = 0.0
        for module in modules:
            module.register_forward_pre_hook(self._start)
            module.register_forward_hook(self._stop)

    def _start(self, *_) -> None:
        _wait_for_device()
        self._started = time.perf_counter()

    def _stop(self, *_) -> None:
        _wait_for_device()
        self.seconds += time.perf_counter() - self._started
        self.calls += 1


def _wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Seconds by part, and counts, of making `args.n` clips in this process, started at `args.started`."""
    from vocalburst.gen.workers import starting

    with starting():
        device = choose_device(args.device)

        import torch

        from vocalburst.gen import __version__
        from vocalburst.gen.batch import Run, make_clips
        from vocalburst.gen.data.emotions import parse_request
        from vocalburst.gen.generate import BATCH_SIZES
        from vocalburst.gen.jobs import RequestedJobs
        from vocalburst.gen.synthesis import load_synthesiser

        imported = time.time()
        pipeline = load_synthesiser(args.checkpoint, device=device)
        loaded = time.time()
    guide = [pipeline.guide] if pipeline.guide is not None else []
    denoiser, vocoder = Stopwatch(pipeline.transformer, *guide), Stopwatch(pipeline.vocoder)
    refiner = Stopwatch(*([] if pipeline.refiner is None else [pipeline.refiner]))
    sampling = {
        name: pipeline.defaults[name] if getattr(args, name) is None else getattr(args, name)
        for name in ("steps", "guidance", "scheduler")
    }
    jobs = RequestedJobs(
        requests=(parse_request(args.emotion, pipeline.emotions),),
        n=args.n,
        intensity=1.0,
        run_seed=0,
        **sampling,
        voice=None,
        duration=None,
        file_format="wav",
        raw=False,
        trim=False,
        folders=False,
    )
    with tempfile.TemporaryDirectory(prefix="vocalburst-benchmark-") as folder:
        shared = Run(
            folder=Path(folder),
            checkpoint=pipeline.content_hash,
            license=pipeline.license,
            vocoder="checkpoint",
            device=device,
            package_version=__version__,
            torch_version=torch.__version__,
            save_mel=False,
        )
        audio_seconds = sum(
            clip.seconds for _, clip in make_clips(pipeline, jobs, shared, BATCH_SIZES[device])
        )
    done = time.time()
    return {
        "n": args.n,
        **sampling,
        "device": device,
        "audio_seconds": audio_seconds,
        "denoiser_calls": denoiser.calls,
        "total": done - args.started,
        "process_start": imported - args.started,
        "load": loaded - imported,
        "denoiser": denoiser.seconds,
        "refiner": refiner.seconds,
        "vocoder": vocoder.seconds,
        "rest": done - loaded - denoiser.seconds - refiner.seconds - vocoder.seconds,
    }


def report(numbers: dict[str, float]) -> str:
    """The table that the command prints."""
    n, total = numbers["n"], numbers["total"]
    making = sum(numbers[part] for part in WORK)
    lines = [
        f"{n} clips, {numbers['steps']} steps ({numbers['scheduler']}), one process on {numbers['device']}",
        f"{total / n:.3f} s per clip, process start included; {making / n:.3f} s without start and load",
        f"{numbers['audio_seconds'] / making:.2f} s of sound per second of work",
        "",
    ]
    names = {
        "process_start": "process start and imports",
        "load": "loading the checkpoint",
        "denoiser": f"denoiser ({numbers['denoiser_calls']} calls of several clips each)",
        "refiner": "refiner",
        "vocoder": "vocoder",
        "rest": "the rest: post-processing, measuring, writing",
    }
    lines.append(f"{'':<46}{'s':>8}{'of all':>9}{'of work':>9}")
    for key, name in names.items():
        of_work = f"{numbers[key] / making:>9.1%}" if key in WORK else f"{'':>9}"
        lines.append(f"{name:<46}{numbers[key]:>8.2f}{numbers[key] / total:>9.1%}{of_work}")
    return "\n".join(lines)


def benchmark(args: argparse.Namespace, arguments: list[str]) -> None:
    """Measure in a fresh process, so that its start counts, and print the result."""
    command = [sys.executable, "-m", "vocalburst.gen.benchmark", *arguments, "--started", repr(time.time())]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        sys.exit(result.returncode)
    numbers = json.loads(result.stdout)
    print(json.dumps(numbers) if args.json else report(numbers))


def build_parser() -> Parser:
    parser = Parser(
        description="Seconds per clip and the shares of denoiser, refiner, vocoder and the rest, from one run.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    count = {"type": lambda text: whole_number(text, 1), "metavar": "N"}
    parser.add_argument("--n", **count, default=20, help="clips (20)")
    parser.add_argument("--emotion", default="awe", metavar="E", help="(awe)")
    parser.add_argument("--steps", **count, help="steps of the sampler")
    parser.add_argument("--guidance", type=finite, metavar="W", help="strength of classifier-free guidance")
    parser.add_argument("--scheduler", metavar="NAME", help="euler, heun or dpm++")
    parser.add_argument("--checkpoint", type=Path, metavar="FOLDER", help="(the one that ships)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="(auto)")
    parser.add_argument("--json", action="store_true", help="print the numbers as one JSON object")
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)  # this is the measured process
    return parser


def main() -> None:
    """Entry point of `vocalburst benchmark`."""
    arguments = sys.argv[1:]
    args = build_parser().parse_args(arguments)
    if args.started is None:
        sys.exit(run(lambda: benchmark(args, arguments)))
    sys.exit(run(lambda: print(json.dumps(measure(args)))))


if __name__ == "__main__":
    main()
