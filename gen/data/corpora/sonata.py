"""MODULATE-SONATA (data paper, arXiv 2403.14048): acted sentences in 25 emotions by 23 actors in 15 roles.

Two layouts. Long: one recording per actor and role, beside it (or anywhere below the root) a text file of
the same name that says which emotion is spoken when; its grammar is that of `timestamps`. Segmented:
`<split>/<emotion>/<speaker>_<role>_*.mp3`. The published description leaves names, time unit and grammar
open, so the file name is read by an expression the user can replace.

A segment is about 30 s of speech: it is cut into voice-active windows, which are marked `domain="speech"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vocalburst.gen.data.audio import DECODABLE, file_seconds
from vocalburst.gen.data.corpora import Candidate
from vocalburst.gen.data.corpora.splits import SPLIT_NAMES, hashed_splits, split_name
from vocalburst.gen.data.corpora.table import read_table, require_columns
from vocalburst.gen.data.corpora.timestamps import parse_timestamps
from vocalburst.gen.data.emotions import SONATA_25, nearest_names, normalise_name
from vocalburst.gen.data.errors import InputDataError

FILE_NAME = r"(?P<speaker>[A-Za-z0-9]+)[ _-]+(?P<role>[A-Za-z0-9]+)"  # matched at the start of the name
SHARES = (16, 4, 3)  # speakers in train, dev and test, Table 3 of the data paper
WINDOW_SECONDS = 4.0
TEXT_SUFFIXES = (".txt", ".tsv", ".csv", ".lab")


def read_sonata(
    root: Path, filename: str = FILE_NAME, splits: str | Path | None = None, window: float = WINDOW_SECONDS
) -> Iterator[Candidate]:
    """One candidate per segment, in the order of files and of time.

    filename: regular expression with a group `speaker` and perhaps `role`, matched at the start of a file's
    name.
    splits: CSV with the columns `speaker` and `split`; without it (and without split folders) actors are
    split by hash.
    window: longest window that `prepare` may cut, in seconds.
    Raises InputDataError for a name that does not match, a recording without its text (or the reverse), a
    time outside the recording, and an emotion that is not one of the 25.
    """
    pattern = compile_filename(filename)
    files = sorted(f for f in root.rglob("*") if f.suffix.lower() in DECODABLE and not f.name.startswith("."))
    if not files:
        raise InputDataError(f"{root}: expected recordings (mp3, wav, flac ...), found none")
    tops = {file.relative_to(root).parts[0].lower() for file in files}
    segmented = all(top in SPLIT_NAMES for top in tops)
    named = {file: name_parts(file, pattern) for file in files}
    given = read_splits(Path(splits)) if splits else None
    note = "splits: read from the table given" if splits else "splits: as the folders say"
    if given is None and not segmented:
        given = hashed_splits((speaker for speaker, _ in named.values()), "sonata-v1", SHARES)
        note = "splits: actors by hash, 16 : 4 : 3"
    texts = {} if segmented else find_texts(root, splits)
    for file in files:
        speaker, role = named[file]
        path = file.relative_to(root).as_posix()
        if given is not None and speaker not in given:
            raise InputDataError(f"{splits}: names no split for the speaker {speaker!r} of {file}")
        common = {
            "path": path,
            "corpus": "sonata",
            "split": given[speaker] if given else split_name(path.split("/")[0], str(file)),
            "speaker": f"sonata-{speaker}",
            "role": role,
            "labelled": "sonata-25",
            "domain": "speech",
            "cut_seconds": window,
            "notes": (note,),
        }
        stem = path.rsplit(".", 1)[0].replace("/", "-")
        if segmented:
            if len(file.relative_to(root).parts) != 3:
                raise InputDataError(f"{file}: expected <split>/<emotion>/<speaker>_<role>_*{file.suffix}")
            emotion, aliases = read_emotion(file.parent.name, str(file))
            yield Candidate(id=f"sonata-{stem}", emotions={emotion: 1.0}, aliases=aliases, **common)
            continue
        if file.stem not in texts:
            raise InputDataError(
                f"{file}: has no timestamp text {file.stem}{{{','.join(TEXT_SUFFIXES)}}} below {root}"
            )
        yield from read_segments(file, texts[file.stem], f"sonata-{stem}", common)
    orphans = sorted(set(texts) - {file.stem for file in files})
    if orphans:
        raise InputDataError(f"{texts[orphans[0]]}: has no recording of the same name below {root}")


def read_segments(file: Path, text: Path, stem: str, common: dict) -> Iterator[Candidate]:
    """Candidates of one long recording and its timestamp text."""
    try:
        content = text.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(f"{text}: cannot be read as timestamps ({error})") from None
    segments = parse_timestamps(content, file_seconds(file), label_words, str(text))
    for number, segment in enumerate(segments, 1):
        emotion, aliases = read_emotion(segment.label, f"{text}, line {segment.line}")
        yield Candidate(
            id=f"{stem}-{number:03d}",
            start=round(segment.start, 4),
            end=round(segment.end, 4),
            emotions={emotion: 1.0},
            aliases=aliases,
            **common,
        )


def label_words(rest: str) -> str:
    """The label at the head of `Surprise (negative) Oh no!`: the most words that name an emotion."""
    words = re.split(r"[,;\t]", rest)[0].strip().strip("\"'").split()
    for count in range(min(4, len(words)), 0, -1):
        label = " ".join(words[:count])
        if normalise_name(label) in SONATA_25:
            return label
    label = " ".join(words[:2])
    raise InputDataError(f"unknown emotion {label!r}; nearest: {', '.join(nearest_names(label, SONATA_25))}")


def read_emotion(written: str, where: str) -> tuple[str, tuple[str, ...]]:
    """The vocabulary's name of a SONATA label and the alias used, if any."""
    name = normalise_name(written)
    if name not in SONATA_25:
        nearest = ", ".join(nearest_names(name, SONATA_25))
        raise InputDataError(f"{where}: unknown emotion {written!r}; nearest: {nearest}")
    plain = re.sub(r"[^a-z]+", "_", written.strip().lower()).strip("_")
    return name, ((f"{plain} -> {name}",) if plain != name else ())


def compile_filename(filename: str) -> re.Pattern[str]:
    """Raises InputDataError unless `filename` is an expression with a group `speaker`."""
    try:
        pattern = re.compile(filename)
    except re.error as error:
        raise InputDataError(f"file name expression {filename!r}: {error}") from None
    if "speaker" not in pattern.groupindex:
        raise InputDataError(f"file name expression {filename!r}: expected a group (?P<speaker>...)")
    return pattern


def name_parts(file: Path, pattern: re.Pattern[str]) -> tuple[str, str | None]:
    """Speaker and role in a file's name."""
    match = pattern.match(file.stem)
    if not match:
        raise InputDataError(
            f"{file}: its name does not match {pattern.pattern!r}; give another with --filename"
        )
    return match["speaker"], match.groupdict().get("role")


def read_splits(table: Path) -> dict[str, str]:
    """Speaker -> split of a CSV with these two columns."""
    rows = read_table(table)
    require_columns(table, rows, ("speaker", "split"))
    return {row["speaker"]: split_name(row["split"], f"{table}, speaker {row['speaker']!r}") for row in rows}


def find_texts(root: Path, splits: str | Path | None) -> dict[str, Path]:
    """Timestamp texts below `root` by stem; read-me files and the table of splits are none."""
    texts: dict[str, Path] = {}
    for file in sorted(root.rglob("*")):
        is_text = file.suffix.lower() in TEXT_SUFFIXES and not re.match(
            r"(?i)readme|licen[cs]e|\.", file.name
        )
        if not is_text or (splits and file.resolve() == Path(splits).resolve()):
            continue
        if file.stem in texts:
            raise InputDataError(
                f"{file}: a second timestamp text of this name, the first is {texts[file.stem]}"
            )
        texts[file.stem] = file
    return texts
