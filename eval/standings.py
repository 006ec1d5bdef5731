"""The leaderboard as data, Markdown, CSV and one HTML page. The published rows stand in a section of their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from vocalburst.eval import published
from vocalburst.eval.comparable import Candidate, Refusal, Terms
from vocalburst.eval.printing import heading, markdown, show, show_clips, show_measure
from vocalburst.eval.ranking import Board, agreement, board_data, verdicts
from vocalburst.eval.report import Remark, merged
from vocalburst.eval.scores import MEASURES

if TYPE_CHECKING:
    from vocalburst.eval.clip_media import ClipMedia

FORMAT = "vocalburst-leaderboard-1"
ON_SCREEN = ("fid", "fid_infinity", "kad", "coverage", "heep")


def leaderboard_data(
    boards: Sequence[Board], terms: Terms, candidates: Sequence[Candidate], refusals: Sequence[Refusal]
) -> dict:
    """The whole leaderboard as plain data: what `--json` writes, and what the page holds."""
    like = terms.like.scores
    return {
        "format": FORMAT,
        "package_version": like.package_version,
        "ranked_by": "s_gen",
        "protocol": terms.protocol,
        "like": str(terms.like.path),
        "reference": like.reference.model_dump(mode="json"),
        "files": [
            {
                "name": c.name,
                "path": str(c.path),
                "sha256": c.sha256,
                **c.scores.model_dump(mode="json", include={"command", "created_utc", "seed", "entry"}),
            }
            for c in candidates
        ],
        "boards": [{**board_data(ranked), "verdicts": verdicts(ranked)} for ranked in boards],
        "agreement": agreement(boards),
        "not_ranked": [{"path": str(r.path), "reasons": list(r.reasons)} for r in refusals],
        "published": {
            "systems": [{**asdict(system), "source": system.source.text} for system in published.SYSTEMS],
            "table_6b": {emotion: asdict(row) for emotion, row in published.TABLE_6B.items()},
            "table_8": published.TABLE_8,
            "caveats": list(published.CAVEATS),
        },
    }


def leaderboard_page(
    data: dict,
    boards: Sequence[Board],
    terms: Terms,
    candidates: Sequence[Candidate],
    refusals: Sequence[Refusal],
    media: dict[str, tuple[ClipMedia, ...]],
) -> str:
    """The leaderboard as one self-contained HTML page; media: clips by name of the entry."""
    from vocalburst.eval.forest import forest
    from vocalburst.eval.page import render_page

    plots = []
    for k, ranked in enumerate(boards):
        rows = [
            (row.name, row.score.value, f"boards.{k}.entries.{j}.s_gen.value")
            for j, row in enumerate(ranked.rows)
        ]
        for j, control in enumerate(ranked.shared):
            if (score := control.s_gen_of(terms.protocol)) is not None:
                place = control.s_gen.index(score)
                rows.append(
                    (control.name, score.value, f"boards.{k}.shared_controls.{j}.s_gen.{place}.value")
                )
        plots.append(forest(rows))
    return render_page(
        "leaderboard.html",
        data,
        boards=list(zip(boards, plots, strict=True)),
        terms=terms,
        candidates=candidates,
        refusals=refusals,
        media=media,
        remarks=board_remarks(boards, refusals),
        agreement=data["agreement"],
        verdicts=verdicts,
        published=published,
    )


def board_remarks(boards: Sequence[Board], refusals: Sequence[Refusal]) -> list[Remark]:
    """What a reader must see before any number: suspected copies, entries without some emotions, what is missing."""
    found = []
    for ranked in boards:
        for row in ranked.rows:
            if row.copies:
                text = f"{row.name} is suspected of repeating its training clips: look at its report before its place."
                found.append(Remark(text, ranked.evaluator.evaluator, severe=True))
            if (n := len(row.heard.entry.emotions)) < len(ranked.emotions):
                text = (
                    f"{row.name} has clips of {n} of {len(ranked.emotions)} emotions: its means are over those, and "
                    "S_GEN counts the others as 0."
                )
                found.append(Remark(text, ranked.evaluator.evaluator))
    if refusals:
        text = f"Not ranked, for reasons given at the end of the page: {len(refusals)}."
        found.append(Remark(text, ", ".join(str(refusal.path) for refusal in refusals)))
    return merged(found)


def leaderboard_markdown(data: dict, boards: Sequence[Board]) -> str:
    """Every board as a table with its verdicts, what is not ranked, and the published rows apart from it."""
    blocks = []
    for ranked in boards:
        titles = ["place", "entry", "n", "S_GEN ↑", "S_GEN with FID∞ ↑", *map(heading, ON_SCREEN)]
        rows = [
            [
                row.place,
                row.name + (" (suspected of copying)" if row.copies else ""),
                show_clips(row.heard.entry.emotions),
                show_measure(row.score.value),
                show_measure(row.score.infinity),
                *(show_measure(row.heard.entry.mean.get(name)) for name in ON_SCREEN),
            ]
            for row in ranked.rows
        ]
        for control in ranked.shared:
            score = control.s_gen_of(ranked.protocol)
            values = [score.value, score.infinity] if score else [None, None]
            values += [control.mean.get(name) for name in ON_SCREEN]
            rows.append(["control", control.name, show_clips(control.emotions), *map(show_measure, values)])
        blocks.append(
            f"Heard by {ranked.evaluator.evaluator}, ranked by S_GEN of {ranked.protocol}. {ranked.evaluator.space}\n\n"
            f"{markdown(titles, rows)}\n\n" + "\n".join(f"- {sentence}" for sentence in verdicts(ranked))
        )
    if data["agreement"]:
        blocks.append(data["agreement"])
    if data["not_ranked"]:
        lines = [f"- {refused['path']}: {'; '.join(refused['reasons'])}" for refused in data["not_ranked"]]
        blocks.append("Not ranked:\n\n" + "\n".join(lines))
    systems = [[s.name, show(s.s_gen), s.emotions, s.n, s.space, s.source.short] for s in published.SYSTEMS]
    blocks.append(
        "Published, as context and not ranked with the above:\n\n"
        + markdown(["system", "S_GEN", "emotions", "n", "space", "source"], systems)
        + "\n\n"
        + "\n".join(f"- {caveat}" for caveat in published.CAVEATS)
    )
    return "\n\n".join(blocks)


def leaderboard_csv(boards: Sequence[Board]) -> str:
    """One line per evaluator and entry: places, S_GEN and the means with their intervals, hashes."""
    measured = ("s_gen", "s_gen_infinity", *MEASURES)
    header = ["evaluator", "protocol", "place_best", "place_worst", "name", "n", "emotions"]
    header += [f"{name}{end}" for name in measured for end in ("", "_low", "_high")]
    header += [
        "suspected_of_copying",
        "tied_with",
        "path",
        "scores_sha256",
        "clips_sha256",
        "reference_sha256",
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for ranked in boards:
        for row in ranked.rows:
            entry, scores = row.heard.entry, row.candidate.scores
            line = [ranked.evaluator.evaluator, ranked.protocol, row.best, row.worst, row.name]
            line += [entry.n, len(entry.emotions)]
            for measure in (row.score.value, row.score.infinity, *map(entry.mean.get, MEASURES)):
                line += [None] * 3 if measure is None else [measure.value, measure.low, measure.high]
            line += [row.copies, ";".join(row.tied), row.candidate.path, row.candidate.sha256]
            line += [scores.entry.clips_sha256, scores.reference.clips_sha256]
            writer.writerow(line)
    return buffer.getvalue()
