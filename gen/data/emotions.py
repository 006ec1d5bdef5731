"""One emotion vocabulary over EmoGator, HUME-VOCALBURST and MODULATE-SONATA.

Conventions
-----------
Names travel in files, indices exist only in tensors. A name is lower-case with underscores
(`surprise_negative`). `VOCABULARY` is the union of the three corpora, so no corpus loses a label. Two kinds
of other names are accepted, and each use is reported to the caller so that it can be shown and written down:

* a *spelling* is another way to write the same label (`Seduction / Ecstasy` is SONATA's `ecstasy`);
* a *stand-in* is the closest label of a model that was never trained on the one asked for
  (`awkwardness` is answered with `embarrassment` by a model that only knows EmoGator).

Mappings between corpora: EmoGator paper (arXiv 2301.00508), ExVo 2022 (2205.01780), data paper (2403.14048).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vocalburst.gen.data.errors import InputDataError

# The order is EmoGator's file numbering 01..30.
EMOGATOR_30 = (
    "adoration", "amusement", "anger", "awe", "confusion", "contempt", "contentment", "desire",
    "disappointment", "disgust", "distress", "ecstasy", "elation", "embarrassment", "fear", "guilt",
    "interest", "neutral", "pain", "pride", "realization", "relief", "romantic_love", "sadness",
    "serenity", "shame", "surprise_negative", "surprise_positive", "sympathy", "triumph",
)  # fmt: skip

# The order is the official submission order of ExVo 2022.
EXVO_10 = (
    "awe", "excitement", "amusement", "awkwardness", "fear",
    "horror", "distress", "triumph", "sadness", "surprise",
)  # fmt: skip

SONATA_25 = (
    "adoration", "amusement", "anger", "awe", "confusion", "contempt", "contentment", "desire",
    "disappointment", "disgust", "distress", "elation", "embarrassment", "fear", "hype", "interest",
    "pain", "realization", "relief", "sadness", "ecstasy", "surprise_negative", "surprise_positive",
    "sympathy", "triumph",
)  # fmt: skip

VOCABULARY = (*EMOGATOR_30, "excitement", "awkwardness", "horror", "surprise", "hype")

# Which names a corpus labels; every other name is unknown for its clips, which is not the same as absent.
LABEL_SETS = {"emogator-30": EMOGATOR_30, "exvo-10": EXVO_10, "sonata-25": SONATA_25}

SPELLINGS = {
    "seductionecstasy": "ecstasy",
    "seduction_ecstasy": "ecstasy",
    "seduction": "ecstasy",
    "surprisenegative": "surprise_negative",
    "surprisepositive": "surprise_positive",
    "negative_surprise": "surprise_negative",
    "positive_surprise": "surprise_positive",
    "romanticlove": "romantic_love",
    "realisation": "realization",
}

# Each maps to a weighted mix. `horror` and `hype` have no counterpart in EmoGator and stay an error there.
STAND_INS: dict[str, dict[str, float]] = {
    "awkwardness": {"embarrassment": 1.0},
    "embarrassment": {"awkwardness": 1.0},
    "excitement": {"elation": 1.0},
    "elation": {"excitement": 1.0},
    "surprise": {"surprise_positive": 0.5, "surprise_negative": 0.5},
    "surprise_positive": {"surprise": 1.0},
    "surprise_negative": {"surprise": 1.0},
}

# What to offer instead of a label that has no stand-in: nearest in meaning, not in spelling.
RELATED = {"horror": ("fear", "distress", "disgust"), "hype": ("elation", "triumph", "ecstasy")}


@dataclass(frozen=True)
class EmotionRequest:
    """What was asked for and what it means to a model.

    asked: names as normalised from the request, with weights in [0, 1].
    vector: names the model knows, with weights in [0, 1].
    aliases: one `asked -> meant` sentence part for every spelling or stand-in that was used.
    """

    asked: dict[str, float]
    vector: dict[str, float]
    aliases: tuple[str, ...]

    @property
    def label(self) -> str:
        """A name that is safe in file names: `awe`, or `awe+fear` for a mix."""
        return "+".join(self.asked)


def normalise_name(name: str) -> str:
    """`Surprise (Positive)` -> `surprise_positive`; the canonical spelling, also of an unknown name."""
    plain = re.sub(r"[^a-z]+", "_", name.strip().lower()).strip("_")
    return SPELLINGS.get(plain, plain)


def nearest_names(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The `n` known names closest in meaning or else in spelling, best first; never empty when `known` is not."""
    known = list(known)
    related = [other for other in RELATED.get(normalise_name(name), ()) if other in known][:n]
    if related:
        return related
    close = difflib.get_close_matches(normalise_name(name), known, n=n, cutoff=0.4)
    return close or difflib.get_close_matches(normalise_name(name), known, n=n, cutoff=0.0)


def resolve_name(name: str, known: Iterable[str] = VOCABULARY) -> tuple[dict[str, float], str | None]:
    """Mix of `known` names that `name` stands for, and the alias sentence if one was used.

    Raises InputDataError naming the nearest known names when there is none.
    """
    known = tuple(known)
    plain = normalise_name(name)
    written = re.sub(r"[^a-z]+", "_", name.strip().lower()).strip("_")
    if plain in known:
        return {plain: 1.0}, (f"{written} -> {plain}" if written != plain else None)
    mix = STAND_INS.get(plain, {})
    if mix and all(part in known for part in mix):
        meant = " + ".join(part if w == 1 else f"{w:g} {part}" for part, w in mix.items())
        return dict(mix), f"{written} -> {meant}"
    if plain in VOCABULARY:
        reason = f"the emotion {plain!r} is not one this model was trained on"
    else:
        reason = f"unknown emotion {name!r}"
    raise InputDataError(f"{reason}; nearest: {', '.join(nearest_names(plain, known))}")


def parse_request(text: str, known: Iterable[str] = VOCABULARY, intensity: float = 1.0) -> EmotionRequest:
    """Parse `awe` or `awe:0.7,fear:0.3` into a vector over `known`, scaled by `intensity` in (0, 1]."""
    if not 0 < intensity <= 1:
        raise InputDataError(f"intensity must be in (0, 1], got {intensity:g}")
    known = tuple(known)
    asked: dict[str, float] = {}
    vector: dict[str, float] = {}
    aliases: list[str] = []
    for part in text.split(","):
        name, colon, weight_text = part.partition(":")
        if not name.strip():
            raise InputDataError(f"empty emotion name in {text!r}; write e.g. awe or awe:0.7,fear:0.3")
        try:
            weight = float(weight_text) if colon else 1.0
        except ValueError:
            raise InputDataError(f"the weight of {name.strip()!r} in {text!r} is not a number") from None
        if not (math.isfinite(weight) and 0 < weight <= 1):
            raise InputDataError(f"the weight of {name.strip()!r} must be in (0, 1], got {weight:g}")
        plain = normalise_name(name)
        if plain in asked:
            raise InputDataError(f"{plain!r} is named twice in {text!r}")
        asked[plain] = weight
        mix, alias = resolve_name(name, known)
        if alias:
            aliases.append(alias)
        for meant, share in mix.items():
            vector[meant] = min(1.0, vector.get(meant, 0.0) + share * weight * intensity)
    return EmotionRequest(asked, vector, tuple(aliases))


def labelled_names(labelled: str | Iterable[str]) -> tuple[str, ...]:
    """The names a record labels: a key of `LABEL_SETS`, or an explicit list of vocabulary names."""
    if isinstance(labelled, str):
        if labelled not in LABEL_SETS:
            raise InputDataError(f"unknown label set {labelled!r}; known: {', '.join(LABEL_SETS)}")
        return LABEL_SETS[labelled]
    return tuple(labelled)


def to_vector(
    emotions: Mapping[str, float], labelled: str | Iterable[str], names: tuple[str, ...] = VOCABULARY
) -> tuple[list[float], list[bool]]:
    """Values [E] and known-mask [E] over `names`; an unlabelled emotion is masked, not zero."""
    known = set(labelled_names(labelled))
    return [float(emotions.get(name, 0.0)) for name in names], [name in known for name in names]
