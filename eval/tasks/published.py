"""Published scores of the tasks, as data with their sources: context for a reader, beside which nothing is ranked.

Numbers are as printed. Those of test splits were computed by the organisers on labels that are not public.
"""

from __future__ import annotations

from dataclasses import dataclass

from vocalburst.eval.published import DATA_PAPER, Source

LOOPQ = "Biagini 2022, LoopQ PRIZE 2022 Competition, Case A: Emotion Detection from speech"


@dataclass(frozen=True)
class PublishedScore:
    """A number of a paper: system, split, measure, value, and where it is printed."""

    system: str
    split: str
    measure: str
    value: float
    place: str


def table(number: str) -> str:
    return Source(DATA_PAPER, "2403.14048", f"Table {number}").short


def rows(place: str, measure: str, split: str, scores: dict[str, float]) -> tuple[PublishedScore, ...]:
    return tuple(PublishedScore(system, split, measure, value, place) for system, value in scores.items())


EXVO_MULTITASK = (
    *rows(table("6a"), "mean CCC", "dev", {"ComParE": 0.416, "eGeMAPS": 0.353}),
    *rows(table("6a"), "UAR of country", "dev", {"ComParE": 0.506, "eGeMAPS": 0.423}),
    *rows(table("6a"), "MAE of age", "dev", {"ComParE": 4.22, "eGeMAPS": 4.01}),
    *rows(table("6a"), "S_MTL", "dev", {"ComParE": 0.349, "eGeMAPS": 0.324}),
    *rows(table("6a"), "S_MTL", "test", {"ComParE": 0.335, "eGeMAPS": 0.314}),
    *rows(
        table("8"),
        "S_MTL",
        "test",
        {
            "TeamAtmaja": 0.378,
            "IdiapTeam": 0.379,
            "EIHW-MM": 0.394,
            "0xAC": 0.407,
            "CMU_MLSP": 0.412,
            "NLPros": 0.435,
        },
    ),
)
EXVO_FEWSHOT = (
    *rows(table("6c"), "mean CCC", "test", {"Organisers (hidden size 256)": 0.444}),
    *rows(table("8"), "mean CCC", "test", {"EIHW-MM": 0.650, "SaruLab-UTokyo": 0.739}),
)


def avb(measure: str, dev: tuple[float, float], test: tuple[float, float], others: dict[str, float]):
    """Rows of a task of A-VB: the organisers' two systems (Table 7) and the participants (Table 9)."""
    names = ("ComParE", "END2YOU")
    return (
        *rows(table("7"), measure, "dev", dict(zip(names, dev, strict=True))),
        *rows(table("7"), measure, "test", dict(zip(names, test, strict=True))),
        *rows(table("9"), measure, "test", others),
    )


AVB_HIGH = avb(
    "mean CCC",
    (0.515, 0.564),
    (0.521, 0.569),
    {
        "TeamEP-ITS": 0.655,
        "SclabCNU": 0.668,
        "HCAI": 0.685,
        "HCCL": 0.724,
        "Anonymous": 0.730,
        "EIHW": 0.736,
    },
)
AVB_TWO = avb(
    "mean CCC",
    (0.496, 0.499),
    (0.499, 0.508),
    {"SclabCNU": 0.620, "TeamEP-ITS": 0.629, "HCCL": 0.685, "EIHW": 0.707},
)
AVB_CULTURE = avb(
    "mean CCC",
    (0.387, 0.436),
    (0.380, 0.440),
    {"TeamEP-ITS": 0.520, "HCAI": 0.526, "SclabCNU": 0.550, "HCCL": 0.602, "EIHW": 0.620},
)
AVB_TYPE = avb(
    "UAR",
    (0.391, 0.417),
    (0.384, 0.417),
    {"TeamEP-ITS": 0.490, "SclabCNU": 0.497, "Team-AVB": 0.519, "EIHW": 0.562, "HCAI": 0.586},
)
SONATA = (
    *rows(table("10"), "UAR", "dev", {"wav2vec2": 0.60, "HuBERT": 0.64, "early fusion": 0.5}),
    *rows(table("10"), "UAR", "test", {"wav2vec2": 0.84, "HuBERT": 0.73, "early fusion": 0.5}),
)
PROSODY = (
    *rows(table("5"), "mean Pearson", "dev", {"wav2vec2": 0.500, "ComParE": 0.359, "late fusion": 0.470}),
    *rows(table("5"), "mean Pearson", "test", {"wav2vec2": 0.514, "ComParE": 0.365, "late fusion": 0.476}),
)
LOOPQ_PLACE = f"{LOOPQ}, Table 4; own validation set of the four corpora together, not published"
LOOPQ_ACCURACY = {
    "CNNLSTM": 0.7220,
    "FCMFCC": 0.7605,
    "CNNATT": 0.7313,
    "HUBERTFT": 0.8297,
    "MMFUSION": 0.8244,
}
LOOPQ_F1 = {"CNNLSTM": 0.7279, "FCMFCC": 0.7683, "CNNATT": 0.7291, "HUBERTFT": 0.8353, "MMFUSION": 0.8280}
SEVEN_EMOTIONS = (
    *rows(LOOPQ_PLACE, "accuracy", "own", LOOPQ_ACCURACY),
    *rows(LOOPQ_PLACE, "macro F1", "own", LOOPQ_F1),
)
