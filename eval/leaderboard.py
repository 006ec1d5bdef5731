"""`vocalburst leaderboard`: rank entries by their `scores.json`, or say which of them cannot be compared and why.

Entries are ranked by S_GEN of one protocol, the number of the field, at equal n, so that its bias by n is the same
for all; FID-infinity and everything else stands beside it. docs/leaderboard.md tells why, and what is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vocalburst.eval.comparable import Candidate, Refusal, Terms, reasons_against, same_clips, terms_of
from vocalburst.eval.ranking import Board, rank
from vocalburst.eval.scores import Scores
from vocalburst.eval.standings import (
    leaderboard_csv,
    leaderboard_data,
    leaderboard_markdown,
    leaderboard_page,
)
from vocalburst.gen.cli import run
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.emotions import LABEL_SETS, normalise_name
from vocalburst.gen.data.errors import InputDataError

if TYPE_CHECKING:
    from vocalburst.eval.clip_media import ClipMedia
    from vocalburst.eval.clips import ClipSet

MEDIA_EMOTIONS = 6  # of every entry with clips, unless --emotions names others


def read_candidates(files: Sequence[tuple[str | None, Path]]) -> tuple[list[Candidate], list[Refusal]]:
    """Candidates from (name or None, path), and a refusal for each file that holds no scores of this format."""
    candidates, refusals = [], []
    for name, path in files:
        try:
            scores = Scores.load(path)
        except InputDataError as error:
            refusals.append(Refusal(path, (str(error).removeprefix(f"{path}: "),)))
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        candidates.append(Candidate(name or scores.entry.name, path, digest, scores))
    return candidates, refusals


def admit(
    files: Sequence[tuple[str | None, Path]],
    like: Path | None = None,
    evaluators: Sequence[str] | None = None,
    protocol: str | None = None,
) -> tuple[list[Candidate], Terms, list[Refusal]]:
    """Those of the files that can be ranked on the terms of `like` (default: the first file), and the others.

    Raises InputDataError when the yardstick itself cannot be read.
    """
    candidates, refusals = read_candidates(files)
    like = like or files[0][1]
    yardstick = next((c for c in candidates if c.path == like), None)
    if yardstick is None:
        raise InputDataError(
            next((r.text for r in refusals if r.path == like), f"{like}: is not among the files")
        )
    terms = terms_of(yardstick, evaluators, protocol)
    repeated = {
        r.path: r.reasons for r in same_clips([yardstick, *(c for c in candidates if c is not yardstick)])
    }
    admitted = []
    for candidate in candidates:
        reasons = (
            *reasons_against(candidate, terms, whole=evaluators is None),
            *repeated.get(candidate.path, ()),
        )
        if reasons:
            refusals.append(Refusal(candidate.path, reasons))
        else:
            admitted.append(candidate)
    order = [path for _, path in files]
    return admitted, terms, sorted(refusals, key=lambda refusal: order.index(refusal.path))


def refuse(refusals: Sequence[Refusal], n_files: int, like: Path) -> None:
    """Raise InputDataError naming every file that cannot be ranked and every reason."""
    lines = [
        f"{len(refusals)} of {n_files} files cannot be ranked on the terms of {like}, nothing was written",
        *(f"  {refusal.text}" for refusal in refusals),
    ]
    raise InputDataError("\n".join(lines))


def entry_media(
    folders: Sequence[tuple[str, str]], boards: Sequence[Board], emotions: Sequence[str] | None, seed: int
) -> dict[str, tuple[ClipMedia, ...]]:
    """Clips of the entries named in `folders`, one of each emotion; only of the clips that were scored.

    Raises InputDataError when a name is not ranked or a folder holds other clips than those scored.
    """
    if not folders:
        return {}
    from vocalburst.eval.clip_media import collect_media
    from vocalburst.eval.clips import open_clips

    ranked = {row.name: row for row in boards[0].rows}
    if unknown := [name for name, _ in folders if name not in ranked]:
        raise InputDataError(f"--media {unknown[0]}: no such entry, expected one of {', '.join(ranked)}")
    opened = {
        name: as_scored(name, open_clips(folder), ranked[name].candidate.scores.entry.clips_sha256)
        for name, folder in folders
    }
    chosen = [normalise_name(emotion) for emotion in emotions or ()]
    if not chosen:
        common = [e for e in boards[0].emotions if all(e in clips.emotions for clips in opened.values())]
        chosen = common[:: max(1, -(-len(common) // MEDIA_EMOTIONS))]  # spread over the list
    return {name: collect_media(clips, seed, emotions=chosen) for name, clips in opened.items()}


def as_scored(name: str, clips: ClipSet, expected: str) -> ClipSet:
    """The clips under the emotions they were scored by: their own, or those of a protocol that was asked for.

    Raises InputDataError when their hash is not the expected one under any.
    """
    from vocalburst.eval.contest import relabelled
    from vocalburst.eval.protocols import protocol_names

    if clips.content_sha256 == expected:
        return clips
    for protocol in LABEL_SETS:
        if protocol_names(protocol, clips.emotions):
            answering, _ = relabelled(clips, protocol)
            if answering.content_sha256 == expected:
                return answering
    raise InputDataError(
        f"{clips.label}: not the clips that {name} was scored on (clips {clips.content_sha256[:12]}, "
        f"expected {expected[:12]})"
    )


def leaderboard(arguments: argparse.Namespace) -> None:
    files = arguments.files
    candidates, terms, refusals = admit(files, arguments.like, arguments.evaluator, arguments.protocol)
    if refusals and not arguments.skip_incomparable:
        refuse(refusals, len(files), terms.like.path)
    if not candidates:
        raise InputDataError(f"no file can be ranked:\n  {refusals[0].text}")
    boards = rank(candidates, terms)
    media = entry_media(arguments.media, boards, arguments.emotions, arguments.seed)
    data = leaderboard_data(boards, terms, candidates, refusals)
    text = leaderboard_markdown(data, boards)
    outputs = {}
    if arguments.out:
        outputs[arguments.out] = leaderboard_page(data, boards, terms, candidates, refusals, media)
    if arguments.csv:
        outputs[arguments.csv] = leaderboard_csv(boards)
    if arguments.markdown:
        outputs[arguments.markdown] = text + "\n"
    if arguments.json:
        outputs[arguments.json] = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    for path, content in outputs.items():
        write_file(path, content.encode())
    print(text)


def named_file(text: str) -> tuple[str | None, Path]:
    """`FILE` or `NAME=FILE`; a file whose path holds a `=` is taken as it is."""
    name, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        return None, Path(text)
    if not (name.strip() and path):
        raise argparse.ArgumentTypeError(f"expected FILE or NAME=FILE, got {text!r}")
    return name.strip(), Path(path)


def named_clips(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not (name.strip() and equals and folder):
        raise argparse.ArgumentTypeError(f"expected NAME=DIR, got {text!r}")
    return name.strip(), folder


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vocalburst leaderboard",
        description="Rank entries by the S_GEN in their scores.json. Files that are not comparable are refused.",
        epilog="examples:\n"
        "  vocalburst leaderboard runs/*/scores.json --out leaderboard.html\n"
        "  vocalburst leaderboard ours=runs/a/scores.json theirs=runs/b/scores.json --out leaderboard.html \\\n"
        "      --media ours=submission/ --media theirs=their_clips/ --csv leaderboard.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", type=named_file, metavar="[NAME=]FILE",
        help="scores.json of an entry; NAME instead of the folder it was scored as",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="HTML", help="the leaderboard as one page that loads nothing"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a line per evaluator and entry")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="what is printed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything")
    parser.add_argument(
        "--like",
        type=Path,
        metavar="FILE",
        help="the file that sets the terms of comparison (default: the first)",
    )
    parser.add_argument(
        "--skip-incomparable", action="store_true",
        help="rank the others all the same and list what is not ranked, with the reasons; needs --like",
    )  # fmt: skip
    parser.add_argument(
        "--protocol", metavar="NAME", help="whose S_GEN ranks (default: the first that --like has)"
    )
    parser.add_argument(
        "--evaluator",
        action="append",
        metavar="ID",
        help="compare by this one alone; may be given several times",
    )
    parser.add_argument(
        "--media", type=named_clips, action="append", default=[], metavar="NAME=DIR",
        help="show clips of the entry NAME on the page: the folder that was scored",
    )  # fmt: skip
    parser.add_argument(
        "--emotions", nargs="+", metavar="EMOTION", help="whose clips are shown (default: six)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the clips that are shown")
    return parser


def main() -> None:
    """Entry point of `vocalburst leaderboard`."""
    parser = build_parser()
    arguments = parser.parse_args()
    if arguments.skip_incomparable and not arguments.like:
        parser.error("--skip-incomparable needs --like FILE: what is left out depends on what sets the terms")
    if arguments.media and not arguments.out:
        parser.error("--media needs --out: clips are shown on the page")
    paths = [path for _, path in arguments.files]
    if len(set(paths)) < len(paths):
        parser.error("each file may be given once")
    if len({name for name, _ in arguments.media}) < len(arguments.media):
        parser.error("--media: each entry may be given once")
    sys.exit(run(lambda: leaderboard(arguments)))


if __name__ == "__main__":
    main()
