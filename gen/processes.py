"""How a training run finds the processes it is one of."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator


def start_accelerator(**options) -> Accelerator:
    """An Accelerator that works together with the other processes of `torchrun`, on CPUs too."""
    # Unless told so, accelerate takes several processes without a GPU for so many runs of one process.
    several_on_cpu = int(os.environ.get("WORLD_SIZE", 1)) > 1 and not torch.cuda.is_available()
    return Accelerator(cpu=several_on_cpu, **options)
