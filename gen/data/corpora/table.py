"""Label tables: CSV files with a header, read by column name and never by position."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from vocalburst.gen.data.errors import InputDataError


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file (comma, semicolon or tab separated), cells stripped, column names as written.

    Raises InputDataError when the file is missing, no text, without rows, or has a row of another length
    than its header.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(
            f"{path}: cannot be read as a table ({getattr(error, 'strerror', None) or error})"
        ) from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise InputDataError(
                f"{path}, line {reader.line_num}: expected {len(reader.fieldnames)} cells like the header"
            )
        rows.append({name.strip(): cell.strip() for name, cell in row.items()})
    if not rows:
        raise InputDataError(f"{path}: holds no rows")
    return rows


def require_columns(path: Path, rows: list[dict[str, str]], names: tuple[str, ...]) -> None:
    """Raise InputDataError naming the columns that `rows` lack."""
    missing = [name for name in names if name not in rows[0]]
    if missing:
        raise InputDataError(f"{path}: lacks the columns {', '.join(missing)}; it has {', '.join(rows[0])}")


def number(cell: str, where: str) -> float | None:
    """The number in a cell; None for an empty one or NaN. Raises InputDataError beginning with `where`."""
    if cell.lower() in ("", "nan", "na", "none"):
        return None
    try:
        value = float(cell)
    except ValueError:
        raise InputDataError(f"{where}: expected a number, found {cell!r}") from None
    return None if math.isnan(value) else value


def intensity(cell: str, where: str) -> float | None:
    """As `number`, and it must lie between 0 and 1."""
    value = number(cell, where)
    if value is not None and not 0 <= value <= 1:
        raise InputDataError(f"{where}: label {value:g} is outside 0 to 1")
    return value
