"""A mechanism inside the attention module of another model, which passes it queries, keys and values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from attention_lab.attention.catalogue import Mechanism, build
from attention_lab.attention.composition import Composition
from attention_lab.attention.contract import Call, Sizes, Where
from attention_lab.attention.positions import Position


class Attached(nn.Module):
    """A composition in a model that does the projections: `module.attention_lab[name]`."""

    def __init__(self, row: Mechanism, sizes: Sizes) -> None:
        super().__init__()
        core = cast(Composition, build(row, sizes, dropout=0.0, rotary=False)[1])
        # Parts with 1/√D in their formula keep it in `scale`.
        parts: tuple[Any, ...] = (core.score, core.position)
        scaled = [part for part in parts if getattr(part, "scale", 1.0) != 1.0]
        self.scaled = [(part, part.scale * math.sqrt(sizes.head)) for part in scaled]
        core.position = _AndTheirs(core.position)
        self.core = core
        self.width = sizes.width

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        where: Where,
        *,
        bias: Tensor | None = None,
        scaling: float | None = None,
        dropout: float = 0.0,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """query (B, H, Lq, D), key and value (B, Hkv, Lk, D) → output (B, Lq, H, D), weights (B, H, Lq, Lk) or None

        Args:
            bias: the model's own bias of the scores, broadcasts to (B, H, Lq, Lk).
            scaling: replaces 1/√D; None: 1/√D itself.
            dropout: share of the weights that are set to 0 in training.
            weights: whether to return the weights.
        """
        for part, share in self.scaled:
            part.scale = share * (1.0 / math.sqrt(query.shape[-1]) if scaling is None else scaling)
        self.core.dropout.share = dropout
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        position, operation = self.core.position, self.core.operation
        # There are no inputs: a part that reads them gets NaN, which the trial detects.
        inputs = query.new_full((1, 1, 1), torch.nan).expand(len(query), query.shape[-2], self.width)
        call = _Call(inputs, position.turn(query, where.queries), position.turn(key, where.keys), where, bias=bias)
        mixed, used = self.core(call, value, weights=weights)
        return operation.output(mixed, call).transpose(1, 2).contiguous(), used


@dataclass(frozen=True)
class _Call(Call):
    """bias: the model's own bias of the scores."""

    bias: Tensor | None = None


class _AndTheirs(Position):
    """A mechanism's own position combined with the model's bias."""

    def __init__(self, own: Position) -> None:
        nn.Module.__init__(self)
        self.own = own
        for flag, value in vars(Position).items():
            if isinstance(value, bool):
                setattr(self, flag, getattr(own, flag))

    def turn(self, vectors: Tensor, positions: Tensor) -> Tensor:
        return self.own.turn(vectors, positions)

    def bias(self, call: Call, scores: Tensor) -> Tensor | None:
        # The blocks of a window are plain `Call`s, but a bias comes with a mask, which rules out blocks.
        own, theirs = self.own.bias(call, scores), getattr(call, "bias", None)
        return theirs if own is None else own if theirs is None else own + theirs
