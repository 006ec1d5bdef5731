"""Fixtures shared by the tests: a tiny random checkpoint, synthetic bursts, the command line in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"  # real data: present where the project is developed, not at a user's
RATE = 24_000


def synthetic_burst(seed: int, seconds: float = 0.6, pitch: float = 220.0) -> np.ndarray:
    """A voiced tone with harmonics, vibrato and noise between two quiet edges; float32 [L] at 24 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * pitch * (time + 0.01 * np.sin(2 * np.pi * 5 * time + rng.uniform(0, 6)))
    voice = sum(np.sin(k * phase) / k for k in range(1, 8)) * np.hanning(len(time))
    return (0.2 * voice + 0.001 * rng.standard_normal(len(time))).astype(np.float32)


def run_command(
    *arguments: str | Path, timeout: float = 240, **environment: str
) -> subprocess.CompletedProcess:
    """`python -m MODULE ...` in its own process, offline, output captured as text."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


def build_tiny_checkpoint(folder: Path, seed: int = 0, *, refined: bool = False, **model: int) -> Path:
    """A checkpoint of the real architecture, too small and too random to sound like anything.

    refined: with a refiner, as random.
    """
    from vocalburst.gen.data.emotions import EMOGATOR_30
    from vocalburst.gen.data.mel import MelConfig
    from vocalburst.gen.models.normalizer import MelNormalizer
    from vocalburst.gen.models.outline import OutlineEncoder
    from vocalburst.gen.models.prior import ClipPrior
    from vocalburst.gen.models.refiner import MelRefiner
    from vocalburst.gen.models.transformer import BurstTransformer
    from vocalburst.gen.models.vocoder import BurstVocoder
    from vocalburst.gen.pipeline import BurstPipeline
    from vocalburst.gen.sampling import build_scheduler

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "bottleneck": 16, **model}
        transformer = BurstTransformer(list(EMOGATOR_30), [f"speaker-{i}" for i in range(5)], **sizes)
        for parameter in transformer.parameters():  # the zero-initialised outputs would hide every mistake
            torch.nn.init.normal_(parameter, std=0.05)
        normalizer = MelNormalizer(MelConfig().to_dict())
        normalizer.mean.fill_(-5.0)
        normalizer.std.fill_(2.0)
        rows = [
            (emotion, voice, seconds, 0.6 * seconds, rng.uniform(-30, -15))
            for emotion in range(30)
            for voice, seconds in ((emotion % 5, 0.5), ((emotion + 1) % 5, 0.8))
        ]
        outline, tables = None, {}
        if size := transformer.config.outline:
            outline = OutlineEncoder(MelConfig().n_mels, size, jitter=0.3)
            torch.nn.init.normal_(outline.axes, std=0.01)
            tables = {"outlines": rng.standard_normal((len(rows), size)), "onsets": np.full(len(rows), 0.1)}
        refiner = None
        if refined:
            refiner = MelRefiner(list(EMOGATOR_30), dim=16, intermediate_dim=32, num_layers=1)
            torch.nn.init.normal_(refiner.out.weight, std=0.05)
        pipeline = BurstPipeline(
            transformer, normalizer, ClipPrior.from_rows(np.array(rows), **tables),
            BurstVocoder(dim=16, intermediate_dim=32, num_layers=1, mel=MelConfig().to_dict()),
            build_scheduler("euler"), outline=outline, refiner=refiner,
        )  # fmt: skip
        pipeline.defaults["steps"] = 4
        pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    return build_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")
