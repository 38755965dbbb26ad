"""Kernels with a matrix as memory: S_t = α_t S_{t−1} (I − β_t k_t kᵀ_t) + β_t v_t kᵀ_t, read with o_t = S_t q_t.

They look back only, so they are for a decoder's self-attention. The whole sequence is computed in chunks, a step of a
decoding from a state of constant size (`scan.py`). Weights, what they make of v = I, may be negative.
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
    and 8): memory that fades, in each head at its own pace.

    The paper turns queries and keys by their position (`rotary`). Its group norm and its gate, which come behind this,
    are not here: with them the output were no sum of values. Long texts in which the recent counts most.
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
    """α = 1, β = σ(w·x) (Yang et al. 2024, arXiv 2406.06484: "DeltaNet"): before a value is
    written under a key, what stands there is erased, by the share β.

    For what has to be overwritten, and recalled exactly: linear attention only ever adds. Keys and queries have the
    length 1, so that nothing grows. The short convolution, the SiLU and the norm of the paper's block are not here.
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
    """Like `Delta`, with α = exp(−e^A softplus(w·x + b)) (Yang et al. 2024, arXiv 2412.06464, equation 10; α as in
    Mamba 2, Dao & Gu 2024, arXiv 2405.21060): it can also let go of everything at once.

    The strongest of these on long texts in the paper's comparison; Qwen3-Next has it in three of four layers.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.fade = nn.Parameter(torch.empty(sizes.width, sizes.heads))
        nn.init.xavier_uniform_(self.fade)
        # As in Mamba 2: e^A from 1 to 16, and steps softplus(b) from 0.001 to 0.1, evenly in their logarithm.
        self.rate = nn.Parameter(torch.empty(sizes.heads).uniform_(1.0, 16.0).log())
        steps = torch.empty(sizes.heads).uniform_(math.log(0.001), math.log(0.1)).exp()
        self.bias = nn.Parameter(steps.expm1().log())  # softplus⁻¹

    def decay(self, inputs: Tensor) -> Tensor:
        steps = F.softplus(inputs @ self.fade.to(inputs.dtype) + self.bias.to(inputs.dtype))
        return -(self.rate.to(inputs.dtype).exp() * steps).transpose(1, 2)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1; the vector 0 stays, with a finite gradient."""
    return vectors * torch.rsqrt(vectors.square().sum(-1, keepdim=True) + 1e-6)
