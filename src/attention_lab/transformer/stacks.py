"""Encoder and decoder: a stack of blocks, a final norm where the blocks normalise first.

Shapes: B batch, Ls source positions, Lt target positions, W width, H heads. Masks are boolean, True = may attend.
"""

from __future__ import annotations

from torch import Tensor, nn

from attention_lab.transformer.blocks import BlockCache, DecoderBlock, EncoderBlock
from attention_lab.transformer.config import Config


class Encoder(nn.Module):
    """Reads the whole source; every position may attend to every other."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()

    def forward(self, vectors: Tensor, mask: Tensor | None, *, weights: bool = False) -> tuple[Tensor, list[Tensor]]:
        """vectors (B, Ls, W), mask (B, Ls) → hidden (B, Ls, W), weights (B, H, Ls, Ls) per layer if asked for"""
        seen: list[Tensor] = []
        for block in self.blocks:
            vectors, used = block(vectors, mask, weights=weights)
            if used is not None:
                seen.append(used)
        return self.norm(vectors), seen


class Decoder(nn.Module):
    """Writes the target; a position may attend to those before it, to itself and to the whole source."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()

    def forward(
        self,
        vectors: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        *,
        caches: list[BlockCache] | None = None,
        weights: bool = False,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """vectors (B, Lt, W), memory (B, Ls, W), memory_mask (B, Ls) →
        hidden (B, Lt, W), self weights (B, H, Lt, Lt) and cross weights (B, H, Lt, Ls) per layer if asked for.

        With caches the vectors are those of new positions only. Padding of the target needs no mask: it stands
        at the end, where no earlier position may look.
        """
        own: list[Tensor] = []
        other: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            vectors, to_itself, to_source = block(
                vectors,
                memory,
                memory_mask=memory_mask,
                cache=caches[index] if caches else None,
                weights=weights,
            )
            if to_itself is not None and to_source is not None:
                own.append(to_itself)
                other.append(to_source)
        return self.norm(vectors), own, other
