"""Deterministic splits for corpora that come without one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.data.manifest import SPLITS

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "devel": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
}


def split_name(written: str, where: str) -> str:
    """`Val` -> `dev`. Raises InputDataError, beginning with `where`, for a name that is no split."""
    try:
        return SPLIT_NAMES[written.strip().lower()]
    except KeyError:
        raise InputDataError(f"{where}: split {written!r} is not one of {', '.join(SPLIT_NAMES)}") from None


def hashed_splits(keys: Iterable[str], salt: str, shares: tuple[int, int, int]) -> dict[str, str]:
    """Split of every key (speaker or clip): keys in the order of SHA-256(salt + ":" + key), cut at the
    `shares`.

    shares: train, dev and test in any unit; 23 keys with (16, 4, 3) give just these counts. With few keys
    train has at least one, then dev is served before test, because training needs something to listen to.
    """
    ranked = sorted(set(keys), key=lambda key: hashlib.sha256(f"{salt}:{key}".encode()).hexdigest())
    n, total = len(ranked), sum(shares)
    train_end = max(1, n * shares[0] // total)
    dev_end = max(train_end, -(-n * (shares[0] + shares[1]) // total))
    counts = (train_end, dev_end - train_end, n - dev_end)
    names = [name for name, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
    return dict(zip(ranked, names, strict=False))
