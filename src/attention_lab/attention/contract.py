"""What the parts of a mechanism are given: the sizes of their layer, and which query may attend to which key.

Shapes, here and in all of `attention/`: B batch, H heads, Lq queries, Lk keys, D width of one head, W width of the
model. P is 1, or B if each row of the batch has its own positions. In a boolean mask, True = may attend.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Place = Literal["encoder_self", "decoder_self", "cross"]
# Each query's weights are: non-negative with sum 1; non-negative; of any sign; the output for the values v = I, of any
# sign and sum; undefined.
Weights = Literal["probabilities", "weights", "signed", "effective", "none"]
PLACES: tuple[Place, ...] = ("encoder_self", "decoder_self", "cross")


@dataclass(frozen=True)
class Sizes:
    """The layer that a part is built for.

    heads: H. head: D. width: W. length: the longest sequence, for parts that have a parameter per position.
    """

    heads: int
    head: int
    width: int
    length: int
    place: Place


@dataclass(frozen=True)
class Where:
    """The absolute positions of queries and keys, and which keys exist.

    queries: (P, Lq), keys: (P, Lk), counted from 0; a single query in step-by-step decoding has its true position, so
    that each part computes the same for it as in the full pass.
    exists: (B, Lk), False for padding; None: every key exists.
    allowed: a mask given by the caller, broadcasts to (B, H, Lq, Lk); None: no restriction.
    same: (B, Lq, Lk), True where the key is another occurrence of the query's word; None: unknown.
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
        """What padding, causality and `allowed` permit, as (B or P, 1 or H, Lq or 1, Lk); None: everything."""
        parts = [] if self.allowed is None else [self.allowed]
        if self.exists is not None:
            parts.append(self.exists[:, None, None, :])
        # A single query is a decoding step: no key is after it, so it needs no causal mask.
        if self.causal and self.queries.shape[-1] > 1:
            parts.append((self.distance <= 0).unsqueeze(1))
        mask: Tensor | None = None
        for part in parts:
            mask = part if mask is None else mask & part
        return mask

    @property
    def plainly_causal(self) -> bool:
        """Whether later keys are masked, and nothing else."""
        alone = self.exists is None and self.allowed is None
        return self.causal and self.queries is self.keys and self.queries.shape[-1] > 1 and alone

    def existing(self, like: Tensor) -> Tensor:
        """`exists` as a factor (B or 1, 1, Lk, 1): 1 for keys that exist, 0 for padding."""
        if self.exists is None:
            return like.new_ones(1, 1, self.keys.shape[-1], 1)
        return self.exists[:, None, :, None].to(like.dtype)


@dataclass(frozen=True)
class Call:
    """One call of a layer, for parts that need more than queries and keys.

    inputs: (B, Lq, W), from which the queries were projected. query: (B, H, Lq, D). key: (B, H, Lk, D), including
    those in the cache. cache: what earlier steps kept; None outside step-by-step decoding.
    """

    inputs: Tensor
    query: Tensor
    key: Tensor
    where: Where
    cache: Cache | None = None


class Cache:
    """What a layer keeps between decoding steps: tensors by name, batch dimension first.

    `fixed` is for cross-attention, whose keys and values are computed once and reused.
    """

    def __init__(self, *, fixed: bool = False) -> None:
        self.fixed = fixed
        self.length = 0  # positions seen
        self.kept: dict[str, Tensor] = {}

    def extend(self, name: str, tensor: Tensor, *, most: int | None = None, dim: int = -2) -> Tensor:
        """Append new positions to what is kept under that name, and return all of it. `most`: how many of the last
        positions to keep for the next step; None: all."""
        if name in self.kept:
            tensor = torch.cat((self.kept[name], tensor), dim)
        self.kept[name] = (
            tensor
            if most is None
            else tensor.narrow(dim, max(0, tensor.shape[dim] - most), min(most, tensor.shape[dim]))
        )
        return tensor

    def copy(self) -> Cache:
        """Return a copy that can be extended without affecting this one."""
        copied = Cache(fixed=self.fixed)
        copied.length, copied.kept = self.length, dict(self.kept)
        return copied

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order: surviving beams, unfinished sentences."""
        self.kept = {name: tensor.index_select(0, rows) for name, tensor in self.kept.items()}


def here(length: int, device: torch.device | str | None = None, start: int = 0) -> Tensor:
    """The positions start … start + length − 1, as (1, length)."""
    return torch.arange(start, start + length, device=device).unsqueeze(0)
