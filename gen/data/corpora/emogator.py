"""EmoGator (Buhl 2022, arXiv 2301.00508): `data/mp3/NNNNNN-EE-I.mp3`, loose or inside tar shards.

NNNNNN is the contributor, EE the emotion 01..30 (index into `EMOGATOR_30`), I the take. The label is what the
contributor meant; the other 29 names are labelled absent.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from vocalburst.gen.data.corpora import Candidate
from vocalburst.gen.data.corpora.splits import hashed_splits
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import TAR_SEPARATOR

N_CONTRIBUTORS = 357
NAME = re.compile(r"(?P<speaker>\d{6})-(?P<emotion>\d{2})-(?P<take>\d)\.(?:mp3|opus|ogg|wav|flac)$")


def emogator_splits() -> dict[str, str]:
    """The `emogator-v1` rule: contributors by SHA-256("emogator-v1:" + id): 214 train, 54 dev, 89 test."""
    ids = [f"{number:06d}" for number in range(1, N_CONTRIBUTORS + 1)]
    return hashed_splits(ids, "emogator-v1", (214, 54, 89))


def read_emogator(root: Path) -> Iterator[Candidate]:
    """Candidates of the public layout or of tar shards, sorted by file name.

    Raises InputDataError when `root` holds neither, or a name that breaks the layout's rule.
    """
    paths = [file.relative_to(root).as_posix() for file in root.rglob("*") if NAME.search(file.name)]
    for shard in sorted(root.glob("*.tar")):
        try:
            with tarfile.open(shard) as tar:
                names = [member.name for member in tar if NAME.search(member.name)]
        except (OSError, tarfile.TarError) as error:
            raise InputDataError(f"{shard}: cannot be read as a tar shard ({error})") from None
        paths += [f"{shard.name}{TAR_SEPARATOR}{name}" for name in names]
    if not paths:
        raise InputDataError(f"{root}: expected files NNNNNN-EE-I.mp3 or .tar shards of them, found none")
    splits = emogator_splits()
    for path in sorted(paths, key=lambda p: p.rsplit("/", 1)[-1]):
        parts = NAME.search(path)
        speaker, emotion = parts["speaker"], int(parts["emotion"])
        if speaker not in splits or not 1 <= emotion <= len(EMOGATOR_30):
            raise InputDataError(f"{root / path}: expected a contributor 000001-000357 and an emotion 01-30")
        yield Candidate(
            id=f"emogator-{parts[0].split('.')[0]}",
            path=path,
            corpus="emogator",
            split=splits[speaker],
            speaker=f"emogator-{speaker}",
            labelled="emogator-30",
            emotions={EMOGATOR_30[emotion - 1]: 1.0},
        )
