"""Solutions of the notebook's exercises; `attention_lab.exercises.check` finds all of them right.

Shapes: B batch, H heads, L positions, Lq queries, Lk keys, D width of one head, W width of the model.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def softmax(scores: Tensor) -> Tensor:
    """scores (…, Lq, Lk) → weights (…, Lq, Lk)"""
    exponentials = torch.exp(scores - scores.amax(-1, keepdim=True))
    return exponentials / exponentials.sum(-1, keepdim=True)


def scaled_scores(query: Tensor, key: Tensor) -> Tensor:
    """query (H, Lq, D), key (H, Lk, D) → scores (H, Lq, Lk)"""
    return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])


def masked_weights(scores: Tensor, exists: Tensor) -> Tensor:
    """scores (B, H, Lq, Lk), exists (B, Lk) → weights (B, H, Lq, Lk)"""
    return scores.masked_fill(~exists[:, None, None, :], -torch.inf).softmax(-1)


def causal_mask(length: int) -> Tensor:
    """(length, length), True where the word of the row may look at the word of the column"""
    place = torch.arange(length)
    return place[None, :] <= place[:, None]


def split_heads(inputs: Tensor, heads: int) -> Tensor:
    """inputs (B, L, W) → (B, H, L, D)"""
    return inputs.unflatten(-1, (heads, -1)).transpose(1, 2)


def local_window(length: int, window: int) -> Tensor:
    """(length, length), True where row and column are at most `window` apart"""
    place = torch.arange(length)
    return (place[None, :] - place[:, None]).abs() <= window


def linear_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """query (H, Lq, D), key (H, Lk, D), value (H, Lk, Dv) → output (H, Lq, Dv)"""
    of_query, of_key = F.elu(query) + 1.0, F.elu(key) + 1.0
    sums = of_key.transpose(-2, -1) @ value  # (H, D, Dv), once for all queries
    total = of_query @ of_key.sum(-2).unsqueeze(-1)  # (H, Lq, 1)
    return of_query @ sums / total


def alignment_error(found: set[tuple[int, int]], sure: set[tuple[int, int]]) -> float:
    """1 − 2·|A ∩ S| / (|A| + |S|) for the links A that were found and S that are known"""
    return 1.0 - 2.0 * len(found & sure) / (len(found) + len(sure))
