"""CREMA-D, RAVDESS, SAVEE and TESS: speaker and emotion stand in the public file names.

| corpus | name | emotions |
|---|---|---|
| CREMA-D | `1001_DFA_ANG_XX` | six, no surprise |
| RAVDESS | `03-01-05-01-02-01-12` | seven and calm, 24 actors; channel 01 is speech, 02 song |
| SAVEE | `DC/a01` or `DC_a01` | seven, four men |
| TESS | `OAF_back_angry` (one file says `OA_`) | seven, two women; `ps` is pleasant surprise |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from vocalburst.eval.tasks.columns import file_id
from vocalburst.gen.data.errors import InputDataError


@dataclass(frozen=True)
class ActedFile:
    """What a file name says. emotion: one of the seven, or None with the reason why the file is left out."""

    id: str
    corpus: str
    speaker: str
    emotion: str | None
    left_out: str | None = None


CREMA_D = {"ANG": "Angry", "DIS": "Disgust", "FEA": "Fear", "HAP": "Happy", "NEU": "Neutral", "SAD": "Sad"}
RAVDESS = {
    "01": "Neutral", "03": "Happy", "04": "Sad", "05": "Angry", "06": "Fear", "07": "Disgust", "08": "Surprise",
}  # fmt: skip
SAVEE = {
    "a": "Angry", "d": "Disgust", "f": "Fear", "h": "Happy", "n": "Neutral", "sa": "Sad", "su": "Surprise",
}  # fmt: skip
TESS = {
    "angry": "Angry", "disgust": "Disgust", "fear": "Fear", "happy": "Happy", "neutral": "Neutral",
    "sad": "Sad", "ps": "Surprise",
}  # fmt: skip

PATTERNS = {
    "crema-d": re.compile(
        r"(?P<speaker>1[0-9]{3})_[A-Z]{3}_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX|X)"
    ),
    "ravdess": re.compile(
        r"(?:0[123])-(?P<channel>0[12])-(?P<emotion>0[1-8])-0[12]-0[12]-0[12]-(?P<speaker>[0-9]{2})"
    ),
    "savee": re.compile(r"(?P<speaker>DC|JE|JK|KL)_(?P<emotion>sa|su|a|d|f|h|n)[0-9]{2}"),
    "tess": re.compile(
        r"(?P<speaker>OAF|OA|YAF)_[A-Za-z]+_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)"
    ),
}


def from_crema_d(parts: re.Match[str]) -> tuple[str, str | None, str | None]:
    return parts["speaker"], CREMA_D[parts["emotion"]], None


def from_ravdess(parts: re.Match[str]) -> tuple[str, str | None, str | None]:
    if parts["channel"] == "02":
        return parts["speaker"], None, "it is song, expected speech"
    if parts["emotion"] == "02":
        return parts["speaker"], None, "calm is none of the seven emotions"
    return parts["speaker"], RAVDESS[parts["emotion"]], None


def from_savee(parts: re.Match[str]) -> tuple[str, str | None, str | None]:
    return parts["speaker"], SAVEE[parts["emotion"]], None


def from_tess(parts: re.Match[str]) -> tuple[str, str | None, str | None]:
    return "YAF" if parts["speaker"] == "YAF" else "OAF", TESS[parts["emotion"]], None


READERS: dict[str, Callable[[re.Match[str]], tuple[str, str | None, str | None]]] = {
    "crema-d": from_crema_d,
    "ravdess": from_ravdess,
    "savee": from_savee,
    "tess": from_tess,
}


def read_name(written: str, corpora: tuple[str, ...] = tuple(READERS)) -> ActedFile:
    """Corpus, speaker and emotion of a file's name, folders and suffix aside.

    Raises InputDataError for a name of none of the `corpora`.
    """
    name = file_id(written)
    for corpus in corpora:
        parts = PATTERNS[corpus].fullmatch(name)
        if parts:
            speaker, emotion, reason = READERS[corpus](parts)
            return ActedFile(name, corpus, f"{corpus}-{speaker}", emotion, reason)
    raise InputDataError(f"{written}: is no file name of {' or '.join(corpora)}")
