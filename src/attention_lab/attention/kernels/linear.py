"""Linear-time kernels: weights φ(q)·φ(k) / Σ φ(q)·φ(k) with features φ ≥ 0, so that queries share the sums over keys.

They are computed in three ways: not causal, with Σ φ(k)vᵀ once for all queries; causal, in chunks (`scan.py`); and
step by step, where a state of constant size stands for all earlier keys. F is the width of φ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from attention_lab.attention.contract import Call, Sizes, Weights
from attention_lab.attention.kernels.kernel import Kernel
from attention_lab.attention.kernels.scan import scan

AT_ONCE = 2**20  # elements of (B, H, some positions, F)


class Linear(Kernel):
    """φ(x) = elu(x) + 1 (Katharopoulos et al. 2020, arXiv 2006.16236, equations 5 and 7; causal: 9; as a recurrent
    network: 16 to 20): L·D² instead of L²·D.

    For texts much longer than the width of a head, and for decoding in constant memory. It cannot single out one key
    among many as a softmax does. The output is 0 for a query without keys.
    """

    weighs: Weights = "probabilities"
    recurrent = True

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()

    def queries(self, call: Call) -> Tensor:
        """φ of the queries, (B, H, Lq, F)"""
        return cast(Tensor, _Positive.apply(call.query))

    def keys(self, call: Call, kept: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """φ of the keys, (B, H, Lk, F), 0 for padding; and how their scale changes from key to key.

        Only ratios of features count, so they may be rescaled for numerical stability. The second result is the
        logarithm of scale_{j−1} / scale_j, (B, H, Lk); None: the scale is 1. kept: what the cache keeps from earlier
        keys.
        """
        features = cast(Tensor, _Positive.apply(call.key))
        return features if call.where.exists is None else features * call.where.existing(call.key), None

    def forward(self, call: Call, value: Tensor) -> Tensor:
        kept = {} if call.cache is None else call.cache.kept
        # A long text is read in pieces, so that intermediate results stay in a CPU's cache.
        some = max(64, AT_ONCE // (call.key.shape[0] * call.key.shape[1] * max(call.key.shape[-1], value.shape[-1])))
        if call.where.causal:
            mixed = []
            for piece, v in zip(_pieces(call, some), value.split(some, -2), strict=True):
                key, decay = self.keys(piece, kept)
                found, kept["state"] = scan(
                    self.queries(piece), key, _with_ones(v), decay=decay, state=kept.get("state")
                )
                mixed.append(_divided(found))
            return torch.cat(mixed, -2)
        long = max(call.query.shape[-2], call.key.shape[-2]) > some
        if long and call.cache is None and not any(parameter.requires_grad for parameter in self.parameters()):
            return cast(Tensor, _InPieces.apply(self, call, some, call.query, call.key, value))
        # In cross-attention the memory stays the same, and so does its sum.
        if "state" not in kept:
            kept["state"] = self.sum(call, value, some, kept)
        return torch.cat(
            [_divided(self.queries(piece) @ kept["state"]) for piece in _pieces(call, some, keys=False)], -2
        )

    def sum(self, call: Call, value: Tensor, some: int, kept: dict[str, Tensor]) -> Tensor:
        """Σ φ(k)vᵀ over all keys, `some` at a time: (B, H, F, Dv + 1)"""
        state = value.new_zeros(())
        for piece, v in zip(_pieces(call, some, queries=False), value.split(some, -2), strict=True):
            key, decay = self.keys(piece, kept)
            # Without causality a piece has one scale: bring the state of the earlier pieces to it.
            before = state if decay is None else state * decay.exp()[..., None]
            state = before + key.transpose(-2, -1) @ _with_ones(v)
        return state


class _InPieces(torch.autograd.Function):
    """Non-causal linear attention, some positions at a time, that recomputes features in the backward pass: keeping
    them would take several times the memory of queries, keys and values. Features must not have learned parameters."""

    @staticmethod
    def forward(ctx: Any, kernel: Linear, call: Call, some: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.kernel, ctx.call, ctx.some, ctx.kept = kernel, call, some, {}
        state = kernel.sum(call, value, some, ctx.kept)
        mixed = value.new_empty(*query.shape[:-1], value.shape[-1])
        for piece, place in zip(_pieces(call, some, keys=False), mixed.split(some, -2), strict=True):
            place.copy_(_divided(kernel.queries(piece) @ state))
        ctx.save_for_backward(query, key, value, mixed, state)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mixed, state = ctx.saved_tensors
        for_query, for_key, for_value = (torch.empty_like(tensor) for tensor in (query, key, value))
        call, some = replace(ctx.call, query=query.detach(), key=key.detach()), ctx.some
        for_state = torch.zeros_like(state)
        # mixed = N / n for the sums N of values and n of weights: dN = g / n, dn = −g·mixed / n.
        for piece, g, of, place in zip(
            _pieces(call, some, keys=False),
            *(tensor.split(some, -2) for tensor in (gradient, mixed, for_query)),
            strict=True,
        ):
            with torch.enable_grad():
                features = ctx.kernel.queries(replace(piece, query=piece.query.requires_grad_()))
            total = features.detach() @ state[..., -1:]
            sums = torch.cat((g, -(g * of).sum(-1, keepdim=True)), -1) / total.where(_some(total), 1.0)
            sums = sums.where(_some(total), 0.0)
            for_state += features.detach().transpose(-2, -1) @ sums
            place.copy_(torch.autograd.grad(features, piece.query, sums @ state.transpose(-2, -1))[0])
        for piece, v, to_key, to_value in zip(
            _pieces(call, some, queries=False),
            *(tensor.split(some, -2) for tensor in (value, for_key, for_value)),
            strict=True,
        ):
            with torch.enable_grad():
                # With the kept scale of all keys, these are the features that the state was summed from.
                features, _ = ctx.kernel.keys(replace(piece, key=piece.key.requires_grad_()), dict(ctx.kept))
            to_value.copy_(features.detach() @ for_state[..., :-1])
            to_key.copy_(torch.autograd.grad(features, piece.key, _with_ones(v) @ for_state.transpose(-2, -1))[0])
        return None, None, None, for_query, for_key, for_value


class _Positive(torch.autograd.Function):
    """y = elu(x) + 1. Its derivative is min(y, 1), so only y is kept, and no exponential is recomputed."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        positive = F.elu(vectors).add_(1.0)
        ctx.save_for_backward(positive)
        return positive

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return gradient * positive.clamp(max=1.0)


def _pieces(call: Call, some: int, *, queries: bool = True, keys: bool = True) -> Iterator[Call]:
    """Split the call into pieces of `some` positions of its queries, keys or both; the rest stays whole in each."""
    where = call.where
    parts = -(-max(call.query.shape[-2] * queries, call.key.shape[-2] * keys) // some)

    def cut(tensor: Tensor | None, dim: int, wanted: bool) -> Sequence[Tensor | None]:
        return tensor.split(some, dim) if tensor is not None and wanted else [tensor] * parts

    for inputs, query, key, positions, spots, exists in zip(
        cut(call.inputs, 1, queries),
        cut(call.query, -2, queries),
        cut(call.key, -2, keys),
        cut(where.queries, -1, queries),
        cut(where.keys, -1, keys),
        cut(where.exists, -1, keys),
        strict=True,
    ):
        yield replace(
            call,
            inputs=inputs,
            query=query,
            key=key,
            where=replace(where, queries=positions, keys=spots, exists=exists),
        )


def _with_ones(value: Tensor) -> Tensor:
    """Values with a column of ones, whose weighted sum is Σ φ(q)·φ(k)."""
    return torch.cat((value, torch.ones_like(value[..., :1])), -1)


def _divided(mixed: Tensor) -> Tensor:
    """The sums of values divided by the sum of weights, which is the last column; 0 where there is no weight."""
    total = mixed[..., -1:]
    return (mixed[..., :-1] / total.where(_some(total), 1.0)).where(_some(total), 0.0)


def _some(total: Tensor) -> Tensor:
    """Where the sum of weights is safe to divide by, even twice, as in the backward pass; smaller sums have lost nearly
    all their digits anyway."""
    return total > torch.finfo(total.dtype).tiny ** 0.5


class Performer(Linear):
    """φ(x) = exp(w·x − ‖x‖²/2) for random w (Choromanski et al. 2020, arXiv 2009.14794, section 2.3, lemma 1:
    "FAVOR+"): the mean of φ(q)·φ(k) over w is e^{q·k}, so with many features it approaches softmax attention; x is q or
    k times D^(−1/4), for the scale 1/√D.

    For long texts, where softmax attention is wanted but too expensive. The w of a head are orthogonal in groups of D
    (section 2.4: less variance), and drawn once. If queries and keys have such large norms that all products of
    features underflow (scores beyond some hundreds), the output for a query is 0.

    Args:
        features: F. The error falls as 1/√F, and grows fast with the norm of queries and keys.
    """

    def __init__(self, sizes: Sizes, *, features: int = 64) -> None:
        super().__init__(sizes)
        generator = torch.Generator().manual_seed(0)
        groups = -(-features // sizes.head)
        gaussian = torch.randn(sizes.heads, groups, sizes.head, sizes.head, generator=generator)
        orthogonal, triangle = torch.linalg.qr(gaussian)
        # Without these signs, directions would come from one half of the sphere, and φ(q)·φ(k) would be biased.
        orthogonal = orthogonal * triangle.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        lengths = torch.randn(gaussian.shape, generator=generator).norm(dim=-2, keepdim=True)  # of Gaussian vectors
        drawn = orthogonal * lengths
        # A frozen parameter, so that it is saved with the model.
        self.directions = nn.Parameter(
            drawn.transpose(1, 2).flatten(2)[..., :features].contiguous(), requires_grad=False
        )  # (H, D, F)
        self.scale = sizes.head**-0.25

    def queries(self, call: Call) -> Tensor:
        # ‖q‖² and the largest exponent are the same for all keys and cancel: only ratios count.
        exponents = (call.query * self.scale) @ self.directions.to(call.query.dtype)
        return (exponents - exponents.detach().amax(-1, keepdim=True)).exp()

    def keys(self, call: Call, kept: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        scaled = call.key * self.scale
        exponents = scaled @ self.directions.to(scaled.dtype) - scaled.square().sum(-1, keepdim=True) / 2.0
        exists = call.where.existing(exponents)
        exponents = exponents.masked_fill(exists == 0.0, torch.finfo(exponents.dtype).min)
        # Features are relative to the largest exponent so far, lest all of them vanish; later keys must not matter.
        highest = exponents.detach().amax(-1)  # (B, H, Lk)
        if not call.where.causal:
            highest = highest.amax(-1, keepdim=True)  # one scale for all keys of a piece
        so_far = torch.cat((kept.get("highest", highest[..., :1]), highest), -1).cummax(-1).values
        kept["highest"] = so_far[..., -1:]
        # e^−100 is negligible beside 1, and lower values would cost cumulative sums of decays their precision.
        decay = (so_far[..., :-1] - so_far[..., 1:]).clamp(min=-100.0)
        return (exponents - so_far[..., 1:, None]).exp() * exists, decay


class Cosformer(Linear):
    """relu(q)·relu(k)·cos(π(i − j)/2M) (Qin et al. 2022, arXiv 2202.08791, section 2): near keys count more.

    cos(a − b) = cos a·cos b + sin a·sin b, so φ(x) is the concatenation of relu(x)·cos and relu(x)·sin. Linear time,
    for texts in which neighbours matter. The output is 0 for a query that has no feature in common with any key.

    Args:
        longest: M, the number of distinct positions: those from M on count as M − 1. None: the layer's `length`.
    """

    weighs: Weights = "weights"  # for such a query they sum to 0 instead of 1

    def __init__(self, sizes: Sizes, *, longest: int | None = None) -> None:
        super().__init__(sizes)
        self.longest = longest or sizes.length

    def queries(self, call: Call) -> Tensor:
        return self._features(call.query, call.where.queries)

    def keys(self, call: Call, kept: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        return self._features(call.key, call.where.keys) * call.where.existing(call.key), None

    def _features(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """(B, H, L, D) at positions (P, L) → (B, H, L, 2D)"""
        angles = positions.clamp(max=self.longest - 1).to(vectors.dtype) * (math.pi / 2.0 / self.longest)
        angles = angles[:, None, :, None]  # in [0, π/2), so sine and cosine are non-negative
        positive = torch.relu(vectors)
        return torch.cat((positive * angles.cos(), positive * angles.sin()), -1)
