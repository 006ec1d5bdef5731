"""Pictures of log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from vocalburst.gen.data.mel import MelConfig


def save_mels(
    path: Path,
    rows: Sequence[Sequence[torch.Tensor]],
    columns: Sequence[str],
    names: Sequence[str],
    config: MelConfig,
) -> None:
    """Write a PNG grid: one row of mels [M, T] per name, one column per title; time runs to the right in seconds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    longest = max(mel.shape[-1] for row in rows for mel in row)
    figure = Figure(figsize=(2.4 * len(columns), 2.1 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True, sharey=True)
    for row, (mels, name) in enumerate(zip(rows, names, strict=True)):
        for column, mel in enumerate(mels):
            axis = grid[row][column]
            end = mel.shape[-1] * config.hop_length / config.sample_rate
            axis.imshow(
                mel.numpy(), origin="lower", aspect="auto", cmap="magma", vmin=-10, vmax=2.5,
                extent=(0, end, 0, config.n_mels), interpolation="nearest",
            )  # fmt: skip
            axis.set_xlim(0, longest * config.hop_length / config.sample_rate)
            if row == 0:
                axis.set_title(columns[column], fontsize=9)
            if column == 0:
                axis.set_ylabel(f"{name}\nmel bin", fontsize=8)
            axis.tick_params(labelsize=7)
    for axis in grid[-1]:
        axis.set_xlabel("s", fontsize=8)
    figure.savefig(path, dpi=110)
