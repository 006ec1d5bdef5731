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
from vocalburst.gen.models.transformer import BurstTransformer


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
    def load(
        cls,
        checkpoint: str,
        guidance: float,
        interval: tuple[float, float],
        weak: str | None,
        autoguidance: float,
    ) -> Teacher:
        """Read the denoisers of checkpoint folders or hub ids. Raises MissingModelError."""

        def denoiser(name: str) -> BurstTransformer:
            return load_part(BurstTransformer, locate_checkpoint(name) / "transformer").requires_grad_(False)

        weak_model = denoiser(weak) if weak is not None else None
        return cls(denoiser(checkpoint), guidance, interval, weak_model, autoguidance)

    def to(self, device: torch.device) -> Teacher:
        self.model.to(device)
        if self.weak is not None:
            self.weak.to(device)
        return self

    def check(self, student: BurstTransformer) -> None:
        """Raise InputDataError unless the networks hear the same conditions as the student."""
        for network in (self.model, self.weak):
            for name in ("emotions", "voices", "countries", "n_mels"):
                if network is not None and network.config[name] != student.config[name]:
                    raise InputDataError(
                        f"teacher: its {name} are {network.config[name]}, the student has {student.config[name]}"
                    )

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
