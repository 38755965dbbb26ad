"""The sum over the past as a state carried along the sequence; all recurrent kernels are computed with it.

F is the width of a key's features, C the number of positions in a chunk, Dv the width of the values.
"""

from __future__ import annotations

import torch
from torch import Tensor


def scan(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    decay: Tensor | None = None,
    strength: Tensor | None = None,
    state: Tensor | None = None,
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """Compute o_t = qᵀ_t S_t with the recurrence S_t = e^{a_t} S_{t−1} + k_t vᵀ_t.

    A strength β_t makes it the delta rule, which subtracts from v_t what the state already returns for k_t:
    S_t = e^{a_t} (I − β_t k_t kᵀ_t) S_{t−1} + β_t k_t vᵀ_t (Yang et al. 2024, arXiv 2412.06464, equation 10).

    Within a chunk all pairs are compared; everything before it is read from the state. So time grows with L·(C + F),
    and only the pairs of one chunk are in memory (Yang et al. 2023, arXiv 2312.06635). The result does not depend on
    the chunk size, and for one new position it is one step of the recurrence.

    Args:
        query: (B, H, L, F), key: (B, H, L, F), value: (B, H, L, Dv).
        decay: a, the logarithm of the share of the state that is kept, (B or 1, H or 1, L); None: all is kept.
        strength: β, (B, H, L); None: no delta rule.
        state: S before the first position, (B, H, F, Dv); None: 0.
        chunk: C.

    Returns:
        The output (B, H, L, Dv), and S after the last position.
    """
    if decay is None:
        decay = query.new_zeros(1, 1, query.shape[-2])
    if state is None:
        state = value.new_zeros(*key.shape[:2], key.shape[-1], value.shape[-1])
    outputs = []
    for q, k, v, a, b in zip(
        query.split(chunk, -2),
        key.split(chunk, -2),
        value.split(chunk, -2),
        decay.split(chunk, -1),
        # Without the delta rule the loop still needs one item per chunk, which is not used.
        (decay if strength is None else strength).split(chunk, -1),
        strict=True,
    ):
        level = a.cumsum(-1).unsqueeze(-1)  # (…, C, 1)
        ahead = torch.ones(k.shape[-2], k.shape[-2], dtype=torch.bool, device=k.device).triu(1)
        # Mask before the exponential, which would overflow for later keys.
        stays = (level - level.transpose(-2, -1)).masked_fill(ahead, -torch.inf).exp()  # share of j left at i (…, C, C)
        from_start, to_end = level.exp(), (level[..., -1:, :] - level).exp()
        if strength is not None:
            # v'_i = β_i (v_i − what the state and the earlier v'_j return for k_i): a triangular system, the "WY" form
            # of a product of Householder matrices (Yang et al. 2024, arXiv 2406.06484, section 3).
            new = b.unsqueeze(-1) * (v - from_start * (k @ state))
            answers = b.unsqueeze(-1) * (k @ k.transpose(-2, -1)) * stays
            v = torch.linalg.solve_triangular(answers, new, upper=False, unitriangular=True)
        outputs.append((q @ k.transpose(-2, -1) * stays) @ v + from_start * (q @ state))
        state = from_start[..., -1:, :] * state + (k * to_end).transpose(-2, -1) @ v
    return torch.cat(outputs, -2), state
