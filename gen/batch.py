"""The loop that turns the jobs of a run into files and rows of the manifest.

Which process makes a job changes nothing about its bytes; `workers` shares them out.
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocalburst.gen.data.audio import SAMPLE_RATE, write_file
from vocalburst.gen.generated import GeneratedClip
from vocalburst.gen.jobs import Job
from vocalburst.gen.output import describe, encode_clip, file_tags, finish_wave


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
    for _, alike in itertools.groupby(jobs, key=lambda job: job.sampling):
        while group := list(itertools.islice(alike, batch_size)):
            for job, burst in zip(group, pipeline.synthesise([job.spec() for job in group]), strict=True):
                yield job, write_clip(job, burst, run)


def write_clip(job: Job, burst, run: Run) -> GeneratedClip:
    """Write the sound file (and the mel, [M, T] float32 as .npy) of one burst and return its row."""
    wave = np.asarray(burst.wave, dtype=np.float32)
    if not job.raw:
        wave = finish_wave(wave, trim=job.trim)
    tags = file_tags(job.emotion, burst.seed, run.checkpoint, run.package_version, **disclosed(job))
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
        seed=burst.seed,
        run_seed=job.run_seed,
        index=job.index,
        steps=job.steps,
        guidance=job.guidance,
        scheduler=job.scheduler,
        voice=burst.voice,
        second_voice=burst.second_voice,
        voice_asked=job.voice,
        duration_asked=job.duration,
        stretch=burst.stretch,
        prior_vector=job.prior_vector,
        quantile=job.quantile,
        sweep_position=job.sweep_position,
        like=job.variation and job.variation.name,
        like_sha256=job.variation and job.variation.sha256,
        strength=job.variation and job.variation.strength,
        best_of=job.best_of,
        selected_by=job.selected_by,
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


def disclosed(job: Job) -> dict[str, str | int | float]:
    """What the file itself tells about where its sound comes from, beside emotion, seed and checkpoint."""
    tags: dict[str, str | int | float] = {}
    if job.variation:
        tags |= {"like": job.variation.sha256, "strength": job.variation.strength}
    if job.best_of:
        tags |= {"best_of": job.best_of, "selected_by": ",".join(job.selected_by)}
    return tags


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
