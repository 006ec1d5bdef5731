"""Resampled totals: what the sums over clips would be for other draws of speakers or clips.

Shape letters: N clips, M summands, B resamples, S groups (speakers).

The scheme and the draws are those of `recognition`: whole speakers where they are known, else clips within their class
(all clips, where there is none).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vocalburst.eval.rates import LEVELS, RESAMPLES

BLOCK = 50  # resamples whose weights of all clips are held at once


def resampled_totals(
    summands: np.ndarray,
    classes: np.ndarray,
    groups: Sequence[str] | None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> np.ndarray | None:
    """Totals [B, M] of summands [N, M]; None where there is but one speaker to draw.

    classes: [N], within which clips are drawn when `groups` is None.
    """
    generator = np.random.default_rng(seed)
    if groups is not None:
        names, group = np.unique(np.asarray(groups), return_inverse=True)
        if len(names) < 2:
            return None
        by_group = np.zeros((len(names), summands.shape[1]))
        np.add.at(by_group, group, summands)
        return (
            generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples) @ by_group
        )
    result = np.zeros((resamples, summands.shape[1]))
    for name in np.unique(classes):
        own = summands[classes == name]
        shares = np.full(len(own), 1 / len(own))
        for start in range(0, resamples, BLOCK):
            rows = result[start : start + BLOCK]
            rows += generator.multinomial(len(own), shares, size=len(rows)) @ own
    return result


def interval(values: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """95 % percentile interval of resampled values [B]; NaN ones, which are undefined, are left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    low, high = np.percentile(known, LEVELS)
    return float(low), float(high)
