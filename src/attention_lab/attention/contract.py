"""What the parts of a mechanism are told: the sizes of their layer, and who may look at whom.

Shapes, here and in all of `attention/`: B batch, H heads, Lq queries, Lk keys, D width of one head, W width of the
model. P is 1, or B where rows of a batch have positions of their own. A boolean mask means True = may attend.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Place = Literal["encoder_self", "decoder_self", "cross"]
# Of a row of weights: 0 or more and a sum of 1; 0 or more; of any sign; what is made of the values v = I, of any sign
# and sum; there are none.
Weights = Literal["probabilities", "weights", "signed", "effective", "none"]
PLACES: tuple[Place, ...] = ("encoder_self", "decoder_self", "cross")


@dataclass(frozen=True)
class Sizes:
    """The layer that a part is built for.

    heads: H. head: D. width: W. length: the longest sequence that parts with a parameter per position provide for.
    """

    heads: int
    head: int
    width: int
    length: int
    place: Place


@dataclass(frozen=True)
class Where:
    """The absolute positions of queries and keys, and which keys there are.

    queries: (P, Lq), keys: (P, Lk), counted from 0; a single query of a step-by-step decoding has its true position,
    so that a part computes for it what it would compute in the full pass.
    exists: (B, Lk), False for padding; None: every key is there.
    allowed: a mask that comes from outside, broadcasts to (B, H, Lq, Lk); None: no restriction.
    same: (B, Lq, Lk), True where another position has the same word; None: not told.
    """

    queries: Tensor
    keys: Tensor
    causal: bool = False
    exists: Tensor | None = None
    allowed: Tensor | None = None
    same: Tensor | None = None

    @cached_property
    def distance(self) -> Tensor:
        """Key position minus query position, (P, Lq, Lk): negative in the past."""
        return self.keys.unsqueeze(-2) - self.queries.unsqueeze(-1)

    @cached_property
    def mask(self) -> Tensor | None:
        """What padding, causality and the outside allow, as (B or P, 1 or H, Lq, Lk); None if that is everything."""
        parts = [] if self.allowed is None else [self.allowed]
        if self.exists is not None:
            parts.append(self.exists[:, None, None, :])
        # A query that stands behind all keys needs no mask: so does a step of decoding.
        if self.causal and self.queries.shape[-1] > 1:
            parts.append((self.distance <= 0).unsqueeze(1))
        mask: Tensor | None = None
        for part in parts:
            mask = part if mask is None else mask & part
        return mask

    @property
    def plainly_causal(self) -> bool:
        """Is a query kept from the keys behind it, and from nothing else?"""
        alone = self.exists is None and self.allowed is None
        return self.causal and self.queries is self.keys and self.queries.shape[-1] > 1 and alone

    def existing(self, like: Tensor) -> Tensor:
        """exists as a factor: (B or 1, 1, Lk, 1), 1 for keys that are there and 0 for padding."""
        if self.exists is None:
            return like.new_ones(1, 1, self.keys.shape[-1], 1)
        return self.exists[:, None, :, None].to(like.dtype)


@dataclass(frozen=True)
class Call:
    """One call of a layer, for parts that look at more than a query and a key.

    inputs: (B, Lq, W), from which the queries were projected. query: (B, H, Lq, D). key: (B, H, Lk, D), those in the
    cache included. cache: what was kept from earlier steps, None outside of step-by-step decoding.
    """

    inputs: Tensor
    query: Tensor
    key: Tensor
    where: Where
    cache: Cache | None = None


class Cache:
    """What a layer keeps from step to step of a decoding: tensors by name, rows of the batch first.

    `fixed` is for cross-attention: keys and values are computed once and stay.
    """

    def __init__(self, *, fixed: bool = False) -> None:
        self.fixed = fixed
        self.length = 0  # positions seen
        self.kept: dict[str, Tensor] = {}

    def extend(self, name: str, tensor: Tensor, *, most: int | None = None, dim: int = -2) -> Tensor:
        """What was kept under that name with the new positions behind it; `most`: keep only so many of the last."""
        if name in self.kept:
            tensor = torch.cat((self.kept[name], tensor), dim)
        self.kept[name] = (
            tensor
            if most is None
            else tensor.narrow(dim, max(0, tensor.shape[dim] - most), min(most, tensor.shape[dim]))
        )
        return tensor

    def copy(self) -> Cache:
        """One that can be extended without touching this one."""
        copied = Cache(fixed=self.fixed)
        copied.length, copied.kept = self.length, dict(self.kept)
        return copied

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order: beams that live on, sentences that are not finished."""
        self.kept = {name: tensor.index_select(0, rows) for name, tensor in self.kept.items()}


def here(length: int, device: torch.device | str | None = None, start: int = 0) -> Tensor:
    """The positions start … start + length − 1, as (1, length)."""
    return torch.arange(start, start + length, device=device).unsqueeze(0)
