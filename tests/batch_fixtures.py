"""Runs with a fake pipeline whose sound is noise of the clip's seed, and what compares their folders."""

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vocalburst.gen import journal
from vocalburst.gen.batch import Run
from vocalburst.gen.burst import Burst
from vocalburst.gen.data.emotions import parse_request
from vocalburst.gen.data.errors import MissingModelError
from vocalburst.gen.jobs import RequestedJobs
from vocalburst.gen.workers import Workers

EMOTIONS = ("awe", "fear", "embarrassment")


class FakePipeline:
    """Counts what it is asked for; `pause` seconds a clip."""

    def __init__(self, pause: float = 0.0):
        self.pause = pause
        self.made = 0
        self.largest_call = 0

    def synthesise(self, specs):
        self.largest_call = max(self.largest_call, len(specs))
        return [self.burst(spec) for spec in specs]

    def burst(self, spec) -> Burst:
        time.sleep(self.pause)
        self.made += 1
        rng = np.random.default_rng(spec.seed)
        wave = rng.uniform(-1, 1, int(rng.integers(500, 1500))).astype(np.float32)
        voice = int(rng.integers(9)) if spec.voice is None else spec.voice
        mel = rng.normal(size=(100, 4)).astype(np.float32)
        stretch = None if spec.duration is None else 1.0
        return Burst(wave, mel, voice, spec.duration or 1.0, spec.seed, stretch)


def load_fake(pause: float = 0.0) -> FakePipeline:
    return FakePipeline(pause)


def load_refusing():
    raise MissingModelError("checkpoint/model.safetensors: is cut short")


def load_dying():
    os._exit(9)


def request_jobs(n: int, /, *emotions: str, **changes) -> RequestedJobs:
    jobs = RequestedJobs(
        requests=tuple(parse_request(name, EMOTIONS) for name in emotions or ("awe",)),
        n=n,
        intensity=1.0,
        run_seed=0,
        steps=2,
        guidance=1.5,
        scheduler="euler",
        voice=None,
        duration=None,
        file_format="wav",
        raw=False,
        trim=False,
        folders=len(emotions) > 1,
    )
    return replace(jobs, **changes)


def shared(folder: Path, **changes) -> Run:
    run = Run(folder, "ab" * 32, "CC-BY-4.0", "checkpoint", "cpu", "0.1.0", "2.11.0", save_mel=False)
    return replace(run, **changes)


def run_all(
    folder, jobs, *, load=load_fake, pause=0.0, count=1, world=1, batch_size=1, overwrite=False, **changes
):
    """What the command does, with the ranks one after the other. Returns the pipelines of the ranks."""
    run = shared(folder, **changes)
    settings = {**jobs.settings(), **run.settings()}
    run = replace(run, created_utc=journal.claim(folder, settings, overwrite=overwrite))
    journal.verify(folder)
    pipelines = []
    for rank in range(world):
        workers = Workers(load)
        workers.start(count)
        try:
            pipelines.append(load_fake(pause))
            workers.run(pipelines[-1], jobs, run, rank=rank, world=world, batch_size=batch_size)
        finally:
            workers.close()
    journal.finish(folder, len(jobs))
    return pipelines


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file under a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch):
    """So that whole folders can be compared, manifest included."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def whole(tmp_path) -> dict[str, str]:
    """The folder of an undisturbed run of 12 clips."""
    run_all(tmp_path / "whole", request_jobs(6, "awe", "fear"))
    return contents(tmp_path / "whole")
