"""Emo18 once more, in plain numpy and loops, in the order of the published code: slow and obvious.

`state` holds float64 arrays by the names of `Emo18.state_dict()`.
"""

from __future__ import annotations

import numpy as np

FRAME = 1600


def reference_frames(wave: np.ndarray) -> np.ndarray:
    """[T, 1600]: divided by the largest sample, then zeros up to the next multiple, never none."""
    wave = np.asarray(wave, np.float32)
    wave = (wave / (wave.max() + np.float32(1.1920929e-07))).astype(np.float64)
    missing = FRAME - len(wave) % FRAME
    return np.concatenate([wave, np.zeros(missing)]).reshape(-1, FRAME)


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, padding: int) -> np.ndarray:
    """x [C, L] -> [C', L']: every output sample is a sum over input channels and taps."""
    x = np.pad(x, ((0, 0), (padding, padding)))
    taps = weight.shape[2]
    columns = [np.tensordot(weight, x[:, t : t + taps], 2) + bias for t in range(x.shape[1] - taps + 1)]
    return np.stack(columns, axis=1)


def block(x: np.ndarray, state: dict[str, np.ndarray], index: int, padding: int, pool: int) -> np.ndarray:
    """Convolution, batch norm by running statistics, leaky ReLU, maximum over windows that do not overlap."""
    of = {
        name: state[f"blocks.{index}.{name}"]
        for name in ("conv.weight", "conv.bias", "norm.weight", "norm.bias")
    }
    mean, var = state[f"blocks.{index}.norm.running_mean"], state[f"blocks.{index}.norm.running_var"]
    x = convolve(x, of["conv.weight"], of["conv.bias"], padding)
    x = (x - mean[:, None]) / np.sqrt(var[:, None] + 1e-5) * of["norm.weight"][:, None] + of["norm.bias"][
        :, None
    ]
    x = np.where(x > 0, x, 0.01 * x)
    return np.stack([x[:, i * pool : (i + 1) * pool].max(axis=1) for i in range(x.shape[1] // pool)], axis=1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm_layer(inputs: np.ndarray, state: dict[str, np.ndarray], layer: int) -> np.ndarray:
    """Hidden states [T, H] of one layer from zeros; torch's order of gates: input, forget, cell, output."""
    weights = [state[f"rnn.{name}_l{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    size = weights[1].shape[1]
    hidden, cell, states = np.zeros(size), np.zeros(size), []
    for x in inputs:
        gates = weights[0] @ x + weights[2] + weights[1] @ hidden + weights[3]
        enter, forget, new, leave = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
        hidden = sigmoid(leave) * np.tanh(cell)
        states.append(hidden)
    return np.array(states)


def reference_embedding(frames: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    """[256]: the top layer after the last frame."""
    features = []
    for frame in frames:
        x = frame[None]
        for index, (padding, pool) in enumerate([(3, 10), (2, 8), (2, 8)]):
            x = block(x, state, index, padding, pool)
        features.append(x.reshape(-1))  # channel by channel
    return lstm_layer(lstm_layer(np.array(features), state, 0), state, 1)[-1]
