"""What a decoding by `generate` of transformers keeps from step to step."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from attention_lab.transformer import EncoderDecoder, LanguageModel
from attention_lab.transformer.blocks import BlockCache


class LabCache:
    """What a decoding keeps, as `generate` asks for it.

    blocks: what the blocks keep, which have one position for all rows: so by the number of tokens before a text.
    padding: (B,), that number; None: it is 0 in all rows.
    """

    is_compileable = False

    def __init__(self, model: EncoderDecoder | LanguageModel) -> None:
        self.blocks: dict[int, list[BlockCache]] = defaultdict(model.caches)
        self.padding: Tensor | None = None

    def get_seq_length(self, layer: int = 0) -> int:
        """How many tokens were read, padding included."""
        return max((before + blocks[0].itself.length for before, blocks in self.blocks.items()), default=0)

    def reorder_cache(self, rows: Tensor) -> None:
        """Go on with these rows (beams)."""
        old = self.padding
        for before, blocks in self.blocks.items():
            own = rows if old is None else torch.searchsorted(rows_behind(old, before), rows[old[rows] == before])
            for block in blocks:
                block.select(own)
        self.padding = None if old is None else old[rows]


def rows_behind(padding: Tensor, before: int) -> Tensor:
    """The rows with that many tokens before their text."""
    return (padding == before).nonzero().flatten()
