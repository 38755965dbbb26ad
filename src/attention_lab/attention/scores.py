"""Scores: how well a key matches a query, before normalisation.

Every score is built from the layer's sizes and takes query (B, H, Lq, D), key (B, H, Lk, D) and their positions, and
returns scores (B, H, Lq, Lk). A score that is the dot product of a function of the query with a function of the key
(`Dot`) provides these functions (`fold`), so that it can be fused with the sum over values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from attention_lab.attention.contract import Sizes, Where


class Dot(nn.Module):
    """q·k: global attention (Luong et al. 2015, arXiv 1508.04025, section 3.1, "dot"; its weights: equation 7).

    Scores grow with √D, so the softmax saturates for wide heads. Use it for narrow heads, or as the baseline that shows
    what the scale is for.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.scale: float = 1.0

    def fold(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """q' (B, H, Lq, D') and k' (B, H, Lk, D') whose dot products, times `scale`, are the scores."""
        return query, key

    def forward(self, query: Tensor, key: Tensor, where: Where) -> Tensor:
        query, key = self.fold(query, key)
        return (query * self.scale) @ key.transpose(-2, -1)


class ScaledDot(Dot):
    """q·k/√D (Vaswani et al. 2017, arXiv 1706.03762, equation 1): scores of unit variance at any width.

    The default choice.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.scale = 1.0 / math.sqrt(sizes.head)


class DotOfThree(Dot):
    """q·k/√(3D) (He et al. 2020, arXiv 2006.03654, equation 4): the first of three terms whose sum has unit variance;
    the other two come from the position (`deberta`)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.scale = 1.0 / math.sqrt(3 * sizes.head)


class General(Dot):
    """qᵀWk with a matrix W (D, D) for each head (Luong et al. 2015, section 3.1, "general"; its weights: equation 7).

    If queries and keys are projected, W adds nothing to what can be learned; use it with unprojected queries and keys,
    or to reproduce the paper.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.matrix = nn.Parameter(torch.empty(sizes.heads, sizes.head, sizes.head))
        nn.init.normal_(self.matrix, std=1.0 / sizes.head)  # scores of unit variance for inputs of unit variance

    def fold(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return query @ self.matrix.to(query.dtype), key


class Cosine(Dot):
    """τ·cos(q, k) with a learned τ for each head (Henry et al. 2020, arXiv 2010.04245, "QKNorm").

    Scores stay within ±τ however large activations grow; use it where training diverges.

    Args:
        temperature: τ at the start. The paper takes log₂(L² − L), where L is the 97.5th percentile of lengths; 10
            corresponds to L = 32.
    """

    def __init__(self, sizes: Sizes, *, temperature: float = 10.0) -> None:
        super().__init__(sizes)
        self.temperature = nn.Parameter(torch.full((sizes.heads, 1, 1), float(temperature)))

    def fold(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(query, dim=-1) * self.temperature.to(query.dtype), F.normalize(key, dim=-1)


class Distance(Dot):
    """−‖q − k‖²/√D (Kim et al. 2021, arXiv 2006.04710, section 3.2): a key wins by being near, not by being long.

    Unlike with the dot product, attention is Lipschitz if queries and keys share a projection and values are computed
    from it, as in the paper; with separate projections, as here, it is not.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.scale = 1.0 / math.sqrt(sizes.head)

    def fold(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        # −‖q − k‖² = 2q·k − ‖q‖² − ‖k‖² is the dot product of (2q, −‖q‖², 1) and (k, 1, −‖k‖²).
        ones_query, ones_key = torch.ones_like(query[..., :1]), torch.ones_like(key[..., :1])
        longer = torch.cat((2.0 * query, -query.square().sum(-1, keepdim=True), ones_query), -1)
        return longer, torch.cat((key, ones_key, -key.square().sum(-1, keepdim=True)), -1)


class Softcap(nn.Module):
    """c·tanh(q·k/√D/c): scaled dot products that cannot exceed ±c (Gemma 2, 2024, arXiv 2408.00118, section 2).

    Use it if a few scores grow without bound in training.

    Args:
        cap: c.
    """

    def __init__(self, sizes: Sizes, *, cap: float = 50.0) -> None:
        super().__init__()
        self.scale = 1.0 / math.sqrt(sizes.head)
        self.cap = cap

    def forward(self, query: Tensor, key: Tensor, where: Where) -> Tensor:
        return self.cap * torch.tanh((query * (self.scale / self.cap)) @ key.transpose(-2, -1))


class Additive(nn.Module):
    """vᵀ tanh(q + k) (Bahdanau et al. 2014, arXiv 1409.0473, appendix A.1.2; its weights: equation 6).

    The paper's W and U are the query and key projections of the layer; each head has a vector v of its own. It takes
    Lq·Lk·D tanh evaluations, so it suits sentences, not books. To save memory these are computed for some queries at a
    time, and recomputed in the backward pass.
    """

    AT_ONCE = 2**20  # elements of (B, H, some queries, Lk, D): such a piece fits into a CPU's cache

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(sizes.heads, sizes.head))
        nn.init.uniform_(self.vector, -math.sqrt(3.0 / sizes.head), math.sqrt(3.0 / sizes.head))

    def forward(self, query: Tensor, key: Tensor, where: Where) -> Tensor:
        vector = self.vector.to(query.dtype)
        some = max(1, self.AT_ONCE // (key.numel() or 1))
        if query.shape[-2] <= some:
            return _additive(query, key, vector)
        return cast(Tensor, _InPieces.apply(query, key, vector, some))


class _InPieces(torch.autograd.Function):
    """Additive scores for some queries at a time; the tanh is recomputed in the backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, vector: Tensor, some: int) -> Tensor:
        ctx.save_for_backward(query, key, vector)
        ctx.some = some
        return torch.cat([_additive(piece, key, vector) for piece in query.split(some, -2)], -2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, vector = ctx.saved_tensors
        exact = torch.promote_types(query.dtype, torch.float32)  # gradients of many pieces are summed
        for_query, for_key, for_vector = (torch.zeros_like(tensor, dtype=exact) for tensor in (query, key, vector))
        for start in range(0, query.shape[-2], ctx.some):
            rows = slice(start, start + ctx.some)
            weight = gradient[..., rows, :].unsqueeze(-1)  # (B, H, some, Lk, 1)
            hidden = torch.tanh(query[..., rows, :].unsqueeze(-2) + key.unsqueeze(-3))
            for_vector += (weight.transpose(-2, -1) @ hidden).sum((0, 2, 3))
            inside = hidden.square_().neg_().add_(1.0).mul_(weight).mul_(vector[:, None, None])  # tanh' = 1 − tanh²
            for_query[..., rows, :] = inside.sum(-2)
            for_key += inside.sum(-3)
        return for_query.to(query.dtype), for_key.to(key.dtype), for_vector.to(vector.dtype), None


def _additive(query: Tensor, key: Tensor, vector: Tensor) -> Tensor:
    """vᵀ tanh(q + k) for all pairs at once; vector is (H, D)."""
    hidden = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))  # (B, H, Lq, Lk, D)
    return (hidden @ vector[:, None, :, None]).squeeze(-1)


class Concat(Additive):
    """vᵀ tanh(W[q; k]) with a matrix W (D, 2D) for each head (Luong et al. 2015, section 3.1, "concat"; its weights:
    equation 7).

    W[q; k] = W₁q + W₂k, so with projected queries and keys it is Bahdanau's score with two more matrices.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.matrix = nn.Parameter(torch.empty(sizes.heads, 2 * sizes.head, sizes.head))
        nn.init.normal_(self.matrix, std=1.0 / math.sqrt(2 * sizes.head))

    def forward(self, query: Tensor, key: Tensor, where: Where) -> Tensor:
        for_query, for_key = self.matrix.to(query.dtype).chunk(2, dim=-2)
        return super().forward(query @ for_query, key @ for_key, where)


class Constant(nn.Module):
    """0 for every pair: after the softmax all keys have the same weight.

    The uniform baseline of "Attention is not not Explanation" (Wiegreffe & Pinter 2019, arXiv 1908.04626): what a
    model can do without choosing where to look.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()

    def forward(self, query: Tensor, key: Tensor, where: Where) -> Tensor:
        return query.new_zeros(*query.shape[:-1], key.shape[-2])


class Table(nn.Module):
    """A learned number for each pair of positions, whatever their content (Tay et al. 2020, arXiv 2005.00743,
    section 3.2: "random Synthesizer").

    Shows how much of attention is position alone. Each head has a table of `length` × `length`: for short texts only.

    Args:
        learned: False keeps the numbers as they were drawn: a control with random but fixed attention.
    """

    def __init__(self, sizes: Sizes, *, learned: bool = True) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(sizes.heads, sizes.length, sizes.length), requires_grad=learned)

    def forward(self, query: Tensor, key: Tensor, where: Where) -> Tensor:
        rows = where.queries.clamp(max=self.table.shape[1] - 1)
        columns = where.keys.clamp(max=self.table.shape[2] - 1)
        found = self.table[:, rows.unsqueeze(-1), columns.unsqueeze(-2)].to(query.dtype)  # (H, P, Lq, Lk)
        return found.transpose(0, 1).expand(len(query), -1, -1, -1)


class Synthesizer(nn.Module):
    """F(q)ⱼ: a layer that gives each query a number for every position j, without looking at the key there
    (Tay et al. 2020, section 3.1: "dense Synthesizer", F = W₂ relu(W₁·)).

    W₁ is the layer's query projection; each head has a W₂ (D, `length`) of its own. For short texts only.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.outer = nn.Parameter(torch.empty(sizes.heads, sizes.head, sizes.length))
        nn.init.normal_(self.outer, std=1.0 / math.sqrt(sizes.head))

    def forward(self, query: Tensor, key: Tensor, where: Where) -> Tensor:
        every = torch.relu(query) @ self.outer.to(query.dtype)  # (B, H, Lq, length)
        columns = where.keys.clamp(max=every.shape[-1] - 1)[:, None, None, :]
        return every.gather(-1, columns.expand(*every.shape[:-1], -1))


class Gaussian(nn.Module):
    """−(j − i − o)²/2σ²: heads that always look at the word before, at the word itself or at the word after
    (You et al. 2020, arXiv 2005.00742, "hard-coded Gaussian attention"); the offset o is −1, 0, 1, −1, … by head.

    No learned score: the control for the claim that heads find neighbours.

    Args:
        deviation: σ, in positions.
    """

    def __init__(self, sizes: Sizes, *, deviation: float = 1.0) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, query: Tensor, key: Tensor, where: Where) -> Tensor:
        offset = torch.arange(query.shape[1], device=query.device).remainder(3).sub(1)
        away = where.distance.unsqueeze(1) - offset[:, None, None]  # (P, H, Lq, Lk)
        scores = -away.to(query.dtype).square() / (2.0 * self.deviation**2)
        return scores.expand(len(query), -1, -1, -1)


SCORES: dict[str, Callable[..., nn.Module]] = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "dot_of_three": DotOfThree,
    "general": General,
    "additive": Additive,
    "concat": Concat,
    "cosine": Cosine,
    "distance": Distance,
    "softcap": Softcap,
    "constant": Constant,
    "table": Table,
    "synthesizer": Synthesizer,
    "gaussian": Gaussian,
}
