"""The same bytes at every call, on a CPU and on a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Read by CUDA when its first matrix product comes; without it products are not the same every time.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: how many threads share a matrix product can change its last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def same_every_time() -> Iterator[None]:
    """Compute with algorithms that give the same bytes at every call; a GPU's faster ones add up in any order.

    An operation that has no such algorithm warns.
    """
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
