"""Biases: positions that are added to the scores s = q·k/√D, as (B, H, Lq, Lk) or what broadcasts to it.

A bias is a function of the distance from query i to key j, of what stands there and between them, or of both. Both are
absolute positions, so that the bias of a single query of a step-by-step decoding is that of the full pass.
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
    whose near order counts: beyond k all distances are alike.

    Args:
        distance: k.
    """

    def __init__(self, sizes: Sizes, *, distance: int = 16) -> None:
        super().__init__(sizes)
        self.scale = 1.0 / math.sqrt(sizes.head)
        self.distance = distance
        self.vectors = nn.Parameter(torch.empty(2 * distance + 1, sizes.head))
        nn.init.xavier_uniform_(self.vectors)  # the paper does not say how they start

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        products = (call.query * self.scale) @ self.vectors.to(call.query.dtype).T  # (B, H, Lq, 2k + 1)
        return _chosen(products, call.where.distance.clamp(-self.distance, self.distance) + self.distance)


class TransformerXL(Position):
    """(u·k + (q + v)·W R) / √D with sinusoids R of the distance i − j, a matrix W (D, width of the model), and vectors
    u and v (D,), all three of each head (Dai et al. 2019, arXiv 1901.02860, section 3.3: terms b, c and d of its
    relative scores; a is q·k).

    u says which keys are worth a look from anywhere, v which distances are. Nothing is clipped, so it is for texts
    longer than those of the training.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.scale = 1.0 / math.sqrt(sizes.head)
        self.width = sizes.width
        self.same_text = sizes.place != "cross"
        self.matrix = nn.Parameter(torch.empty(sizes.heads, sizes.width, sizes.head))
        self.content = nn.Parameter(torch.empty(sizes.heads, 1, sizes.head))  # u
        self.place = nn.Parameter(torch.empty(sizes.heads, 1, sizes.head))  # v
        nn.init.normal_(self.matrix, std=1.0 / math.sqrt(sizes.width))  # W R is then about as long as a key
        for vector in (self.content, self.place):
            nn.init.normal_(vector, std=0.02)  # as in the authors' code

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        query, key = call.query * self.scale, call.key
        # Queries of one text stand at its keys: what is further apart than they are is padding of a block.
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

    Half of the buckets hold one distance each, the others ever more of them, up to `distance`, from where all are
    alike. In an encoder one half of all buckets is for keys after the query, the other for keys before it. The
    cheapest of the learned positions. In the paper all layers share the numbers; here each has its own.

    Args:
        buckets: how many; distance: where the last one begins, at the latest.
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
        """Distances j − i → buckets, of the same shape."""
        exact = self.side // 2  # distances below have a bucket each
        away = distance.abs() if self.both else (-distance).clamp(min=0)
        share = (away.clamp(min=1) / exact).log() / math.log(self.distance / exact)
        # The addend keeps what is a whole number from falling below it by rounding.
        wide = (exact + share * (self.side - exact) + 1e-5).long().clamp(max=self.side - 1)
        bucket = torch.where(away < exact, away, wide)
        return bucket + (distance > 0) * self.side if self.both else bucket

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        every = torch.arange(-self.distance, self.distance + 1, device=call.query.device)
        numbers = self.numbers.to(call.query.dtype)[self.bucket(every)].T  # (H, 2 · distance + 1)
        found = numbers[:, call.where.distance.clamp(-self.distance, self.distance) + self.distance]
        return found.transpose(0, 1)  # (P, H, Lq, Lk)


class ALiBi(Position):
    """−m·|i − j| with a slope m of each head, from 2^(−8/H) down to 2^(−8) for H a power of 2 (Press et al. 2021,
    arXiv 2108.12409, section 3).

    Nothing is learned and no distance is too long: for texts longer than those of the training. The paper has decoders
    only; in an encoder keys before and after the query count alike.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.heads = sizes.heads

    def slopes(self, like: Tensor) -> Tensor:
        """(H,), at least in float32: a geometric sequence where H is a power of 2; else that of the power n below, and
        for the other heads every second one of 2n, as in the authors' code."""
        power = 2 ** int(math.log2(self.heads))
        head = torch.arange(1, self.heads + 1, device=like.device)
        exponent = torch.where(head <= power, 8.0 * head / power, 4.0 * (2 * (head - power) - 1) / power)
        return torch.exp2(-exponent.to(_exact(like)))

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        # bfloat16 has no 257: the product is rounded, and not the distance.
        slopes = self.slopes(call.query)[:, None, None]
        return (-slopes * call.where.distance.abs().unsqueeze(1)).to(call.query.dtype)


class DeBERTa(Position):
    """(q·K[δ] + k·Q[δ]) / √(3D) with learned vectors K and Q (D,) of each head and each distance δ = i − j, clipped to
    −k … k − 1 (He et al. 2020, arXiv 2006.03654, equation 4): content to position, and position to content.

    Needs a score of the same scale (`dot_of_three`). For encoders that read: the key, too, says at which
    distance it matters; the paper's language models have it under a causal mask, as our decoders do.
    Equation 4 has δ(j, i) at Q; the authors' code, like this one, has δ(i, j) twice. There K and Q are products of one
    table, which all layers share, with matrices; here each layer has the products.

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
            # what the authors' code starts with: a normalised table times matrices of deviation 0.02
            nn.init.normal_(vectors, std=0.02 * math.sqrt(sizes.width))

    def bias(self, call: Call, scores: Tensor) -> Tensor:
        query, key = call.query * self.scale, call.key * self.scale
        index = (-call.where.distance).clamp(-self.distance, self.distance - 1) + self.distance
        to_place = query @ self.keys.to(query.dtype).transpose(-2, -1)  # (B, H, Lq, 2k)
        to_content = key @ self.queries.to(key.dtype).transpose(-2, -1)  # (B, H, Lk, 2k)
        return _chosen(to_place, index) + _chosen(to_content, index.transpose(-2, -1)).transpose(-2, -1)


class CoPE(Position):
    """q·e[p] with p = Σ σ(s) over the keys from j to i, and e between two learned vectors (D,) where p is between two
    whole numbers (Golovneva et al. 2024, arXiv 2405.18719, section 4 and the listing: s with the scale, q without
    it; all heads share the vectors).

    A query counts the keys that it cares for, so it can look for the third verb or the last sentence. It has to see
    all scores before it can add to them.

    Args:
        positions: how many vectors; p is clipped to the last.
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
        share = (position - below).to(products.dtype)  # the way by which scores learn to count
        return torch.lerp(products.gather(-1, below), products.gather(-1, (below + 1).clamp(max=last)), share)


class Forgetting(Position):
    """Σ log f over the positions after j up to i, with a forget gate f = σ(w·x + b) of each head and position (Lin et
    al. 2025, arXiv 2503.02130, section 3).

    A decoder whose past fades by what it reads, as in an LSTM: it needs no other positions. The sum of all log f so
    far is kept for each position, and a new one goes on from the last. A block of a text would lack what came before.
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
            # A window's cache drops old keys; differences of sums do not need what they began with.
            sums = call.cache.extend("forget", sums, most=keys, dim=-1)[..., -keys:]
        return (sums[..., -queries:].unsqueeze(-1) - sums.unsqueeze(-2)).to(call.query.dtype)


class SameWord(Position):
    """A learned number of each head where query and key are the same word at two places, beside any other position
    (after Shaw et al. 2018, arXiv 1803.02155, section 3.1, whose inputs may be related in other ways than by distance).

    From one fact about Anna another is found in one step. A head could learn to compare words by their vectors, but the
    use of that has to be learned as well, and neither is worth anything before the other. So three of four heads start
    where such a key counts e³ ≈ 20 times as much; the others start at 0.

    Args:
        position: the other position, which is kept as it is.
    """

    whole = True  # a block of a text is not told which of its words are the same

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
    """Of the products (B, H, L, n) of each vector with n others the one that each pair wants: index (P, L, M) → (B, H,
    L, M). So n products are made for each vector, and not M."""
    return products.gather(-1, index.unsqueeze(1).expand(*products.shape[:-1], -1))


def _exact(like: Tensor) -> torch.dtype:
    """At least float32: sums over a text need more digits than bfloat16 has."""
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
