"""Beam search: the most probable texts that a search of limited width finds; with one beam it is greedy decoding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attention_lab.decoding.rules import Rules
from attention_lab.decoding.states import Hypothesis, State, TargetState, most_tokens, read
from attention_lab.transformer import EncoderDecoder


@torch.inference_mode()
def beam_search(
    model: EncoderDecoder,
    source: Tensor,
    source_mask: Tensor,
    *,
    beams: int,
    length_penalty: float,
    max_tokens: int,
    max_ratio: float = math.inf,
    n_best: int = 1,
    rules: Rules | None = None,
) -> list[list[Hypothesis]]:
    """Return the `n_best` targets of each source, best first; see `hypotheses`.

    Args:
        source: (B, Ls), source_mask: (B, Ls).
        max_tokens: longest target, including start and end token.
        max_ratio: also limits a target to max_ratio times the source's tokens plus ten, to stop a model that loops.
    """
    return hypotheses(
        TargetState(model, source, source_mask),
        torch.full((len(source), 1), model.config.start, device=source.device),
        rules or Rules.of(model.config),
        beams=beams,
        length_penalty=length_penalty,
        max_tokens=longest_targets(source_mask, max_tokens, max_ratio),
        n_best=n_best,
    )


def longest_targets(source_mask: Tensor, max_tokens: int, max_ratio: float) -> Tensor:
    """The maximum number of tokens written for each source (B,), including the end token; see `beam_search`."""
    return (source_mask.sum(1) * max_ratio + 10).clamp(max=max_tokens) - 1


@torch.inference_mode()
def hypotheses(
    state: State,
    prompts: Tensor,
    rules: Rules,
    *,
    beams: int,
    length_penalty: float,
    max_tokens: int | Tensor,
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """Return the `n_best` different continuations of each prompt, best first; fewer if the rules allow no more.

    The score of a hypothesis is log p / length^length_penalty (Wu et al. 2016, arXiv 1609.08144, section 7, without the
    constant 5); the length counts the tokens written, including the end token. A text whose beams have all ended leaves
    the batch.

    Args:
        prompts: (B, L), at least the start token.
        max_tokens: the maximum number of tokens written, including the end token, at least 1: one number, or (B,).
        n_best: at most the number of beams.

    Raises:
        InputError: a prompt is empty, or longer than the model's positions.
        ValueError: n_best is larger than beams.
    """
    if n_best > beams:
        raise ValueError(f"{beams} beams cannot give {n_best} hypotheses; use at least as many beams")
    size, begin = prompts.shape
    device = prompts.device
    read(state, prompts)
    state.select(torch.arange(size, device=device).repeat_interleave(beams))
    limits = torch.as_tensor(max_tokens, device=device).expand(size).clamp(max=most_tokens(state.config) - begin)

    alive = torch.arange(size, device=device)  # which rows of the batch are still being written
    tokens = prompts.unsqueeze(1).expand(-1, beams, -1)
    # All beams start equal: only the first may be continued, otherwise they would stay equal.
    scores = torch.full((size, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0
    ended = torch.zeros(size, beams, dtype=torch.bool, device=device)
    found: list[list[Hypothesis]] = [[] for _ in range(size)]

    while len(alive):
        logits = state.next(tokens[:, :, -1].flatten())
        steps = rules.log_probabilities(logits, tokens.flatten(0, 1), tokens.shape[-1] - begin)
        steps = steps.view(len(alive), beams, -1)
        # An ended hypothesis has a single continuation: another end token, at no cost.
        steps = steps.masked_fill(ended.unsqueeze(-1), -torch.inf)
        steps[:, :, rules.end] = steps[:, :, rules.end].masked_fill(ended, 0.0)
        scores, flat = (scores.unsqueeze(-1) + steps).flatten(1).topk(beams, dim=1)
        origin, token = flat // steps.shape[-1], flat % steps.shape[-1]
        tokens = torch.cat((tokens.gather(1, origin.unsqueeze(-1).expand_as(tokens)), token.unsqueeze(-1)), -1)
        ended = ended.gather(1, origin) | (token == rules.end)

        done = ended.all(1) | (tokens.shape[-1] - begin >= limits)
        for index in done.nonzero().flatten().tolist():
            found[int(alive[index])] = _best(tokens[index, :, begin:], scores[index], rules.end, length_penalty, n_best)
        left = (~done).nonzero().flatten()
        rows = (left.unsqueeze(1) * beams + origin[left]).flatten()
        if beams > 1 or len(left) < len(alive):
            state.select(rows)
        alive, tokens, scores, ended, limits = alive[left], tokens[left], scores[left], ended[left], limits[left]
    return found


def _best(written: Tensor, scores: Tensor, end: int, length_penalty: float, n_best: int) -> list[Hypothesis]:
    """The best hypotheses of one text, from written (beams, L) and scores (beams,), best first."""
    ends = written == end
    inner = written.shape[1] - ends.sum(1)  # an ended hypothesis is filled up with end tokens
    worth = scores / (inner + ends.any(1)) ** length_penalty
    order = worth.argsort(descending=True, stable=True)[:n_best]
    return [
        Hypothesis(written[beam, : int(inner[beam])].tolist(), float(scores[beam]), bool(ends[beam].any()))
        for beam in order.tolist()
        if scores[beam] > -torch.inf
    ]
