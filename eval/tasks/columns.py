"""One column of a task: how a cell of a label file or a submission becomes a number.

A class is its index into the column's classes, a float like every other value. An empty cell is NaN. Column names are
compared by their letters and digits alone, because the files of the competitions write `South Africa_Sadness` and
`SouthAfrica_Sadness` for the same column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vocalburst.gen.data.corpora.hume import COUNTRIES, country_name
from vocalburst.gen.data.corpora.table import number
from vocalburst.gen.data.emotions import EXVO_10, STAND_INS, nearest_names, normalise_name
from vocalburst.gen.data.errors import InputDataError

SUFFIXES = (".wav", ".mp3", ".opus", ".ogg", ".flac", ".webm", ".m4a")


@dataclass(frozen=True)
class Column:
    """Name as the competition writes it, and what its values are.

    classes: names of a class column, empty for numbers. bounds: of a number in labels, and in predictions unless
    `free`. aliases: other names of the column. named: a written class -> its name; raises InputDataError or gives None
    for an empty cell.
    """

    name: str
    classes: tuple[str, ...] = ()
    bounds: tuple[float, float] = (0.0, 1.0)
    free: bool = False
    aliases: tuple[str, ...] = ()
    named: Callable[[str, str], str | None] | None = None

    def read(self, cell: str, where: str, *, prediction: bool = False) -> float:
        """The value in a cell, NaN for none. Raises InputDataError, beginning with `where`."""
        if self.classes:
            return self.read_class(cell, where)
        try:
            value = float(cell)
        except ValueError:
            if number(cell, f"{where}, {self.name}") is None:
                return math.nan
            raise
        low, high = self.bounds
        if math.isnan(value) or low <= value <= high or (self.free and prediction and math.isfinite(value)):
            return value
        raise InputDataError(f"{where}, {self.name}: {value:g} is outside {low:g} to {high:g}")

    def read_class(self, cell: str, where: str) -> float:
        name = self.named(cell, f"{where}, {self.name}") if cell else None
        if name is None:
            return math.nan
        if name not in self.classes:
            near = ", ".join(nearest_names(name, self.classes))
            raise InputDataError(
                f"{where}, {self.name}: {cell!r} is not one of the {len(self.classes)} classes; nearest: {near}"
            )
        return float(self.classes.index(name))


def plain(name: str) -> str:
    """Letters and digits of a column name, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_columns(path: Path, header: Iterable[str], columns: Iterable[Column]) -> dict[str, str]:
    """Column name -> the file's spelling of it. Raises InputDataError naming all that are missing, or one twice."""
    written: dict[str, str] = {}
    header = list(header)
    for name in header:
        if plain(name) in written:
            raise InputDataError(
                f"{path}: the column {name!r} stands there twice, also as {written[plain(name)]!r}"
            )
        written[plain(name)] = name
    found: dict[str, str] = {}
    missing = []
    for column in columns:
        name = next((written[plain(n)] for n in (column.name, *column.aliases) if plain(n) in written), None)
        if name is None:
            missing.append(column.name)
        else:
            found[column.name] = name
    if missing:
        raise InputDataError(f"{path}: lacks the columns {', '.join(missing)}; it has {', '.join(header)}")
    return found


def values(*names: str, **options) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(name, **options) for name in names)


def emotion_class(
    name: str, classes: tuple[str, ...], meant: Callable[[str], str | None] = lambda name: name
) -> Column:
    """A column that names an emotion of the vocabulary; `meant`: the class that a name counts as, if any."""

    def named(cell: str, where: str) -> str:
        emotion = normalise_name(cell)
        return meant(emotion) or emotion

    return Column(name, classes, aliases=("Prediction", "Predicted", "Label"), named=named)


def country_class() -> Column:
    """Country as ExVo writes it: 0 to 3 or a name."""
    return Column("Country", COUNTRIES, aliases=("Country_string",), named=country_name)


def titled_class(name: str, classes: tuple[str, ...], *aliases: str) -> Column:
    """A column of plain words such as `Gasp`."""
    return Column(name, classes, aliases=aliases, named=lambda cell, _: cell.strip().title())


def exvo_emotion(name: str) -> str | None:
    """The ExVo emotion that a name of the vocabulary counts as: `elation` -> `excitement`; None where there is none.

    As in the label maps of `emotions`: an EmoGator clip is never Horror, and most of its thirty have no counterpart.
    """
    return next((own for own in EXVO_10 if name == own or name in STAND_INS.get(own, {})), None)


def bare_id(written: str) -> str:
    """`[10119]` -> `10119`, `7` -> `00007`, `a/b.wav` -> `a/b`."""
    name = written.strip().strip("[]").strip().replace("\\", "/")
    name = (
        name[: -len(PurePosixPath(name).suffix)] if PurePosixPath(name).suffix.lower() in SUFFIXES else name
    )
    return name.zfill(5) if name.isdigit() else name


def file_id(written: str) -> str:
    """The file's name alone, `wav/devel_00001.wav` -> `devel_00001`; SAVEE's `DC/a01` is `DC_a01`."""
    name = bare_id(written)
    savee = re.search(r"(?:^|/)(DC|JE|JK|KL)/([a-z]{1,2}\d{2})$", name)
    return "_".join(savee.groups()) if savee else bare_id(PurePosixPath(name).name)
