"""Two models small enough that every text they can write can be counted."""

from __future__ import annotations

from typing import Any

import torch
from test_models import START, config  # the tiny models of the transformer's tests
from torch import Tensor

from attention_lab.attention import Cache
from attention_lab.transformer import EncoderDecoder, build


def tiny(vocabulary: int = 7, **changes: object) -> EncoderDecoder:
    torch.manual_seed(3)
    model = build(config(vocabulary=vocabulary, **changes)).eval()
    assert isinstance(model, EncoderDecoder)
    with torch.no_grad():
        model.embedding.tokens.weight.mul_(3.0)  # untrained logits are nearly alike; these have preferences
    return model


def log_probabilities(
    model: EncoderDecoder, source: Tensor, mask: Tensor, texts: list[list[int]]
) -> dict[tuple[int, ...], float]:
    """Of each text behind one source, from the full pass; texts of one length are read at once."""
    found = {}
    for length in {len(tokens) for tokens in texts}:
        alike = [tokens for tokens in texts if len(tokens) == length]
        target = torch.tensor([[START, *tokens] for tokens in alike])
        hidden, _ = model(source.expand(len(alike), -1), mask.expand(len(alike), -1), target[:, :-1])
        logs = model.project(hidden).log_softmax(-1).gather(2, target[:, 1:, None]).sum((1, 2))
        found |= dict(zip(map(tuple, alike), logs.tolist(), strict=True))
    return found


class Remembering:
    """A language model for which every token that it has read counts, the newest most. `sizes` are those of the
    batches that it was given."""

    def __init__(self, vocabulary: int, **changes: Any) -> None:
        self.config = config(vocabulary=vocabulary, **changes)
        generator = torch.Generator().manual_seed(11)
        self.table = torch.randn(vocabulary, vocabulary, generator=generator, dtype=torch.float64) * 1.5
        self.sizes: list[int] = []

    def logits(self, tokens: Tensor) -> Tensor:
        """tokens (B, L) → logits of what comes next (B, V)"""
        ages = torch.arange(tokens.shape[1] - 1, -1, -1)
        return (self.table[tokens] * 0.6 ** ages[:, None]).sum(1)

    def caches(self) -> list[Cache]:
        return [Cache()]

    def step(self, token: Tensor, caches: list[Cache]) -> Tensor:
        self.sizes.append(len(token))
        return self.logits(caches[0].extend("tokens", token, dim=1))

    def log_probability(self, prompt: list[int], tokens: list[int]) -> float:
        return sum(
            float(self.logits(torch.tensor([prompt + tokens[:i]])).log_softmax(-1)[0, token])
            for i, token in enumerate(tokens)
        )
