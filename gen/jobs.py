"""The list of clips of a run, from what was asked for or from a manifest.

The list is never held: both kinds make a job when it is asked for, so that memory does not grow with the number of
clips. A job says everything that decides the bytes of its clip, whatever else is made beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vocalburst.gen.burst import BurstSpec
from vocalburst.gen.data.emotions import EmotionRequest
from vocalburst.gen.generated import GeneratedClip, read_generated
from vocalburst.gen.output import clip_name, clip_quantile, clip_seed
from vocalburst.gen.sweep import EmotionSweep, IntensitySweep, Point
from vocalburst.gen.variation import Variation, by_sha256, find_varied


@dataclass(frozen=True)
class Job:
    """One clip to make. `position` is its place in the run, `index` its place within the emotion.

    prior_vector: emotions that length, level and voice are drawn by; None: those of `vector`.
    quantile: which train clip gives them (`BurstSpec`); None, as in rows of early versions, draws one.
    sweep_position: 0 at the start of its sweep, 1 at the end; None outside of sweeps.
    stretched: whether the voice is stretched to `duration`; only rows of early versions say no.
    voice_mixed: whether a drawn voice is mixed with a second one; only rows without a second voice say no.
    best_of, selected_by: how many candidates the clip is or was chosen from, and by which evaluator.
    """

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
    prior_vector: dict[str, float] | None = None
    quantile: float | None = None
    second_voice: int | None = None  # asked for, with a `voice`
    sweep_position: float | None = None
    variation: Variation | None = None
    stretched: bool = True
    voice_mixed: bool = True
    best_of: int | None = None
    selected_by: tuple[str, ...] = ()
    sha256: str | None = None  # what a manifest says the file had; None when made for the first time

    @property
    def sampling(self) -> tuple:
        """What clips that are solved in one batch share."""
        return self.steps, self.guidance, self.scheduler, self.variation and self.variation.strength

    def spec(self) -> BurstSpec:
        """The part of the job that the pipeline needs. Raises InputDataError when a clip to vary is gone."""
        return BurstSpec(
            vector=self.vector,
            seed=self.seed,
            steps=self.steps,
            guidance=self.guidance,
            scheduler=self.scheduler,
            voice=self.voice,
            second_voice=self.second_voice,
            duration=self.duration,
            prior_vector=self.prior_vector,
            quantile=self.quantile,
            stretched=self.stretched,
            voice_mixed=self.voice_mixed,
            like=self.variation.wave() if self.variation else None,
            strength=self.variation.strength if self.variation else 1.0,
        )


@dataclass(frozen=True)
class RequestedJobs:
    """`n` clips of each request, in the order of the requests; of each, a clip per variation and point of the sweep."""

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
    second_voice: int | None = None
    sweep: EmotionSweep | IntensitySweep | None = None
    variations: tuple[Variation, ...] = ()
    best_of: int | None = None
    selected_by: tuple[str, ...] = ()

    @property
    def per_request(self) -> int:
        points = 1 if self.sweep is None else self.sweep.count
        return self.n * max(1, len(self.variations)) * points

    def __len__(self) -> int:
        return len(self.requests) * self.per_request

    def __iter__(self) -> Iterator[Job]:
        position = 0
        for request in self.requests:
            points = [None] if self.sweep is None else self.sweep.points(request)
            for index in range(self.n):
                for variation in self.variations or (None,):
                    for number, point in enumerate(points):
                        yield self._job(position, request, index, variation, point, number)
                        position += 1

    def _job(
        self,
        position: int,
        request: EmotionRequest,
        index: int,
        variation: Variation | None,
        point: Point | None,
        number: int,
    ) -> Job:
        parts = [variation.stem] if variation else []
        parts += [f"p{number:02d}"] if point else []
        seed_label = f"{request.label}|{variation.sha256}" if variation else request.label
        return Job(
            position=position,
            file_name=clip_name(
                request.label, self.run_seed, index, self.file_format, parts, folder=self.folders
            ),
            emotion=request.label,
            vector=point.vector if point else request.vector,
            aliases=request.aliases,
            intensity=point.intensity if point else self.intensity,
            seed=clip_seed(self.run_seed, seed_label, index),
            run_seed=self.run_seed,
            index=index,
            steps=self.steps,
            guidance=self.guidance,
            scheduler=self.scheduler,
            voice=self.voice,
            second_voice=self.second_voice,
            duration=self.duration,
            file_format=self.file_format,
            raw=self.raw,
            trim=self.trim,
            prior_vector=request.vector if point else None,
            quantile=None if variation else clip_quantile(self.run_seed, request.label, index),
            sweep_position=point.position if point else None,
            variation=variation,
            best_of=self.best_of,
            selected_by=self.selected_by,
        )

    def settings(self) -> dict:
        """What tells this run from another one, as JSON values; what is not used is left out."""
        varied = [[variation.sha256, variation.strength] for variation in self.variations]
        extra = {
            "second_voice": self.second_voice,
            "sweep": self.sweep and self.sweep.settings(),
            "like": varied or None,
            "best_of": self.best_of,
            "selected_by": list(self.selected_by) or None,
        }
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
            **{key: value for key, value in extra.items() if value is not None},
        }


@dataclass(frozen=True)
class RepeatedJobs:
    """The clips of a `manifest.jsonl` that `generate` wrote, to be made again from what each row says.

    given: files that rows may vary, where they are no longer where the rows say. Raises InputDataError when the clip
    that a row varies is not there or not the same any more.
    """

    manifest: Path
    given: Sequence[Path] = ()
    n: int = field(init=False)
    sha256: str = field(init=False)  # of the manifest
    varied: dict[tuple[str, str], str] = field(init=False)  # name and sha256 in the rows -> path

    def __post_init__(self):
        given, varied, n = by_sha256(self.given), {}, 0
        for row in read_generated(self.manifest):
            n += 1
            if row.like is not None and (row.like, row.like_sha256) not in varied:
                path = find_varied(row.file_name, row.like, row.like_sha256, self.manifest, given)
                varied[row.like, row.like_sha256] = path
        object.__setattr__(self, "varied", varied)
        object.__setattr__(self, "n", n)
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
                second_voice=None if row.voice_asked is None else row.second_voice,
                duration=row.duration_asked,
                file_format=row.format,
                raw=row.raw,
                trim=row.trim,
                prior_vector=row.prior_vector,
                quantile=row.quantile,
                sweep_position=row.sweep_position,
                variation=self._variation(row),
                stretched=row.stretch is not None,
                voice_mixed=row.second_voice is not None,
                best_of=row.best_of,
                selected_by=row.selected_by,
                sha256=row.sha256,
            )

    def settings(self) -> dict:
        return {"from_manifest": self.sha256}

    def _variation(self, row: GeneratedClip) -> Variation | None:
        if row.like is None:
            return None
        return Variation(row.like, self.varied[row.like, row.like_sha256], row.like_sha256, row.strength)
