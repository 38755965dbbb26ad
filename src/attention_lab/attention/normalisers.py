"""Normalisers: from scores to weights.

Every normaliser takes scores (B, H, Lq, Lk) and a boolean mask that broadcasts to them (True = may attend; None = no
mask), and returns weights of the same shape. They are exactly 0 where the mask is False, so a query that may attend to
nothing has weights of 0, never NaN, in both the forward and the backward pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from attention_lab.attention.contract import Sizes, Weights
from attention_lab.errors import InputError


class Normaliser(nn.Module, ABC):
    """weighs: what kind of weights it returns."""

    weighs: Weights = "probabilities"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        """Scores → weights, both (B, H, Lq, Lk)."""


class Softmax(Normaliser):
    """e^s / Σ e^s over the keys that may be attended to (Vaswani et al. 2017, equation 1)."""

    def extra(self) -> Tensor | None:
        """The score (H,) of an extra key without a value, which takes weight from all others; None: no such key."""
        return None

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        extra = self.extra()
        keys = scores.shape[-1]
        if mask is not None:
            # The lowest finite number instead of −inf: a fully masked row is first uniform rather than NaN, and the
            # product with the mask then makes its value and gradient 0.
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        if extra is not None:
            column = extra.to(scores)[:, None, None].expand(*scores.shape[:-1], 1)
            scores = torch.cat((scores, column), -1)
        weights = scores.softmax(-1)[..., :keys]
        return weights if mask is None else weights * mask


class OffByOne(Softmax):
    """e^s / (1 + Σ e^s): a head may attend to nothing (Miller 2023, "Attention is off by one"; Xiao et al. 2023, arXiv
    2309.17453, equation 2)."""

    weighs = "weights"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.heads = sizes.heads

    def extra(self) -> Tensor:
        return torch.zeros(self.heads)


class Sink(Softmax):
    """e^s / (e^b + Σ e^s) with a learned b for each head (gpt-oss, OpenAI 2025; sinks: Xiao et al. 2023,
    arXiv 2309.17453, who have b = 0 in equation 2): each head learns how much it contributes at all."""

    weighs = "weights"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.sink = nn.Parameter(torch.zeros(sizes.heads))

    def extra(self) -> Tensor:
        return self.sink


class Sparsemax(Normaliser):
    """[s − τ]₊ with τ such that weights sum to 1 (Martins & Astudillo 2016, arXiv 1602.02068, equation 2 and
    algorithm 1): the distribution nearest to the scores. Most keys get exactly 0; use it where weights are to be read.
    """

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        kind, scores = scores.dtype, _from_highest(_exact(scores), mask)
        ordered = scores.sort(-1, descending=True).values
        count = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
        thresholds = (ordered.cumsum(-1) - 1.0) / count
        support = (ordered > thresholds).sum(-1, keepdim=True)  # how many keys get a weight
        # relu has no gradient at 0: a key at the threshold does not belong to the support.
        weights = (scores - thresholds.gather(-1, support - 1)).relu().to(kind)
        return weights if mask is None else weights * mask


class Entmax15(Normaliser):
    """[s/2 − τ]₊² with τ such that weights sum to 1 (Peters et al. 2019, arXiv 1905.05702, equation 10 and
    algorithm 2; α = 1.5): between softmax and sparsemax."""

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        kind, scores = scores.dtype, _from_highest(_exact(scores) / 2.0, mask)
        ordered = scores.sort(-1, descending=True).values
        count = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
        mean = ordered.cumsum(-1) / count
        squares = ordered.square().cumsum(-1) / count
        # If the support is the first k keys, Σ (s − τ)² = 1 has the solution τ = mean − √(1/k − variance).
        root = (1.0 / count - (squares - mean.square())).clamp(min=torch.finfo(scores.dtype).tiny).sqrt()
        thresholds = mean - root
        support = (thresholds < ordered).sum(-1, keepdim=True)
        weights = (scores - thresholds.gather(-1, support - 1)).clamp(min=0.0).square().to(kind)
        return weights if mask is None else weights * mask


class Entmax(Normaliser):
    """[(α − 1)s − τ]₊^(1/(α − 1)) with an α in (1, 2) that each head learns (Correia et al. 2019, arXiv 1909.00015,
    sections 2 and 3): α = 1 is softmax, α = 2 sparsemax. Use it to see which heads become sparse; it is slow.

    Args:
        alpha: α at the start.
    """

    STEPS = 60  # bisections; they start from an interval of length 1, so τ is exact even to float64 precision

    def __init__(self, sizes: Sizes, *, alpha: float = 1.5) -> None:
        super().__init__(sizes)
        if not 1.0 < alpha < 2.0:
            raise InputError(f"attention.options.alpha must be above 1 and below 2, not {alpha:g}")
        share = torch.tensor(alpha - 1.0)
        self.alpha = nn.Parameter(torch.full((sizes.heads, 1, 1), float(torch.logit(share))))  # α = 1 + σ(this)

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        kind, scores = scores.dtype, _exact(scores)
        power = torch.sigmoid(self.alpha.to(scores.dtype)).clamp(min=1e-2)  # α − 1
        scores = _from_highest(scores * power, mask)

        def weights(threshold: Tensor) -> Tensor:
            inside = scores > threshold
            base = torch.where(inside, scores - threshold, 1.0)  # the gradient of the power must not take log 0
            return torch.where(inside, base ** (1.0 / power), 0.0)

        with torch.no_grad():
            low = torch.full_like(scores[..., :1], -1.0)  # here the highest key alone has a weight of 1 …
            high = torch.zeros_like(low)  # … and here all weights are 0
            for _ in range(self.STEPS):
                middle = (low + high) / 2.0
                too_low = weights(middle).sum(-1, keepdim=True) >= 1.0
                low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
            threshold = (low + high) / 2.0
            found = weights(threshold)
            slope = -(found ** (1.0 - power) / power).sum(-1, keepdim=True)  # d(sum of weights) / d(threshold)
        # At the solution a Newton step changes no value, but gives the threshold its gradient (implicit function).
        threshold = threshold - (weights(threshold).sum(-1, keepdim=True) - 1.0) / slope
        result = weights(threshold).to(kind)
        return result if mask is None else result * mask


class Sigmoid(Normaliser):
    """σ(s − ln n) for n keys that may be attended to (Ramapuram et al. 2024, arXiv 2409.04431, section 2).

    Each key is weighed on its own: weights do not compete, and sum to about 1 only before training.
    """

    weighs = "weights"

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        weights = torch.sigmoid(scores - _count(scores, mask).log())
        return weights if mask is None else weights * mask


class Relu(Normaliser):
    """relu(s)ᵖ / n for n keys that may be attended to: p = 1 as in Wortsman et al. 2023, arXiv 2309.08586, p = 2 after
    Hua et al. 2022, arXiv 2202.10447. Cheap and sparse; a key with a score below 0 gets a weight of exactly 0.

    Args:
        power: p.
    """

    weighs = "weights"

    def __init__(self, sizes: Sizes, *, power: int = 1) -> None:
        super().__init__(sizes)
        self.power = power

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        weights = torch.relu(scores) ** self.power / _count(scores, mask)
        return weights if mask is None else weights * mask


class TopK(Normaliser):
    """Softmax over the k keys with the highest scores (Gupta et al. 2021, arXiv 2106.06899).

    Args:
        k: number of keys that get a weight; all of them if there are fewer.
    """

    def __init__(self, sizes: Sizes, *, k: int = 8) -> None:
        super().__init__(sizes)
        self.k = k
        self.softmax = Softmax(sizes)

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        if scores.shape[-1] > self.k:
            open_scores = scores if mask is None else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            best = torch.zeros_like(scores, dtype=torch.bool)
            # Break ties in favour of the first key: torch.topk may choose others once padding adds keys.
            best.scatter_(-1, open_scores.sort(dim=-1, descending=True, stable=True).indices[..., : self.k], True)
            mask = best if mask is None else best & mask
        return self.softmax(scores, mask)


def _exact(scores: Tensor) -> Tensor:
    """In float32 at least: in bfloat16 sums over hundreds of keys and differences of squares lose all digits."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _from_highest(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Scores minus the highest of their row, cut to [−2, 0]: below −1 no key gets a weight, so the cut is harmless."""
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    scores = scores - scores.amax(-1, keepdim=True).detach()
    return scores.clamp(min=-2.0)


def _count(scores: Tensor, mask: Tensor | None) -> Tensor:
    """The number of keys each query may attend to, at least 1: (…, Lq or 1, 1)."""
    if mask is None:
        return scores.new_full((1, 1, 1, 1), scores.shape[-1])
    return mask.expand(*mask.shape[:-1], scores.shape[-1]).sum(-1, keepdim=True).clamp(min=1).to(scores.dtype)


NORMALISERS: dict[str, type[Normaliser]] = {
    "softmax": Softmax,
    "off_by_one": OffByOne,
    "sink": Sink,
    "sparsemax": Sparsemax,
    "entmax15": Entmax15,
    "entmax": Entmax,
    "sigmoid": Sigmoid,
    "relu": Relu,
    "topk": TopK,
}
