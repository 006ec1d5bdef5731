"""A benchmark as Markdown, for a person, and as JSON, for a program."""

from __future__ import annotations

from collections.abc import Sequence

from vocalburst.eval.printing import DASH, markdown
from vocalburst.eval.recognition.benchmark_rows import TIMED_CLIPS, Bench, BenchmarkRow
from vocalburst.eval.tasks.scoring import Score, uninformed

EXVO_CLASSES = 9  # of the ten, no EmoGator clip is horror


def best_first(rows: Sequence[BenchmarkRow]) -> list[BenchmarkRow]:
    return sorted(rows, key=lambda row: -float("inf") if row.headline.value is None else row.headline.value)[
        ::-1
    ]


def describe(bench: Bench, rows: Sequence[BenchmarkRow], left_out: Sequence[str], labels: str) -> dict:
    """All of it, and how it came about."""
    folds = len(bench.parts) if bench.parts[0].fold is not None else None
    return {
        "task": bench.task.name,
        "title": bench.task.title,
        "source": bench.task.source,
        "labels": labels,
        "labels_sha256": bench.labels_sha256,
        "train": bench.parts[0].train.split,
        "measured": "folds" if folds else bench.parts[0].measured.split,
        "folds": folds,
        "clips": len(bench.y),
        "speakers": len(set(bench.speakers)) if bench.speakers else None,
        "seed": bench.seed,
        "headline": bench.task.headline,
        "uninformed": uninformed(bench.task, bench.y),
        "rows": [row.to_json() for row in best_first(rows)],
        "left_out": list(left_out),
    }


def as_markdown(bench: Bench, rows: Sequence[BenchmarkRow], report: dict) -> str:
    exvo = any(row.exvo_10 for row in rows)
    titles = ["model", report["headline"], *(["ExVo-10 UAR"] if exvo else [])]
    titles += ["epochs", "CPU minutes", "parameters", "ms a clip"]
    table = [
        [
            row.name,
            cell(row.headline),
            *([cell(row.exvo_10)] if exvo else []),
            DASH if row.epochs is None else str(row.epochs),
            DASH if row.cpu_minutes is None else f"{row.cpu_minutes:.1f}",
            DASH if row.parameters is None else f"{row.parameters:,}",
            f"{row.ms_per_clip:.1f}",
        ]
        for row in best_first(rows)
    ]
    chance = report["uninformed"].get(report["headline"])
    table.append(
        [
            "not listening",
            DASH if chance is None else f"{chance:.3f}",
            *([f"{1 / EXVO_CLASSES:.3f}"] if exvo else []),
            *[DASH] * 4,
        ]
    )
    lines = [
        f"{report['title']} ({report['source']}).",
        "",
        markdown(titles, table),
        "",
        caption(report, exvo, rows),
    ]
    if report["left_out"]:
        lines += ["", *(f"{reason}." for reason in report["left_out"])]
    if bench.task.published:
        lines += ["", "For context, not ranked with the above:", "", published(bench)]
    return "\n".join(lines)


def caption(report: dict, exvo: bool, rows: Sequence[BenchmarkRow]) -> str:
    """What the numbers are of."""
    over = f"{report['speakers']} speakers" if report["speakers"] else "clips"
    where = f"split {report['measured']}"
    if report["folds"]:
        where = f"{report['folds']} folds over the speakers of {report['train']}, each clip predicted once"
    text = (
        f"{report['clips']} clips, {where}; 95 % intervals: bootstrap over {over}; seed {report['seed']}. Epochs and "
        "settings were chosen on a tenth of the train speakers. CPU minutes are of one training, where features that "
        f"an earlier row has kept cost nothing; ms a clip is CPU time, of {TIMED_CLIPS} clips in one call. Labels "
        f"sha256 {report['labels_sha256'][:12]}."
    )
    if exvo:
        n = next(row.exvo_10.n for row in rows if row.exvo_10)
        text += f" ExVo-10: {n} clips, probabilities of what counts as one emotion added up, no Horror."
    return text


def cell(score: Score | None) -> str:
    """`0.225 [0.206, 0.245]`; a dash where it is undefined."""
    if score is None or score.value is None:
        return DASH
    bounds = "" if score.low is None else f" [{score.low:.3f}, {score.high:.3f}]"
    return f"{score.value:.3f}{bounds}"


def published(bench: Bench) -> str:
    rows = [(p.system, p.split, p.measure, f"{p.value:g}", p.place) for p in bench.task.published]
    return markdown(("system", "split", "measure", "value", "source"), rows)
