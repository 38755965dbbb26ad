"""Patterns: which keys a query may attend to, within what padding and causality allow.

A pattern is built from the layer's sizes and takes a `Call`; it returns a boolean mask (P or B, 1 or H, Lq, Lk), True =
may attend, or None if it forbids nothing. It is a function of absolute positions (and of their content), so it gives
the same for a single query in step-by-step decoding as for the whole sequence.

`reach`: the largest distance of a key that may be attended to; None: unbounded. Patterns with a reach can be computed
in blocks, in time and memory that grow with L·reach, and need a cache of about that many keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from attention_lab.attention.contract import Call, Sizes
from attention_lab.errors import InputError


class Pattern(Protocol):
    reach: int | None

    def __call__(self, call: Call) -> Tensor | None: ...


class Full:
    """Every key."""

    reach: int | None = None

    def __init__(self, sizes: Sizes) -> None:
        pass

    def __call__(self, call: Call) -> Tensor | None:
        return None


class Causal(Full):
    """Keys at or before the query (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.3), in an encoder as well. A
    decoder's self-attention is causal whatever its pattern."""

    def __call__(self, call: Call) -> Tensor | None:
        return (call.where.distance <= 0).unsqueeze(1)


class Local(Full):
    """Keys at a distance of at most `window` (Luong et al. 2015, arXiv 1508.04025, section 3.2, "local-m", in
    cross-attention; sliding windows: Beltagy et al. 2020, arXiv 2004.05150, section 3.1, whose w is twice ours).

    For long texts: cost grows linearly with L, and stacked layers see farther and farther.
    """

    def __init__(self, sizes: Sizes, *, window: int = 16) -> None:
        self.window = window
        self.reach = window

    def __call__(self, call: Call) -> Tensor | None:
        return (call.where.distance.abs() <= self.window).unsqueeze(1)


class Dilated(Full):
    """Every `dilation`-th key up to `window` such steps away (Beltagy et al. 2020, section 3.1): as many keys as in a
    window, but from farther away."""

    def __init__(self, sizes: Sizes, *, window: int = 8, dilation: int = 2) -> None:
        self.window, self.dilation = window, dilation
        self.reach = window * dilation

    def __call__(self, call: Call) -> Tensor | None:
        distance = call.where.distance
        near = distance.abs() <= self.window * self.dilation
        return (near & (distance % self.dilation == 0)).unsqueeze(1)


class Strided(Full):
    """Keys closer than `stride`, and every `stride`-th key (Child et al. 2019, arXiv 1904.10509, section 4.3, both of
    the paper's heads in one): with a stride of √L two layers connect all positions, with about L·√L pairs."""

    def __init__(self, sizes: Sizes, *, stride: int = 8) -> None:
        self.stride = stride

    def __call__(self, call: Call) -> Tensor | None:
        distance = call.where.distance
        return ((distance.abs() < self.stride) | (distance % self.stride == 0)).unsqueeze(1)


class BlockLocal(Full):
    """Keys of the query's own block of `block` positions (Child et al. 2019, section 4.3, "fixed", first half)."""

    def __init__(self, sizes: Sizes, *, block: int = 16) -> None:
        self.block = block
        self.reach = block - 1

    def __call__(self, call: Call) -> Tensor | None:
        queries, keys = call.where.queries // self.block, call.where.keys // self.block
        return (queries.unsqueeze(-1) == keys.unsqueeze(-2)).unsqueeze(1)


class GlobalWindow(Full):
    """A window, and the first `tokens` positions, which attend to all and are attended to by all (Longformer, Beltagy
    et al. 2020, section 3.1): there the whole text comes together. In the paper these global positions have projections
    of their own; here they share those of the window."""

    def __init__(self, sizes: Sizes, *, window: int = 16, tokens: int = 1) -> None:
        self.window, self.tokens = window, tokens

    def __call__(self, call: Call) -> Tensor | None:
        where = call.where
        first = (where.queries < self.tokens).unsqueeze(-1) | (where.keys < self.tokens).unsqueeze(-2)
        return (first | (where.distance.abs() <= self.window)).unsqueeze(1)


class BigBird(Full):
    """Window, global tokens and, for each block of queries, some random blocks of keys (Zaheer et al. 2020, arXiv
    2007.14062, section 2): short paths between all positions.

    A hash of the query's block draws from the blocks that hold keys (in a decoder, from those up to its own), so the
    draw depends neither on padding nor on how far decoding has come.
    """

    def __init__(self, sizes: Sizes, *, window: int = 16, tokens: int = 1, block: int = 8, blocks: int = 2) -> None:
        self.near = GlobalWindow(sizes, window=window, tokens=tokens)
        self.block, self.blocks = block, blocks
        self.causal = sizes.place == "decoder_self"

    def __call__(self, call: Call) -> Tensor | None:
        where = call.where
        queries = where.queries // self.block  # (P, Lq)
        if self.causal:
            count = queries + 1
        elif where.exists is not None:
            count = ((where.exists.sum(-1, keepdim=True) - 1) // self.block + 1).clamp(min=1)  # (B, 1)
        else:
            count = torch.full_like(queries[:, :1], (where.keys.shape[-1] - 1) // self.block + 1)
        draw = torch.arange(1, self.blocks + 1, device=queries.device)
        mixed = (queries.unsqueeze(-1) + 1) * 2654435761 + draw * 40503  # Knuth's multiplicative hash
        chosen = ((mixed ^ (mixed >> 15)) * 2246822519 >> 13) % count.unsqueeze(-1)  # (P or B, Lq, blocks)
        keys = (where.keys // self.block)[:, None, :, None]
        drawn = (keys == chosen.unsqueeze(-2)).any(-1).unsqueeze(1)
        near = self.near(call)
        return drawn if near is None else near | drawn


class Prefix(Full):
    """Causal, except that the first `prefix` positions all attend to one another (Raffel et al. 2020, arXiv 1910.10683,
    figures 3, 4)."""

    def __init__(self, sizes: Sizes, *, prefix: int = 4) -> None:
        self.prefix = prefix

    def __call__(self, call: Call) -> Tensor | None:
        where = call.where
        return ((where.distance <= 0) | (where.keys < self.prefix).unsqueeze(-2)).unsqueeze(1)


class Hashed(Full):
    """Keys that share the query's bucket in at least one of several rounds of random hashing (Reformer, Kitaev et al.
    2020, arXiv 2001.04451, section 2: angular hashing, argmax of [xR; −xR]).

    Nearby vectors tend to share a bucket, so most of the large weights of full attention are kept. The paper shares
    queries and keys and sorts by bucket to save time; here only the choice of keys is studied, at the cost of full
    attention. A query always attends to its own position; in the paper, where each position is its own nearest key,
    only if there is no other.

    Args:
        buckets: buckets per round, an even number; rounds: number of hashing rounds.
    """

    def __init__(self, sizes: Sizes, *, buckets: int = 4, rounds: int = 2) -> None:
        if buckets % 2:
            raise InputError(f"attention.options.buckets: {buckets} is not even; a plane has a bucket on either side")
        generator = torch.Generator().manual_seed(0)
        self.planes = torch.randn(sizes.heads, sizes.head, rounds, buckets // 2, generator=generator)

    def __call__(self, call: Call) -> Tensor | None:
        same = (self._buckets(call.query).unsqueeze(-2) == self._buckets(call.key).unsqueeze(-3)).any(-1)
        return same | (call.where.distance == 0).unsqueeze(1)

    def _buckets(self, vectors: Tensor) -> Tensor:
        """(B, H, L, D) → (B, H, L, rounds)"""
        turned = torch.einsum("bhld,hdrc->bhlrc", vectors, self.planes.to(vectors))
        return torch.cat((turned, -turned), -1).argmax(-1)


PATTERNS: dict[str, Callable[..., Pattern]] = {
    "full": Full,
    "causal": Causal,
    "local": Local,
    "dilated": Dilated,
    "strided": Strided,
    "block_local": BlockLocal,
    "global_window": GlobalWindow,
    "bigbird": BigBird,
    "prefix": Prefix,
    "hashed": Hashed,
}
