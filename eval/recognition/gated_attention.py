"""Gated self-attention and the unified attention block (LoopQ solution, section 3.5, after Yu et al. 2019).

The paper writes sequences as channels x S; here they are [B, S, channels], for the same products. Of the two names it
gives the function of the gates, the sigma of the formula and "softmax" in the text, the first is taken, as in Yu et
al. (arXiv 1908.04107, Eq. 5), where it is the sigmoid: the two gates of a place do not compete.

Shape letters: B clips, S place in a sequence, Z channel of a block, O channel of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


class GatedHead(nn.Module):
    """One head of gated self-attention: x [B, S, Z] -> [B, S, O].

    M = sigmoid(f_g(f_q(Q) * f_k(K))), A = softmax((Q * M_q)(K * M_k)^T / sqrt(O)), F = A V: a place can take itself out
    of the questions or out of the answers.
    """

    def __init__(self, n_in: int, n_out: int, n_gate: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(n_in, n_out) for _ in range(3))
        self.gate_query, self.gate_key = nn.Linear(n_out, n_gate), nn.Linear(n_out, n_gate)
        self.gate = nn.Linear(n_gate, 2)

    def gates(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """M [B, S, 2] of q and k [B, S, O]: M_q, then M_k."""
        return self.gate(self.gate_query(q) * self.gate_key(k)).sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        gates = self.gates(q, k)
        return functional.scaled_dot_product_attention(q * gates[..., :1], k * gates[..., 1:], v)


class GatedSelfAttention(nn.Module):
    """Heads side by side, then a linear map: x [B, S, Z] -> [B, S, heads O]."""

    def __init__(self, n_in: int, heads: int, n_out: int, n_gate: int):
        super().__init__()
        self.heads = nn.ModuleList(GatedHead(n_in, n_out, n_gate) for _ in range(heads))
        self.linear = nn.Linear(heads * n_out, heads * n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.cat([head(x) for head in self.heads], dim=-1))


class UnifiedAttentionBlock(nn.Module):
    """Sequences [B, S_i, C_i] -> [B, S, Z], S the sum of the S_i and Z = heads O.

    `inputs` are the C_i of sequences to be embedded in Z channels; without them the block takes one sequence of Z
    channels as it is. Its layer norms go over places and channels at once, so the length is fixed.
    """

    def __init__(
        self, length: int, heads: int, n_out: int, n_gate: int, dropout: float, inputs: Sequence[int] = ()
    ):
        super().__init__()
        dim = heads * n_out
        self.embeddings = nn.ModuleList(nn.Linear(n_in, dim) for n_in in inputs)
        self.attention = GatedSelfAttention(dim, heads, n_out, n_gate)
        self.attention_norm = nn.LayerNorm((length, dim))
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.feed_forward_norm = nn.LayerNorm((length, dim))

    def forward(self, *sequences: torch.Tensor) -> torch.Tensor:
        if self.embeddings:
            embedded = [linear(x) for linear, x in zip(self.embeddings, sequences, strict=True)]
            z = torch.cat(embedded, dim=1)
        else:
            (z,) = sequences
        z = self.attention_norm(z + self.attention(z))
        return self.feed_forward_norm(z + self.feed_forward(z))
