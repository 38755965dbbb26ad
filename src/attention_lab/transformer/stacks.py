"""Encoder and decoder: a stack of blocks, with a final norm if the blocks normalise their inputs.

Shapes: B batch, Ls source positions, Lt target positions, W width, H heads. Masks are boolean, True = may attend.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from attention_lab.transformer.blocks import BlockCache, DecoderBlock, EncoderBlock, norm
from attention_lab.transformer.config import Config


class Stack(nn.Module):
    """Base of encoder and decoder.

    gradient_checkpointing: recompute each block in the backward pass of training, so that memory holds the activations
        of one block and the inputs of all (Chen et al. 2016, arXiv 1604.06174); the gradients are the same.
    """

    gradient_checkpointing = False

    def __init__(self, config: Config, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        wanted = config.norm != "post" if config.final_norm is None else config.final_norm
        self.norm = norm(config) if wanted else nn.Identity()

    def through(self, block: nn.Module, *inputs: Tensor | None, **options: Any) -> Any:
        """Apply a block to its inputs, with gradient checkpointing if it is on."""
        if self.gradient_checkpointing and self.training:
            return checkpoint(block, *inputs, use_reentrant=False, **options)
        return block(*inputs, **options)


class Encoder(Stack):
    """Reads the whole source; every position may attend to all others, unless the mechanism restricts that."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, [EncoderBlock(config) for _ in range(config.layers)])

    def forward(
        self, vectors: Tensor, mask: Tensor | None, *, same: Tensor | None = None, weights: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """vectors (B, Ls, W), mask (B, Ls) → hidden (B, Ls, W), weights (B, H, Ls, Ls) per layer if requested

        Args:
            same: (B, Ls, Ls), see `attention.contract.Where`.
        """
        seen: list[Tensor] = []
        for block in self.blocks:
            vectors, used = self.through(block, vectors, mask, same=same, weights=weights)
            if used is not None:
                seen.append(used)
        return self.norm(vectors), seen


class Decoder(Stack):
    """Writes the target; each position may attend to itself, to those before it and to the whole source, if any."""

    def __init__(self, config: Config) -> None:
        last = config.decoder_layers - 1 if config.copies else None
        super().__init__(config, [DecoderBlock(config, points=n == last) for n in range(config.decoder_layers)])

    def forward(
        self,
        vectors: Tensor,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        *,
        caches: list[BlockCache] | None = None,
        weights: bool = False,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """vectors (B, Lt, W), memory (B, Ls, W), memory_mask (B, Ls) →
        hidden (B, Lt, W), self weights (B, H, Lt, Lt) and cross weights (B, H, Lt, Ls) per layer if requested. The
        cross weights of a layer that points are always returned.

        With caches, the vectors are those of new positions only. The target's padding needs no mask: it is at the end,
        where no earlier position may attend to it.
        """
        own: list[Tensor] = []
        other: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            vectors, to_itself, to_source = self.through(
                block,
                vectors,
                memory,
                memory_mask=memory_mask,
                cache=caches[index] if caches else None,
                weights=weights,
            )
            if to_itself is not None:
                own.append(to_itself)
            if to_source is not None:
                other.append(to_source)
        return self.norm(vectors), own, other
