"""The interface that decoding needs from a model, and its implementation for two kinds of models.

Shapes: B texts being written, L tokens, Ls source positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from attention_lab.errors import InputError
from attention_lab.transformer import Config, EncoderDecoder


class State(Protocol):
    """The state of a model that has read the tokens of a batch of texts so far, and predicts the next ones."""

    config: Config

    def next(self, tokens: Tensor) -> Tensor:
        """The newest token of each text (B,) → logits for the next one (B, V)"""
        ...

    def select(self, rows: Tensor) -> None:
        """Continue with these texts of the batch, in this order; a text may occur several times or not at all."""
        ...


class DecoderOnly(Protocol):
    """A language model with caches whose rows can be selected."""

    config: Config

    def caches(self) -> list[Any]: ...

    def step(self, token: Tensor, caches: list[Any]) -> Tensor:
        """The newest tokens (B, 1) → logits for the next (B, V). Extends the caches."""
        ...


class TargetState:
    """The state of an encoder-decoder that writes the target of each source.

    Args:
        source: (B, Ls), source_mask: (B, Ls).
    """

    @torch.inference_mode()
    def __init__(self, model: EncoderDecoder, source: Tensor, source_mask: Tensor) -> None:
        self.config = model.config
        self.model = model
        self.memory, _ = model.read(source, source_mask)
        self.caches = model.caches()

    def next(self, tokens: Tensor) -> Tensor:
        return self.model.step(tokens.unsqueeze(1), self.memory, self.caches)

    def select(self, rows: Tensor) -> None:
        self.memory = self.memory.select(rows)
        for cache in self.caches:
            cache.select(rows)


class TextState:
    """The state of a language model that continues texts."""

    def __init__(self, model: DecoderOnly) -> None:
        self.config = model.config
        self.model = model
        self.caches = model.caches()

    def next(self, tokens: Tensor) -> Tensor:
        return self.model.step(tokens.unsqueeze(1), self.caches)

    def select(self, rows: Tensor) -> None:
        for cache in self.caches:
            cache.select(rows)


@dataclass(frozen=True)
class Hypothesis:
    """A text written after a prompt.

    tokens: without the prompt and the end token. log_probability: of what was written, including the end token, in
    nats. ended: whether the end token was reached; False: the text was cut off.
    """

    tokens: list[int]
    log_probability: float
    ended: bool


def by_length(prompts: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Tensor]]:
    """Yield batches of prompts of equal length: their indices, and their tokens (B, L).

    All rows of a cache are at the same position, so prompts of different lengths cannot share a batch.
    """
    for length in sorted({len(prompt) for prompt in prompts}):
        rows = [row for row, prompt in enumerate(prompts) if len(prompt) == length]
        yield rows, torch.tensor([list(prompts[row]) for row in rows])


def read(state: State, prompts: Tensor) -> None:
    """Feed all tokens of the prompts (B, L) except the last, which starts the generation.

    Raises:
        InputError: a prompt is empty, or longer than the model's positions.
    """
    length = prompts.shape[1]
    if not length:
        raise InputError("a prompt needs at least one token; begin it with the start token")
    if length > most_tokens(state.config):
        most = state.config.positions
        raise InputError(f"the prompt has {length} tokens, but the model has {most} positions; give a shorter one")
    for tokens in prompts[:, :-1].unbind(1):
        state.next(tokens)


def most_tokens(config: Config) -> float:
    """The longest text that the model has positions for, including prompt and end token."""
    return config.positions if config.position == "learned" else float("inf")
