"""A guided denoiser to learn from, so that one network call does what guidance takes two or three for.

D = D_model + (guidance - 1) (D_model - D_blind) + autoguidance (D_model - D_weak): classifier-free guidance (Ho &
Salimans 2022) where sigma lies in an interval (Kynkaanniemi et al. 2024), and autoguidance by a less trained network
(Karras et al. 2024). A student that is taught D (Meng et al. 2023, "On distillation of guided diffusion models",
section 3.1, here for one guidance of each emotion) is then sampled without guidance.

Shape letters: B batch, M mel bin, T mel frame, E emotion.
"""

from __future__ import annotations

import torch

from vocalburst.gen.checkpoint import load_part, locate_checkpoint
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.models.conditioning import Condition
from vocalburst.gen.models.normalizer import MelNormalizer
from vocalburst.gen.models.outline import OutlineEncoder
from vocalburst.gen.models.transformer import BurstTransformer
from vocalburst.gen.train_config import TeacherSection


class Teacher:
    """(x [B, M, T], sigma [B], condition, mask [B, T]) -> guided clean x [B, M, T]; rows may differ in sigma.

    guidance acts on the rows with sigma in `interval`, autoguidance (0 = none) on those in `autoguidance_interval`.
    guidance: a number, or [E] one for each emotion, which a mix of them has in its shares.
    """

    def __init__(
        self,
        model: BurstTransformer,
        guidance: float | torch.Tensor,
        interval: tuple[float, float],
        weak: BurstTransformer | None = None,
        autoguidance: float = 0.0,
        autoguidance_interval: tuple[float, float] = (0.0, 1.0),
    ):
        self.model, self.interval = model, interval
        self.guidance = torch.as_tensor(guidance).expand(len(model.config.emotions))
        self.weak, self.autoguidance, self.autoguidance_interval = weak, autoguidance, autoguidance_interval

    @classmethod
    def load(
        cls,
        settings: TeacherSection,
        student: BurstTransformer,
        normalizer: MelNormalizer,
        outline: OutlineEncoder | None = None,
    ) -> Teacher:
        """Read the denoisers of checkpoint folders or hub ids.

        Raises MissingModelError, and InputDataError for networks that hear other conditions than the student, x of
        another normaliser or outlines of another encoder, and for a guidance of emotions that it does not know. One
        that hears no outlines may teach a student that does.
        """

        def denoiser(name: str) -> BurstTransformer:
            folder = locate_checkpoint(name)
            network = load_part(BurstTransformer, folder / "transformer").requires_grad_(False)
            check_same(name, network, student)
            check_same_part(
                name, load_part(MelNormalizer, folder / "normalizer"), normalizer, "normalises mels"
            )
            if network.config.outline:
                check_same_part(
                    name, load_part(OutlineEncoder, folder / "outline"), outline, "tells outlines"
                )
            return network

        weak = None if settings.weak is None else denoiser(settings.weak)
        strong = denoiser(settings.checkpoint)
        emotions = list(strong.config.emotions)
        if unknown := settings.guidance_of.keys() - set(emotions):
            raise InputDataError(
                f"teacher.guidance_of names emotions that {settings.checkpoint} was not trained on: "
                f"{', '.join(sorted(unknown))}"
            )
        guidance = torch.tensor([settings.guidance_of.get(name, settings.guidance) for name in emotions])
        return cls(
            strong, guidance, settings.guidance_interval, weak, settings.autoguidance,
            settings.autoguidance_interval,
        )  # fmt: skip

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
        guidance = self.guidance_of(condition)
        rows = (within(sigma, self.interval) & (guidance != 1)).nonzero()[:, 0]
        if len(rows):
            blind = self.model(
                x[rows],
                sigma[rows],
                condition.take(rows).without_emotion(),
                None if mask is None else mask[rows],
            )
            guided[rows] += (guidance[rows] - 1)[:, None, None] * (strong[rows] - blind)
        if self.weak is not None and self.autoguidance:
            rows = within(sigma, self.autoguidance_interval).nonzero()[:, 0]
            if len(rows):
                weaker = self.weak(
                    x[rows], sigma[rows], condition.take(rows), None if mask is None else mask[rows]
                )
                guided[rows] += self.autoguidance * (strong[rows] - weaker)
        return guided

    def guidance_of(self, condition: Condition) -> torch.Tensor:
        """[B] mean of the emotions' guidance by their weights; 1 for a row without an emotion."""
        weights = condition.emotion * condition.emotion_known
        total = weights.sum(dim=1)
        mean = weights @ self.guidance.to(weights) / total.clamp(min=1e-8)
        return torch.where(total > 0, mean, 1.0)


def within(sigma: torch.Tensor, interval: tuple[float, float]) -> torch.Tensor:
    """[B] True where sigma [B] lies in the interval, both ends included."""
    return (sigma >= interval[0]) & (sigma <= interval[1])


def check_same(name: str, teacher: BurstTransformer, student: BurstTransformer) -> None:
    """Raise InputDataError unless teacher and student hear the same conditions."""
    for key in ("emotions", "voices", "countries", "n_mels"):
        if teacher.config[key] != student.config[key]:
            raise InputDataError(
                f"the teacher {name}: its {key} are {teacher.config[key]}, the student has {student.config[key]}"
            )


def check_same_part(name: str, its: torch.nn.Module, own: torch.nn.Module | None, does: str) -> None:
    """Raise InputDataError unless a part of the teacher has the tensors of the student's."""
    theirs, ours = its.state_dict(), {} if own is None else own.state_dict()
    if theirs.keys() != ours.keys() or any(
        value.shape != ours[key].shape or not torch.equal(value, ours[key].cpu())
        for key, value in theirs.items()
    ):
        raise InputDataError(
            f"the teacher {name} {does} in its own way; start the student from a checkpoint that shares it (init)"
        )
