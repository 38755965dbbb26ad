"""Sampling texts from a model, whole or token by token.

Shapes: B texts, L tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from attention_lab.decoding.rules import Draw, Rules
from attention_lab.decoding.states import Hypothesis, State, most_tokens, read

Seed = int | Sequence[int]


def sample(
    state: State, prompts: Tensor, rules: Rules, draw: Draw, *, max_tokens: int, seeds: Sequence[Seed]
) -> list[Hypothesis]:
    """Draw one continuation of each prompt.

    Every text has its own random numbers, from its own seed, so it comes out the same alone and in any batch, except
    where rounding in the model tips a close draw.

    Args:
        prompts: (B, L), at least the start token.
        max_tokens: the maximum number of tokens written, including the end token.
        seeds: one for each text: a number or a sequence of numbers.

    Raises:
        InputError: a prompt is empty, or longer than the model's positions.
    """
    tokens: list[list[int]] = [[] for _ in prompts]
    values = [0.0] * len(prompts)
    for row, token, value in _drawn(state, prompts, rules, draw, max_tokens, seeds):
        tokens[row].append(token)
        values[row] += value
    ended = [bool(said) and said[-1] == rules.end for said in tokens]
    return [
        Hypothesis(said[:-1] if done else said, value, done)
        for said, value, done in zip(tokens, values, ended, strict=True)
    ]


def stream(state: State, prompt: Tensor, rules: Rules, draw: Draw, *, max_tokens: int, seed: Seed) -> Iterator[int]:
    """Yield the tokens that `sample` would draw after a prompt (L,), each as soon as it is drawn, without the end
    token."""
    for _, token, _ in _drawn(state, prompt.unsqueeze(0), rules, draw, max_tokens, [seed]):
        if token != rules.end:
            yield token


@torch.inference_mode()
def _drawn(
    state: State, prompts: Tensor, rules: Rules, draw: Draw, max_tokens: int, seeds: Sequence[Seed]
) -> Iterator[tuple[int, int, float]]:
    """Yield row, token and log-probability of every token drawn, step by step, until each row has its end token."""
    read(state, prompts)
    length = prompts.shape[1]
    most = int(min(max_tokens, most_tokens(state.config) - length))
    chances = [np.random.default_rng(seed) for seed in seeds]
    said = prompts.cpu()  # draw on the CPU, so that the result is the same on every device
    alive = list(range(len(said)))
    for written in range(most):
        logits = state.next(said[:, -1].to(prompts.device)).cpu()
        logs = rules.log_probabilities(logits, said, written)
        uniform = torch.tensor([chances[row].random() for row in alive], dtype=torch.float64)
        tokens = draw.token(logs, uniform)
        values = logs.gather(1, tokens.unsqueeze(1)).squeeze(1)
        yield from zip(alive, tokens.tolist(), values.tolist(), strict=True)
        left = (tokens != rules.end).nonzero().flatten()
        if not len(left):
            return
        said = torch.cat((said, tokens.unsqueeze(1)), 1)
        if len(left) < len(said):
            alive, said = [alive[row] for row in left.tolist()], said[left]
            state.select(left.to(prompts.device))
