"""The report of one entry: a table for the screen and one self-contained HTML page, from `scores.json` alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vocalburst.eval.comparable import is_chosen_by
from vocalburst.eval.forest import Plot, forest
from vocalburst.eval.heat import Scale, scale_of
from vocalburst.eval.page import render_page
from vocalburst.eval.printing import (
    heading,
    markdown,
    sentence,
    show,
    show_clips,
    show_measure,
    show_reference,
)
from vocalburst.eval.s_gen import emotion_score
from vocalburst.eval.scores import CONTROLS, MEASURES, EvaluatorScores, Measure, Scores, SetScores

if TYPE_CHECKING:
    from vocalburst.eval.clip_media import ClipMedia

# The screen, plots and heat maps show some of MEASURES, the tables of the page all of them.
ON_SCREEN = ("fid", "fid_infinity", "kad", "precision", "coverage", "heep")
IN_PLOTS = ("fid_infinity", "kad", "heep")
IN_MAPS = ("fid_infinity", "heep")
FAR_AWAY = ("silence", "noise")  # an axis or a colour scale that reached them would show nothing else


@dataclass(frozen=True)
class Remark:
    """A sentence that a reader must see. where: `EVALUATOR: SET` or `EVALUATOR`; severe: it may void the numbers."""

    text: str
    where: str
    severe: bool = False


@dataclass(frozen=True)
class EvaluatorView:
    """What the page draws for one evaluator beside its scores. `key`: its path in the data of the page."""

    scores: EvaluatorScores
    key: str
    protocols: tuple[str, ...]
    plots: dict[str, Plot]
    scales: dict[str, Scale]


def render_report(scores: Scores, media: Sequence[ClipMedia] = ()) -> str:
    """The report as one HTML page that loads nothing; `media`: clips of the entry, see `collect_media`."""
    return render_page(
        "report.html",
        scores.model_dump(mode="json"),
        scores=scores,
        views=[view(evaluator, f"evaluators.{k}") for k, evaluator in enumerate(scores.evaluators)],
        remarks=remarks(scores),
        media=media,
        in_maps=IN_MAPS,
        emotion_score=emotion_score,
    )


def view(evaluator: EvaluatorScores, key: str) -> EvaluatorView:
    protocols = tuple(dict.fromkeys(found.protocol for s in evaluator.sets for found in s.s_gen))
    plots = {
        "s_gen": [
            (s.name, found.value, f"{key}.sets.{k}.s_gen.{position}.value")
            for k, s in enumerate(evaluator.sets)
            for position, found in enumerate(s.s_gen)
            if found.protocol == protocols[0]
        ],
        **{
            name: [
                (s.name, s.mean[name], f"{key}.sets.{k}.mean.{name}")
                for k, s in enumerate(evaluator.sets)
                if name in s.mean
            ]
            for name in IN_PLOTS
        },
    }
    drawn = {name: forest(rows, outside=FAR_AWAY) for name, rows in plots.items()}
    scales = {name: emotion_scale(evaluator.sets, name) for name in MEASURES}
    return EvaluatorView(
        evaluator,
        key,
        protocols,
        {name: plot for name, plot in drawn.items() if plot is not None},
        {name: scale for name, scale in scales.items() if scale is not None},
    )


def emotion_scale(sets: Sequence[SetScores], name: str) -> Scale | None:
    """One scale for a measure over all emotions of all sets but the far ones: one colour means one number."""
    near = [s for s in sets if s.name not in FAR_AWAY]
    return scale_of(
        (row.measures[name].value for s in near for row in s.emotions.values() if name in row.measures),
        MEASURES[name][1],
    )


def remarks(scores: Scores) -> list[Remark]:
    """Everything that limits what the numbers say, the severe first; equal sentences of several sets once."""
    found: list[Remark] = []
    for evaluator in scores.evaluators:
        name, memorisation = evaluator.evaluator, evaluator.entry.memorisation
        if is_chosen_by(scores.entry.selected_by, name):
            text = f"The clips were chosen or guided by {name}, so its numbers flatter them."
            found.append(Remark(text, name, severe=True))
        if memorisation is not None and memorisation.suspicious:
            text = (
                f"Looks memorised: {memorisation.copied} clips are nearer to a train clip than any held-out real clip "
                f"is, FLD gap {show(memorisation.fld_gap)} (real {show_measure(memorisation.fld_gap_real)}), "
                f"C_T {show(memorisation.c_t)} (real {show_measure(memorisation.c_t_real)})."
            )
            found.append(Remark(text, name, severe=True))
        if missing := [control for control in CONTROLS if control not in {s.name for s in evaluator.sets}]:
            found.append(Remark(f"Without the controls {', '.join(missing)}.", name))
        for s in evaluator.sets:
            found += [Remark(sentence(text), f"{name}: {s.name}") for text in (*s.notes, *unequal(s))]
    return merged(found)


def merged(found: Sequence[Remark]) -> list[Remark]:
    """Equal sentences as one, with all their places (`EVALUATOR: SET, SET; EVALUATOR`); the severe first."""
    places: dict[tuple[str, bool], dict[str, list[str]]] = defaultdict(dict)
    for remark in found:
        evaluator, _, place = remark.where.partition(": ")
        places[remark.text, remark.severe].setdefault(evaluator, []).append(place)
    joined = [
        Remark(
            text, "; ".join(f"{e}: {', '.join(sets)}".removesuffix(": ") for e, sets in where.items()), severe
        )
        for (text, severe), where in places.items()
    ]
    return sorted(joined, key=lambda remark: not remark.severe)


def unequal(scores: SetScores) -> list[str]:
    """A sentence when an emotion has other numbers of clips than its reference, or than another emotion."""
    pairs = {emotion: (row.n, row.n_reference) for emotion, row in scores.emotions.items()}
    sentences = []
    if other := [f"{e} {n} against {m}" for e, (n, m) in pairs.items() if n != m]:
        sentences.append(
            f"Not as many clips as reference clips, so distances are not at equal n: {', '.join(other)}."
        )
    if len({n for n, _ in pairs.values()}) > 1:
        sentences.append(
            "Emotions have different numbers of clips, so their distances are biased differently."
        )
    return sentences


def markdown_table(scores: Scores) -> str:
    """One table per evaluator: a row per set, its n, the means over emotions with 95 % intervals, S_GEN."""
    entry, reference = scores.entry, scores.reference
    blocks = [
        f"{entry.name}: {entry.n} clips against {reference.n} real clips of {reference.speakers} speakers, "
        f"{show_reference(reference)}, seed {scores.seed}",
        *map(evaluator_table, scores.evaluators),
    ]
    lines = [
        f"- {'**' if r.severe else ''}{r.text}{'**' if r.severe else ''} ({r.where})" for r in remarks(scores)
    ]
    if lines:
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def evaluator_table(evaluator: EvaluatorScores) -> str:
    protocols = view(evaluator, "").protocols
    titles = ["set", "n", *map(heading, ON_SCREEN), *(f"S_GEN {protocol} ↑" for protocol in protocols)]
    rows = []
    for s in evaluator.sets:
        found = [s.s_gen_of(protocol) for protocol in protocols]
        values: list[Measure | None] = [s.mean.get(name) for name in ON_SCREEN]
        values += [None if score is None else score.value for score in found]
        rows.append([s.name, show_clips(s.emotions), *map(show_measure, values)])
    lines = [f"{evaluator.evaluator}: {evaluator.space}", "", markdown(titles, rows)]
    over: dict[str, list[str]] = defaultdict(list)
    for s in evaluator.sets:
        over[s.resampled].append(s.name)
    resampled = "; ".join(f"{what} ({', '.join(names)})" for what, names in over.items())
    lines += ["", f"Means over emotions. 95 % intervals in brackets, resampling {resampled}."]
    if evaluator.real_heep is not None:
        lines.append(f"HEEP of the real reference clips: {show_measure(evaluator.real_heep)}.")
    return "\n".join(lines)
