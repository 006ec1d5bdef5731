"""Emo18: the network whose embeddings the official ExVo 2022 distance lives in, and our own training of it.

Shape letters: B clips, L wave sample at 16 kHz, N frame, T frame of a clip, C channel, H hidden unit, E emotion.

A wave is divided by its largest sample and cut into frames of 100 ms. Three convolutions make 512 numbers of a
frame, a two-layer LSTM runs over the frames, and the embedding is what its top layer holds at the clip's own
last frame. The LSTM only looks back, so frames that pad a batch change nothing. Tzirakis et al. 2018
(arXiv 1802.07015), as in the public code of ExVo 2022 (arXiv 2205.01780).

A pool and what follows it are in another order here than in that code, for the same function: a maximum
commutes with the batch norm and the leaky ReLU, which are monotonic per channel, so they only touch what the
pool kept, a tenth of the samples. In training the statistics of a batch norm are therefore those of maxima.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import soxr
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from vocalburst.eval.recogniser import NetworkConfig, Recogniser, active_part
from vocalburst.gen.data.audio import SAMPLE_RATE

RATE = 16_000  # Hz
FRAME = 1600  # samples
EPSILON = 1.1920929e-07  # numpy's for float32, which the official code adds to the largest sample
BLOCKS = ((1, 64, 8, 3, 10), (64, 128, 6, 2, 8), (128, 256, 6, 2, 8))  # in, out, kernel, padding, pool
FRAME_DIM = 512  # numbers per frame: 256 channels x 2 places
DIM = 256  # H


def official_frames(wave: torch.Tensor) -> torch.Tensor:
    """Frames [T, FRAME] of a wave [L] at `RATE`, T = L // FRAME + 1, as the official code cuts them.

    The wave is divided by its largest sample, sign and all: a clip whose negative peak is the larger one
    exceeds -1, and one of zeros stays so. Zeros fill the last frame; where L is a multiple of FRAME they make
    a frame of their own.
    """
    wave = wave / (wave.max() + EPSILON)
    return functional.pad(wave, (0, FRAME - len(wave) % FRAME)).view(-1, FRAME)


class Block(nn.Module):
    """x [N, C, L] -> [N, C', L' // pool]: maximum over `pool` of the leaky ReLU of the normalised convolution."""

    def __init__(self, n_in: int, n_out: int, kernel: int, padding: int, pool: int):
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, kernel, padding=padding)
        self.norm = nn.BatchNorm1d(n_out)
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # A negative scale turns the order of the samples round: there the smallest one is the maximum.
        sign = torch.where(self.norm.weight < 0, -1.0, 1.0)
        weight, bias = self.conv.weight * sign[:, None, None], self.conv.bias * sign
        x = functional.conv1d(x, weight, bias, padding=self.conv.padding)
        x = functional.max_pool1d(x, self.pool) * sign[:, None]
        return functional.leaky_relu(self.norm(x), 0.01)


class Emo18(nn.Module):
    """Frames -> embedding [B, H]. The outputs of the official network are not part of it: no distance uses them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(*sizes) for sizes in BLOCKS])
        self.rnn = nn.LSTM(FRAME_DIM, DIM, num_layers=2, batch_first=True)

    def forward(self, clips: Sequence[torch.Tensor]) -> torch.Tensor:
        """embedding [B, H] of clips of frames [T, FRAME], each of its own length."""
        counts = [len(frames) for frames in clips]
        x = self.blocks(torch.cat(list(clips))[:, None]).flatten(1)  # [N, FRAME_DIM], no padding among them
        hidden, _ = self.rnn(pad_sequence(list(x.split(counts)), batch_first=True))  # [B, T, H]
        last = torch.tensor(counts, device=hidden.device) - 1
        return hidden[torch.arange(len(counts), device=hidden.device), last].float()


@torch.no_grad()
def open_forget_gates(rnn: nn.LSTM) -> None:
    """Let the last frame of a new LSTM remember the first (Jozefowicz et al. 2015)."""
    for layer in range(rnn.num_layers):
        getattr(rnn, f"bias_ih_l{layer}")[rnn.hidden_size : 2 * rnn.hidden_size] = 1.0


def frame_clips(waves: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
    """Frames [T, FRAME] of every wave of [B, L], of which the first `lengths` [B] samples of each clip count."""
    return [official_frames(wave[:n]) for wave, n in zip(waves, lengths.tolist(), strict=True)]


class Emo18Recogniser(Recogniser):
    """wave -> embedding [B, H] and log-odds [B, E]; its features are the voice-active wave [L] at 16 kHz."""

    family = "emo18"
    title = "Emo18 recogniser"
    config_class = NetworkConfig

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.network = Emo18()
        self.head = nn.Linear(DIM, len(config.emotions))
        open_forget_gates(self.network.rnn)

    @property
    def dim(self) -> int:
        return DIM

    @property
    def preprocessing(self) -> str:
        return f"active-40db_{RATE}hz_signed-max_frames-{FRAME}"

    def features(self, wave: np.ndarray) -> torch.Tensor:
        """The voice-active part [L] at 16 kHz of a wave at `SAMPLE_RATE`; its level is left to the framing.

        The official code does not cut. Here the embedding is what the LSTM holds at the last frame, and it
        should be the end of the burst, not of the silence that a recorder left behind it.
        Raises InputDataError when the wave is digital silence.
        """
        active = soxr.resample(active_part(wave).astype(np.float32), SAMPLE_RATE, RATE)
        return torch.from_numpy(active).to(self.head.weight.device)

    def embed_features(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """embedding [B, H] of waves [B, L], of which the first `lengths` [B] samples of each clip count."""
        return self.network(frame_clips(x, lengths))

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        dropped = functional.dropout(embedding, self.config.dropout, self.training)
        return self.head(dropped)
