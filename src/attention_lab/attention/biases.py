"""Biases: position terms added to the scores s = q·k/√D, of a shape that broadcasts to (B, H, Lq, Lk).

A bias depends on the distance between query i and key j, on the content at and between them, or on both. i and j are
absolute positions, so a single query in step-by-step decoding gets the same bias as in the full pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attention_lab.attention.contract import Call, Sizes
from attention_lab.attention.positions import Position, sinusoidal
from attention_lab.errors import InputError


class Shaw(Position):
    """q·r / √D with a learned vector r (D,) for each distance j − i, clipped to ±k (Shaw et al. 2018, arXiv 1803.02155,
    equation 4 and section 3.2; all heads share the vectors, as in section 3.3).

    The paper also adds vectors to the values, and finds (section 4.3) that those for the keys may be enough. For texts
    in which local order matters: all distances beyond k look the same.

    Args:
        distance: k.
    """

    def __init__(self, sizes: Sizes, *, distance: int = 16) -> None:
        super().__init__(sizes)
        self.scale = 1.0 / math.sqrt(sizes.head)
        self.distance = distance
        self.vectors = nn.Parameter(torch.empty(2 * distance + 1, sizes.head))
        nn.init.xavier_uniform_(self.vectors)  # the paper does not give an initialisation

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        products = (call.query * self.scale) @ self.vectors.to(call.query.dtype).T  # (B, H, Lq, 2k + 1)
        return _chosen(products, call.where.distance.clamp(-self.distance, self.distance) + self.distance)


class TransformerXL(Position):
    """(u·k + (q + v)·W R) / √D with sinusoids R of the distance i − j and, for each head, a matrix W (D, width of the
    model) and vectors u and v (D,) (Dai et al. 2019, arXiv 1901.02860, section 3.3: terms b, c and d of its relative
    scores; term a is q·k).

    u learns which keys, and v which distances, are worth attending to from any query. Distances are not clipped, so it
    suits texts longer than those seen in training.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.scale = 1.0 / math.sqrt(sizes.head)
        self.width = sizes.width
        self.same_text = sizes.place != "cross"
        self.matrix = nn.Parameter(torch.empty(sizes.heads, sizes.width, sizes.head))
        self.content = nn.Parameter(torch.empty(sizes.heads, 1, sizes.head))  # u
        self.place = nn.Parameter(torch.empty(sizes.heads, 1, sizes.head))  # v
        nn.init.normal_(self.matrix, std=1.0 / math.sqrt(sizes.width))  # gives W R about the norm of a key
        for vector in (self.content, self.place):
            nn.init.normal_(vector, std=0.02)  # as in the authors' code

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        query, key = call.query * self.scale, call.key
        # In self-attention queries and keys share positions: anything farther apart is a block's padding.
        far = key.shape[-2] - 1 if self.same_text else int(call.where.distance.abs().max())
        near = 0 if call.where.causal else far
        steps = torch.arange(-far, near + 1, device=query.device)  # j − i
        keys = sinusoidal(-steps, self.width).to(query.dtype) @ self.matrix.to(query.dtype)  # (H, steps, D)
        products = (query + self.scale * self.place.to(query.dtype)) @ keys.transpose(-2, -1)
        by_place = _chosen(products, call.where.distance.clamp(-far, near) + far)
        return by_place + (self.scale * self.content.to(key.dtype)) @ key.transpose(-2, -1)


class T5(Position):
    """A learned number for each head and each bucket of distances (Raffel et al. 2020, arXiv 1910.10683, section 2.1;
    buckets as in the authors' code).

    The first half of the buckets hold one distance each; the rest widen logarithmically up to `distance`, from which on
    all distances share the last one. In an encoder and in cross-attention, keys after the query have half of all
    buckets to themselves. The cheapest of the learned positions. In the paper all layers share the numbers; here each
    layer has its own.

    Args:
        buckets: number of buckets; distance: all distances from here on fall into the last bucket.
    """

    def __init__(self, sizes: Sizes, *, buckets: int = 32, distance: int = 128) -> None:
        super().__init__(sizes)
        self.both = sizes.place != "decoder_self"
        self.distance = distance
        self.side = buckets // 2 if self.both else buckets
        if self.side < 2 or distance <= self.side // 2:
            raise InputError(f"attention.options.buckets: {buckets} buckets do not divide distances up to {distance}")
        self.numbers = nn.Parameter(torch.empty(buckets, sizes.heads))
        nn.init.normal_(self.numbers, std=1.0 / math.sqrt(sizes.width))  # as in transformers

    def bucket(self, distance: Tensor) -> Tensor:
        """Map distances j − i to bucket indices of the same shape."""
        exact = self.side // 2  # each smaller distance has a bucket of its own
        away = distance.abs() if self.both else (-distance).clamp(min=0)
        share = (away.clamp(min=1) / exact).log() / math.log(self.distance / exact)
        # The small addend keeps exact integers from being rounded down into the bucket below.
        wide = (exact + share * (self.side - exact) + 1e-5).long().clamp(max=self.side - 1)
        bucket = torch.where(away < exact, away, wide)
        return bucket + (distance > 0) * self.side if self.both else bucket

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        every = torch.arange(-self.distance, self.distance + 1, device=call.query.device)
        numbers = self.numbers.to(call.query.dtype)[self.bucket(every)].T  # (H, 2 · distance + 1)
        found = numbers[:, call.where.distance.clamp(-self.distance, self.distance) + self.distance]
        return found.transpose(0, 1)  # (P, H, Lq, Lk)


class ALiBi(Position):
    """−m·|i − j| with a fixed slope m per head, from 2^(−8/H) down to 2^(−8) if H is a power of 2 (Press et al. 2021,
    arXiv 2108.12409, section 3).

    Nothing is learned and distances are unbounded, so it suits texts longer than those seen in training. The paper
    covers decoders only; in an encoder, keys before and after the query are treated alike.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.heads = sizes.heads

    def slopes(self, like: Tensor) -> Tensor:
        """Slopes (H,), at least in float32: a geometric sequence if H is a power of 2. Otherwise the first n heads, n
        being the next lower power of 2, get the sequence for n, and the rest every second slope of the sequence for 2n,
        as in the authors' code."""
        power = 2 ** int(math.log2(self.heads))
        head = torch.arange(1, self.heads + 1, device=like.device)
        exponent = torch.where(head <= power, 8.0 * head / power, 4.0 * (2 * (head - power) - 1) / power)
        return torch.exp2(-exponent.to(_exact(like)))

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        # bfloat16 cannot represent 257, so round the product rather than the distance.
        slopes = self.slopes(call.query)[:, None, None]
        return (-slopes * call.where.distance.abs().unsqueeze(1)).to(call.query.dtype)


class DeBERTa(Position):
    """(q·K[δ] + k·Q[δ]) / √(3D) with learned vectors K and Q (D,) for each head and each distance δ = i − j, clipped to
    −k … k − 1 (He et al. 2020, arXiv 2006.03654, equation 4): content to position, and position to content.

    Needs a score of the same scale (`dot_of_three`). Meant for encoders: the key, too, says at which distance it
    matters. The paper's language models use it under a causal mask, as our decoders do. Equation 4 has δ(j, i) in Q;
    the authors' code, like ours, uses δ(i, j) twice. In the paper K and Q are a table shared by all layers times
    matrices; here each layer learns the products directly.

    Args:
        distance: k.
    """

    def __init__(self, sizes: Sizes, *, distance: int = 16) -> None:
        super().__init__(sizes)
        self.scale = 1.0 / math.sqrt(3 * sizes.head)
        self.distance = distance
        self.keys = nn.Parameter(torch.empty(sizes.heads, 2 * distance, sizes.head))
        self.queries = nn.Parameter(torch.empty(sizes.heads, 2 * distance, sizes.head))
        for vectors in (self.keys, self.queries):
            # the scale at which the authors' code starts: a normalised table times matrices with std 0.02
            nn.init.normal_(vectors, std=0.02 * math.sqrt(sizes.width))

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        query, key = call.query * self.scale, call.key * self.scale
        index = (-call.where.distance).clamp(-self.distance, self.distance - 1) + self.distance
        to_place = query @ self.keys.to(query.dtype).transpose(-2, -1)  # (B, H, Lq, 2k)
        to_content = key @ self.queries.to(key.dtype).transpose(-2, -1)  # (B, H, Lk, 2k)
        return _chosen(to_place, index) + _chosen(to_content, index.transpose(-2, -1)).transpose(-2, -1)


class CoPE(Position):
    """q·e[p] with p = Σ σ(s) over the keys from j to i; for fractional p, e is interpolated between two learned vectors
    (D,) (Golovneva et al. 2024, arXiv 2405.18719, section 4 and the listing: s is scaled, q is not; all heads share
    the vectors).

    A query counts only the keys relevant to it, so it can look for the third verb or the last sentence. The bias
    depends on all scores, so these must be computed first.

    Args:
        positions: number of vectors; p is clipped to the last.
    """

    needs_scores = True

    def __init__(self, sizes: Sizes, *, positions: int = 64) -> None:
        super().__init__(sizes)
        _refuse_but_decoder(sizes, "cope", "it counts the keys between a key and the query after it")
        self.vectors = nn.Parameter(torch.zeros(positions, sizes.head))  # as in the paper's listing

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        query, mask, last = call.query, call.where.mask, len(self.vectors) - 1
        gates = torch.sigmoid(scores.to(_exact(scores)))
        if mask is not None:
            gates = gates * mask
        position = gates.flip(-1).cumsum(-1).flip(-1).clamp(max=last)
        products = query @ self.vectors.to(query.dtype).T  # (B, H, Lq, positions)
        below = position.long()
        share = (position - below).to(products.dtype)  # the path by which gradients reach the gates
        return torch.lerp(products.gather(-1, below), products.gather(-1, (below + 1).clamp(max=last)), share)


class Forgetting(Position):
    """Σ log f over the positions after j up to i, with a forget gate f = σ(w·x + b) for each head and position (Lin et
    al. 2025, arXiv 2503.02130, section 3).

    Lets a decoder's past fade depending on what it reads, as in an LSTM, and needs no other position encoding. The
    cache keeps the running sum of log f at each position. It cannot be computed in blocks, since a block lacks the sum
    up to its start.
    """

    whole = True

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        _refuse_but_decoder(sizes, "forgetting", "it forgets what came before the query")
        self.gate = nn.Linear(sizes.width, sizes.heads)
        nn.init.normal_(self.gate.weight, std=0.02)  # both as in the authors' code
        nn.init.zeros_(self.gate.bias)

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        queries, keys = call.query.shape[-2], call.key.shape[-2]
        gates = self.gate(call.inputs).transpose(1, 2)  # (B, H, Lq)
        sums = F.logsigmoid(gates.to(_exact(gates))).cumsum(-1)
        if call.cache is not None:
            if "forget" in call.cache.kept:
                sums = sums + call.cache.kept["forget"][..., -1:]
            # A window's cache drops old keys, but only differences of sums matter.
            sums = call.cache.extend("forget", sums, most=keys, dim=-1)[..., -keys:]
        return (sums[..., -queries:].unsqueeze(-1) - sums.unsqueeze(-2)).to(call.query.dtype)


class SameWord(Position):
    """A learned number per head, added where query and key are two occurrences of the same word, on top of any other
    position (after Shaw et al. 2018, arXiv 1803.02155, section 3.1, where relations need not be distances).

    It leads in one step from one fact about Anna to another. A head could learn to match words by their vectors, but it
    would also have to learn to use the match, and neither pays off without the other. So three in four heads start by
    giving such a key e³ ≈ 20 times the weight; the others start at 0.

    Args:
        position: the other position, left unchanged.
    """

    whole = True  # blocks are not told which words are the same

    def __init__(self, sizes: Sizes, position: Position) -> None:
        super().__init__(sizes)
        self.position = position
        self.needs_scores = position.needs_scores
        self.numbers = nn.Parameter(torch.zeros(sizes.heads))
        with torch.no_grad():
            self.numbers[: -(-3 * sizes.heads // 4)] = 3.0

    def turn(self, vectors: Tensor, positions: Tensor) -> Tensor:
        return self.position.turn(vectors, positions)

    def bias(self, call: Call, scores: Tensor) -> Tensor | None:
        bias, same = self.position.bias(call, scores), call.where.same
        if same is None:
            return bias
        own = self.numbers.to(call.query.dtype)[:, None, None] * same.unsqueeze(1)
        return own if bias is None else bias + own


def _chosen(products: Tensor, index: Tensor) -> Tensor:
    """Pick for each pair the product it needs: products (B, H, L, n), index (P, L, M) → (B, H, L, M). That way each
    vector takes n products instead of M."""
    return products.gather(-1, index.unsqueeze(1).expand(*products.shape[:-1], -1))


def _exact(like: Tensor) -> torch.dtype:
    """The dtype of `like`, but at least float32: sums over a text need more precision than bfloat16 has."""
    return torch.promote_types(like.dtype, torch.float32)


def _refuse_but_decoder(sizes: Sizes, name: str, why: str) -> None:
    if sizes.place != "decoder_self":
        raise InputError(f"attention: {name} is not for {sizes.place.replace('_', ' ')}-attention: {why}")


BIASES: dict[str, Callable[..., Position]] = {
    "shaw": Shaw,
    "transformer_xl": TransformerXL,
    "t5": T5,
    "alibi": ALiBi,
    "deberta": DeBERTa,
    "cope": CoPE,
    "forgetting": Forgetting,
}
