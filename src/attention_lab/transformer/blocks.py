"""The blocks that encoder and decoder repeat (Vaswani et al. 2017, section 3.1).

Weights are initialised as in the authors' code (tensor2tensor): matrices uniform in ±√(6 / (in + out)) (Glorot & Bengio
2010, equation 16), embedding vectors normal with a standard deviation of 1/√W, biases 0, gains of norms 1.

Shapes: B batch, L positions (Ls source, Lt target), W width of the model, F width of the feed-forward layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attention_lab.attention import Cache, MultiHeadAttention, Place
from attention_lab.attention.dropout import Dropout
from attention_lab.attention.positions import sinusoidal
from attention_lab.errors import InputError
from attention_lab.transformer.config import Config

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


def norm(config: Config) -> nn.Module:
    """The configured norm over the features of each position: γ·(x − mean)/√(variance + ε) + β (`layer`), or γ·x/√(mean
    of squares + ε) (`rms`)."""
    kind = nn.LayerNorm if config.normalisation == "layer" else nn.RMSNorm
    return kind(config.width, eps=config.epsilon)


class Embedding(nn.Module):
    """Token vectors times √W plus positions (section 3.4). If tied, the token vectors also project to the vocabulary.

    If the configuration says so, segment vectors are added (Devlin et al. 2019, arXiv 1810.04805, figure 2), and the
    sum is normalised.

    Args:
        entries: number of token vectors. None: the size of the vocabulary; 0: no token vectors, in which case `forward`
            is given those of another embedding.
    """

    def __init__(self, config: Config, entries: int | None = None) -> None:
        super().__init__()
        self.width = config.width
        self.position = config.position
        self.scale = math.sqrt(config.width) if config.embedding_scale is None else config.embedding_scale
        if entries != 0:
            self.tokens = _vectors(entries or config.vocabulary, config.width, padding=config.pad)
        if config.position == "learned":
            self.learned = _vectors(config.positions, config.width, self.scale)
        self.segments = _vectors(config.segments, config.width, self.scale) if config.segments else None
        self.norm = norm(config) if config.embedding_norm else nn.Identity()
        self.dropout = Dropout(config.dropout if config.embedding_dropout is None else config.embedding_dropout)

    def forward(
        self,
        tokens: Tensor,
        *,
        start: int = 0,
        segments: Tensor | None = None,
        shared: nn.Embedding | None = None,
    ) -> Tensor:
        """tokens (B, L), the first of them at position `start` → (B, L, W)

        Args:
            segments: (B, L), the segment of each token; None: all in the first.
            shared: token vectors of another embedding, used instead of its own.

        Raises:
            InputError: positions are learned, and the text is longer than those.
        """
        behind = start + tokens.shape[1]
        if self.position == "learned" and behind > self.learned.num_embeddings:
            raise InputError(
                f"a text of {behind} tokens is longer than the model's {self.learned.num_embeddings} learned "
                "positions; give a shorter one, or let the model write less"
            )
        vectors = (self.tokens if shared is None else shared)(tokens) * self.scale
        positions = torch.arange(start, behind, device=tokens.device)
        if self.position in ("sinusoidal", "sinusoidal_rotary"):
            vectors = vectors + sinusoidal(positions, self.width).to(vectors.dtype)
        elif self.position == "learned":
            vectors = vectors + self.learned(positions)
        if self.segments is not None:
            vectors = vectors + self.segments(torch.zeros_like(tokens) if segments is None else segments)
        return self.dropout(self.norm(vectors))


def _vectors(count: int, width: int, scale: float = 1.0, padding: int | None = None) -> nn.Embedding:
    """A new embedding. With `scale`, positions and segments start as large as scaled token vectors, as in BERT."""
    vectors = nn.Embedding(count, width, padding_idx=padding)
    nn.init.normal_(vectors.weight, std=scale / math.sqrt(width))
    if padding is not None:
        with torch.no_grad():
            vectors.weight[padding].zero_()
    return vectors


class FeedForward(nn.Module):
    """σ(xA + a)B + b, at each position separately (section 3.3: σ = relu); A is (W, F).

    Gated: (σ(xG + g) ⊙ (xA + a))B + b, with a matrix G of the shape of A (Shazeer 2020, arXiv 2002.05202, section 2:
    SwiGLU with silu, GEGLU with gelu). The gate adds half as many parameters again.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.feedforward)
        self.outer = nn.Linear(config.feedforward, config.width)
        self.gate = nn.Linear(config.width, config.feedforward) if config.gated else None
        for linear in (self.inner, self.outer, self.gate):
            if linear is not None:
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = Dropout(config.feedforward_dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, L, W) → (B, L, W)"""
        hidden = self.inner(inputs)
        hidden = self.activation(hidden) if self.gate is None else self.activation(self.gate(inputs)) * hidden
        return self.outer(self.dropout(hidden))


class Residual(nn.Module):
    """x + sublayer(x) with a norm: after the sum (post, section 3.1); before the sublayer (pre; Xiong et al. 2020,
    arXiv 2002.04745: trains without a long warm-up); or before and after the sublayer (sandwich; Ding et al. 2021,
    arXiv 2105.13290, CogView; Gemma 2 2024, arXiv 2408.00118: bounds what a sublayer can add)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = norm(config)
        self.after = norm(config) if config.norm == "sandwich" else nn.Identity()
        self.post = config.norm == "post"
        self.dropout = Dropout(config.dropout)

    def forward(self, inputs: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        if self.post:
            return self.norm(inputs + self.dropout(sublayer(inputs)))
        return inputs + self.dropout(self.after(sublayer(self.norm(inputs))))


@dataclass
class BlockCache:
    """What a decoder block keeps between decoding steps."""

    itself: Cache = field(default_factory=Cache)
    cross: Cache = field(default_factory=lambda: Cache(fixed=True))

    def select(self, rows: Tensor) -> None:
        self.itself.select(rows)
        self.cross.select(rows)


def attention(config: Config, place: Place, dropout: float | None = None) -> MultiHeadAttention:
    """The configured attention layer of a place; dropout None: `config.attention_dropout`."""
    return MultiHeadAttention(
        config.width,
        config.heads,
        config.mechanism(place),
        place,
        dropout=config.attention_dropout if dropout is None else dropout,
        rotary=config.position in ("rotary", "sinusoidal_rotary"),
        same=config.match and place == "encoder_self",
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

    def forward(
        self, inputs: Tensor, mask: Tensor | None, *, same: Tensor | None = None, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """inputs (B, L, W), mask (B, L), same (B, L, L) → outputs (B, L, W), weights (B, H, L, L) if requested"""
        used: Tensor | None = None

        def attend(normed: Tensor) -> Tensor:
            nonlocal used
            output, used = self.attention(normed, mask=mask, same=same, weights=weights)
            return output

        hidden = self.around_attention(inputs, attend)
        return self.around_feedforward(hidden, self.feedforward), used


class DecoderBlock(nn.Module):
    """Self-attention over the target so far, cross-attention to the source if there is one, then the feed-forward
    layer.

    Args:
        points: return the cross-attention weights in every call, because they determine what is copied. They must sum
            to 1, as parts of a distribution, so dropout is not applied to them.
    """

    def __init__(self, config: Config, *, points: bool = False) -> None:
        super().__init__()
        reads = "cross" in config.places
        self.itself = attention(config, "decoder_self")
        self.points = points
        self.cross = attention(config, "cross", dropout=0.0 if points else None) if reads else None
        self.feedforward = FeedForward(config)
        self.around_itself = Residual(config)
        self.around_cross = Residual(config) if reads else None
        self.around_feedforward = Residual(config)

    def forward(
        self,
        inputs: Tensor,
        memory: Tensor | None = None,
        *,
        memory_mask: Tensor | None = None,
        cache: BlockCache | None = None,
        weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """inputs (B, Lt, W), memory (B, Ls, W), memory_mask (B, Ls) →
        outputs (B, Lt, W) and, if requested, self weights (B, H, Lt, Lt) and cross weights (B, H, Lt, Ls)"""
        own: Tensor | None = None
        other: Tensor | None = None

        def attend_itself(normed: Tensor) -> Tensor:
            nonlocal own
            kept = None if cache is None else cache.itself
            output, own = self.itself(normed, cache=kept, weights=weights)
            return output

        hidden = self.around_itself(inputs, attend_itself)
        if self.cross is not None and self.around_cross is not None:
            cross = self.cross

            def attend_source(normed: Tensor) -> Tensor:
                nonlocal other
                kept = None if cache is None else cache.cross
                asked = weights or self.points
                output, other = cross(normed, memory, mask=memory_mask, cache=kept, weights=asked)
                return output

            hidden = self.around_cross(hidden, attend_source)
        return self.around_feedforward(hidden, self.feedforward), own, other
