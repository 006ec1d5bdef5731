"""Emotion in, vocal burst out: the diffusers pipeline of a checkpoint.

    from vocalburst.gen import load_generator
    pipeline = load_generator()
    wave = pipeline("awe:0.7,fear:0.3", seed=7).audios[0]

What happens inside: `synthesis`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
from diffusers import AudioPipelineOutput, DiffusionPipeline, SchedulerMixin

from vocalburst.gen.burst import STRENGTH, BurstSpec
from vocalburst.gen.checkpoint import content_hash, locate_checkpoint
from vocalburst.gen.data.audio import write_file
from vocalburst.gen.data.emotions import parse_request
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.models.outline import OutlineEncoder
from vocalburst.gen.models.prior import ClipPrior
from vocalburst.gen.models.refiner import MelRefiner
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.models.vocoder import BurstVocoder
from vocalburst.gen.parts import GENERATION_DEFAULTS, load_parts, load_settings
from vocalburst.gen.synthesis import Synthesis


class BurstPipeline(DiffusionPipeline, Synthesis):
    """Parts and the order they are called in. Build with `from_pretrained` or `load_generator`."""

    model_cpu_offload_seq = "transformer->refiner->vocoder"
    _optional_components: ClassVar[list[str]] = ["guide", "outline", "refiner"]

    def __init__(
        self,
        transformer: BurstTransformer,
        normalizer: MelNormalizer,
        prior: ClipPrior,
        vocoder: BurstVocoder,
        scheduler: SchedulerMixin,
        guide: BurstTransformer | None = None,
        outline: OutlineEncoder | None = None,
        refiner: MelRefiner | None = None,
    ):
        super().__init__()
        self.register_modules(
            transformer=transformer, normalizer=normalizer, prior=prior, vocoder=vocoder, scheduler=scheduler,
            guide=guide, outline=outline, refiner=refiner,
        )  # fmt: skip
        self.defaults = dict(GENERATION_DEFAULTS)
        self.content_hash = ""

    @classmethod
    def from_pretrained(
        cls, checkpoint: str | Path | None = None, *, vocoder: str | Path | None = None
    ) -> BurstPipeline:
        """Load a checkpoint folder or hub id; None is the one that ships. Raises MissingModelError.

        vocoder: folder or hub id of another one, such as `charactr/vocos-mel-24khz`.
        """
        folder = locate_checkpoint(checkpoint)
        pipeline = cls(**load_parts(folder, vocoder or folder / "vocoder"))
        pipeline.defaults = load_settings(folder)
        pipeline.content_hash = content_hash(folder)
        return pipeline

    def save_pretrained(self, save_directory: str | Path, **options) -> None:
        """Write the folder that `from_pretrained` reads (safetensors only)."""
        super().save_pretrained(save_directory, safe_serialization=True, **options)
        write_file(
            Path(save_directory) / "generation.json", (json.dumps(self.defaults, indent=2) + "\n").encode()
        )

    def __call__(
        self,
        emotion: str,
        *,
        num_waveforms_per_prompt: int = 1,
        intensity: float = 1.0,
        seed: int = 0,
        voice: int | None = None,
        second_voice: int | None = None,
        duration: float | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        scheduler: str | None = None,
        like: np.ndarray | None = None,
        strength: float = STRENGTH,
        return_dict: bool = True,
    ) -> AudioPipelineOutput | tuple[list[np.ndarray]]:
        """Bursts of one request (`awe`, or `awe:0.7,fear:0.3`) with the seeds seed, seed + 1, ...

        voice, second_voice: rows of training speakers, the second mixed into the first; None draws both.
        like: a real clip [L] to vary under the emotion, as far as `strength` says (0 to 1, see `BurstSpec`).
        Returns AudioPipelineOutput whose `audios` is a list of float32 waves [L] at `audio.SAMPLE_RATE`.
        """
        vector = parse_request(emotion, self.emotions, intensity).vector
        asked = {"steps": num_inference_steps, "guidance": guidance_scale, "scheduler": scheduler}
        settings = {key: self.defaults[key] if value is None else value for key, value in asked.items()}
        specs = [
            BurstSpec(
                vector, seed + index, voice=voice, second_voice=second_voice, duration=duration, like=like,
                strength=1.0 if like is None else strength, **settings,
            )
            for index in range(num_waveforms_per_prompt)
        ]  # fmt: skip
        audios = [burst.wave for burst in self.synthesise(specs)]
        return AudioPipelineOutput(audios=audios) if return_dict else (audios,)


def load_generator(
    checkpoint: str | Path | None = None, *, device: str = "cpu", vocoder: str | Path | None = None
) -> BurstPipeline:
    """The pipeline of a checkpoint (None: the one that ships) on a device."""
    return BurstPipeline.from_pretrained(checkpoint, vocoder=vocoder).to(device)


def generate_bursts(
    emotion: str, n: int = 1, *, checkpoint: str | Path | None = None, **options
) -> list[np.ndarray]:
    """Waves [L] of n bursts; options as in `BurstPipeline.__call__`."""
    return load_generator(checkpoint)(emotion, num_waveforms_per_prompt=n, **options).audios
