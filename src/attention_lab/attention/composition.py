"""Compositions of score, position, operation, normaliser and pattern, and the ways to compute their sum over values.

`Composition.weights` is the definition. The other paths give the same output faster; `path` chooses, never the user.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attention_lab.attention.contract import Call, Where
from attention_lab.attention.dropout import Dropout
from attention_lab.attention.normalisers import Softmax
from attention_lab.attention.operations import Operation
from attention_lab.attention.patterns import Pattern
from attention_lab.attention.positions import Position
from attention_lab.attention.scores import Dot


class Composition(nn.Module):
    """Score, position, operation, normaliser and pattern give the weights; weights · values is the output."""

    # The number of keys from which the fused kernel is faster; measured on CPUs, down to 8 keys.
    FUSED_FROM = 1
    # On short sequences it and oneDNN's matrix products ("medium" precision, see device.py) slow each other down.
    FUSED_FROM_BESIDE_ONEDNN = 512
    # The number of blocks from which a window is computed blockwise: with fewer, nothing is saved.
    BLOCKS_FROM = 4

    def __init__(
        self,
        score: nn.Module,
        position: Position,
        operation: Operation,
        normaliser: nn.Module,
        pattern: Pattern,
        dropout: float,
    ) -> None:
        super().__init__()
        self.score = score
        self.position = position
        self.operation = operation
        self.normalise = normaliser
        self.pattern = pattern
        self.dropout = Dropout(dropout)

    recurrent = False

    @property
    def reach(self) -> int | None:
        return self.pattern.reach

    def forward(self, call: Call, value: Tensor, *, weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """value (B, H, Lk, Dv) → mixed values (B, H, Lq, Dv) and, if requested, the weights (B, H, Lq, Lk) as they were
        used, after dropout."""
        match "explicit" if weights else self.path(call):
            case "fused":
                return self._fused(call, value), None
            case "blocked":
                return self._blocked(call, value), None
            case _:
                matrix = self.dropout(self.weights(call))
                return matrix.to(value.dtype) @ value, matrix if weights else None

    def weights(self, call: Call) -> Tensor:
        """The weights W (B, H, Lq, Lk), which define a composition."""
        scores = self.score(call.query, call.key, call.where)
        bias = self.position.bias(call, scores)
        if bias is not None:
            scores = scores + bias
        scores = self.operation.scores(scores, call)
        weights = self.operation.normalised(scores, self.mask(call), self.normalise, call)
        return self.operation.weights(weights, call)

    def mask(self, call: Call) -> Tensor | None:
        """The complete mask of call, pattern and operation; None: every query may attend to every key."""
        mask = call.where.mask
        for part in (self.pattern(call), self.operation.mask(call)):
            if part is not None:
                mask = part if mask is None else mask & part
        return mask

    def path(self, call: Call) -> str:
        """The path a call takes when no weights are requested: explicit, fused or blocked."""
        queries, keys = call.query.shape[-2], call.key.shape[-2]
        alone = queries == keys and call.cache is None and call.where.allowed is None and not self.operation.between
        if alone and not self.position.whole and self.reach is not None and keys >= self.BLOCKS_FROM * self._block():
            return "blocked"
        return self._within(keys, call.key)

    def _within(self, keys: int, like: Tensor) -> str:
        fusible = (
            isinstance(self.score, Dot)
            and isinstance(self.normalise, Softmax)
            and not self.position.needs_scores
            and not self.operation.between
        )
        if like.is_cuda or not fusible:
            return "fused" if fusible else "explicit"
        # PyTorch has no fused CPU kernel with dropout.
        dropping = self.training and self.dropout.share > 0.0
        beside = torch.get_float32_matmul_precision() == "medium"
        least = max(self.FUSED_FROM, self.FUSED_FROM_BESIDE_ONEDNN if beside else 0)
        return "fused" if keys >= least and not dropping else "explicit"

    def _fused(self, call: Call, value: Tensor) -> Tensor:
        """Compute products, softmax and sum in one kernel, which never writes the weights to memory."""
        score, normalise = cast(Dot, self.score), cast(Softmax, self.normalise)
        query, key = score.fold(call.query, call.key)
        # Biases take the unfolded query and key; none of the fusible ones reads the scores.
        bias = self.position.bias(call, call.query.new_empty(0))
        extra = normalise.extra()
        # With `is_causal` the kernel skips the keys ahead; a mask it would have to read in full.
        told = call.where.plainly_causal and bias is None and extra is None and self.pattern(call) is None
        mask = None if told else self.mask(call)
        if extra is not None:
            # An additional key with the score `extra` and the value 0 takes its share of the weights.
            key, value = F.pad(key, (0, 0, 0, 1)), F.pad(value, (0, 0, 0, 1))
            column = extra.to(query)[:, None, None]
            bias = query.new_zeros(1, 1, 1, key.shape[-2] - 1) if bias is None else bias
            shape = torch.broadcast_shapes(bias.shape[:-1], column.shape[:-1])
            bias = torch.cat((bias.expand(*shape, -1), column.expand(*shape, 1)), -1)
            mask = None if mask is None else F.pad(mask, (0, 1), value=True)
        if bias is not None:
            mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        share = self.dropout.share if self.training else 0.0
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=share, is_causal=told, scale=score.scale
        )

    def _block(self) -> int:
        """Queries per block: few enough to compute little outside the window, enough for efficient matrix products."""
        return max(32, self.reach or 0)

    def _blocked(self, call: Call, value: Tensor) -> Tensor:
        """Compute a window over a long sequence in blocks of queries, each with the keys in its reach, as batch rows.

        The same composition applies to each block because every part is a function of absolute positions.
        """
        size, length = self._block(), call.query.shape[-2]
        count = -(-length // size)
        before = size  # ≥ reach
        after = 0 if call.where.causal else size
        rows = len(call.query)

        def cut(tensor: Tensor, left: int, right: int) -> Tensor:
            """(B, …, L, D) → (B·count, …, left + size + right, D)"""
            padded = F.pad(tensor, (0, 0, left, count * size - length + right))
            pieces = padded.unfold(-2, left + size + right, size).movedim(-3, 1)  # (B, count, …, D, piece)
            return pieces.transpose(-2, -1).flatten(0, 1)

        def positions(tensor: Tensor, left: int, right: int) -> Tensor:
            spread = tensor.expand(rows, -1).unsqueeze(-1).double()
            return cut(spread, left, right).squeeze(-1).long()

        where = call.where
        exists = where.exists if where.exists is not None else where.keys.new_ones(rows, length, dtype=torch.bool)
        exists = cut(exists.unsqueeze(-1).float(), before, after).squeeze(-1) > 0.5
        inner = Call(
            inputs=cut(call.inputs, 0, 0),
            query=cut(call.query, 0, 0),
            key=cut(call.key, before, after),
            where=Where(
                queries=positions(where.queries, 0, 0),
                keys=positions(where.keys, before, after),
                causal=where.causal,
                exists=exists,
            ),
        )
        value = cut(value, before, after)
        if self._within(max(self.FUSED_FROM, length), value) == "fused":
            mixed = self._fused(inner, value)
        else:
            mixed = self.dropout(self.weights(inner)).to(value.dtype) @ value
        mixed = mixed.unflatten(0, (rows, count)).movedim(1, -3).flatten(-3, -2)
        return mixed[..., :length, :]
