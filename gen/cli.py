"""The `vocalburst` command. Each subcommand lives in the module of its verb and is imported when it is called.

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 input data is not as expected, 4 a model or an optional
package is missing or damaged, 130 interrupted. Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

from vocalburst.gen.data.errors import InputDataError, MissingModelError, RunError

COMMANDS = {
    "prepare": ("vocalburst.gen.data.prepare_command", "corpus folder -> manifest"),
    "generate": ("vocalburst.gen.generate", "make clips with a trained checkpoint"),
    "train": ("vocalburst.gen.train", "train the diffusion model"),
    "train-vocoder": ("vocalburst.gen.train_vocoder", "train the vocoder"),
    "train-refiner": ("vocalburst.gen.train_refiner", "train what gives sampled mels their grain"),
    "export": ("vocalburst.gen.export", "trained run + vocoder -> checkpoint folder"),
    "copy-synthesis": (
        "vocalburst.gen.copy_synthesis",
        "judge a vocoder: real mel -> wave, against Griffin-Lim",
    ),
    "resynthesise": (
        "vocalburst.gen.resynthesise",
        "real clips through the vocoder, the copy-synthesis control",
    ),
    "compare-mels": ("vocalburst.gen.compare_mels", "picture of generated over real mels"),
    "benchmark": ("vocalburst.gen.benchmark", "seconds per clip and where they go"),
    "control": ("vocalburst.eval.control", "curves of what was asked for against what came"),
    "recognise": (
        "vocalburst.eval.recognise",
        "how often clips are recognised as the emotion they were made for",
    ),
    "score-predictions": (
        "vocalburst.eval.tasks.score_predictions",
        "predictions of any system, on a task of the source papers",
    ),
    "embed": ("vocalburst.eval.embed", "what evaluators hear in every clip of a set"),
    "statistics": (
        "vocalburst.eval.emotion_statistics",
        "Gaussian statistics of a set by emotion, to judge by",
    ),
    "evaluate": ("vocalburst.eval.evaluate", "clips against real ones, beside controls"),
    "leaderboard": ("vocalburst.eval.leaderboard", "entries ranked, or why they cannot be"),
}

# The one thing that this half of the package asks of the other: the evaluator that chooses for `generate --best-of`.
SELECTOR_LOADER = ("vocalburst.eval.evaluators", "load_evaluator")


def load_selector(spec: str):
    """The evaluator named `spec`, a `selection.Selector`. Raises MissingModelError.

    The command line is where both halves meet, and the only place: like the commands, the loader is named here as a
    string and imported when it is called for. The library in `gen` takes any `Selector` and imports no evaluator, so
    it is installed, tested and used without one, and no weights of an evaluator can find their way into training.
    """
    module, name = SELECTOR_LOADER
    return getattr(importlib.import_module(module), name)(spec)


def run(command: Callable[[], object]) -> int:
    """Call `command`, turning every expected failure into one sentence on stderr and its exit code."""
    try:
        command()
    except MissingModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    except InputDataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what is finished stays", file=sys.stderr)
        return 130
    return 0


def usage() -> str:
    lines = ["usage: vocalburst COMMAND [OPTIONS]     (vocalburst COMMAND --help tells more)", ""]
    return "\n".join(lines + [f"  {name:<17} {text}" for name, (_, text) in COMMANDS.items()])


def main() -> None:
    """Entry point of the console script `vocalburst`."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        from vocalburst.gen import __version__

        print(f"vocalburst {__version__}")
        sys.exit(0)
    if arguments[0] not in COMMANDS:
        print(f"error: unknown command {arguments[0]!r}; known: {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"{os.path.basename(sys.argv[0])} {arguments[0]}", *arguments[1:]]  # noqa: PTH119
    importlib.import_module(COMMANDS[arguments[0]][0]).main()
