"""Sweeps: the same noise, length, level and voice again and again, while only the emotion or its intensity changes."""

from __future__ import annotations

from dataclasses import dataclass

from vocalburst.gen.data.emotions import EmotionRequest


@dataclass(frozen=True)
class Point:
    """One clip of a sweep; position: 0 at its start, 1 at its end; vector: emotion -> weight in (0, 1]."""

    position: float
    vector: dict[str, float]
    intensity: float


def positions(count: int) -> list[float]:
    return [index / (count - 1) for index in range(count)]


@dataclass(frozen=True)
class EmotionSweep:
    """`count` mixes in equal steps from one request to another, both included."""

    start: EmotionRequest
    end: EmotionRequest
    intensity: float  # that both requests are already scaled by
    count: int

    @property
    def request(self) -> EmotionRequest:
        """What the sweep is called (`awe+fear`) and, in the middle of it, what attributes are drawn by."""
        return EmotionRequest(
            asked={**self.start.asked, **self.end.asked},
            vector=self._mix(0.5),
            aliases=tuple(dict.fromkeys((*self.start.aliases, *self.end.aliases))),
        )

    def points(self, request: EmotionRequest) -> list[Point]:
        return [Point(position, self._mix(position), self.intensity) for position in positions(self.count)]

    def settings(self) -> dict:
        return {"from": self.start.vector, "to": self.end.vector, "positions": self.count}

    def _mix(self, position: float) -> dict[str, float]:
        names = dict.fromkeys((*self.start.vector, *self.end.vector))
        ends = [(self.start.vector.get(name, 0.0), self.end.vector.get(name, 0.0)) for name in names]
        weights = [(1 - position) * start + position * end for start, end in ends]
        return {name: weight for name, weight in zip(names, weights, strict=True) if weight > 0}


@dataclass(frozen=True)
class IntensitySweep:
    """`count` intensities in equal steps, both ends included, of a request of intensity 1."""

    low: float
    high: float
    count: int

    def points(self, request: EmotionRequest) -> list[Point]:
        points = []
        for position in positions(self.count):
            intensity = (1 - position) * self.low + position * self.high
            vector = {name: weight * intensity for name, weight in request.vector.items()}
            points.append(Point(position, vector, intensity))
        return points

    def settings(self) -> dict:
        return {"intensity": [self.low, self.high], "positions": self.count}
