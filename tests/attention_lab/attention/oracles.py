"""What tests of single parts share: sizes, vectors and the weights of a composition of given parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from attention_lab.attention.composition import Composition
from attention_lab.attention.contract import Call, Place, Sizes, Where, here
from attention_lab.attention.normalisers import NORMALISERS
from attention_lab.attention.operations import Operation
from attention_lab.attention.patterns import PATTERNS
from attention_lab.attention.positions import Position
from attention_lab.attention.scores import SCORES

BATCH, HEADS, QUERIES, KEYS, HEAD = 2, 3, 5, 7, 11


def sizes(place: Place = "cross", head: int = HEAD, heads: int = HEADS) -> Sizes:
    return Sizes(heads=heads, head=head, width=heads * head, length=64, place=place)


def vectors(length: int, seed: int = 1, head: int = HEAD) -> torch.Tensor:
    """(B, H, L, D)"""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, HEADS, length, head, dtype=torch.float64, generator=generator)


def call_of(query: torch.Tensor, key: torch.Tensor, **where: Any) -> Call:
    positions = {"queries": here(query.shape[-2]), "keys": here(key.shape[-2])}
    return Call(torch.zeros(len(query), query.shape[-2], 1), query, key, Where(**(positions | where)))


def composition(place: Place = "cross", score: str = "scaled_dot", normaliser: str = "softmax", **options: Any) -> Any:
    """A composition of a score and a normaliser; options are the normaliser's, or `pattern` with those of it."""
    torch.manual_seed(0)
    of = sizes(place)
    pattern = PATTERNS[options.pop("pattern", "full")](of, **options.pop("pattern_options", {}))
    made = Composition(
        SCORES[score](of), Position(of), Operation(of), NORMALISERS[normaliser](of, **options), pattern, 0.0
    )
    return made.double().eval()


def copy_attention(ours: Any, theirs: nn.MultiheadAttention) -> None:
    """Give a layer of ours the weights of one of PyTorch's."""
    with torch.no_grad():
        for layer, weight, bias in zip(
            (ours.heads.query, ours.heads.key, ours.heads.value),
            theirs.in_proj_weight.chunk(3),
            theirs.in_proj_bias.chunk(3),
            strict=True,
        ):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        ours.output.load_state_dict(theirs.out_proj.state_dict())
