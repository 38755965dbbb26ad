"""The blocks that encoder and decoder repeat (Vaswani et al. 2017, section 3.1).

Shapes: B batch, L positions (Ls source, Lt target), W width of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from attention_lab.attention import Cache, MultiHeadAttention, Place
from attention_lab.attention.dropout import Dropout
from attention_lab.attention.positions import sinusoidal
from attention_lab.transformer.config import Config


class Embedding(nn.Module):
    """Token vectors times √W plus positions (section 3.4). The token vectors also project to the vocabulary."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.width = config.width
        self.position = config.position
        self.tokens = nn.Embedding(config.vocabulary, config.width, padding_idx=config.pad)
        nn.init.normal_(self.tokens.weight, std=1.0 / math.sqrt(config.width))
        with torch.no_grad():
            self.tokens.weight[config.pad].zero_()
        if config.position == "learned":
            self.learned = nn.Embedding(config.positions, config.width)
            nn.init.normal_(self.learned.weight, std=1.0 / math.sqrt(config.width))
        self.dropout = Dropout(config.dropout)

    def forward(self, tokens: Tensor, *, start: int = 0) -> Tensor:
        """tokens (B, L), the first of them at position `start` → (B, L, W)"""
        vectors = self.tokens(tokens) * math.sqrt(self.width)
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        if self.position == "sinusoidal":
            vectors = vectors + sinusoidal(positions, self.width).to(vectors.dtype)
        elif self.position == "learned":
            vectors = vectors + self.learned(positions)
        return self.dropout(vectors)


class FeedForward(nn.Module):
    """max(0, xA + a)B + b, at each position alone (section 3.3)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.feedforward)
        self.outer = nn.Linear(config.feedforward, config.width)
        for linear in (self.inner, self.outer):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.outer(torch.relu(self.inner(inputs)))


class Residual(nn.Module):
    """x + sublayer(x) with layer normalisation: after the sum (post, section 3.1) or before the sublayer
    (pre; Xiong et al. 2020, arXiv 2002.04745: trains without a long warm-up)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.pre = config.norm == "pre"
        self.dropout = Dropout(config.dropout)

    def forward(self, inputs: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre:
            return inputs + self.dropout(sublayer(self.norm(inputs)))
        return self.norm(inputs + self.dropout(sublayer(inputs)))


@dataclass
class BlockCache:
    """What a decoder block keeps from step to step."""

    itself: Cache = field(default_factory=Cache)
    cross: Cache = field(default_factory=lambda: Cache(fixed=True))

    def select(self, rows: Tensor) -> None:
        self.itself.select(rows)
        self.cross.select(rows)


def attention(config: Config, place: Place) -> MultiHeadAttention:
    """The attention layer of a place, as the configuration has it."""
    return MultiHeadAttention(
        config.width,
        config.heads,
        config.mechanism(place),
        place,
        dropout=config.attention_dropout,
        rotary=config.position == "rotary",
        length=config.positions,
    )


class EncoderBlock(nn.Module):
    """Self-attention, then the feed-forward layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = attention(config, "encoder_self")
        self.feedforward = FeedForward(config)
        self.around_attention = Residual(config)
        self.around_feedforward = Residual(config)

    def forward(self, inputs: Tensor, mask: Tensor | None, *, weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """inputs (B, L, W), mask (B, L) → outputs (B, L, W), weights (B, H, L, L) if asked for"""
        used: Tensor | None = None

        def attend(normed: Tensor) -> Tensor:
            nonlocal used
            output, used = self.attention(normed, mask=mask, weights=weights)
            return output

        hidden = self.around_attention(inputs, attend)
        return self.around_feedforward(hidden, self.feedforward), used


class DecoderBlock(nn.Module):
    """Self-attention over what was said, cross-attention to the source, then the feed-forward layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.itself = attention(config, "decoder_self")
        self.cross = attention(config, "cross")
        self.feedforward = FeedForward(config)
        self.around_itself = Residual(config)
        self.around_cross = Residual(config)
        self.around_feedforward = Residual(config)

    def forward(
        self,
        inputs: Tensor,
        memory: Tensor,
        *,
        memory_mask: Tensor | None,
        cache: BlockCache | None = None,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """inputs (B, Lt, W), memory (B, Ls, W), memory_mask (B, Ls) →
        outputs, self weights (B, H, Lt, Lt), cross weights (B, H, Lt, Ls)"""
        own: Tensor | None = None
        other: Tensor | None = None

        def attend_itself(normed: Tensor) -> Tensor:
            nonlocal own
            kept = None if cache is None else cache.itself
            output, own = self.itself(normed, cache=kept, weights=weights)
            return output

        def attend_source(normed: Tensor) -> Tensor:
            nonlocal other
            kept = None if cache is None else cache.cross
            output, other = self.cross(normed, memory, mask=memory_mask, cache=kept, weights=weights)
            return output

        hidden = self.around_itself(inputs, attend_itself)
        hidden = self.around_cross(hidden, attend_source)
        return self.around_feedforward(hidden, self.feedforward), own, other
