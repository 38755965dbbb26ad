"""The multi-head layer: project, score, normalise, sum, project back (Vaswani et al. 2017, section 3.2.2).

Shapes: B batch, H heads, Lq queries, Lk keys, D width of one head, W = H·D width of the model.
A boolean mask broadcasts to (B, H, Lq, Lk); True = may attend.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attention_lab.attention.catalogue import Mechanism
from attention_lab.attention.dropout import Dropout
from attention_lab.attention.normalisers import NORMALISERS, softmax
from attention_lab.attention.positions import rotary
from attention_lab.attention.scores import SCORES, Dot


@dataclass
class KeyValueCache:
    """Keys and values (B, H, L, D) that later queries will need again.

    In self-attention they grow by a position a step; in cross-attention they are computed once (`fixed`).
    """

    fixed: bool = False
    key: Tensor | None = None
    value: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.key is None else self.key.shape[-2]

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if self.key is not None and self.value is not None:
            key, value = torch.cat((self.key, key), -2), torch.cat((self.value, value), -2)
        self.key, self.value = key, value
        return key, value

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order: beams that live on, sentences that are not finished."""
        if self.key is not None and self.value is not None:
            self.key, self.value = self.key.index_select(0, rows), self.value.index_select(0, rows)


class MultiHeadAttention(nn.Module):
    """H heads that each attend in their own projection of width D = W / H.

    Args:
        width: W, of inputs and output.
        heads: H.
        mechanism: where the weights come from.
        dropout: share of weights that are set to 0 in training.
        turned: whether queries and keys of self-attention are turned by their position.
    """

    # Below this many keys explicit attention is the faster path on a CPU; above, and on a GPU, the fused kernel is.
    FUSED_FROM = 512

    def __init__(
        self, width: int, heads: int, mechanism: Mechanism, *, dropout: float = 0.0, turned: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.turned = turned
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.score = SCORES[mechanism.score](heads, width // heads)
        self.normalise = NORMALISERS[mechanism.normaliser]
        self.dropout = Dropout(dropout)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        inputs: Tensor,
        memory: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from inputs (B, Lq, W) to memory (B, Lk, W), or to the inputs themselves.

        Returns:
            The output (B, Lq, W), and the weights (B, H, Lq, Lk) if they are asked for. The weights are those that
            were used: asking takes the explicit path.
        """
        query = self._split(self.query(inputs))
        if cache is not None and cache.fixed and cache.key is not None and cache.value is not None:
            key, value = cache.key, cache.value
        else:
            attended = inputs if memory is None else memory
            key, value = self._split(self.key(attended)), self._split(self.value(attended))
            if self.turned and memory is None:
                start = 0 if cache is None else cache.length
                query, key = rotary(query, start), rotary(key, start)
            if cache is not None:
                key, value = cache.extend(key, value)
        scale = None if weights else self._fused_scale(key)
        if scale is None:
            matrix = self.dropout(self.normalise(self.score(query, key), mask))
            mixed = matrix.to(value.dtype) @ value
        else:
            matrix = None
            share = self.dropout.share if self.training else 0.0
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=share, scale=scale)
        return self.output(mixed.transpose(1, 2).flatten(2)), matrix if weights else None

    def _split(self, tensor: Tensor) -> Tensor:
        """(B, L, W) → (B, H, L, D)"""
        return tensor.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _fused_scale(self, key: Tensor) -> float | None:
        """The scale for the fused kernel where it applies and is the faster path, else None."""
        if not isinstance(self.score, Dot) or self.normalise is not softmax:
            return None
        return self.score.scale if key.is_cuda or key.shape[-2] >= self.FUSED_FROM else None
