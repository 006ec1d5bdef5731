"""The tasks: what a system predicts, by which metrics it is judged, and what its label file looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vocalburst.eval.tasks import published
from vocalburst.eval.tasks.columns import (
    Column,
    bare_id,
    country_class,
    emotion_class,
    exvo_emotion,
    file_id,
    titled_class,
    values,
)
from vocalburst.gen.data.emotions import EMOGATOR_30, EXVO_10, SONATA_25
from vocalburst.gen.data.manifest import SPLITS

EMOTIONS = tuple(name.title() for name in EXVO_10)  # the order of the submissions
CULTURES = ("China", "United States", "South Africa", "Venezuela")
# The official file lists the four columns of Surprise last.
CULTURE_COLUMNS = tuple(
    f"{country}_{emotion}"
    for group in (EMOTIONS[:-1], EMOTIONS[-1:])
    for country in CULTURES
    for emotion in group
)
BURST_TYPES = ("Cry", "Gasp", "Groan", "Grunt", "Laugh", "Other", "Pant", "Scream")
SHARES = (
    "Anger", "Boredom", "Calmness", "Concentration", "Determination",
    "Excitement", "Interest", "Sadness", "Tiredness",
)  # fmt: skip
SEVEN = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
AFFECT_SCALE = (1.0, 9.0)  # of A-VB Two, 5 is neutral; stored as 0 to 1


@dataclass(frozen=True)
class Part:
    """A metric (a key of `scoring.METRICS`) and the columns it is computed of."""

    metric: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Partition:
    """Sizes of a published split: split -> (clips, speakers)."""

    sizes: dict[str, tuple[int, int]]
    place: str


@dataclass(frozen=True)
class Task:
    """A task of a source paper.

    layout: key of `label_files.READERS`. splits: published ones; () where the source has none. headline: name of the
    number that ranks. identify: an id as written -> the one it is compared by. partial: a clip may lack labels of some
    columns. rescaled: the range, other than 0 to 1, that values may be written in. support: labelled clips of each
    speaker that are given and not scored. subset: clips of other classes are left out, else they are an error.
    may_lack: classes that labels need not have. partitions: named ways to split that a paper gives the sizes of.
    """

    name: str
    title: str
    source: str
    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    headline: str
    layout: str
    splits: tuple[str, ...] = SPLITS
    published: tuple[published.PublishedScore, ...] = ()
    identify: Callable[[str], str] = bare_id
    partial: bool = False
    rescaled: tuple[float, float] | None = None
    support: int = 0
    subset: bool = False
    may_lack: tuple[str, ...] = ()
    partitions: dict[str, Partition] | None = None

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


EXVO = "ExVo 2022, arXiv 2205.01780"
AVB = "A-VB 2022, arXiv 2207.03572"
DATA = "arXiv 2403.14048"
ACTED = (Part("accuracy", ("Emotion",)), Part("macro F1", ("Emotion",)))
NAMED = (Part("UAR", ("Emotion",)),)

# Both tables print the sizes of a split of SONATA: 753 or 756 segments of 23 speakers, 22321 s each. Table 4 is headed
# MODULATE-STREAM, whose 1.9 million clips it cannot be.
SONATA_PARTITIONS = {
    "table-3": Partition(
        {"train": (516, 16), "dev": (125, 4), "test": (115, 3)}, "arXiv 2403.14048 (Table 3)"
    ),
    "table-4": Partition(
        {"train": (578, 16), "dev": (75, 3), "test": (100, 4)},
        "arXiv 2403.14048 (Table 4, headed MODULATE-STREAM)",
    ),
}


def acted(name: str, title: str, may_lack: tuple[str, ...] = ()) -> Task:
    """Naming one of the seven emotions in the files of a corpus of acted speech."""
    columns = (titled_class("Emotion", SEVEN, "Label", "Prediction"),)
    return Task(
        name, title, "LoopQ PRIZE 2022, Case A", columns, ACTED, "accuracy", "acted", (),
        published.SEVEN_EMOTIONS, file_id, may_lack=may_lack,
    )  # fmt: skip


def register_task(tasks: dict[str, Task], task: Task) -> None:
    """Add a task. Raises ValueError for a name that is taken, or a part of a column that the task lacks."""
    names = [column.name for column in task.columns]
    if task.name in tasks or len(set(names)) < len(names):
        raise ValueError(f"expected a new name and different columns, got {task.name!r} with {names}")
    for part in task.parts:
        if not set(part.columns) <= set(names):
            raise ValueError(f"{task.name}: {part.metric} is of {part.columns}, expected some of {names}")
    tasks[task.name] = task


TASKS: dict[str, Task] = {}
for _task in (
    Task(
        "exvo-multitask", "ExVo MultiTask: ten intensities, age and country", EXVO,
        (*values(*EMOTIONS), Column("Age", bounds=(0, 120)), country_class()),
        (Part("CCC", EMOTIONS), Part("UAR", ("Country",)), Part("MAE", ("Age",))),
        "S_MTL", "exvo", published=published.EXVO_MULTITASK,
    ),
    Task(
        "exvo-fewshot", "ExVo FewShot: ten intensities, two labelled clips a speaker", EXVO,
        values(*EMOTIONS), (Part("CCC", EMOTIONS),), "mean CCC", "exvo",
        published=published.EXVO_FEWSHOT, support=2,
    ),
    Task(
        "avb-high", "A-VB High: ten intensities", AVB,
        values(*EMOTIONS), (Part("CCC", EMOTIONS),), "mean CCC", "avb", published=published.AVB_HIGH,
    ),
    Task(
        "avb-two", "A-VB Two: valence and arousal", AVB,
        values("Valence", "Arousal"), (Part("CCC", ("Valence", "Arousal")),), "mean CCC", "avb",
        published=published.AVB_TWO, rescaled=AFFECT_SCALE,
    ),
    Task(
        "avb-culture", "A-VB Culture: ten intensities by the raters of each of four countries", AVB,
        values(*CULTURE_COLUMNS), (Part("CCC", CULTURE_COLUMNS),), "mean CCC", "avb",
        published=published.AVB_CULTURE, partial=True,
    ),
    Task(
        "avb-type", "A-VB Type: eight kinds of burst", AVB,
        (titled_class("Voc_Type", BURST_TYPES),), (Part("UAR", ("Voc_Type",)),), "UAR", "avb",
        published=published.AVB_TYPE,
    ),
    Task(
        "sonata-25", "MODULATE-SONATA: naming one of 25 emotions", DATA,
        (emotion_class("Emotion", SONATA_25),), NAMED, "UAR", "clips",
        tuple(f"{name}:{split}" for name in SONATA_PARTITIONS for split in SPLITS),
        published=published.SONATA, partitions=SONATA_PARTITIONS,
    ),
    Task(
        "prosody-share", "HUME-PROSODY emotion share: nine shares", "ComParE 2023 and arXiv 2403.14048",
        values(*SHARES, free=True), (Part("Pearson", SHARES),), "mean Pearson", "compare",
        published=published.PROSODY, identify=file_id,
    ),
    Task(
        "emogator-30", "EmoGator: naming one of 30 emotions", "EmoGator, arXiv 2301.00508; split emogator-v1",
        (emotion_class("Emotion", EMOGATOR_30),), NAMED, "UAR", "clips",
    ),
    Task(
        "exvo-10", "Naming one of the ten ExVo emotions", "label maps of docs/tasks.md; split of the manifest",
        (emotion_class("Emotion", EXVO_10, exvo_emotion),), NAMED, "UAR", "clips",
        subset=True, may_lack=("horror",),
    ),
    acted("crema-d", "CREMA-D: naming the emotion of acted speech (no Surprise)", ("Surprise",)),
    acted("ravdess", "RAVDESS: naming the emotion of acted speech (Calm left out)"),
    acted("savee", "SAVEE: naming the emotion of acted speech"),
    acted("tess", "TESS: naming the emotion of acted speech"),
    acted("loopq", "CREMA-D, RAVDESS, SAVEE and TESS together: naming the emotion of acted speech"),
):  # fmt: skip
    register_task(TASKS, _task)
