"""What a recogniser heard in a set of clips, summed up per emotion and printed beside other sets.

Shape letters: N clips, E emotions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vocalburst.eval import rates


@dataclass(frozen=True)
class Heard:
    """The recogniser's answer to a set of clips.

    asked: index of the emotion [N]; probability: [N, E]; speakers: [N], or None for independent draws.
    """

    asked: np.ndarray
    probability: np.ndarray
    speakers: list[str] | None = None

    @property
    def hits(self) -> np.ndarray:
        """1.0 where the asked emotion is the most probable one, [N]."""
        return (self.probability.argmax(axis=1) == self.asked).astype(float)

    @property
    def asked_probability(self) -> np.ndarray:
        return self.probability[np.arange(len(self.asked)), self.asked]


def summary(heard: Heard, emotions: tuple[str, ...], seed: int) -> dict:
    """Per emotion and in the mean: n, recognition rate, probability of the asked emotion; with intervals."""
    result: dict = {"n": len(heard.asked), "resampled": "clips" if heard.speakers is None else "speakers"}
    counts = np.bincount(heard.asked, minlength=len(emotions))
    columns = {}
    for key, values in (("rate", heard.hits), ("probability", heard.asked_probability)):
        columns[key] = rates.emotion_means(values, heard.asked, len(emotions))
        result[key] = float(np.nanmean(columns[key]))
        if heard.speakers is None:
            interval = rates.interval_over_clips(values, heard.asked, seed=seed)
        else:
            interval = rates.interval_over_groups(values, heard.asked, heard.speakers, seed=seed)
        result[f"{key}_interval"] = list(interval)
    result["emotions"] = per_emotion(counts, columns, emotions)
    predicted = heard.probability.argmax(axis=1)
    result["confusion"] = rates.confusion(heard.asked, predicted, len(emotions)).tolist()
    return result


def shuffled_summary(heard: Heard, emotions: tuple[str, ...], seed: int) -> dict:
    """The same clips with the asked emotions dealt out at random; the intervals are over permutations."""
    result: dict = {"n": len(heard.asked), "resampled": "labels"}
    columns = {}
    one_hot = np.eye(len(emotions))[heard.probability.argmax(axis=1)]
    for key, values in (("rate", one_hot), ("probability", heard.probability)):
        columns[key], interval = rates.shuffled_rates(heard.asked, values, seed=seed)
        result[key] = float(np.nanmean(columns[key]))
        result[f"{key}_interval"] = list(interval)
    result["emotions"] = per_emotion(np.bincount(heard.asked, minlength=len(emotions)), columns, emotions)
    return result


def per_emotion(
    counts: np.ndarray, columns: dict[str, np.ndarray], emotions: tuple[str, ...]
) -> dict[str, dict]:
    return {
        emotions[e]: {"n": int(counts[e]), **{key: float(values[e]) for key, values in columns.items()}}
        for e in np.flatnonzero(counts)
    }


def markdown(sets: dict[str, dict]) -> str:
    """One row per emotion and the mean; a cell is `rate / mean probability (n)`, both in per cent."""
    emotions = list(next(iter(sets.values()))["emotions"])
    lines = ["| emotion | " + " | ".join(sets) + " |", "|---" * (len(sets) + 1) + "|"]
    for emotion in emotions:
        cells = [s["emotions"][emotion] for s in sets.values()]
        texts = [f"{100 * c['rate']:.1f} / {100 * c['probability']:.1f} ({c['n']})" for c in cells]
        lines.append(f"| {emotion} | " + " | ".join(texts) + " |")
    means = []
    for s in sets.values():
        low, high = (100 * value for value in s["rate_interval"])
        means.append(
            f"**{100 * s['rate']:.1f}** [{low:.1f}, {high:.1f}] / {100 * s['probability']:.1f} ({s['n']})"
        )
    lines.append("| **mean** | " + " | ".join(means) + " |")
    over = ", ".join(f"{name} over {s['resampled']}" for name, s in sets.items())
    lines += [
        "",
        f"Recognition rate / mean probability of the asked emotion, in % (clips). 95 % intervals: {over}.",
    ]
    return "\n".join(lines)
