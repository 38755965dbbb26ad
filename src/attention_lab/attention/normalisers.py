"""Normalisers: from scores to weights.

Every normaliser takes scores (B, H, Lq, Lk) and a boolean mask that broadcasts to them (True = may attend, None =
everything may) and returns weights of the same shape: exactly 0 where the mask is False, so a query that may attend
to nothing has the weights 0, never NaN, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """e^s / Σ e^s over the keys that may be attended to (Vaswani et al. 2017, equation 1)."""
    if mask is None:
        return scores.softmax(-1)
    # The smallest finite number and not −inf: a fully masked row is then uniform for a moment instead of NaN, and
    # the product with the mask makes it 0 in value and in gradient.
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~mask, lowest).softmax(-1) * mask


NORMALISERS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {"softmax": softmax}
