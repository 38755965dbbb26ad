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


def log_probability(model: EncoderDecoder, source: Tensor, mask: Tensor, tokens: list[int]) -> float:
    target = torch.tensor([[START, *tokens]])
    logits = model.project(model(source, mask, target[:, :-1])[0])[0]
    logs = logits.log_softmax(-1)
    return float(sum(logs[i, token] for i, token in enumerate(tokens)))


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
