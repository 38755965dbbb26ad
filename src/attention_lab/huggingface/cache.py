"""What transformers' `generate` keeps between decoding steps."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from attention_lab.transformer import EncoderDecoder, LanguageModel
from attention_lab.transformer.blocks import BlockCache


class LabCache:
    """The cache of a decoding, with the interface that `generate` expects.

    blocks: block caches by the number of padding tokens before a text, because all rows of a block cache are at the
    same position.
    padding: (B,), that number for each row; None: 0 for all rows.
    """

    is_compileable = False

    def __init__(self, model: EncoderDecoder | LanguageModel) -> None:
        self.blocks: dict[int, list[BlockCache]] = defaultdict(model.caches)
        self.padding: Tensor | None = None

    def get_seq_length(self, layer: int = 0) -> int:
        """The number of tokens read so far, including padding."""
        return max((before + blocks[0].itself.length for before, blocks in self.blocks.items()), default=0)

    def reorder_cache(self, rows: Tensor) -> None:
        """Continue with these rows (beams)."""
        old = self.padding
        for before, blocks in self.blocks.items():
            own = rows if old is None else torch.searchsorted(rows_behind(old, before), rows[old[rows] == before])
            for block in blocks:
                block.select(own)
        self.padding = None if old is None else old[rows]


def rows_behind(padding: Tensor, before: int) -> Tensor:
    """The rows with that many padding tokens before their text."""
    return (padding == before).nonzero().flatten()
