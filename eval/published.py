"""Published results of the ExVo 2022 generation track, as data with their sources.

They are context for a reader and stand in a section of their own. None may be ranked beside a score of this
package: they were measured in the space of networks whose weights are not public, on another corpus, with
HEEP from people, and partly with other numbers of clips.

Numbers are as printed. What a source does not say but its released code does is marked as such in a note.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where a number is printed."""

    title: str
    arxiv: str
    place: str  # in the paper

    @property
    def short(self) -> str:
        return f"arXiv {self.arxiv} ({self.place})"

    @property
    def text(self) -> str:
        return f"{self.title}, {self.short}"


@dataclass(frozen=True)
class PublishedSystem:
    """One row of the track. `n` and `space` are sentences: what is not known cannot be a number."""

    name: str
    s_gen: float
    source: Source
    emotions: str
    n: str
    space: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedEmotion:
    """A column of Table 6b: FID and HEEP are None for Triumph, for which nothing was generated."""

    fid: float | None
    heep: float | None
    s_gen: float


def as_printed(value: float | None) -> str:
    """A number with the decimals of its paper: two, or three where they are not zero; a dash for None."""
    if value is None:
        return "–"
    return f"{value:.2f}" if round(value, 2) == value else f"{value:.3f}"


EXVO_PAPER = Source(
    "Baird et al. 2022, The ICML 2022 Expressive Vocalizations Workshop and Competition",
    "2205.01780",
    "abstract",
)
DATA_PAPER = "Baird et al. 2024, The NeurIPS 2023 Machine Learning for Audio Workshop"
TABLE_6B_SOURCE = Source(DATA_PAPER, "2403.14048", "Table 6b")
TABLE_8_SOURCE = Source(DATA_PAPER, "2403.14048", "Table 8")

SYSTEMS = (
    PublishedSystem(
        name="Organisers",
        s_gen=0.174,
        source=EXVO_PAPER,
        emotions="9 of 10, no Triumph (counts 0)",
        n="not stated; the track asked for 100 of each emotion",
        space="Emo18, presumably the wav network: the FIDs are older than the webm one",
        notes=(
            "Follows from the FID and HEEP of Table 6b: 0.1735 over ten emotions with Triumph as 0.",
            "Table 8 of arXiv 2403.14048 prints 0.090 for the same system, which its Table 6b does not give.",
        ),
    ),
    PublishedSystem(
        name="Resemble",
        s_gen=0.119,
        source=TABLE_8_SOURCE,
        emotions="not stated",
        n="not stated; the track asked for 100 of each emotion",
        space="Emo18, wav or webm not stated",
        notes=("The system is described in Hsu 2022, arXiv 2206.12662.",),
    ),
    PublishedSystem(
        name="StyleMelMila",
        s_gen=0.408,
        source=TABLE_8_SOURCE,
        emotions="9 of 10 in the released code, no Triumph",
        n="1000 of each emotion in the released code",
        space="Emo18, webm network and statistics in the released code",
        notes=(
            "The system is described in Jiralerspong & Gidel 2022, arXiv 2206.12563: FAD 1.76 for awe, its worst "
            "emotion; 0.776 between real train and validation clips of awe.",
            "Its 1.76 beside the organisers' 4.81 most likely compares two spaces.",
            "The released code trains on the validation clips that it is scored against.",
        ),
    ),
)

# Table 6b of arXiv 2403.14048: the organisers' system, HEEP from people.
TABLE_6B = {
    "amusement": PublishedEmotion(4.92, 0.49, 0.345),
    "awe": PublishedEmotion(4.81, 0.46, 0.33),
    "awkwardness": PublishedEmotion(8.27, 0.04, 0.08),
    "distress": PublishedEmotion(6.11, 0.32, 0.24),
    "excitement": PublishedEmotion(6.00, 0.08, 0.13),
    "fear": PublishedEmotion(5.71, 0.04, 0.11),
    "horror": PublishedEmotion(5.64, 0.27, 0.22),
    "sadness": PublishedEmotion(5.00, -0.03, 0.08),
    "surprise": PublishedEmotion(6.08, 0.22, 0.19),
    "triumph": PublishedEmotion(None, None, 0.00),
}

# Table 8 of arXiv 2403.14048, the rows of the generation task.
TABLE_8 = {"Organisers": 0.090, "Resemble": 0.119, "StyleMelMila": 0.408}

# S_GEN of real clips that ignore the emotion: the nine official Gaussians pooled with equal weights, against each
# of them, with HEEP 0 and Triumph 0. Computed from the official statistics files; a test does it again.
EMOTION_BLIND = {"wav": 0.149, "webm": 0.319}

CAVEATS = (
    "No row of this section was heard by the evaluators of this page, so none is ranked with it: Fréchet distances "
    "of different networks have no common scale.",
    "FID falls with the number of clips, so 1/FID and S_GEN rise with it: 1000 clips of each emotion and 100 are "
    "two different scales even in one space.",
    "HEEP is here the judgement of people on 5 clips of each emotion: small differences between emotions are noise.",
    "Real clips drawn without looking at their emotion (HEEP 0) would score "
    f"{EMOTION_BLIND['wav']:.3f} in the wav space and {EMOTION_BLIND['webm']:.3f} in the webm space, as the official "
    "statistics tell: being realistic outweighs being recognised, and the two spaces differ by more than most systems.",
)
