"""`scores.json`: what `vocalburst evaluate` found out about an entry and about the controls beside it.

The file carries everything that decides whether two entries may be ranked beside each other: evaluators,
reference clips, n per emotion, protocol, seed. The report and the leaderboard read nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import first_problem

FORMAT = "vocalburst-scores-1"

# Sets of clips that stand beside the entry, in the order they are printed, and what each tells the reader.
CONTROLS = {
    "floor": "real train clips, against the reference: what a perfect generator of train speakers would score",
    "copy-synthesis": "reference-split clips through the mel and the vocoder: the vocoder's share of the distance",
    "emotion-blind": "real train clips drawn without looking at their emotion: real sound, no control",
    "shuffled": "the entry's clips with their emotions dealt out at random",
    "silence": "digital silence with a dither of one 16-bit step, which a network can embed",
    "noise": "white noise as long and as loud as the entry's clips",
}


class Record(BaseModel):
    """NaN and infinity are refused: what cannot be computed is None, and a note says why."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Measure(Record):
    """A number and its 95 % interval; None where it cannot be computed, which `SetScores.notes` explains."""

    value: float | None
    low: float | None = None
    high: float | None = None


# The measures of an emotion, in the order they are printed: (heading, whether more is better; None: near 0 is).
MEASURES: dict[str, tuple[str, bool | None]] = {
    "fid": ("FID", False),  # at this n, biased upwards
    "fid_infinity": ("FID∞", False),
    "kad": ("KAD", False),
    "kid": ("KID", False),
    "precision": ("precision", True),
    "recall": ("recall", True),
    "density": ("density", True),
    "coverage": ("coverage", True),
    "vendi": ("Vendi ratio", True),
    "heep": ("HEEP", True),  # by row
    "recognised": ("recognised", True),  # share whose asked emotion is the most probable one
}

# Measures that are in the file and in no table: what a reader would ask for next.
COMPANIONS: dict[str, tuple[str, bool | None]] = {
    "fid_infinity_both": ("FID∞ on both sides", False),  # the reference extrapolated too; scatters more
}


class EmotionScores(Record):
    """One emotion of one set: n clips against n_reference reference clips; keys of `measures`: MEASURES, COMPANIONS."""

    n: int = Field(ge=2)
    n_reference: int = Field(ge=2)
    measures: dict[str, Measure]


class CopyPair(Record):
    """A clip that is suspiciously near to a train clip."""

    clip: str
    train_clip: str
    distance: float
    ratio: float
    cosine: float


class Memorisation(Record):
    """Over all clips of a set at once, see `memorisation`; beside it the same for held-out real clips."""

    fld: float
    fld_gap: float
    fld_gap_real: Measure  # the band of fresh real clips
    c_t: float
    c_t_real: Measure
    copied: int  # clips nearer to a train clip than any held-out real clip
    chance: float  # of so many when none is copied
    suspicious: bool
    pairs: tuple[CopyPair, ...]  # the nearest ones first, at most 20


class SGenTerms(Record):
    """What S_GEN takes from one emotion of the protocol: HEEP is over the protocol's list of emotions."""

    fid: float
    fid_infinity: float | None
    heep: float


class SGen(Record):
    """S_GEN of a protocol by FID at this n, as published, and by FID-infinity; see `s_gen`.

    emotions: the terms of every emotion of the protocol that has clips, from which `value` follows.
    """

    protocol: str
    emotions: dict[str, SGenTerms]
    value: Measure
    available: Measure  # mean over the emotions that were submitted, never to be ranked by
    infinity: Measure
    missing: tuple[str, ...]
    fid_floor: float


class SetScores(Record):
    """One set of clips heard by one evaluator. `mean` is over emotions; its intervals resample `resampled`."""

    name: str  # "entry" or a key of CONTROLS
    n: int
    resampled: str  # "clips", "speakers" or "labels"
    emotions: dict[str, EmotionScores]
    mean: dict[str, Measure]
    heep_column: Measure
    heep_overall: Measure
    s_gen: tuple[SGen, ...] = ()
    memorisation: Memorisation | None = None
    notes: tuple[str, ...] = ()  # what is unreliable, in sentences

    def s_gen_of(self, protocol: str) -> SGen | None:
        return next((score for score in self.s_gen if score.protocol == protocol), None)


class EvaluatorScores(Record):
    """All sets heard by one evaluator."""

    evaluator: str  # id, with the hash of the weights
    preprocessing: str
    dim: int
    space: str  # what distances in this space may be compared with, in a sentence
    real_heep: Measure | None  # row-HEEP of the real reference clips: the ceiling
    real_recognised: Measure | None
    sets: tuple[SetScores, ...]

    @model_validator(mode="after")
    def _one_entry(self) -> EvaluatorScores:
        names = [s.name for s in self.sets]
        if names.count("entry") != 1 or len(set(names)) < len(names):
            raise ValueError(f"expected one set named 'entry' and no name twice, got {', '.join(names)}")
        return self

    @property
    def entry(self) -> SetScores:
        return next(s for s in self.sets if s.name == "entry")


class RatedByPeople(Record):
    """HEEP of the entry from people's ratings instead of a recogniser's, over the n clips that were rated.

    emotions: HEEP by row of each. heep, recognised: means over emotions, as in `SetScores.mean`.
    """

    sha256: str  # of the CSV
    n: int
    ratings: int  # lines of the CSV
    emotions: dict[str, Measure]
    heep: Measure
    recognised: Measure
    heep_column: Measure
    heep_overall: Measure


class Entry(Record):
    """The clips that were judged."""

    name: str
    clips_sha256: str  # ClipSet.content_sha256: over all contents and their emotions, whatever the order
    n: int
    selected_by: tuple[str, ...] = ()  # evaluators that chose or guided the clips
    checkpoint: str | None = None
    settings: dict[str, str] = {}  # steps, guidance ... as far as its manifest tells


class Reference(Record):
    """The real clips it was judged by."""

    name: str
    split: str
    clips_sha256: str  # of the clips used
    n: int
    speakers: int


class Scores(Record):
    """The whole file."""

    format: str = FORMAT
    package_version: str
    command: str
    created_utc: str
    seed: int
    entry: Entry
    reference: Reference
    evaluators: tuple[EvaluatorScores, ...]
    ratings: RatedByPeople | None = None

    def save(self, path: str | Path) -> None:
        write_file(path, (self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> Scores:
        """Read a file that `save` wrote. Raises InputDataError naming the file and the first problem."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputDataError(f"{path}: cannot be read as scores ({error})") from None
        # Before the fields: those of another format are not wrong, only different.
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise InputDataError(f"{path}: expected the format {FORMAT}, got {found}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise InputDataError(
                f"{path}: not the scores of `vocalburst evaluate` ({first_problem(error)})"
            ) from None
