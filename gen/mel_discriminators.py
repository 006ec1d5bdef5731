"""What tells refined mels from recorded ones while the refiner trains: small and large patches, and the course of all
bins.

Hinge losses (Lim & Ye 2017, "Geometric GAN"), weight normalisation, and the emotion by projection (Miyato & Koyama
2018, "cGANs with projection discriminator").

Shape letters: B batch, E emotion, H hidden channel, M mel bin, T mel frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.2  # of the leaky ReLU
DETAIL = 12.0  # brings the change of x from frame to frame to a standard deviation of about 1
TOGETHER = 3.0  # the same of the mean change of all bins


class Branch(nn.Module):
    """Convolutions, then a score at every place: a linear one plus the match of the place with the emotion."""

    def __init__(self, convolutions: Sequence[nn.Module], n_emotions: int, dim: int):
        super().__init__()
        self.convolutions = nn.ModuleList([weight_norm(conv) for conv in convolutions])
        self.score = weight_norm(nn.Linear(dim, 1))
        self.emotion = weight_norm(nn.Linear(n_emotions, dim, bias=False))

    def forward(self, x: torch.Tensor, emotion: torch.Tensor) -> torch.Tensor:
        for conv in self.convolutions:
            x = F.leaky_relu(conv(x), SLOPE)
        places = x.flatten(2).transpose(1, 2)  # [B, places, H]
        return self.score(places)[..., 0] + (places * self.emotion(emotion)[:, None]).mean(dim=-1)


class MelDiscriminators(nn.Module):
    """x [B, M, T], emotion [B, E] -> a list of scores [B, places], higher for recorded mels."""

    def __init__(self, n_emotions: int, n_mels: int, width: int = 32):
        super().__init__()
        w = width
        place = torch.linspace(-1, 1, n_mels)[None, None, :, None]
        self.register_buffer("place", place, persistent=False)
        fine = [
            nn.Conv2d(5, w, 3, padding=1),
            nn.Conv2d(w, 2 * w, (4, 4), stride=2, padding=1),
            nn.Conv2d(2 * w, 2 * w, 3, padding=1, stride=(2, 1)),
        ]
        wide = [
            nn.Conv2d(5, w, (6, 6), stride=2, padding=2),
            nn.Conv2d(w, 2 * w, 4, stride=2, padding=1),
            nn.Conv2d(2 * w, 4 * w, 4, stride=2, padding=1),
            nn.Conv2d(4 * w, 4 * w, 3, padding=1),
        ]
        course = [
            nn.Conv1d(2 * n_mels + 1, 4 * w, 5, padding=2),
            nn.Conv1d(4 * w, 4 * w, 6, stride=2, padding=2),
            nn.Conv1d(4 * w, 8 * w, 6, stride=2, padding=2),
            nn.Conv1d(8 * w, 8 * w, 5, stride=2, padding=2),
        ]
        self.fine = Branch(fine, n_emotions, 2 * w)
        self.wide = Branch(wide, n_emotions, 4 * w)
        self.course = Branch(course, n_emotions, 8 * w)

    def forward(self, x: torch.Tensor, emotion: torch.Tensor) -> list[torch.Tensor]:
        # Where the grain is, which is small beside the mel itself; and how all bins move together.
        change = DETAIL * F.pad(x.diff(dim=-1), (1, 0))
        slope = DETAIL * F.pad(x.diff(dim=1), (0, 0, 1, 0))
        together = TOGETHER * change.mean(dim=1, keepdim=True)
        place = self.place.to(x)[:, 0].expand(len(x), -1, x.shape[-1])
        image = torch.stack([2 * x, change, slope, together.expand_as(x), place], dim=1)
        x = torch.cat([2 * x, change, together], dim=1)
        return [self.fine(image, emotion), self.wide(image, emotion), self.course(x, emotion)]


def discriminator_hinge(scores: list[torch.Tensor]) -> torch.Tensor:
    """Mean over branches of max(0, 1 - score of recorded) + max(0, 1 + score of refined).

    scores [2 B, places]: the first half of the rows is of recorded mels, the second of refined ones.
    """
    halves = [score.float().chunk(2) for score in scores]
    return torch.stack([F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in halves]).mean()


def refiner_hinge(scores: list[torch.Tensor]) -> torch.Tensor:
    """Minus the mean score of refined mels."""
    return -torch.stack([score.float().mean() for score in scores]).mean()
