"""Whether two files of scores may stand in one ranking, and if not, why: every reason as a sentence part.

One file is the yardstick. Everything that moves a number without any merit of the clips has to be equal: the
version of the scorer, the evaluators with their preprocessing, the reference clips, n of each emotion, the
protocol. Beyond that a file is refused when its clips were chosen or guided by an evaluator that scores here, when
it contradicts itself, or when the same clips stand in the ranking already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vocalburst.eval.printing import short_hash, show, show_reference
from vocalburst.eval.s_gen import PROTOCOLS, s_gen
from vocalburst.eval.scores import EvaluatorScores, Reference, Scores, SetScores
from vocalburst.gen.data.errors import InputDataError

TOLERANCE = 1e-6  # of numbers that follow from others in the same file
NAMED = 3  # emotions that a sentence names before it only counts


@dataclass(frozen=True)
class Candidate:
    """A file of scores that wants to be ranked, under a name."""

    name: str
    path: Path
    sha256: str
    scores: Scores

    def by(self, evaluator: str) -> EvaluatorScores:
        return next(e for e in self.scores.evaluators if e.evaluator == evaluator)


@dataclass(frozen=True)
class Refusal:
    """A file that is not ranked, with every reason."""

    path: Path
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.path}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Terms:
    """What is ranked: by which evaluators and which protocol, by the terms of the yardstick `like`."""

    like: Candidate
    evaluators: tuple[str, ...]
    protocol: str


def terms_of(like: Candidate, evaluators: Sequence[str] | None = None, protocol: str | None = None) -> Terms:
    """The terms that `like` sets; evaluators, protocol: fewer or another than its own first.

    Raises InputDataError when it does not have what is asked for.
    """
    known = tuple(e.evaluator for e in like.scores.evaluators)
    chosen = tuple(evaluators or known)
    if unknown := [name for name in chosen if name not in known]:
        raise InputDataError(f"{like.path}: not heard by {unknown[0]}, only by {', '.join(known)}")
    there = [score.protocol for score in like.by(chosen[0]).entry.s_gen]
    wanted = protocol or (there[0] if there else None)
    if wanted is None or wanted not in there:
        raise InputDataError(f"{like.path}: has no S_GEN of {wanted or 'any protocol'} by {chosen[0]}")
    return Terms(like, chosen, wanted)


def reasons_against(candidate: Candidate, terms: Terms, *, whole: bool) -> tuple[str, ...]:
    """Why `candidate` cannot be ranked on these terms; empty when it can.

    whole: the evaluators of the terms are all of the yardstick's, so those of the candidate must be the same.
    """
    scores, like = candidate.scores, terms.like.scores
    reasons = []
    if scores.package_version != like.package_version:
        reasons.append(f"scored by version {scores.package_version}, expected {like.package_version}")
    reasons += reference_reasons(scores.reference, like.reference)
    known = {e.evaluator for e in scores.evaluators}
    if missing := [name for name in terms.evaluators if name not in known]:
        reasons.append(f"not heard by {', '.join(missing)}, only by {', '.join(sorted(known))}")
    elif whole and (more := sorted(known - set(terms.evaluators))):
        reasons.append(f"heard by {', '.join(more)} as well, which the yardstick was not")
    for name in terms.evaluators:
        if is_chosen_by(scores.entry.selected_by, name):
            reasons.append(f"its clips were chosen or guided by {name}, which scores here")
        if name in known:
            reasons += evaluator_reasons(candidate.by(name), terms.like.by(name), terms.protocol)
    return tuple(dict.fromkeys(reasons))  # two evaluators heard the same clips: the same n twice


def is_chosen_by(selected_by: Sequence[str], evaluator: str) -> bool:
    """Whether the evaluator `logmel-08559624fdf2` is among those that chose: by its id, its hash or its family."""
    family, _, weights = evaluator.rpartition("-")
    return any(name in (evaluator, family, weights) for name in selected_by)


def reference_reasons(mine: Reference, other: Reference) -> list[str]:
    if (mine.clips_sha256, mine.split, mine.n) == (other.clips_sha256, other.split, other.n):
        return []
    one, two = (f"{show_reference(r)}, {r.n} clips {short_hash(r.clips_sha256)}" for r in (mine, other))
    return [f"reference {one}, expected {two}"]


def evaluator_reasons(mine: EvaluatorScores, other: EvaluatorScores, protocol: str) -> list[str]:
    """Reasons in the numbers of one evaluator."""
    reasons = []
    if mine.preprocessing != other.preprocessing:
        reasons.append(f"{mine.evaluator} heard {mine.preprocessing!r}, expected {other.preprocessing!r}")
    reasons += count_reasons(mine.entry, other.entry)
    score, theirs = mine.entry.s_gen_of(protocol), other.entry.s_gen_of(protocol)
    if score is None or score.value.value is None:
        reasons.append(f"no S_GEN of {protocol} by {mine.evaluator}")
    elif theirs is not None and score.fid_floor != theirs.fid_floor:
        reasons.append(f"FID counts at least {score.fid_floor:g}, expected {theirs.fid_floor:g}")
    return reasons + mean_contradictions(mine.entry) + s_gen_contradictions(mine.entry)


def count_reasons(mine: SetScores, other: SetScores) -> list[str]:
    """Other numbers of clips: of an emotion that both have, or of one that only one has."""
    usual = {(row.n, row.n_reference) for row in other.emotions.values()}
    wrong = []
    for emotion, row in mine.emotions.items():
        theirs = other.emotions.get(emotion)
        expected = {(theirs.n, theirs.n_reference)} if theirs else usual
        if (row.n, row.n_reference) not in expected:
            n, m = min(expected)
            wrong.append(f"{emotion} {row.n} clips against {row.n_reference}, expected {n} against {m}")
    if not wrong:
        return []
    more = f" and {len(wrong) - NAMED} more emotions" if len(wrong) > NAMED else ""
    return [f"another n: {', '.join(wrong[:NAMED])}{more}"]


def mean_contradictions(entry: SetScores) -> list[str]:
    """Means that are not those of the emotions in the same file."""
    found = []
    for name, mean in entry.mean.items():
        values = [row.measures[name].value for row in entry.emotions.values() if name in row.measures]
        if mean.value is None or None in values or len(values) < len(entry.emotions):
            continue
        if differs(mean.value, follows := math.fsum(values) / len(values)):
            found.append(f"its mean {name} is {show(mean.value)}, but that of its emotions {show(follows)}")
    return found


def s_gen_contradictions(entry: SetScores) -> list[str]:
    """S_GEN that do not follow from the terms of their emotions in the same file."""
    found = []
    for score in entry.s_gen:
        if score.protocol not in PROTOCOLS or score.value.value is None:
            continue
        fid = {emotion: terms.fid for emotion, terms in score.emotions.items()}
        heep = {emotion: terms.heep for emotion, terms in score.emotions.items()}
        try:
            follows = s_gen(fid, heep, PROTOCOLS[score.protocol], fid_floor=score.fid_floor)
        except InputDataError as error:
            found.append(f"its S_GEN {score.protocol} cannot be: {error}")
            continue
        if differs(score.value.value, follows.value):
            given, recomputed = show(score.value.value), show(follows.value)
            found.append(f"its S_GEN {score.protocol} is {given}, but its FID and HEEP give {recomputed}")
    return found


def differs(one: float, other: float) -> bool:
    return not math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def same_clips(candidates: Sequence[Candidate]) -> list[Refusal]:
    """Every candidate whose clips an earlier one has, or whose name."""
    refusals, seen, names = [], {}, {}
    for candidate in candidates:
        clips = candidate.scores.entry.clips_sha256
        reasons = []
        if clips in seen:
            reasons.append(f"the same clips as {seen[clips].path}")
        if candidate.name in names:
            reasons.append(
                f"called {candidate.name!r} like {names[candidate.name].path}; write NAME={candidate.path}"
            )
        if reasons:
            refusals.append(Refusal(candidate.path, tuple(reasons)))
        else:
            seen[clips] = names[candidate.name] = candidate
    return refusals
