"""Whether generated clips lie near the very train clips that gave them voice, length and outline.

    python docs/nearest_train.py rows submission
    python docs/nearest_train.py alarms --draws 100

`rows`: of what share of the clips of `generate` the nearest train clip, in the space of each evaluator, is the row of
the prior that the clip drew, another take of that emotion by that speaker, or another clip of that speaker.
`alarms`: how often the copy audit calls real people suspicious, who copied nobody. As many random train speakers as
there are dev speakers play the generator, the others are the train clips and the dev speakers are held out. Beside it,
how many clips the audit finds then.
Run from the repository root; manifests/emogator must be prepared.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from vocalburst.eval.clips import open_clips
from vocalburst.eval.embed import EmbeddedClips, embed_each
from vocalburst.eval.evaluators import load_evaluators
from vocalburst.eval.memorisation import CHANCE, copy_audit, nearest_two
from vocalburst.gen.data.manifest import read_manifest
from vocalburst.gen.jobs import RepeatedJobs
from vocalburst.gen.pipeline import load_generator

QUANTILES = (0.5, 0.9, 0.95, 0.99)
MANIFEST = Path("manifests/emogator/manifest.jsonl")


def drawn_clips(folder: Path, checkpoint: str) -> dict[str, str]:
    """File name of each clip -> id of the train clip whose row it drew."""
    pipeline = load_generator(checkpoint)
    takes = defaultdict(list)
    for clip in read_manifest(MANIFEST):
        takes[clip.speaker].append(clip)
    found = {}
    for job in RepeatedJobs(folder / "manifest.jsonl"):
        _, voice, _, active, level = pipeline.prior.rows[pipeline.attributes(job.spec()).place].tolist()
        own = takes[pipeline.transformer.config.voices[int(voice)]]
        clip = min(own, key=lambda clip: abs(clip.active_seconds - active) + abs(clip.level_db - level))
        found[job.file_name] = clip.id
    return found


def rows(arguments: argparse.Namespace, evaluators, train, heard: list[EmbeddedClips]) -> None:
    drawn = drawn_clips(arguments.folder, arguments.checkpoint)
    entry = open_clips(str(arguments.folder))
    speaker, emotion = np.asarray(train.speakers), np.asarray(train.emotions)
    place = {name: row for row, name in enumerate(train.names)}
    own = np.array([place[drawn[name]] for name in entry.names])
    print(
        "| evaluator | the row itself, % | another take, % | another clip of the speaker, % |\n|---|---|---|---|"
    )
    for evaluator, of_entry, of_train in zip(
        evaluators, embed_each(entry, evaluators, cache=arguments.cache), heard, strict=True
    ):
        _, nearest = nearest_two(of_entry.embeddings, of_train.embeddings)
        by_speaker = (speaker[nearest] == speaker[own]) & (nearest != own)
        take = by_speaker & (emotion[nearest] == emotion[own])
        shares = (nearest == own, take, by_speaker & ~take)
        print(f"| {evaluator.id} | " + " | ".join(f"{100 * share.mean():.1f}" for share in shares) + " |")


def alarms(arguments: argparse.Namespace, evaluators, train, heard: list[EmbeddedClips]) -> None:
    dev = open_clips("emogator:dev")
    speakers, speaker = np.unique(np.asarray(train.speakers), return_inverse=True)
    n_dev = len(set(dev.speakers))
    print(
        f"| evaluator | suspicious (chance under {CHANCE:g}), % | clips found: median, 90, 95, 99 % |\n|---|---|---|"
    )
    for evaluator, of_train, of_dev in zip(
        evaluators, heard, embed_each(dev, evaluators, cache=arguments.cache), strict=True
    ):
        suspicious, found = 0, []
        for draw in range(arguments.draws):
            plays = np.isin(speaker, np.random.default_rng(draw).permutation(len(speakers))[:n_dev])
            entry, rest = of_train.embeddings[plays], of_train.embeddings[~plays]
            names = [[""] * len(clips) for clips in (entry, rest)]
            audit = copy_audit(entry, rest, of_dev.embeddings, *names)
            suspicious += audit.suspicious
            found.append(len(audit.copied))
        counts = ", ".join(f"{count:.0f}" for count in np.quantile(found, QUANTILES))
        print(f"| {evaluator.id} | {100 * suspicious / arguments.draws:.0f} | {counts} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--evaluators", nargs="+", default=["emo18", "logmel"])
    parser.add_argument("--cache", type=Path, default=Path("cache/embeddings"))
    verbs = parser.add_subparsers(required=True)
    of_rows = verbs.add_parser("rows")
    of_rows.add_argument("folder", type=Path, help="what `generate` wrote")
    of_rows.add_argument("--checkpoint", default="checkpoints/default")
    of_rows.set_defaults(command=rows)
    of_people = verbs.add_parser("alarms")
    of_people.add_argument("--draws", type=int, default=100, help="of speakers")
    of_people.set_defaults(command=alarms)
    arguments = parser.parse_args()
    evaluators, train = load_evaluators(arguments.evaluators), open_clips("emogator:train")
    arguments.command(arguments, evaluators, train, embed_each(train, evaluators, cache=arguments.cache))


if __name__ == "__main__":
    main()
