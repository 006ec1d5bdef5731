"""The options of `generate`: what can be typed, what each means when it is left out, what contradicts what."""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

from vocalburst.gen.burst import STRENGTH

DEVICES = ("auto", "cpu", "cuda", "mps")
AUDIO_FORMATS = ("wav", "wav-float", "flac", "ogg")  # the keys of audio.FORMATS, which is slow to import
POSITIONS = 7  # of a sweep
SELECTOR = "logmel"  # ships with the package; `emo18` and the like are kept for scoring

# Given together with --from-manifest these would contradict its rows.
ROW_OPTIONS = (
    "n", "intensity", "seed", "steps", "guidance", "scheduler", "voice", "duration", "format", "raw", "trim",
    "to", "positions", "strength", "best_of", "selector",
)  # fmt: skip

EXAMPLES = """\
examples:
  generate --emotion awe --n 100
  generate --emotion awe:0.7,fear:0.3 --intensity 0.8 --n 8 --voice 3 --duration 1.2 --seed 7 \\
           --format flac --out out/
  generate --all-emotions --n 100 --out submission/
  generate --from awe --to fear --positions 7 --n 4              (sweeps: only the emotion changes)
  generate --emotion awe --intensity 0.2:1 --positions 5 --n 4   (the same with the intensity)
  generate --emotion awe --like clip.wav --strength 0.8 --n 4    (variations of a real clip)
  generate --emotion awe --best-of 4 --n 10                      (of 4 candidates the clearest)
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


def voices(text: str) -> tuple[int, ...]:
    """`3` -> (3,), `3+7` -> (3, 7)."""
    numbers = tuple(whole_number(part, least=0) for part in text.split("+", 1))
    if len(numbers) == 2 and numbers[0] == numbers[1]:
        raise argparse.ArgumentTypeError(f"expected two different voices, got {text!r}")
    return numbers


def share(text: str) -> float:
    value = finite(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, got {value:g}")
    return value


def share_or_range(text: str) -> tuple[float, ...]:
    """`0.8` -> (0.8,), `0.2:1` -> (0.2, 1.0)."""
    ends = tuple(share(part) for part in text.split(":", 1))
    if len(ends) == 2 and ends[0] == ends[1]:
        raise argparse.ArgumentTypeError(f"expected two different ends, got {text!r}")
    return ends


def build_parser() -> Parser:
    parser = Parser(
        description="Make vocal bursts of an emotion.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    positive, natural = partial(whole_number, least=1), partial(whole_number, least=0)
    two = partial(whole_number, least=2)
    what = parser.add_argument_group("what to make").add_mutually_exclusive_group(required=True)
    what.add_argument("--emotion", metavar="E", help="awe, or a mix: awe:0.7,fear:0.3")
    what.add_argument(
        "--all-emotions", action="store_true", help="every emotion of the checkpoint, a folder each"
    )
    what.add_argument(
        "--from", dest="start", metavar="E", help="a sweep from this emotion or mix (with --to)"
    )
    what.add_argument(
        "--from-manifest", type=Path, metavar="FILE", help="the clips of a manifest.jsonl again"
    )
    clip = parser.add_argument_group("clips")
    clip.add_argument("--n", type=positive, metavar="N", help="clips per emotion, or sweeps (1)")
    clip.add_argument(
        "--intensity", type=share_or_range, metavar="X", help="of the emotion, 0 to 1 (1); LOW:HIGH sweeps"
    )
    clip.add_argument("--to", metavar="E", help="the emotion or mix that a sweep ends with")
    clip.add_argument("--positions", type=two, metavar="N", help=f"clips of a sweep ({POSITIONS})")
    clip.add_argument(
        "--voice", type=voices, metavar="V", help="number of the voice, or V+W: two mixed (drawn by the seed)"
    )
    clip.add_argument("--duration", type=finite, metavar="S", help="seconds of voice (drawn by the seed)")
    clip.add_argument("--seed", type=natural, metavar="N", help="another seed, other clips (0)")
    clip.add_argument("--like", type=Path, nargs="+", metavar="FILE", help="vary these real clips")
    clip.add_argument(
        "--strength", type=share, metavar="X", help=f"how far, 1: nothing is left of them ({STRENGTH})"
    )
    clip.add_argument("--best-of", type=two, metavar="K", help="keep the clearest of K candidates (off)")
    clip.add_argument("--selector", metavar="EVALUATOR", help=f"which evaluator judges that ({SELECTOR})")
    sampling = parser.add_argument_group("sampling (defaults come with the checkpoint)")
    sampling.add_argument("--steps", type=positive, metavar="N", help="steps of the sampler")
    sampling.add_argument("--guidance", type=finite, metavar="W", help="strength of classifier-free guidance")
    sampling.add_argument("--scheduler", metavar="NAME", help="euler, heun or dpm++")
    model = parser.add_argument_group("model")
    model.add_argument("--checkpoint", type=Path, metavar="FOLDER", help="(the one that ships)")
    model.add_argument("--vocoder", metavar="PATH_OR_HUB_ID", help="another vocoder with the same mel config")
    add_output(parser.add_argument_group("output"))
    speed = parser.add_argument_group("speed (changes no byte of a clip on the CPU)")
    speed.add_argument("--device", choices=DEVICES, default="auto", help="(auto)")
    speed.add_argument("--batch-size", type=count_or_auto, metavar="auto|N", help="clips per call (auto)")
    speed.add_argument(
        "--workers", type=count_or_auto, metavar="auto|N", help="processes (auto: one per core)"
    )
    return parser


def add_output(output: argparse._ArgumentGroup) -> None:
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


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Arguments with every default filled in that needs no checkpoint; wrong usage ends the program."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.from_manifest is not None:
        given = [name for name in ROW_OPTIONS if getattr(args, name) not in (None, False)]
        if given:
            option = given[0].replace("_", "-")
            parser.error(f"--{option} cannot be combined with --from-manifest, whose rows say it")
        if args.out is None:
            parser.error("--from-manifest needs --out")
        if args.out.resolve() == args.from_manifest.resolve().parent:
            parser.error("--out must be another folder than the one of the manifest")
        return args
    problem = contradiction(args)
    if problem:
        parser.error(problem)
    defaults = {"n": 1, "intensity": (1.0,), "seed": 0, "format": "wav"}
    defaults["positions"] = POSITIONS if sweeps(args) else None
    defaults["strength"] = STRENGTH if args.like else None
    defaults["selector"] = SELECTOR if args.best_of else None
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def sweeps(args: argparse.Namespace) -> bool:
    """Whether clips come in sweeps, over emotions or intensities."""
    return args.start is not None or (args.intensity is not None and len(args.intensity) == 2)


def contradiction(args: argparse.Namespace) -> str | None:
    """The first sentence about options that do not go together."""
    ranged = args.intensity is not None and len(args.intensity) == 2
    rules = (
        (args.raw and args.trim, "--raw leaves the model's output alone, so it cannot be combined with --trim"),
        (args.start is None and args.to is not None, "--to is the end of a sweep, which needs --from too"),
        (args.start is not None and args.to is None, "--from is the start of a sweep, which needs --to too"),
        (args.start is not None and ranged, "a sweep is over emotions (--from) or over --intensity, not both"),
        (
            args.positions is not None and not sweeps(args),
            "--positions belongs to a sweep: --from A --to B, or --intensity LOW:HIGH",
        ),
        (args.strength is not None and args.like is None, "--strength belongs to a variation, which needs --like"),
        (
            args.like is not None and args.duration is not None,
            "--like keeps the length of its clip, so it cannot be combined with --duration",
        ),
        (args.selector is not None and args.best_of is None, "--selector belongs to a choice, which needs --best-of"),
        (
            args.best_of is not None and sweeps(args),
            "--best-of would break a sweep, in which nothing but the emotion may change",
        ),
    )  # fmt: skip
    return next((sentence for wrong, sentence in rules if wrong), None)
