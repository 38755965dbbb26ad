"""What beam search finds first."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from attention_lab.decoding import beam_search
from attention_lab.transformer import EncoderDecoder


def best_targets(
    model: EncoderDecoder, source: Tensor, source_mask: Tensor, **options: Any
) -> tuple[list[list[int]], list[float]]:
    """Tokens of the best target of each source, without start and end, and their log-probabilities."""
    found = [several[0] for several in beam_search(model, source, source_mask, **options)]
    return [best.tokens for best in found], [best.log_probability for best in found]
