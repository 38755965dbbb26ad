"""Formulas of the catalogue as plain lines, number by number: those that other tests compare with other libraries only.

The formulas of all other rows are written out beside the part that makes them: in test_scores.py, test_normalisers.py,
test_patterns.py, test_biases.py, test_heads.py, test_operations.py and kernels/.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from attention_lab.attention import MultiHeadAttention, Place, mechanism

BATCH, HEADS, QUERIES, KEYS, HEAD = 3, 2, 5, 7, 11
# The formula of one row of weights: layer, scores q·k of a query with all keys, head, place of the query, and the
# vectors of this query and of all keys before anything turns them.
Formula = Callable[[MultiHeadAttention, list[float], int, int, list[float], list[list[float]]], list[float]]


def layer(name: str, place: Place, heads: int, options: dict[str, object]) -> MultiHeadAttention:
    """With every parameter away from where it starts: some start at 0."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(heads * HEAD, heads, mechanism(name, options), place, length=13).double().eval()
    with torch.no_grad():
        for parameter in attention.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return attention


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def softmax(scores: list[float]) -> list[float]:
    """A score of −∞ is that of a key that may not be looked at."""
    raw = [math.exp(score) for score in scores]
    return [r / sum(raw) for r in raw]


def scaled(products: list[float]) -> list[float]:
    return [product / math.sqrt(HEAD) for product in products]


def off_by_one(attention, products, head, i, q, k) -> list[float]:
    raw = [math.exp(score) for score in scaled(products)]
    return [r / (1 + sum(raw)) for r in raw]


def sink(attention, products, head, i, q, k) -> list[float]:
    raw = [math.exp(score) for score in scaled(products)]
    return [r / (math.exp(attention.core.normalise.sink[head]) + sum(raw)) for r in raw]


def entmax(alpha: float, scores: list[float]) -> list[float]:
    """[(α − 1)s − τ]₊^(1/(α − 1)); τ is found by halving, for the sum falls as τ rises."""
    scores = [(alpha - 1) * score for score in scores]
    low, high = max(scores) - 1, max(scores)
    for _ in range(60):
        middle = (low + high) / 2
        total = sum(max(score - middle, 0.0) ** (1 / (alpha - 1)) for score in scores)
        low, high = (middle, high) if total > 1 else (low, middle)
    return [max(score - low, 0.0) ** (1 / (alpha - 1)) for score in scores]


def learned_entmax(attention, products, head, i, q, k) -> list[float]:
    return entmax(1 + 1 / (1 + math.exp(-attention.core.normalise.alpha[head])), scaled(products))


def topk(attention, products, head, i, q, k) -> list[float]:
    scores = scaled(products)
    return softmax([score if score >= sorted(scores)[-3] else -math.inf for score in scores])


def turned(vector: list[float], position: int, pairs: list[tuple[int, int]]) -> list[complex]:
    """Each pair of features as a complex number, turned by the position times the pair's rate."""
    angles = [position * 10000 ** (-m / len(pairs)) for m in range(len(pairs))]
    return [complex(vector[a], vector[b]) * cmath.rect(1, angle) for (a, b), angle in zip(pairs, angles, strict=True)]


def rotary(pairs: list[tuple[int, int]]) -> Formula:
    """HEAD is odd: the last feature has no pair and stays."""

    def weights(attention, products, head, i, q, k) -> list[float]:
        scores = []
        for j, key in enumerate(k):
            pair_of = zip(turned(q, i, pairs), turned(key, j, pairs), strict=True)
            scores.append(sum((a * b.conjugate()).real for a, b in pair_of) + q[-1] * key[-1])
        return softmax(scaled(scores))

    return weights


def shaw(attention, products, head, i, q, k) -> list[float]:
    vectors = attention.core.position.vectors.tolist()  # for −3 … 3
    return softmax(scaled([products[j] + dot(q, vectors[max(-3, min(3, j - i)) + 3]) for j in range(KEYS)]))


def t5(attention, products, head, i, q, k) -> list[float]:
    """8 buckets up to a distance of 9: four behind the query and four before it, of which two are exact."""

    def bucket(distance: int) -> int:
        away = abs(distance)
        wide = 2 + int(math.log(max(away, 1) / 2) / math.log(9 / 2) * 2)
        return (away if away < 2 else min(wide, 3)) + (4 if distance > 0 else 0)

    return softmax([products[j] + float(attention.core.position.numbers[bucket(j - i), head]) for j in range(KEYS)])


def alibi(attention, products, head, i, q, k) -> list[float]:
    slope = 2 ** (-8 * (head + 1) / HEADS)
    return softmax([score - slope * abs(i - j) for j, score in enumerate(scaled(products))])


def deberta(attention, products, head, i, q, k) -> list[float]:
    position = attention.core.position
    scores = []
    for j in range(KEYS):
        delta = max(-3, min(2, i - j)) + 3
        scores.append(products[j] + dot(q, position.keys[head, delta].tolist()))
        scores[j] += dot(k[j], position.queries[head, delta].tolist())
    return softmax([score / math.sqrt(3 * HEAD) for score in scores])


def reformer(attention, products, head, i, q, k) -> list[float]:
    planes = attention.core.pattern.planes[head].double()  # (D, rounds, buckets / 2)

    def hashes(vector: list[float]) -> list[int]:
        turned = torch.einsum("d,drb->rb", torch.tensor(vector, dtype=torch.float64), planes)
        return [max(range(4), key=lambda bucket: [*row, *(-x for x in row)][bucket]) for row in turned.tolist()]

    same = [j == i or any(a == b for a, b in zip(hashes(q), hashes(k[j]), strict=True)) for j in range(KEYS)]
    return softmax([score if there else -math.inf for score, there in zip(scaled(products), same, strict=True)])


def table(attention, products, head, i, q, k) -> list[float]:
    return softmax(attention.core.score.table[head, i, :KEYS].tolist())


def hard_coded(attention, products, head, i, q, k) -> list[float]:
    return softmax([-((j - i - (-1, 0, 1)[head]) ** 2) / (2 * 1.7**2) for j in range(KEYS)])


@pytest.mark.parametrize(
    ("name", "place", "options", "formula"),
    [
        ("off_by_one", "cross", {}, off_by_one),
        ("sink", "cross", {}, sink),
        ("sparsemax", "cross", {}, lambda attention, products, *_: entmax(2.0, scaled(products))),
        ("entmax15", "cross", {}, lambda attention, products, *_: entmax(1.5, scaled(products))),
        ("entmax", "cross", {}, learned_entmax),
        ("topk", "cross", {"k": 3}, topk),
        ("rotary", "encoder_self", {}, rotary([(m, m + 5) for m in range(5)])),
        ("rotary_interleaved", "encoder_self", {}, rotary([(2 * m, 2 * m + 1) for m in range(5)])),
        ("shaw", "encoder_self", {"distance": 3}, shaw),
        ("t5", "encoder_self", {"buckets": 8, "distance": 9}, t5),
        ("alibi", "encoder_self", {}, alibi),
        ("deberta", "encoder_self", {"distance": 3}, deberta),
        ("reformer", "encoder_self", {"buckets": 4, "rounds": 2}, reformer),
        ("synthesizer_random", "encoder_self", {}, table),
        ("frozen_random", "cross", {}, table),
        ("hard_coded", "encoder_self", {"deviation": 1.7}, hard_coded),
    ],
)
@torch.no_grad()
def test_a_mechanism_is_its_formula(name: str, place: Place, options: dict[str, object], formula: Formula) -> None:
    heads = 3 if name == "hard_coded" else HEADS  # its heads have three offsets
    attention = layer(name, place, heads, options)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(BATCH, QUERIES if place == "cross" else KEYS, heads * HEAD, generator=generator).double()
    memory = torch.randn(BATCH, KEYS, heads * HEAD, generator=generator).double() if place == "cross" else inputs
    _, found = attention(inputs, memory if place == "cross" else None, weights=True)
    query, key = split(attention.heads.query(inputs), heads), split(attention.heads.key(memory), heads)
    for b in range(BATCH):
        for h in range(heads):
            keys = key[b, h].tolist()
            for i, q in enumerate(query[b, h].tolist()):
                expected = formula(attention, [dot(q, k) for k in keys], h, i, q, keys)
                # angles and slopes are float32 in ours
                assert found[b, h, i].tolist() == pytest.approx(expected, abs=1e-6)


def split(tensor: Tensor, heads: int) -> Tensor:
    """(B, L, H·D) → (B, H, L, D)"""
    return tensor.view(BATCH, -1, heads, HEAD).transpose(1, 2)


@pytest.mark.parametrize(("name", "key_heads"), [("multi_query", 1), ("grouped_query", 2)])
@torch.no_grad()
def test_heads_of_a_group_compare_with_the_same_keys(name: str, key_heads: int) -> None:
    heads = 6
    attention = layer(name, "cross", heads, {})
    inputs, memory = torch.randn(BATCH, QUERIES, heads * HEAD).double(), torch.randn(BATCH, KEYS, heads * HEAD).double()
    _, found = attention(inputs, memory, weights=True)
    query, key = split(attention.heads.query(inputs), heads), split(attention.heads.key(memory), key_heads)
    for b in range(BATCH):
        for h in range(heads):
            of_group = key[b, h * key_heads // heads].tolist()
            for i, q in enumerate(query[b, h].tolist()):
                expected = softmax(scaled([dot(q, k) for k in of_group]))
                assert found[b, h, i].tolist() == pytest.approx(expected, abs=1e-12)


@torch.no_grad()
def test_nystrom_is_its_formula() -> None:
    """With the pseudo-inverse of PyTorch, for vectors that stand apart: then the kernel's few iterations find it."""
    attention = layer("nystrom", "encoder_self", HEADS, {"landmarks": 3})
    call, value = attention.call(torch.randn(BATCH, KEYS, HEADS * HEAD).double())
    segment = [position * 3 // KEYS for position in range(KEYS)]
    for tensor in (call.query, call.key):
        tensor.mul_(0.3)
        tensor[:, :, range(KEYS), segment] += 4.0  # a direction for each segment
    _, found = attention.core(call, value, weights=True)

    def means(vectors: Tensor) -> Tensor:
        return torch.stack([vectors[[j for j in range(KEYS) if segment[j] == one]].mean(0) for one in range(3)])

    def weights(one: Tensor, other: Tensor) -> Tensor:
        return (one @ other.T / math.sqrt(HEAD)).softmax(-1)

    for b in range(BATCH):
        for h in range(HEADS):
            q, k = call.query[b, h], call.key[b, h]
            inverse = torch.linalg.pinv(weights(means(q), means(k)))
            expected = weights(q, means(k)) @ inverse @ weights(means(q), k)
            torch.testing.assert_close(found[b, h], expected, atol=1e-9, rtol=0)
