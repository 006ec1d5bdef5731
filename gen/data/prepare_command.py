"""`vocalburst prepare CORPUS PATH --out FOLDER`: a corpus as downloaded -> a manifest to train from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vocalburst.gen.cli import run

EXAMPLES = """examples:
  vocalburst prepare emogator EmoGator/ --out manifests/emogator
  vocalburst prepare hume-vocalburst HUME-VOCALBURST/ --audio-folder wav --out manifests/hume
  vocalburst prepare sonata SONATA/ --filename '(?P<role>[A-Za-z]+)_by_(?P<speaker>[0-9]+)' --out
  manifests/sonata vocalburst prepare folder my_clips/ --speaker-pattern '/(?P<speaker>S[0-9]+)_' --out
  manifests/mine

The folder receives manifest.jsonl, dropped.jsonl (every clip left out, and why) and report.json.
The layouts that are read, the emotion names and the split rules: docs/corpora.md."""


def build_parser() -> argparse.ArgumentParser:
    """One subcommand per corpus; an option's name is the argument of its reader."""
    parser = argparse.ArgumentParser(
        description="Read a corpus, measure every clip and write a manifest; say what was dropped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("path", type=Path, help="the corpus folder")
    common.add_argument("--out", type=Path, required=True, help="folder for the manifest, made if need be")
    common.add_argument("--overwrite", action="store_true", help="replace a manifest of other content")
    common.add_argument("--json", action="store_true", help="print the report as JSON")
    corpora = parser.add_subparsers(dest="corpus_kind", required=True, metavar="CORPUS")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return corpora.add_parser(name, parents=[common], help=text, description=text)

    add("emogator", "30 emotions, 357 contributors: the public mp3 layout, or tar shards of it")
    hume = add("hume-vocalburst", "10 intensities, data_info.csv and wav files at 16 or 48 kHz")
    hume.add_argument("--audio-folder", help="which release to read when several lie side by side, e.g. wav")
    sonata = add(
        "sonata", "25 acted emotions: long recordings with timestamps, or segments; cut into windows"
    )
    sonata.add_argument(
        "--filename",
        metavar="REGEX",
        default=argparse.SUPPRESS,
        help="groups speaker and role, matched at the start of a file's name (default: SPEAKER_ROLE)",
    )
    sonata.add_argument(
        "--splits", type=Path, metavar="CSV", help="columns speaker and split, instead of the hash split"
    )
    sonata.add_argument(
        "--window",
        type=positive_seconds,
        metavar="SECONDS",
        default=argparse.SUPPRESS,
        help="longest window cut from a segment (default: 4)",
    )
    folder = add("folder", "EMOTION/*.wav, SPLIT/EMOTION/*.wav or an AudioFolder metadata.csv")
    folder.add_argument("--corpus", metavar="NAME", help="name in the manifest (default: the folder's)")
    folder.add_argument(
        "--speaker-pattern", metavar="REGEX", help="group speaker, searched in a file's relative path"
    )
    return parser


def positive_seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 60:
        raise argparse.ArgumentTypeError(f"expected seconds between 0 and 60, got {text}")
    return value


def prepare_corpus(corpus_kind: str, path: Path, out: Path, overwrite: bool, json: bool, **options) -> None:
    """Read, prepare and print. `options` go to the reader as they are."""
    import json as json_format

    from tqdm import tqdm

    from vocalburst.gen.data.errors import InputDataError
    from vocalburst.gen.data.prepare import READERS, prepare

    if not path.is_dir():
        raise InputDataError(
            f"{path}: expected a corpus folder, found {'a file' if path.exists() else 'nothing'}"
        )

    def progress(files, total):
        return tqdm(files, total=total, desc=corpus_kind, unit="file", file=sys.stderr, disable=None)

    report = prepare(READERS[corpus_kind](path, **options), path, out, overwrite=overwrite, progress=progress)
    manifest = out / "manifest.jsonl"
    if json:
        print(json_format.dumps({"manifest": str(manifest), **report}, indent=2))
    else:
        print(summary(report, manifest))


def summary(report: dict, manifest: Path) -> str:
    """The report for people; every list that is empty stays out, except what was dropped."""

    def counts(values: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in values.items())

    dropped = report["dropped"]
    lines = [
        f"{manifest}: {report['clips']} clips, {report['hours']:.2f} h, {report['speakers']} speakers",
        f"splits    {counts(report['splits'])}",
        f"emotions  {counts(report['emotions'])}",
        f"dropped   {counts(dropped)}; listed in {manifest.parent / 'dropped.jsonl'}"
        if dropped
        else "dropped   none",
    ]
    lines += [f"alias     {alias}" for alias in report["aliases"]]
    lines += [f"note      {note}" for note in report["notes"]]
    return "\n".join(lines)


def main() -> None:
    """Entry point of `vocalburst prepare`."""
    arguments = build_parser().parse_args()
    sys.exit(run(lambda: prepare_corpus(**vars(arguments))))


if __name__ == "__main__":
    main()
