"""Patterns: which keys a query may attend to, as boolean masks (True = may attend).

A pattern is a function of absolute positions, so that it holds for a single query of a step-by-step decoding as for
the whole sequence: query positions (Lq,), key positions (Lk,) → (Lq, Lk).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def full(query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """Every key."""
    return torch.ones(len(query_positions), len(key_positions), dtype=torch.bool, device=query_positions.device)


def causal(query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """Keys at or before the query: a decoder must not see what it has yet to say (Vaswani et al. 2017, 3.2.3)."""
    return key_positions <= query_positions.unsqueeze(-1)


PATTERNS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"full": full, "causal": causal}
