"""From what is asked for to a burst: what the parts of a checkpoint do together.

`generate` and its workers load a `Synthesiser`, which starts a second sooner than the diffusers pipeline around the
same parts (`pipeline.BurstPipeline`) and makes the same bytes.

Shape letters: B batch, M mel bin, T mel frame, L wave sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from diffusers import SchedulerMixin

from vocalburst.gen.burst import Burst, BurstSpec
from vocalburst.gen.checkpoint import content_hash, locate_checkpoint
from vocalburst.gen.data.audio import SAMPLE_RATE, active_span
from vocalburst.gen.data.mel import LogMel, MelConfig
from vocalburst.gen.dataset import active_frames, active_part, normalise_level
from vocalburst.gen.determinism import one_thread, same_every_time
from vocalburst.gen.limits import check_spec
from vocalburst.gen.models.conditioning import AUGMENTATIONS, Condition
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.models.outline import OutlineEncoder
from vocalburst.gen.models.prior import Attributes, ClipPrior
from vocalburst.gen.models.refiner import MelRefiner, steadied
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.models.vocoder import BurstVocoder
from vocalburst.gen.parts import load_parts, load_settings
from vocalburst.gen.sampling import build_scheduler, guided, last_sigma, sample
from vocalburst.gen.time_scale import PASSES, stretch_active, stretch_factor

# Clips per network call, always so many: another batch shape could change the bytes of a clip. On a CPU four share the
# reading of the weights; more would only make a single clip wait.
ROWS = {"cpu": 4, "mps": 32, "cuda": 32}
MARGIN = 0.1  # seconds that a clip of an asked-for duration is longer than its voice-active part
SHORTEST = 0.2  # seconds
NO_VOICE = -1  # the null of the voice table
REFINING = 6  # stream of the noise that the refiner hears


class Synthesis:
    """Bursts of whoever has the parts of a checkpoint, its settings and a `device`."""

    transformer: BurstTransformer
    normalizer: MelNormalizer
    prior: ClipPrior
    vocoder: BurstVocoder
    scheduler: SchedulerMixin
    guide: BurstTransformer | None
    outline: OutlineEncoder | None
    refiner: MelRefiner | None
    defaults: dict  # of `parts.load_settings`
    content_hash: str

    @property
    def emotions(self) -> tuple[str, ...]:
        """Names the checkpoint was trained on."""
        return tuple(self.transformer.config.emotions)

    @property
    def n_voices(self) -> int:
        return len(self.transformer.config.voices or ())

    @property
    def license(self) -> str:
        return self.defaults["license"]

    @property
    def mel_config(self) -> MelConfig:
        return self.normalizer.mel_config

    @property
    def durations(self) -> tuple[float, float]:
        """Shortest and longest voice-active seconds that can be asked for: up to the longest training clip."""
        return SHORTEST, float(self.prior.rows[:, 2].max())

    def attributes(self, spec: BurstSpec) -> Attributes:
        """What the prior draws for a spec, with what was asked for in its place; for a varied clip its own."""
        asked = {self.emotions.index(name): weight for name, weight in spec.vector.items()}
        if spec.like is not None:
            own = self.attributes_of(spec.like, NO_VOICE if spec.voice is None else spec.voice)
            own = replace(own, second_voice=spec.second_voice)
            if self.outline is None:
                return own
            outline = self.prior.varied_outline(asked, own, spec.strength, spec.voice, spec.seed)
            return replace(own, outline=outline)
        rng = np.random.default_rng([spec.seed, 1])
        drawn_by = spec.prior_vector or spec.vector
        weights = {self.emotions.index(name): weight for name, weight in drawn_by.items()}
        drawn = self.prior.draw(weights, spec.voice, spec.duration, rng, quantile=spec.quantile)
        if self.outline is not None:
            drawn = self.prior.mixed(asked, drawn, set(weights), spec.voice, spec.seed)
        if spec.voice is not None or not spec.voice_mixed:
            drawn = replace(drawn, second_voice=spec.second_voice)
        if spec.duration is None:
            return drawn
        return replace(drawn, seconds=spec.duration + MARGIN, active_seconds=spec.duration, onset=MARGIN / 2)

    def attributes_of(self, wave: np.ndarray, voice: int) -> Attributes:
        """Those of a real clip [L]."""
        wave_at_level, active_seconds, level = normalise_level(wave)
        own = Attributes(
            len(wave) / SAMPLE_RATE, active_seconds, level, voice, active_span(wave)[0] / SAMPLE_RATE
        )
        if self.outline is None:
            return own
        mel = LogMel(self.mel_config)(torch.from_numpy(wave_at_level)).to(self.device)
        part = active_part(mel, active_frames(wave_at_level, self.mel_config))
        return replace(own, outline=self.outline(part).float().cpu().numpy())

    def check(self, spec: BurstSpec) -> None:
        """Raise InputDataError for a spec that this checkpoint cannot answer."""
        check_spec(spec, self.emotions, self.n_voices, self.durations)

    def emotion(self, specs: Sequence[BurstSpec]) -> torch.Tensor:
        """[B, E] weights of the checkpoint's emotions."""
        return torch.tensor([[spec.vector.get(name, 0.0) for name in self.emotions] for spec in specs])

    def moderated(self, emotion: torch.Tensor) -> torch.Tensor:
        """Weights [B, E] as the denoiser is told them: of a moderated emotion a share goes to all emotions alike.

        A guided student overdoes some emotions and falls short of others, each in its own measure (docs/sound.md);
        `moderation` of the settings takes that back. A negative share takes from all alike what the emotion gets more:
        the denoiser hears its contrast to the mean emotion stretched. The refiner learnt from no guidance and hears the
        weights as they were asked for.
        """
        share = torch.tensor([self.defaults["moderation"].get(name, 0.0) for name in self.emotions])
        spread = (emotion * share).sum(dim=1, keepdim=True) / len(self.emotions)
        return emotion * (1 - share) + spread

    def condition(self, specs: Sequence[BurstSpec], drawn: Sequence[Attributes]) -> Condition:
        """The condition of a batch. A clip of an asked-for duration is one that was cut to its voice-active part."""
        emotion = self.moderated(self.emotion(specs))
        asked = [spec.duration is not None for spec in specs]
        cropped = AUGMENTATIONS.index("cropped")
        augmentation = torch.zeros(len(specs), len(AUGMENTATIONS))
        augmentation[:, cropped] = torch.tensor(asked, dtype=torch.float32)
        outlines = [torch.from_numpy(row.outline).float() for row in drawn]
        if self.outline is not None:
            jitters = [
                np.random.default_rng([spec.seed, 5]).standard_normal(len(own))
                for spec, own in zip(specs, outlines, strict=True)
            ]
            outlines = [
                own + self.outline.config.jitter * torch.from_numpy(noise).float()
                for own, noise in zip(outlines, jitters, strict=True)
            ]
        seconds_a_frame = self.mel_config.hop_length / SAMPLE_RATE
        return Condition(
            emotion=emotion,
            emotion_known=torch.ones_like(emotion, dtype=torch.bool),
            voice=torch.tensor(
                [[row.voice, NO_VOICE if row.second_voice is None else row.second_voice] for row in drawn]
            ),
            country=torch.full((len(specs),), -1),
            scalars=torch.tensor(
                [[row.seconds, row.active_seconds, row.level_db, float("nan")] for row in drawn]
            ),
            augmentation=augmentation,
            outline=torch.stack(outlines),
            span=torch.cat([row.span(seconds_a_frame) for row in drawn]),
        )

    def noise(
        self, specs: Sequence[BurstSpec], drawn: Sequence[Attributes], frames: int, *stream: int
    ) -> torch.Tensor:
        """[B, M, frames], each row of its clip's own generator, always made on the CPU; zero where a clip has ended.

        stream: nothing for what a clip is sampled from, a number for what is drawn beside it.
        """
        noise = torch.zeros(len(specs), self.mel_config.n_mels, frames)
        for row, (spec, own) in enumerate(zip(specs, drawn, strict=True)):
            seed = spec.seed
            if stream:
                seed = int(np.random.SeedSequence([spec.seed, *stream]).generate_state(1, np.uint64)[0] >> 1)
            generator = torch.Generator().manual_seed(seed)
            noise[row, :, : self.frames(own)] = torch.randn(
                self.mel_config.n_mels, self.frames(own), generator=generator
            )
        return noise

    @torch.inference_mode()
    def synthesise(self, specs: Sequence[BurstSpec]) -> list[Burst]:
        """One burst per spec, in order; raw model output, not post-processed.

        Clips are computed in batches of a shape that a clip alone decides, on a CPU on one thread: its bytes never
        depend on what else is made beside it.
        """
        for spec in specs:
            self.check(spec)
        at_once = ROWS.get(self.device.type, ROWS["cuda"])
        bursts: list[Burst] = []
        with one_thread() if self.device.type == "cpu" else same_every_time():
            clips = [(spec, self.attributes(spec)) for spec in specs]
            for (_, frames), alike in groupby(
                clips, key=lambda clip: (clip[0].sampling, self.padded(clip[1]))
            ):
                while rows := list(islice(alike, at_once)):
                    same_shape = rows + rows[:1] * (at_once - len(rows))
                    bursts += self._synthesise_rows(*zip(*same_shape, strict=True), frames)[: len(rows)]
        return bursts

    def padded(self, drawn: Attributes) -> int:
        """Mel frames that a clip is computed in: those of the longest one drawn, or that can be asked for, and a token.

        A whole token longer than any clip: attention with and without a mask differ in their last bits.
        """
        lengths = (self.durations[1], self.durations[1] + MARGIN)
        usual, longest = (self.mel_config.n_frames(round(seconds * SAMPLE_RATE)) for seconds in lengths)
        return (usual if self.frames(drawn) <= usual else longest) + self.transformer.patch

    @torch.inference_mode()
    def sketch(self, specs: Sequence[BurstSpec], batch_size: int = 32) -> list[torch.Tensor]:
        """x [M, T] of one clip per spec as it was sampled, before it is refined: what a refiner learns on.

        Clips of like length share a batch, for speed, so their last bits depend on what is made beside them. The specs
        must share their `sampling`.
        """
        for spec in specs:
            self.check(spec)
        drawn = [self.attributes(spec) for spec in specs]
        sketches: dict[int, torch.Tensor] = {}
        by_length = iter(sorted(range(len(specs)), key=lambda row: self.frames(drawn[row])))
        while rows := list(islice(by_length, batch_size)):
            owns = [drawn[row] for row in rows]
            x = self._sample([specs[row] for row in rows], owns, max(map(self.frames, owns))).cpu()
            for row, own, sampled in zip(rows, owns, x, strict=True):
                sketches[row] = sampled[:, : self.frames(own)]
        return [sketches[row] for row in range(len(specs))]

    def _synthesise_rows(
        self, specs: Sequence[BurstSpec], drawn: Sequence[Attributes], frames: int
    ) -> list[Burst]:
        """A batch in one go, padded to `frames` mel frames.

        The rows must share their `sampling` with the first.
        """
        x = self._sample(specs, drawn, frames)
        mels = self.normalizer.denormalize(x) if self.refiner is None else self.refine(specs, drawn, x)
        return [
            self.decode(spec, own, mels[row, :, : self.frames(own)])
            for row, (spec, own) in enumerate(zip(specs, drawn, strict=True))
        ]

    def frames(self, drawn: Attributes) -> int:
        """Mel frames of a clip."""
        return self.mel_config.n_frames(round(drawn.seconds * SAMPLE_RATE))

    def mask(self, drawn: Sequence[Attributes], frames: int) -> torch.Tensor:
        """[B, frames]: False where a clip has ended."""
        return torch.arange(frames) < torch.tensor([[self.frames(row)] for row in drawn])

    def _sample(self, specs: Sequence[BurstSpec], drawn: Sequence[Attributes], frames: int) -> torch.Tensor:
        """x [B, M, T] of `_synthesise_rows`, before it is refined."""
        noise = self.noise(specs, drawn, frames)
        device, first = self.device, specs[0]
        low, high = self.defaults["guidance_interval"]
        denoiser = guided(
            self.transformer,
            self.condition(specs, drawn).to(device),
            first.guidance,
            mask=self.mask(drawn, frames).to(device),
            guide=self.guide if self.defaults["guidance_by"] == "guide" else None,
            # The same part of the way, where it begins at the noise share `strength` instead of at 1.
            interval=(low * first.strength, high),
            learnt=self.defaults["guidance_learnt"],
            learnt_interval=(low, high),
        )
        scheduler = self.scheduler
        if first.scheduler != self.defaults["scheduler"]:
            scheduler = build_scheduler(first.scheduler, self.defaults["shift"])
        like = None if first.like is None else self.encode_clips(specs, frames)
        return sample(
            denoiser, noise.to(device), scheduler, first.steps,
            stretch=self.defaults["stretch"], like=like, strength=first.strength,
        )  # fmt: skip

    def refine(
        self, specs: Sequence[BurstSpec], drawn: Sequence[Attributes], x: torch.Tensor
    ) -> torch.Tensor:
        """x [B, M, T] -> mel [B, M, T] with the moments of recordings and their grain, as much of it as `grain` says.

        Sampled clips change their level from frame to frame more than recordings do; `steadying` takes that back.
        """
        noise = self.noise(specs, drawn, x.shape[-1], REFINING).to(x)
        mask = self.mask(drawn, x.shape[-1]).to(x.device)
        matched = self.refiner.matched(x)
        refined = self.refiner(x, noise, self.emotion(specs).to(x), mask)
        mel = self.normalizer.denormalize(matched + self.grain(specs[0]) * (refined - matched))
        return steadied(mel, self.defaults["steadying"], mask).clamp(min=self.mel_config.floor)

    def encode_clips(self, specs: Sequence[BurstSpec], frames: int) -> torch.Tensor:
        """x [B, M, T] of the clips that specs vary, at the level of training clips; zero where a clip has ended."""
        log_mel = LogMel(self.mel_config)
        x = torch.zeros(len(specs), self.mel_config.n_mels, frames, device=self.device)
        for row, spec in enumerate(specs):
            mel = log_mel(torch.from_numpy(normalise_level(spec.like)[0])).to(self.device)
            x[row, :, : mel.shape[-1]] = self.normalizer.normalize(mel)
        return x

    def grain(self, spec: BurstSpec) -> float:
        """How much of what the refiner adds a clip gets: the checkpoint's `grain` with its own steps and with fewer.

        More steps leave less noise to the last one, and so have more of the grain already.
        """
        defaults = self.defaults
        if (spec.steps, spec.scheduler) == (defaults["steps"], defaults["scheduler"]):
            return defaults["grain"]
        stretch = defaults["stretch"]
        own = last_sigma(build_scheduler(spec.scheduler, defaults["shift"]), spec.steps, stretch)
        return defaults["grain"] * min(1.0, own / last_sigma(self.scheduler, defaults["steps"], stretch))

    def decode(self, spec: BurstSpec, drawn: Attributes, mel: torch.Tensor) -> Burst:
        """mel [M, T] -> a burst at the level drawn, its voice as long as asked."""
        gain = 10 ** ((drawn.level_db - self.normalizer.config.level_db) / 20)

        def vocode(mel: torch.Tensor) -> np.ndarray:
            return (self.vocoder(mel[None])[0] * gain).float().cpu().numpy()

        wave, stretched = vocode(mel), None
        if spec.duration is not None and spec.stretched:
            hop, stretched = self.mel_config.hop_length, 1.0
            for _ in range(PASSES):
                first, last = active_span(wave)
                factor = stretch_factor((last - first) / SAMPLE_RATE, spec.duration, stretched)
                if factor == 1:
                    break
                mel = stretch_active(mel, first / hop, last / hop, factor, MARGIN * SAMPLE_RATE / hop)
                wave, stretched = vocode(mel), stretched * factor
        voice = None if drawn.voice == NO_VOICE else drawn.voice
        return Burst(
            wave, mel.cpu().numpy(), voice, drawn.active_seconds, spec.seed, stretched, drawn.second_voice
        )


class Synthesiser(Synthesis):
    """The parts of a checkpoint on a device, and nothing around them."""

    def __init__(self, parts: dict, defaults: dict, content_hash: str, device: str):
        """parts: of `parts.load_parts`; defaults: of `parts.load_settings`."""
        for name, part in parts.items():
            setattr(self, name, part.to(device) if isinstance(part, torch.nn.Module) else part)
        self.defaults, self.content_hash, self.device = defaults, content_hash, torch.device(device)


def load_synthesiser(
    checkpoint: str | Path | None = None, *, device: str = "cpu", vocoder: str | Path | None = None
) -> Synthesiser:
    """Of a checkpoint folder or hub id (None: the one that ships). Raises MissingModelError.

    vocoder: folder or hub id of another one, such as `charactr/vocos-mel-24khz`.
    """
    folder = locate_checkpoint(checkpoint)
    parts = load_parts(folder, vocoder or folder / "vocoder")
    return Synthesiser(parts, load_settings(folder), content_hash(folder), device)
