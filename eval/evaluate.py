"""`vocalburst evaluate`: how real and how well recognised a folder of clips is, beside controls that give a scale.

docs/evaluate.md tells how to read every column and every row.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vocalburst.gen.cli import run
from vocalburst.gen.data.emotions import LABEL_SETS
from vocalburst.gen.data.errors import InputDataError

if TYPE_CHECKING:
    from vocalburst.eval.scores import Scores

OFFICIAL = "exvo2022"
PROTOCOLS = (*LABEL_SETS, OFFICIAL)
CACHE = Path("cache/embeddings")
OF_SPACES = (
    "evaluator",
    "copy_synthesis",
    "train",
    "ratings",
    "n",
    "partial",
    "html",
    "bars",
)  # of our evaluators
MEDIA_EMOTIONS = 8  # that a page shows a clip of, spread over all


def evaluate_entry(arguments: argparse.Namespace) -> None:
    """Score, write what was asked for, print the table."""
    from vocalburst.eval.bars import bars_table
    from vocalburst.eval.contest import Request
    from vocalburst.eval.evaluation import evaluate
    from vocalburst.eval.evaluators import load_evaluators
    from vocalburst.eval.listening_session import counted
    from vocalburst.eval.report import markdown_table

    check_folders(arguments.out, arguments.html)
    request = Request(
        entry=arguments.entry,
        reference=arguments.reference,
        copy_synthesis=arguments.copy_synthesis,
        train=arguments.train,
        ratings=arguments.ratings,
        ratings_maximum=arguments.ratings_maximum,
        n=arguments.n,
        protocol=arguments.protocol,
        partial=arguments.partial,
        cache=arguments.cache,
        seed=arguments.seed,
    )
    evaluators = load_evaluators(arguments.evaluator or ["default"])
    command = "vocalburst evaluate " + shlex.join(sys.argv[1:])
    scores = evaluate(request, evaluators, command=command, say=say, progress=counted)
    if arguments.out:
        scores.save(arguments.out)
    if arguments.html:
        write_page(scores, arguments)
    print(markdown_table(scores))
    if arguments.bars:
        print(f"\n{bars_table(scores, load_scores(arguments.many_steps))}")


def write_page(scores: Scores, arguments: argparse.Namespace) -> None:
    """The HTML report, with a clip of some emotions to see and hear."""
    from vocalburst.eval.clip_media import collect_media
    from vocalburst.eval.clips import open_clips
    from vocalburst.eval.report import render_report
    from vocalburst.gen.data.audio import write_file

    clips = open_clips(arguments.entry)
    emotions = tuple(dict.fromkeys(clips.emotions))
    some = emotions[:: max(1, -(-len(emotions) // MEDIA_EMOTIONS))]
    say("drawing the page")
    media = collect_media(clips, arguments.seed, emotions=some)
    write_file(arguments.html, render_report(scores, media=media).encode())


def evaluate_officially(arguments: argparse.Namespace) -> None:
    """The official distance of ExVo 2022, for those who have its weights and statistics."""
    from vocalburst.eval.clips import open_clips
    from vocalburst.eval.exvo2022 import score_exvo2022
    from vocalburst.eval.listening_session import counted
    from vocalburst.gen.data.audio import write_file

    check_folders(arguments.out)
    clips = open_clips(arguments.entry)
    scores = score_exvo2022(
        clips, arguments.weights, arguments.statistics, seed=arguments.seed, progress=counted
    )
    if arguments.out:
        write_file(arguments.out, scores.to_json().encode())
    print(scores.markdown())


def print_bars(arguments: argparse.Namespace) -> None:
    """The bars of scores that were written before."""
    from vocalburst.eval.bars import bars_table

    print(bars_table(load_scores(arguments.bars_of), load_scores(arguments.many_steps)))


def load_scores(path: Path | None) -> Scores | None:
    from vocalburst.eval.scores import Scores

    return None if path is None else Scores.load(path)


def check_folders(*paths: Path | None) -> None:
    """Before minutes of work: results can be written."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise InputDataError(f"{path}: the folder {path.parent} does not exist")


def say(text: str) -> None:
    print(text, file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vocalburst evaluate",
        description="Score clips by their distance to real ones and by how they are heard, beside controls.",
        epilog="examples:\n"
        "  vocalburst evaluate submission/ --reference emogator:dev --out scores.json --html report.html\n"
        "  vocalburst resynthesise manifests/emogator/manifest.jsonl --n 100 --out copies/\n"
        "  vocalburst evaluate submission/ --reference emogator:dev --copy-synthesis copies/ --bars\n"
        "  vocalburst evaluate --bars-of scores.json\n"
        "  vocalburst evaluate submission/ --protocol exvo2022 --weights predictions_model_webm.pt "
        "--statistics fid/",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("entry", nargs="?", metavar="ENTRY", help="folder of clips of any system, or a list of them")
    add("--reference", metavar="SPEC", help="real clips: NAME:SPLIT, MANIFEST.jsonl[:SPLIT], a folder; or the "
        "file of `vocalburst statistics`")  # fmt: skip
    add("--evaluator", action="append", metavar="NAME",
        help="who listens: a name, a folder, ssl:FOLDER, or `default` (those that ship); repeatable")  # fmt: skip
    add("--out", type=Path, metavar="JSON", help="scores.json, which report and leaderboard read")
    add("--html", type=Path, metavar="FILE", help="the report as one page that loads nothing")
    add(
        "--copy-synthesis",
        metavar="DIR",
        help="the reference's clips through the vocoder (`vocalburst resynthesise`)",
    )
    add(
        "--train",
        metavar="SPEC",
        help="real train clips (default: the train split of the reference's manifest)",
    )
    add(
        "--ratings",
        type=Path,
        metavar="CSV",
        help="people's ratings: a column for the clip, one for each emotion",
    )
    add("--ratings-maximum", type=float, default=1.0, metavar="X", help="top of their scale (default: 1)")
    add("--n", type=int, help="clips of each emotion on both sides (default: as many as every emotion has)")
    add("--protocol", choices=PROTOCOLS,
        help="judge by the emotions of another corpus; exvo2022: the official distance, with its files")  # fmt: skip
    add("--partial", action="store_true", help="judge an entry that lacks emotions of the reference")
    add(
        "--cache",
        type=Path,
        default=CACHE,
        metavar="DIR",
        help=f"where embeddings are kept (default: {CACHE})",
    )
    add("--seed", type=int, default=0, help="of draws, controls and intervals (default: 0)")
    add("--bars", action="store_true", help="also print the entry against what it should reach")
    add("--bars-of", type=Path, metavar="JSON", help="only print that, of scores written before")
    add("--many-steps", type=Path, metavar="JSON",
        help="for the bars: scores of the same generator with many network calls")  # fmt: skip
    add("--weights", type=Path, metavar="FILE", help="of exvo2022: predictions_model_wav.pt or ..._webm.pt")
    add("--statistics", type=Path, metavar="DIR", help="of exvo2022: the folder of the official *.pkl")
    return parser


def check_usage(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Leave with exit code 2 where options do not go together."""
    if arguments.bars_of:
        if arguments.entry or arguments.reference:
            parser.error(
                "--bars-of reads scores that were written before and takes no ENTRY and no --reference"
            )
        return
    if not arguments.entry:
        parser.error("expected ENTRY, the clips to score")
    official = arguments.protocol == OFFICIAL
    if official and (
        useless := [f"--{name.replace('_', '-')}" for name in OF_SPACES if getattr(arguments, name)]
    ):
        parser.error(f"--protocol exvo2022 does not take {', '.join(useless)}")
    if official != bool(arguments.weights) or official != bool(arguments.statistics):
        parser.error("--protocol exvo2022, --weights and --statistics are given together or not at all")
    if official == bool(arguments.reference):
        parser.error(
            "expected no --reference, exvo2022 has its own"
            if official
            else "expected --reference, the real clips"
        )
    if arguments.n is not None and arguments.n < 2:
        parser.error(f"--n must be at least 2, got {arguments.n}")
    if arguments.ratings_maximum <= 0:
        parser.error(f"--ratings-maximum must be above 0, got {arguments.ratings_maximum:g}")


def main() -> None:
    """Entry point of `vocalburst evaluate`."""
    parser = build_parser()
    arguments = parser.parse_args()
    check_usage(parser, arguments)
    if arguments.bars_of:
        sys.exit(run(lambda: print_bars(arguments)))
    command = evaluate_officially if arguments.protocol == OFFICIAL else evaluate_entry
    sys.exit(run(lambda: command(arguments)))


if __name__ == "__main__":
    main()
