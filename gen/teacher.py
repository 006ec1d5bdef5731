"""A guided denoiser to learn from, so that one network call does what guidance takes two or three for.

D = D_model + (guidance - 1) (D_model - D_blind) + autoguidance (D_model - D_weak): classifier-free guidance (Ho &
Salimans 2022) where sigma lies in an interval (Kynkaanniemi et al. 2024), and autoguidance by a less trained network
(Karras et al. 2024). A student that is taught D (Meng et al. 2023, "On distillation of guided diffusion models",
section 3.1, here for one guidance) is then sampled without guidance.

Shape letters: B batch, M mel bin, T mel frame.
"""

from __future__ import annotations

import torch

from vocalburst.gen.checkpoint import load_part, locate_checkpoint
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.models.conditioning import Condition
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.train_config import TeacherSection


class Teacher:
    """(x [B, M, T], sigma [B], condition, mask [B, T]) -> guided clean x [B, M, T]; rows may differ in sigma.

    guidance acts on the rows with sigma in `interval`, autoguidance (0 = none) on all of them.
    """

    def __init__(
        self,
        model: BurstTransformer,
        guidance: float,
        interval: tuple[float, float],
        weak: BurstTransformer | None = None,
        autoguidance: float = 0.0,
    ):
        self.model, self.guidance, self.interval = model, guidance, interval
        self.weak, self.autoguidance = weak, autoguidance

    @classmethod
    def load(cls, settings: TeacherSection, student: BurstTransformer, normalizer: MelNormalizer) -> Teacher:
        """Read the denoisers of checkpoint folders or hub ids.

        Raises MissingModelError, and InputDataError for networks that hear other conditions than the student, or x of
        another normaliser.
        """

        def denoiser(name: str) -> BurstTransformer:
            folder = locate_checkpoint(name)
            network = load_part(BurstTransformer, folder / "transformer").requires_grad_(False)
            check_same(name, network, load_part(MelNormalizer, folder / "normalizer"), student, normalizer)
            return network

        weak = None if settings.weak is None else denoiser(settings.weak)
        strong = denoiser(settings.checkpoint)
        return cls(strong, settings.guidance, settings.guidance_interval, weak, settings.autoguidance)

    def to(self, device: torch.device) -> Teacher:
        self.model.to(device)
        if self.weak is not None:
            self.weak.to(device)
        return self

    @torch.no_grad()
    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, condition: Condition, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        strong = self.model(x, sigma, condition, mask)
        guided = strong.clone()
        low, high = self.interval
        rows = ((sigma >= low) & (sigma <= high) & condition.emotion_known.any(dim=1)).nonzero()[:, 0]
        if self.guidance != 1 and len(rows):
            blind = self.model(
                x[rows],
                sigma[rows],
                condition.take(rows).without_emotion(),
                None if mask is None else mask[rows],
            )
            guided[rows] += (self.guidance - 1) * (strong[rows] - blind)
        if self.weak is not None and self.autoguidance:
            guided += self.autoguidance * (strong - self.weak(x, sigma, condition, mask))
        return guided


def check_same(
    name: str,
    teacher: BurstTransformer,
    its_normalizer: MelNormalizer,
    student: BurstTransformer,
    normalizer: MelNormalizer,
) -> None:
    """Raise InputDataError unless teacher and student hear the same conditions and mean the same by x."""
    for key in ("emotions", "voices", "countries", "n_mels"):
        if teacher.config[key] != student.config[key]:
            raise InputDataError(
                f"the teacher {name}: its {key} are {teacher.config[key]}, the student has {student.config[key]}"
            )
    own = normalizer.state_dict()
    if any(not torch.equal(value, own[key].cpu()) for key, value in its_normalizer.state_dict().items()):
        raise InputDataError(
            f"the teacher {name} normalises mels in its own way; start the student from a checkpoint that shares its "
            "normaliser (init)"
        )
