"""HUME-VOCALBURST (ExVo 2022, arXiv 2205.01780): `data_info.csv` and one audio file `NNNNN.wav` per row.

Both releases are read: `wav/` at 16 kHz and the raw recordings at 48 kHz, in whatever folder they lie. The
ten intensities stay as stored (0 to 1). The Test rows are blind: their emotions are unknown, not zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vocalburst.gen.data.audio import DECODABLE
from vocalburst.gen.data.corpora import Candidate, LeftOut
from vocalburst.gen.data.corpora.splits import split_name
from vocalburst.gen.data.corpora.table import intensity, number, read_table, require_columns
from vocalburst.gen.data.emotions import EXVO_10, normalise_name
from vocalburst.gen.data.errors import InputDataError

LABEL_FILE = "data_info.csv"
COUNTRIES = ("china", "south africa", "usa", "venezuela")  # the order is the csv's own numbering 0..3
COUNTRY_SPELLINGS = {"united states": "usa", "us": "usa", "united states of america": "usa"}
FILE_ID = re.compile(r"\[?\s*(\d{1,5})\s*\]?")  # written [58712] in the file
AUDIO_NAME = re.compile(r"\d{5}")


def read_hume_vocalburst(root: Path, audio_folder: str | None = None) -> Iterator[Candidate | LeftOut]:
    """Candidates of every row, in the order of ids, then one `LeftOut` per audio file that has no row.

    audio_folder: which folder below `root` to read when two releases lie side by side.
    Raises InputDataError for a missing column, a row without its audio file, a label outside 0 to 1, a Train
    or Val row without speaker or labels, and for webm recordings, which libsndfile cannot decode.
    """
    table = root / LABEL_FILE
    rows = read_table(table)
    require_columns(table, rows, ("File_ID", "Split", "Subject_ID", "Country", "Age"))
    columns = {normalise_name(name): name for name in rows[0]}
    absent = [name for name in EXVO_10 if name not in columns]
    if absent:
        raise InputDataError(
            f"{table}: lacks the emotion columns {', '.join(absent)}; it has {', '.join(rows[0])}"
        )
    audio = find_audio(root, audio_folder)
    listed: dict[str, dict[str, str]] = {}
    for row in rows:
        match = FILE_ID.fullmatch(row["File_ID"])
        if not match:
            raise InputDataError(f"{table}: File_ID {row['File_ID']!r} is not a number like [00001]")
        file_id = match[1].zfill(5)
        if file_id in listed:
            raise InputDataError(f"{table}: File_ID [{file_id}] stands there twice")
        listed[file_id] = row
    folder = next(iter(audio.values())).parent
    for file_id in sorted(listed):
        if file_id not in audio:
            raise InputDataError(f"{folder / file_id}.wav: listed in {table.name} but missing")
        path = audio[file_id].relative_to(root).as_posix()
        yield read_row(listed[file_id], columns, file_id, path, f"{table}, File_ID [{file_id}]")
    for file_id in sorted(set(audio) - set(listed)):
        path = audio[file_id].relative_to(root).as_posix()
        yield LeftOut(f"hume-{file_id}", path, "unlisted", f"not a row of {table.name}")


def read_row(row: dict[str, str], columns: dict[str, str], file_id: str, path: str, where: str) -> Candidate:
    """One row of the label file; `columns`: emotion name -> the file's spelling, `where` begins errors."""
    split = split_name(row["Split"], where)
    values = {name: intensity(row[columns[name]], f"{where}, {columns[name]}") for name in EXVO_10}
    emotions = {name: value for name, value in values.items() if value is not None}
    if split != "test":
        if not row["Subject_ID"]:
            raise InputDataError(f"{where}: a {row['Split']} clip needs a Subject_ID, it is empty")
        if len(emotions) < len(EXVO_10):
            lacking = next(name for name in EXVO_10 if name not in emotions)
            raise InputDataError(
                f"{where}: a {row['Split']} clip needs all ten intensities, {lacking} is empty"
            )
    return Candidate(
        id=f"hume-{file_id}",
        path=path,
        corpus="hume-vocalburst",
        split=split,
        speaker=f"hume-{row['Subject_ID'].lower()}" if row["Subject_ID"] else None,
        labelled="exvo-10" if len(emotions) == len(EXVO_10) else tuple(emotions),
        emotions=emotions,
        country=country_name(row.get("Country_string") or row["Country"], where),
        age=number(row["Age"], f"{where}, Age"),
    )


def country_name(written: str, where: str) -> str | None:
    """`0`, `0.0`, ` China` -> `china`; None for an empty cell."""
    plain = written.strip().lower()
    if plain in ("", "nan"):
        return None
    if re.fullmatch(r"[0-3](\.0*)?", plain):
        return COUNTRIES[int(plain[0])]
    plain = COUNTRY_SPELLINGS.get(plain, plain)
    if plain not in COUNTRIES:
        raise InputDataError(f"{where}: country {written!r} is not 0 to 3 or one of {', '.join(COUNTRIES)}")
    return plain


def find_audio(root: Path, audio_folder: str | None) -> dict[str, Path]:
    """File id -> audio file. All of them lie in one folder, the one named or the only one there is."""
    folders: dict[Path, dict[str, Path]] = {}
    for file in sorted((root / audio_folder if audio_folder else root).rglob("*")):
        if AUDIO_NAME.fullmatch(file.stem) and file.suffix.lower() in DECODABLE | {".webm"}:
            folders.setdefault(file.parent, {})[file.stem] = file
    if not folders:
        raise InputDataError(f"{root / (audio_folder or 'wav')}: expected audio files NNNNN.wav, found none")
    if len(folders) > 1:
        names = ", ".join(folder.relative_to(root).as_posix() for folder in folders)
        raise InputDataError(f"{root}: holds more than one release ({names}); choose with --audio-folder")
    ((_, audio),) = folders.items()
    for file in audio.values():
        if file.suffix.lower() == ".webm":
            raise InputDataError(
                f"{file}: webm cannot be decoded by libsndfile; convert the folder first, "
                "e.g. ffmpeg -i NNNNN.webm NNNNN.wav"
            )
    return audio
