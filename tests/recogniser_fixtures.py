"""Small recognisers of every family with random weights, and tones for them to hear."""

from __future__ import annotations

import numpy as np
import torch

from vocalburst.eval.emo18 import Emo18Recogniser
from vocalburst.eval.logmel import LogMelConfig, LogMelRecogniser
from vocalburst.eval.recogniser import NetworkConfig, Recogniser
from vocalburst.gen.data.audio import SAMPLE_RATE

EMOTIONS = ("anger", "awe", "fear")


def unsettle(model: Recogniser) -> Recogniser:
    """Batch norms whose shift would leak into padding if nothing masked it, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if name.endswith(("running_mean", "norm.bias")):
            value.normal_(std=0.5, generator=generator)
    return model.eval()


def small_logmel(**changes) -> LogMelRecogniser:
    torch.manual_seed(0)
    model = LogMelRecogniser(LogMelConfig(emotions=EMOTIONS, channels=(4, 8, 8), embedding_dim=16, **changes))
    model.mel_mean.fill_(-6.0)
    return unsettle(model)


def random_emo18() -> Emo18Recogniser:
    """The only size there is; LSTM weights large enough for a frame to matter."""
    torch.manual_seed(0)
    model = Emo18Recogniser(NetworkConfig(emotions=EMOTIONS))
    for parameter in model.network.rnn.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return unsettle(model)


SMALL = {"emo18": random_emo18, "logmel": small_logmel}


def tone(hz: float, seconds: float, seed: int = 0, amplitude: float = 0.3) -> np.ndarray:
    """A sine with a little noise, float32 [L] at 24 kHz."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(seed).normal(size=len(times))
    return (amplitude * (np.sin(2 * np.pi * hz * times) + 0.05 * noise)).astype(np.float32)
