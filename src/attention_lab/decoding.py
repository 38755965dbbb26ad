"""From a source to a target, token by token: beam search with caches; one beam is greedy decoding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
) -> tuple[list[list[int]], list[float]]:
    """The best target of each source.

    A hypothesis is worth log p / length^length_penalty (Wu et al. 2016, arXiv 1609.08144, section 7, without the
    constant 5). Sentences whose beams have all ended leave the batch.

    Args:
        source: (B, Ls), source_mask: (B, Ls).
        max_tokens: longest target, start and end token included.
        max_ratio: a target may have so many times the source's tokens, and ten: a model that falls into a loop is
            stopped there.

    Returns:
        Token ids without start and end, and log-probabilities in nats, one for each row of the batch.
    """
    config = model.config
    if config.position == "learned":
        max_tokens = min(max_tokens, config.positions)
    limits = (source_mask.sum(1) * max_ratio + 10).clamp(max=max_tokens)
    size = source.shape[0]
    device = source.device
    memory = model.encode(source, source_mask).repeat_interleave(beams, 0)
    memory_mask = source_mask.repeat_interleave(beams, 0)
    caches = model.caches()

    alive = torch.arange(size, device=device)  # which rows of the batch are still being written
    tokens = torch.full((size, beams, 1), config.start, device=device)
    # All beams start alike: only the first may be continued, or they would stay alike.
    scores = torch.full((size, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0
    ended = torch.zeros(size, beams, dtype=torch.bool, device=device)
    best: list[list[int]] = [[] for _ in range(size)]
    value = [0.0] * size

    while len(alive):
        logits = model.step(tokens[:, :, -1].reshape(-1, 1), memory, memory_mask, caches)
        steps = logits.float().log_softmax(-1).view(len(alive), beams, -1)
        steps[:, :, config.pad] = -torch.inf
        if config.start != config.end:
            steps[:, :, config.start] = -torch.inf
        # An ended hypothesis has one continuation, padding, which costs nothing.
        steps = steps.masked_fill(ended.unsqueeze(-1), -torch.inf)
        steps[:, :, config.pad] = steps[:, :, config.pad].masked_fill(ended, 0.0)
        scores, flat = (scores.unsqueeze(-1) + steps).flatten(1).topk(beams, dim=1)
        origin, token = flat // steps.shape[-1], flat % steps.shape[-1]
        tokens = torch.cat((tokens.gather(1, origin.unsqueeze(-1).expand_as(tokens)), token.unsqueeze(-1)), -1)
        ended = ended.gather(1, origin) | (token == config.end)

        done = ended.all(1) | (tokens.shape[-1] >= limits)
        for index in done.nonzero().flatten().tolist():
            lengths = (tokens[index, :, 1:] != config.pad).sum(-1)
            winner = int((scores[index] / lengths**length_penalty).argmax())
            best[int(alive[index])] = _inner(tokens[index, winner].tolist(), config.end)
            value[int(alive[index])] = float(scores[index, winner])
        left = (~done).nonzero().flatten()
        rows = (left.unsqueeze(1) * beams + origin[left]).flatten()
        alive, tokens, scores, ended, limits = alive[left], tokens[left], scores[left], ended[left], limits[left]
        if beams > 1 or len(rows) < len(memory):
            memory, memory_mask = memory[rows], memory_mask[rows]
            for cache in caches:
                cache.select(rows)
    return best, value


def _inner(tokens: list[int], end: int) -> list[int]:
    written = tokens[1:]
    return written[: written.index(end)] if end in written else written
