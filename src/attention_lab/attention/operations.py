"""Operations: what some mechanisms do to the scores or weights of all heads together, or to the output."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attention_lab.attention.contract import Call, Sizes, Weights
from attention_lab.errors import InputError


class Operation(nn.Module):
    """No operation: scores, weights and output stay as they are.

    between: whether it changes scores, weights or mask, so that the weights must be computed explicitly.
    maps: how many maps of scores each head has; `weights` combines them into the weights of the head.
    weighs: what kind of weights result; None: the normaliser's.
    """

    between = False
    maps = 1
    weighs: Weights | None = None

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()

    def mask(self, call: Call) -> Tensor | None:
        """A mask in addition to pattern, padding and causality: boolean, broadcasts to (B, H·maps, Lq, Lk), True = may
        attend; None: no restriction."""
        return None

    def scores(self, scores: Tensor, call: Call) -> Tensor:
        """Change the scores (B, H·maps, Lq, Lk) before they are normalised."""
        return scores

    def normalised(self, scores: Tensor, mask: Tensor | None, normalise: nn.Module, call: Call) -> Tensor:
        """Scores → weights, both (B, H·maps, Lq, Lk); all queries at once, unless one depends on those before it."""
        return normalise(scores, mask)

    def weights(self, weights: Tensor, call: Call) -> Tensor:
        """Weights (B, H·maps, Lq, Lk) → (B, H, Lq, Lk), before dropout."""
        return weights

    def output(self, mixed: Tensor, call: Call) -> Tensor:
        """Change the mixed values (B, H, Lq, D) before the output projection."""
        return mixed


class TalkingHeads(Operation):
    """M₂·softmax(M₁·s): learned matrices M (H, H) mix the scores of all heads before the normaliser, and their weights
    after it (Shazeer et al. 2020, arXiv 2003.02436, section 4).

    Both start as the identity, so the layer starts as multi-head attention. Use it where heads are many and narrow.
    The weights can have any sign and sum.
    """

    between = True
    weighs = "signed"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.before = nn.Parameter(torch.eye(sizes.heads))
        self.after = nn.Parameter(torch.eye(sizes.heads))

    def scores(self, scores: Tensor, call: Call) -> Tensor:
        return torch.einsum("gh,bhqk->bgqk", self.before.to(scores.dtype), scores)

    def weights(self, weights: Tensor, call: Call) -> Tensor:
        # A key that no head may attend to has a weight of 0 in each, and so in every mixture.
        return torch.einsum("gh,bhqk->bgqk", self.after.to(weights.dtype), weights)


class Differential(Operation):
    """A₁ − λA₂: each head subtracts a second map of weights from the first (Ye et al. 2024, arXiv 2410.05258,
    equations 1 to 3), so that what both give to irrelevant keys cancels out.

        λ = exp(λ_q1·λ_k1) − exp(λ_q2·λ_k2) + λ_init, the same for all heads
        output = (1 − λ_init)·RMSNorm((A₁ − λA₂)v), over the D features of each head

    Queries and keys are D/2 wide and values D, so it costs as much as multi-head attention; maps 2h and 2h + 1 belong
    to head h. Use it for long texts in which little is relevant. Weights are signed and sum to 1 − λ.

    Args:
        lambda_init: λ at the start. The paper's best choice depends on the layer: 0.8 − 0.6·exp(−0.3·(l − 1)) in layer
            l = 1, 2, …, which is 0.2 in the first and 0.76 in the tenth. A layer here does not know its depth, so λ is
            the same in all; the paper found a constant 0.8 hardly worse (section 3.8).
    """

    between = True
    maps = 2
    weighs = "signed"

    def __init__(self, sizes: Sizes, *, lambda_init: float = 0.8) -> None:
        super().__init__(sizes)
        self.lambda_init = lambda_init
        # (λ_q1, λ_q2) and (λ_k1, λ_k2), each D/2 wide; a standard deviation of 0.1 as in the authors' code
        self.lambda_query = nn.Parameter(0.1 * torch.randn(2, sizes.head // 2))
        self.lambda_key = nn.Parameter(0.1 * torch.randn(2, sizes.head // 2))
        self.norm = nn.RMSNorm(sizes.head, eps=1e-5)

    def weights(self, weights: Tensor, call: Call) -> Tensor:
        first, second = (self.lambda_query * self.lambda_key).sum(-1).exp().unbind()
        share = (first - second + self.lambda_init).to(weights.dtype)
        wanted, noise = weights.unflatten(1, (-1, self.maps)).unbind(2)
        return wanted - share * noise

    def output(self, mixed: Tensor, call: Call) -> Tensor:
        return self.norm(mixed) * (1.0 - self.lambda_init)


class OutputGate(Operation):
    """σ(xW) ⊙ o: gate each feature of each head's output by the query's input x (Qiu et al. 2025, arXiv 2505.06708,
    section 2.2, the elementwise gate after the sum over values).

    A head can output nothing without needing a sink for its weights. The weights are those of plain attention, so the
    sum can still be fused.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.gate = nn.Linear(sizes.width, sizes.width, bias=False)
        nn.init.xavier_uniform_(self.gate.weight)

    def output(self, mixed: Tensor, call: Call) -> Tensor:
        gate = torch.sigmoid(self.gate(call.inputs))  # (B, Lq, W)
        return mixed * gate.unflatten(-1, (mixed.shape[1], -1)).transpose(1, 2)


class Selective(Operation):
    """softmax(s − F): a position can mark a key as no longer needed, so that all later positions attend to it less
    (Leviathan et al. 2024, arXiv 2410.02703, section 3).

        S = relu(s of head 0), 0 for the first key and for a query's own;    F_ij = Σ S_kj over queries k < i

    It adds no parameters. Use it in a decoder for long texts: forgotten keys need not be kept.

    A cache keeps the sum over past queries as "selective" (B, Lk).
    """

    between = True

    def scores(self, scores: Tensor, call: Call) -> Tensor:
        where = call.where
        # A query judges the keys before it, except the first, which is always needed. Padding is at the end and gets
        # no weight anyway, so it matters neither as a key nor as a query.
        judged = (where.distance < 0) & (where.keys > 0).unsqueeze(-2)  # (P, Lq, Lk)
        judgement = torch.relu(scores[:, 0]) * judged  # (B, Lq, Lk)
        earlier = _so_far(call, "selective", judgement[:, 0])
        summed = earlier.unsqueeze(-2) + judgement.cumsum(-2)
        _keep(call, "selective", summed[:, -1])
        forgotten = torch.cat((earlier.unsqueeze(-2), summed[:, :-1]), -2)  # without the query's own judgement
        return scores - forgotten.unsqueeze(1)


class LocalP(Operation):
    """softmax over |j − p| ≤ w, times exp(−(j − p)² / 2σ²) with σ = w/2: each query says where to look (Luong et al.
    2015, arXiv 1508.04025, section 3.2, "local-p", equations 9 and 10).

        p = S·sigmoid(vᵀ tanh(W x)) in each head, where S is the number of keys without padding

    x is the layer's input, h_t in the paper. Use it in cross-attention between languages with different word order:
    the window need not be at the query's own position. Gradients reach W and v through the Gaussian, because of which
    weights sum to less than 1.

    Args:
        window: w.

    Raises:
        InputError: the window is smaller than 1, or the layer is a decoder's self-attention, where the final number of
            keys is unknown.
    """

    between = True
    weighs = "weights"

    def __init__(self, sizes: Sizes, *, window: int = 8) -> None:
        super().__init__(sizes)
        if window < 1:
            raise InputError(f"attention.options.window must be 1 or more, not {window}")
        if sizes.place == "decoder_self":
            raise InputError(
                "attention: local_p needs the number of keys, which a decoder that writes cannot know; use another"
            )
        self.window = window
        self.hidden = nn.Linear(sizes.width, sizes.width, bias=False)
        nn.init.xavier_uniform_(self.hidden.weight)
        self.vector = nn.Parameter(torch.empty(sizes.heads, sizes.head))
        nn.init.normal_(self.vector, std=1.0 / math.sqrt(sizes.head))

    def mask(self, call: Call) -> Tensor:
        # p is in [0, S], so the nearest key is at most 1 away: the window is empty only if there is no key.
        return self._away(call).abs() <= self.window

    def weights(self, weights: Tensor, call: Call) -> Tensor:
        deviation = self.window / 2.0
        return weights * torch.exp(-self._away(call).square() / (2.0 * deviation**2)).to(weights.dtype)

    def _away(self, call: Call) -> Tensor:
        """j − p: (B, H, Lq, Lk), in float32 at least: bfloat16 cannot represent halves beyond 128."""
        hidden = torch.tanh(self.hidden(call.inputs)).unflatten(-1, self.vector.shape)  # (B, Lq, H, D)
        chosen = (hidden * self.vector.to(hidden.dtype)).sum(-1).transpose(1, 2).unsqueeze(-1)  # (B, H, Lq, 1)
        exact = chosen.to(torch.promote_types(chosen.dtype, torch.float32))
        count = call.where.existing(exact).sum(-2, keepdim=True)  # (B or 1, 1, 1, 1)
        return call.where.keys[:, None, None, :] - count * torch.sigmoid(exact)


class Coverage(Operation):
    """softmax(s + w·c): c_j is the total weight that earlier queries have given to key j, and each head learns its own
    w (Tu et al. 2016, arXiv 1601.04811, section 3; in the form of See et al. 2017, arXiv 1704.04368, equations 10 and
    11): what has been translated need not be translated again.

    See et al. add w·c inside the tanh of an additive score; here it is added to any score. w starts at 0, which is
    plain attention. Use it in cross-attention if words get repeated or left out. Queries are computed one after
    another, even in training.

    A cache keeps c as "coverage" (B, H, Lk).
    """

    between = True

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.strength = nn.Parameter(torch.zeros(sizes.heads))

    def normalised(self, scores: Tensor, mask: Tensor | None, normalise: nn.Module, call: Call) -> Tensor:
        strength = self.strength.to(scores.dtype)[:, None]
        covered = _so_far(call, "coverage", scores[:, :, 0])  # (B, H, Lk)
        if mask is not None:
            mask = mask.expand(torch.broadcast_shapes(mask.shape, scores.shape[2:]))
        rows: list[Tensor] = []
        # `unbind` once: indexing query by query would allocate a gradient of all of them for each.
        for query, uncovered in enumerate(scores.unbind(2)):
            score = (uncovered + strength * covered).unsqueeze(2)
            row = normalise(score, None if mask is None else mask[..., query : query + 1, :])
            covered = covered + row.squeeze(2)
            rows.append(row)
        _keep(call, "coverage", covered)
        return torch.cat(rows, 2)


def _so_far(call: Call, name: str, like: Tensor) -> Tensor:
    """The kept sum over the queries of earlier steps, of the shape (…, Lk) of `like`: 0 for new keys, and without keys
    that have left the cache."""
    if call.cache is None or name not in call.cache.kept:
        return torch.zeros_like(like)
    new = 0 if call.cache.fixed else call.query.shape[-2]
    return F.pad(call.cache.kept[name], (0, new))[..., -like.shape[-1] :]


def _keep(call: Call, name: str, summed: Tensor) -> None:
    """Keep the sum for the next step."""
    if call.cache is not None:
        call.cache.kept[name] = summed


OPERATIONS: dict[str, type[Operation]] = {
    "none": Operation,
    "talking_heads": TalkingHeads,
    "differential": Differential,
    "output_gate": OutputGate,
    "selective": Selective,
    "local_p": LocalP,
    "coverage": Coverage,
}
