"""Heads: how queries, keys and values are projected, and which of them heads share.

`Heads` is built from the layer's sizes. It projects inputs to queries, projects a memory to what a cache keeps for
it, and makes keys and values of what was kept.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from attention_lab.attention.contract import Sizes
from attention_lab.attention.positions import Position
from attention_lab.errors import InputError


class Heads(nn.Module):
    """H heads of width D = W/H (Vaswani et al. 2017, arXiv 1706.03762, section 3.2.2).

    Args:
        key_heads: heads of keys and values; fewer than H are shared by groups of query heads (Shazeer 2019, arXiv
            1911.02150: 1, "multi-query"; Ainslie et al. 2023, arXiv 2305.13245: "grouped-query"), and the cache
            shrinks by H / key_heads. None: H.
        maps: how many queries and keys of width D / maps each head has.
    """

    def __init__(self, sizes: Sizes, *, key_heads: int | None = None, maps: int = 1) -> None:
        super().__init__()
        shared = sizes.heads if key_heads is None else min(key_heads, sizes.heads)
        if sizes.heads % shared:
            raise InputError(f"attention.options.key_heads: {shared} does not divide the {sizes.heads} heads")
        if sizes.head % maps:
            raise InputError(f"model.width: {sizes.width} / {sizes.heads} heads is not even, as this mechanism needs")
        self.groups, self.maps = sizes.heads // shared, maps
        self.query_heads, self.shared = sizes.heads, shared
        self.query = nn.Linear(sizes.width, sizes.width)
        self.key = nn.Linear(sizes.width, shared * sizes.head)
        self.value = nn.Linear(sizes.width, shared * sizes.head)
        for linear in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def queries(self, inputs: Tensor, position: Position, positions: Tensor) -> Tensor:
        """inputs (B, Lq, W) at positions (P, Lq) → (B, H·maps, Lq, D / maps)"""
        return position.turn(_split(self.query(inputs), self.query_heads * self.maps), positions)

    def remember(self, memory: Tensor, position: Position, positions: Tensor) -> dict[str, Tensor]:
        """memory (B, Lk, W) at positions (P, Lk) → what a cache keeps, (B, …, Lk, …) by name."""
        key = position.turn(_split(self.key(memory), self.shared * self.maps), positions)
        return {"key": key, "value": _split(self.value(memory), self.shared)}

    def recall(self, kept: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What was kept → keys (B, H·maps, Lk, D / maps), values (B, H, Lk, D), for every head."""
        return _for_all(kept["key"], self.groups), _for_all(kept["value"], self.groups)


def _split(tensor: Tensor, heads: int) -> Tensor:
    """(B, L, heads·D) → (B, heads, L, D)"""
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)


def _for_all(tensor: Tensor, groups: int) -> Tensor:
    """Each of the shared heads for `groups` query heads in a row."""
    return tensor if groups == 1 else tensor.repeat_interleave(groups, 1)


HEADS: dict[str, Callable[..., Heads]] = {"separate": Heads}
