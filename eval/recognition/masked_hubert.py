"""HuBERT for clips of different lengths in one batch: what pads a clip changes none of its time steps.

Two things stand against that. Base-size networks normalise their first convolution over all of a clip's time ("group"
norm), so there the convolutions hear the clips of each length by themselves; large ones normalise over channels alone
and take the batch as it is. The transformer gets a mask, and its positional convolution zeros instead of padding, as
beyond the end of a lone clip.

Shape letters: B clips, L wave sample at 16 kHz, S time step, D embedding.
"""

from __future__ import annotations

import torch
from torch import nn

from vocalburst.gen.data.errors import MissingModelError

# SpecAugment needs ten time steps (a short burst has fewer) and draws from numpy's global state; a layer left out of a
# step has no gradient there. The paper names neither.
CHANGES = {"apply_spec_augment": False, "layerdrop": 0.0}


class MaskedHubert(nn.Module):
    """wave [B, L], lengths [B] -> hidden states [B, S, D] and how many of them are a clip's own, [B].

    Convolutions and feature projection are frozen, the transformer is not (LoopQ solution, section 3.4). A step is a
    clip's own when all the samples that it looks at are. Raises MissingModelError for a batch norm over time steps.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        if getattr(network.config, "conv_pos_batch_norm", False):
            raise MissingModelError(
                "a HuBERT with batch norm in its positional convolution hears the padding of a batch"
            )
        network.config.update(CHANGES)
        self.network = network
        for part in (network.feature_extractor, network.feature_projection):
            part.requires_grad_(False)
        network.masked_spec_embed.requires_grad_(False)
        self.dim = int(network.config.hidden_size)

    def train(self, mode: bool = True) -> MaskedHubert:
        super().train(mode)
        self.network.feature_projection.eval()  # no dropout in what is frozen
        self.network.feature_extractor.eval()
        return self

    def steps(self, samples):
        """S of so many samples, an int or a tensor of them."""
        config = self.network.config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def convolve(self, wave: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """[B, S, C] of wave [B, L]; steps that are not a clip's own hold anything."""
        extractor = self.network.feature_extractor
        if self.network.config.feat_extract_norm == "layer":
            return extractor(wave).transpose(1, 2)
        channels = self.network.config.conv_dim[-1]
        x = wave.new_zeros(len(wave), channels, self.steps(wave.shape[1]))
        for length in lengths.unique().tolist():
            same = lengths == length
            x[same, :, : self.steps(length)] = extractor(wave[same, :length]).to(x.dtype)
        return x.transpose(1, 2)

    def forward(self, wave: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            hidden = self.network.feature_projection(self.convolve(wave, lengths))
        own = self.steps(lengths)
        mask = torch.arange(hidden.shape[1], device=hidden.device) < own[:, None]
        return self.network.encoder(hidden, attention_mask=mask).last_hidden_state, own

    def forward_whole(self, wave: torch.Tensor) -> torch.Tensor:
        """hidden states [B, S, D] of wave [B, L] of which all samples count."""
        with torch.no_grad():
            hidden = self.network.feature_extractor(wave).transpose(1, 2)
            hidden = self.network.feature_projection(hidden)
        return self.network.encoder(hidden).last_hidden_state


def unit_variance(wave: torch.Tensor) -> torch.Tensor:
    """wave [..., L] of mean 0 and variance 1, as the feature extractor of transformers makes it."""
    centred = wave - wave.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-7).sqrt()
