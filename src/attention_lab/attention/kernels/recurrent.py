"""Kernels with a matrix as memory: S_t = α_t S_{t−1} (I − β_t k_t kᵀ_t) + β_t v_t kᵀ_t, read with o_t = S_t q_t.

They only look back, so they are for a decoder's self-attention. A whole sequence is computed in chunks, a decoding step
from a state of constant size (`scan.py`). Weights, i.e. the output for v = I, may be negative.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attention_lab.attention.contract import Call, Sizes
from attention_lab.attention.kernels.kernel import Kernel
from attention_lab.attention.kernels.scan import scan


class Retention(Kernel):
    """q·k γ^(i−j) / √D with γ = 1 − 2^(−5−h) for head h = 0, 1, … (Sun et al. 2023, arXiv 2307.08621, equations 5, 7
    and 8): a memory that fades, in each head at its own rate.

    The paper rotates queries and keys by their position (`rotary`). Its group norm and gate, which follow, are left out
    here: with them the output would not be a sum of values. For long texts in which recent tokens matter most.
    """

    recurrent = True

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.scale = 1.0 / math.sqrt(sizes.head)
        self.decay = [math.log1p(-(2.0 ** (-5 - head))) for head in range(sizes.heads)]

    def forward(self, call: Call, value: Tensor) -> Tensor:
        kept = {} if call.cache is None else call.cache.kept
        decay = call.key.new_tensor(self.decay)[:, None].expand(1, -1, call.key.shape[-2])
        key = call.key * call.where.existing(call.key)
        mixed, kept["state"] = scan(call.query * self.scale, key, value, decay=decay, state=kept.get("state"))
        return mixed


class Delta(Kernel):
    """α = 1, β = σ(w·x) (Yang et al. 2024, arXiv 2406.06484: "DeltaNet"): before a value is written under a key, the
    share β of what is stored there is erased.

    For content that must be overwritten and recalled exactly; linear attention can only add. Keys and queries are
    normalised to length 1, which keeps the state bounded. The short convolution, the SiLU and the norm of the paper's
    block are left out.
    """

    recurrent = True

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.empty(sizes.width, sizes.heads))
        nn.init.xavier_uniform_(self.strength)

    def decay(self, inputs: Tensor) -> Tensor | None:
        """inputs (B, L, W) → log α (B, H, L); None: α = 1."""
        return None

    def forward(self, call: Call, value: Tensor) -> Tensor:
        kept = {} if call.cache is None else call.cache.kept
        there = call.where.existing(call.key).squeeze(-1)  # (B or 1, 1, L): padding neither writes nor fades
        strength = torch.sigmoid(call.inputs @ self.strength.to(call.inputs.dtype)).transpose(1, 2) * there
        decay = self.decay(call.inputs)
        mixed, kept["state"] = scan(
            _unit(call.query),
            _unit(call.key),
            value,
            decay=None if decay is None else decay * there,
            strength=strength,
            state=kept.get("state"),
        )
        return mixed


class GatedDelta(Delta):
    """`Delta` with α = exp(−e^A softplus(w·x + b)) (Yang et al. 2024, arXiv 2412.06464, equation 10; α as in Mamba 2,
    Dao & Gu 2024, arXiv 2405.21060): it can also forget everything at once.

    The strongest of these on long texts in the paper's comparison; Qwen3-Next uses it in three out of four layers.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.fade = nn.Parameter(torch.empty(sizes.width, sizes.heads))
        nn.init.xavier_uniform_(self.fade)
        # As in Mamba 2: e^A uniform in [1, 16], and steps softplus(b) log-uniform in [0.001, 0.1].
        self.rate = nn.Parameter(torch.empty(sizes.heads).uniform_(1.0, 16.0).log())
        steps = torch.empty(sizes.heads).uniform_(math.log(0.001), math.log(0.1)).exp()
        self.bias = nn.Parameter(steps.expm1().log())  # softplus⁻¹

    def decay(self, inputs: Tensor) -> Tensor:
        steps = F.softplus(inputs @ self.fade.to(inputs.dtype) + self.bias.to(inputs.dtype))
        return -(self.rate.to(inputs.dtype).exp() * steps).transpose(1, 2)


def _unit(vectors: Tensor) -> Tensor:
    """Normalise vectors to length 1; a zero vector stays 0, with a finite gradient."""
    return vectors * torch.rsqrt(vectors.square().sum(-1, keepdim=True) + 1e-6)
