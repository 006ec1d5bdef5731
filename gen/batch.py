"""The clips of a run: the list of jobs, and the loop that turns a job into files and a row of the manifest.

The list is never held: both kinds of list make a job when it is asked for, so that memory does not grow with
the number of clips. Which process makes a job changes nothing about its bytes; `workers` shares them out.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vocalburst.gen.data.audio import SAMPLE_RATE, write_file
from vocalburst.gen.data.emotions import EmotionRequest
from vocalburst.gen.generated import GeneratedClip, read_generated
from vocalburst.gen.output import clip_name, clip_seed, describe, encode_clip, file_tags, finish_wave


@dataclass(frozen=True)
class Job:
    """One clip to make. `position` is its place in the run, `index` its place within the emotion."""

    position: int
    file_name: str
    emotion: str
    vector: dict[str, float]
    aliases: tuple[str, ...]
    intensity: float
    seed: int
    run_seed: int
    index: int
    steps: int
    guidance: float
    scheduler: str
    voice: int | None
    duration: float | None  # active seconds
    file_format: str
    raw: bool
    trim: bool
    sha256: str | None = None  # what a manifest says the file had; None when made for the first time

    def spec(self):
        """The part of the job that the pipeline needs, a `pipeline.BurstSpec`."""
        from vocalburst.gen.pipeline import BurstSpec

        return BurstSpec(
            vector=self.vector,
            seed=self.seed,
            steps=self.steps,
            guidance=self.guidance,
            scheduler=self.scheduler,
            voice=self.voice,
            duration=self.duration,
        )


@dataclass(frozen=True)
class RequestedJobs:
    """`n` clips of each request, in the order of the requests."""

    requests: tuple[EmotionRequest, ...]
    n: int
    intensity: float
    run_seed: int
    steps: int
    guidance: float
    scheduler: str
    voice: int | None
    duration: float | None
    file_format: str
    raw: bool
    trim: bool
    folders: bool  # a folder per emotion

    def __len__(self) -> int:
        return len(self.requests) * self.n

    def __iter__(self) -> Iterator[Job]:
        for position in range(len(self)):
            request, index = self.requests[position // self.n], position % self.n
            yield Job(
                position=position,
                file_name=clip_name(
                    request.label, self.run_seed, index, self.file_format, folder=self.folders
                ),
                emotion=request.label,
                vector=request.vector,
                aliases=request.aliases,
                intensity=self.intensity,
                seed=clip_seed(self.run_seed, request.label, index),
                run_seed=self.run_seed,
                index=index,
                steps=self.steps,
                guidance=self.guidance,
                scheduler=self.scheduler,
                voice=self.voice,
                duration=self.duration,
                file_format=self.file_format,
                raw=self.raw,
                trim=self.trim,
            )

    def settings(self) -> dict:
        """What tells this run from another one, as JSON values."""
        return {
            "emotions": [{"asked": request.asked, "vector": request.vector} for request in self.requests],
            "n": self.n,
            "intensity": self.intensity,
            "seed": self.run_seed,
            "steps": self.steps,
            "guidance": self.guidance,
            "scheduler": self.scheduler,
            "voice": self.voice,
            "duration": self.duration,
            "format": self.file_format,
            "raw": self.raw,
            "trim": self.trim,
        }


@dataclass(frozen=True)
class RepeatedJobs:
    """The clips of a `manifest.jsonl` that `generate` wrote, to be made again from what each row says."""

    manifest: Path
    n: int = field(init=False)
    sha256: str = field(init=False)  # of the manifest

    def __post_init__(self):
        object.__setattr__(self, "n", sum(1 for _ in read_generated(self.manifest)))
        object.__setattr__(self, "sha256", hashlib.sha256(self.manifest.read_bytes()).hexdigest())

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Job]:
        for position, row in enumerate(read_generated(self.manifest)):
            yield Job(
                position=position,
                file_name=row.file_name,
                emotion=row.emotion,
                vector=row.emotion_vector,
                aliases=row.aliases,
                intensity=row.intensity,
                seed=row.seed,
                run_seed=row.run_seed,
                index=row.index,
                steps=row.steps,
                guidance=row.guidance,
                scheduler=row.scheduler,
                voice=row.voice_asked,
                duration=row.duration_asked,
                file_format=row.format,
                raw=row.raw,
                trim=row.trim,
                sha256=row.sha256,
            )

    def settings(self) -> dict:
        return {"from_manifest": self.sha256}


@dataclass(frozen=True)
class Run:
    """What all jobs of a run share; plain values, so that it can be handed to a worker process."""

    folder: Path
    checkpoint: str  # content hash
    license: str
    vocoder: str
    device: str
    package_version: str
    torch_version: str
    save_mel: bool
    created_utc: str = ""

    def settings(self) -> dict:
        """What tells this run from another one beside its jobs, as JSON values."""
        return {
            "checkpoint": self.checkpoint,
            "vocoder": self.vocoder,
            "device": self.device,
            "save_mel": self.save_mel,
            "package_version": self.package_version,
            "torch_version": self.torch_version,
        }


def make_clips(
    pipeline, jobs: Iterable[Job], run: Run, batch_size: int = 1
) -> Iterator[tuple[Job, GeneratedClip]]:
    """Synthesise, finish and write `jobs`, `batch_size` at a time; a clip is on disk when it comes."""
    # The pipeline solves a batch with the sampling settings of its first clip.
    for _, alike in itertools.groupby(jobs, key=lambda job: (job.steps, job.guidance, job.scheduler)):
        while group := list(itertools.islice(alike, batch_size)):
            for job, burst in zip(group, pipeline.synthesise([job.spec() for job in group]), strict=True):
                yield job, write_clip(job, burst, run)


def write_clip(job: Job, burst, run: Run) -> GeneratedClip:
    """Write the sound file (and the mel, [M, T] float32 as .npy) of one burst and return its row."""
    wave = np.asarray(burst.wave, dtype=np.float32)
    if not job.raw:
        wave = finish_wave(wave, trim=job.trim)
    tags = file_tags(job.emotion, job.seed, run.checkpoint, run.package_version)
    data = encode_clip(wave, job.file_format, tags, raw=job.raw)
    path = run.folder / job.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    mel_name = mel_hash = None
    if run.save_mel:
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(burst.mel, dtype=np.float32))
        mel_name = str(Path(job.file_name).with_suffix(".npy").as_posix())
        mel_hash = hashlib.sha256(buffer.getvalue()).hexdigest()
        write_file(run.folder / mel_name, buffer.getvalue())
    write_file(path, data)
    return GeneratedClip(
        file_name=job.file_name,
        emotion=job.emotion,
        emotion_vector=job.vector,
        aliases=job.aliases,
        intensity=job.intensity,
        seed=job.seed,
        run_seed=job.run_seed,
        index=job.index,
        steps=job.steps,
        guidance=job.guidance,
        scheduler=job.scheduler,
        voice=burst.voice,
        voice_asked=job.voice,
        duration_asked=job.duration,
        **describe(data),
        sample_rate=SAMPLE_RATE,
        format=job.file_format,
        raw=job.raw,
        trim=job.trim,
        mel_file_name=mel_name,
        mel_sha256=mel_hash,
        checkpoint=run.checkpoint,
        vocoder=run.vocoder,
        device=run.device,
        package_version=run.package_version,
        torch_version=run.torch_version,
        created_utc=run.created_utc,
        license=run.license,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def pending(jobs: Iterable[Job], done: bytearray, take: Callable[[], int]) -> Iterator[Job]:
    """The unfinished jobs whose number among the unfinished ones `take` hands out, in rising order."""
    unfinished = (job for job in jobs if not done[job.position])
    passed = 0
    while True:
        number = take()
        job = next(itertools.islice(unfinished, number - passed, None), None)
        if job is None:
            return
        passed = number + 1
        yield job
