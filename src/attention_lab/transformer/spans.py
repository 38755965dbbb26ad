"""Answers as spans of a text: from the scores of their start and end to the best span.

Shapes: B batch, L positions of <s> question </s> text </s>.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attention_lab.transformer.models import SpanExtractor, segments_of


def ends(model: SpanExtractor, source: Tensor, source_mask: Tensor) -> Tensor:
    """Log-probabilities (B, 2, L) of each position being the first and the last of the answer; −∞ where that is
    impossible: in the question, at </s>, in padding."""
    segments = segments_of(source, model.config)
    logits, _ = model(source, source_mask, segments=segments)
    possible = (segments > 0) & source_mask & (source != model.config.end)
    possible[:, 0] = True  # <s> stands for "no answer"
    return logits.float().masked_fill(~possible.unsqueeze(1), -torch.inf).log_softmax(-1)


def best_span(logs: Tensor, longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """First and last position and log-probability (B,) of the most probable answer of at most `longest` tokens.

    logs: (B, 2, L), as returned by `ends`; position 0 stands for "no answer" and is not considered.
    """
    first, last, best = best_spans(logs, longest, 1)
    return first[:, 0], last[:, 0], best[:, 0]


def best_spans(logs: Tensor, longest: int, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """As `best_span`, but for the `number` most probable answers, best first: each (B, number), or fewer if there are
    not as many spans. Spans that cannot be an answer have a log-probability of −∞."""
    starts, stops = logs[:, 0, 1:], logs[:, 1, 1:]
    size = starts.shape[-1]
    room = min(longest, size)
    windows = F.pad(stops, (0, room - 1), value=-torch.inf).unfold(-1, room, 1)  # (B, L − 1, room)
    best, place = (starts.unsqueeze(-1) + windows).flatten(1).topk(min(number, size * room))
    first = place // room
    return first + 1, first + place % room + 1, best
