"""Heads: how queries, keys and values are projected, and which of them the heads share.

`Heads` are built from the layer's sizes. They project inputs to queries, project a memory to what the cache keeps, and
compute keys and values from what was kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from attention_lab.attention.contract import Sizes
from attention_lab.attention.positions import Position
from attention_lab.errors import InputError


class Heads(nn.Module, ABC):
    """The interface of all heads.

    maps: how many queries and keys each head has; those of head h have the indices h·maps, …, h·maps + maps − 1.
    score_width: E, the width of a query or key. Values have the width D = W/H, whatever E is.
    projects: whether anything is projected; if not, the layer's output is not projected either.
    """

    projects = True

    def __init__(self, sizes: Sizes, maps: int, score_width: int) -> None:
        super().__init__()
        if sizes.head % maps:
            raise InputError(
                f"model.width: {sizes.width} / {sizes.heads} heads is not even, as this mechanism needs; change either"
            )
        self.query_heads, self.maps, self.score_width = sizes.heads, maps, score_width

    @abstractmethod
    def queries(self, inputs: Tensor, position: Position, positions: Tensor) -> Tensor:
        """inputs (B, Lq, W) at positions (P, Lq) → (B, H·maps, Lq, E)"""

    @abstractmethod
    def remember(self, memory: Tensor, position: Position, positions: Tensor) -> dict[str, Tensor]:
        """memory (B, Lk, W) at positions (P, Lk) → tensors for the cache to keep, (B, …, Lk, …) by name."""

    @abstractmethod
    def recall(self, kept: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Kept tensors → keys (B, H·maps, Lk, E) and values (B, H, Lk, D), for every head."""


class Separate(Heads):
    """H heads of width D = W/H (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.2); E = D / maps.

    Args:
        key_heads: number of key and value heads. If fewer than H, groups of query heads share them (Shazeer 2019,
            arXiv 1911.02150: 1, "multi-query"; Ainslie et al. 2023, arXiv 2305.13245: "grouped-query"), and the cache
            shrinks by a factor of H / key_heads. None: H.
    """

    def __init__(self, sizes: Sizes, *, key_heads: int | None = None, maps: int = 1) -> None:
        super().__init__(sizes, maps, sizes.head // maps)
        shared = sizes.heads if key_heads is None else min(key_heads, sizes.heads)
        if shared < 1 or sizes.heads % shared:
            raise InputError(
                f"attention.options.key_heads: {shared} does not divide the {sizes.heads} heads; give a divisor"
            )
        self.groups, self.shared = sizes.heads // shared, shared
        self.query = _projection(sizes.width, sizes.width)
        self.key = _projection(sizes.width, shared * sizes.head)
        self.value = _projection(sizes.width, shared * sizes.head)

    def queries(self, inputs: Tensor, position: Position, positions: Tensor) -> Tensor:
        return position.turn(_split(self.query(inputs), self.query_heads * self.maps), positions)

    def remember(self, memory: Tensor, position: Position, positions: Tensor) -> dict[str, Tensor]:
        key = position.turn(_split(self.key(memory), self.shared * self.maps), positions)
        return {"key": key, "value": _split(self.value(memory), self.shared)}

    def recall(self, kept: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return _for_all(kept["key"], self.groups, self.maps), _for_all(kept["value"], self.groups, 1)


class Latent(Heads):
    """Multi-head latent attention (DeepSeek-V2 2024, arXiv 2405.04434, section 2.1, equations 9 to 11 and 15 to 18):
    keys and values of all heads are computed from one narrow vector c per position, which the cache keeps in their
    place.

        c = RMSNorm(W_DKV x), kᶜ = W_UK c, v = W_UV c;    k = [kᶜ; turn(W_KR x)], q = [W_Q x; turn(W_QR x)]

    A rotated key cannot be computed from c without its position, so the R rotated features are separate from the other
    D: kᴿ = turn(W_KR x) is one key for all heads, cached beside c. In cross-attention, and in a model without rotary
    positions, nothing is rotated. The norm is that of section 3.1.2. The paper also computes queries from a latent
    vector, to save memory in training; here, as in DeepSeek-V2-Lite, they come from x.

    Use it where the cache limits decoding. W_UK could be absorbed into the query projection, so that keys are never
    computed; here they are, so that they can be inspected.

    Shapes: c (B, Lk, rank), kᴿ (B, 1, Lk, R), E = D / maps + R.

    Args:
        rank: width of c. None: W / 2, a quarter of what keys and values of H heads would take (the paper has 4·D).
        rotary: R. None: D / 2 as in the paper, rounded down to an even number.
    """

    def __init__(self, sizes: Sizes, *, rank: int | None = None, rotary: int | None = None, maps: int = 1) -> None:
        turned = max(2, sizes.head // 4 * 2) if rotary is None else rotary
        rank = max(1, sizes.width // 2) if rank is None else rank
        super().__init__(sizes, maps, sizes.head // maps + turned)
        self.turned = turned
        self.query = _projection(sizes.width, sizes.heads * maps * self.score_width, bias=False)
        self.latent = _projection(sizes.width, rank, bias=False)
        self.norm = nn.RMSNorm(rank, eps=1e-6)
        self.rotary = _projection(sizes.width, turned, bias=False)
        self.key = _projection(rank, sizes.width, bias=False)
        self.value = _projection(rank, sizes.width, bias=False)

    def queries(self, inputs: Tensor, position: Position, positions: Tensor) -> Tensor:
        query = _split(self.query(inputs), self.query_heads * self.maps)
        content, turned = query[..., : -self.turned], query[..., -self.turned :]
        return torch.cat((content, position.turn(turned, positions)), -1)

    def remember(self, memory: Tensor, position: Position, positions: Tensor) -> dict[str, Tensor]:
        turned = position.turn(_split(self.rotary(memory), 1), positions)
        return {"latent": self.norm(self.latent(memory)), "rotary": turned}

    def recall(self, kept: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        content = _split(self.key(kept["latent"]), self.query_heads * self.maps)
        turned = kept["rotary"].expand(-1, content.shape[1], -1, -1)
        return torch.cat((content, turned), -1), _split(self.value(kept["latent"]), self.query_heads)


class Bare(Heads):
    """Use the inputs themselves, split into heads, as queries, keys and values, for mechanisms without projections
    (FNet: Lee-Thorp et al. 2021, arXiv 2105.03824)."""

    projects = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes, 1, sizes.head)

    def queries(self, inputs: Tensor, position: Position, positions: Tensor) -> Tensor:
        return position.turn(_split(inputs, self.query_heads), positions)

    def remember(self, memory: Tensor, position: Position, positions: Tensor) -> dict[str, Tensor]:
        value = _split(memory, self.query_heads)
        return {"key": position.turn(value, positions), "value": value}

    def recall(self, kept: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return kept["key"], kept["value"]


def _projection(width: int, to: int, *, bias: bool = True) -> nn.Linear:
    linear = nn.Linear(width, to, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def _split(tensor: Tensor, heads: int) -> Tensor:
    """(B, L, heads·D) → (B, heads, L, D)"""
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)


def _for_all(tensor: Tensor, groups: int, maps: int) -> Tensor:
    """Repeat each shared head, with its maps, for its `groups` query heads."""
    if groups == 1:
        return tensor
    return tensor.unflatten(1, (-1, maps)).repeat_interleave(groups, 1).flatten(1, 2)


HEADS: dict[str, Callable[..., Heads]] = {"separate": Separate, "latent": Latent, "bare": Bare}
