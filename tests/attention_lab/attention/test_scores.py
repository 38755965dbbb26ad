"""Scores against plain loops and against the implementations of others."""

from __future__ import annotations

import math
import os
from types import SimpleNamespace

import pytest
import torch
from oracles import BATCH, HEAD, HEADS, KEYS, QUERIES, call_of, sizes, vectors
from torch import Tensor, nn

from attention_lab.attention.contract import Where, here
from attention_lab.attention.scores import SCORES, Additive, Dot

WHERE = Where(here(QUERIES), here(KEYS))


def made(name: str, **options: float) -> nn.Module:
    torch.manual_seed(0)
    return SCORES[name](sizes(), **options).double()


def scores(name: str, **options: float) -> Tensor:
    return made(name, **options)(vectors(QUERIES), vectors(KEYS, 2), WHERE).detach()


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def by_hand(name: str, score: nn.Module, q: list[float], k: list[float], head: int) -> float:
    """The formula of the docstring, number by number."""
    if name in ("additive", "concat"):
        vector = score.vector[head].tolist()
        if name == "concat":
            matrix = score.matrix[head].t().tolist()  # D rows of 2D
            return sum(v * math.tanh(dot(row, q + k)) for v, row in zip(vector, matrix, strict=True))
        return sum(v * math.tanh(a + b) for v, a, b in zip(vector, q, k, strict=True))
    if name == "general":
        matrix = score.matrix[head].tolist()
        return sum(q[i] * matrix[i][j] * k[j] for i in range(HEAD) for j in range(HEAD))
    scaled = dot(q, k) / math.sqrt(HEAD)
    return {
        "dot": dot(q, k),
        "scaled_dot": scaled,
        "cosine": 10.0 * dot(q, k) / math.sqrt(dot(q, q) * dot(k, k)),
        "distance": -sum((a - b) ** 2 for a, b in zip(q, k, strict=True)) / math.sqrt(HEAD),
        "softcap": 50.0 * math.tanh(scaled / 50.0),
        "constant": 0.0,
    }[name]


@pytest.mark.parametrize(
    "name", ["dot", "scaled_dot", "general", "additive", "concat", "cosine", "distance", "softcap", "constant"]
)
def test_a_score_is_its_formula(name: str) -> None:
    score, query, key = made(name), vectors(QUERIES), vectors(KEYS, 2)
    found = score(query, key, WHERE)
    for b in range(BATCH):
        for h in range(HEADS):
            for i in range(QUERIES):
                for j in range(KEYS):
                    expected = by_hand(name, score, query[b, h, i].tolist(), key[b, h, j].tolist(), h)
                    assert float(found[b, h, i, j].detach()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if isinstance(score, type(Dot))])
def test_a_score_that_folds_is_the_product_of_what_it_folds(name: str) -> None:
    score = made(name)
    if not isinstance(score, Dot):
        assert not hasattr(score, "fold")
        return
    query, key = score.fold(vectors(QUERIES), vectors(KEYS, 2))
    torch.testing.assert_close(scores(name), (query @ key.transpose(-2, -1) * score.scale).detach())


def test_additive_is_that_of_keras() -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    from keras.layers import AdditiveAttention

    theirs = AdditiveAttention(use_scale=True, dtype="float64")
    query, key = vectors(QUERIES)[:, 0], vectors(KEYS, 2)[:, 0]
    theirs([query, key])
    ours = made("additive")
    theirs.scale.assign(ours.vector[0].detach())
    expected = theirs._calculate_scores(query=query, key=key)
    torch.testing.assert_close(scores("additive")[:, 0], torch.as_tensor(expected).detach())


def test_distance_is_that_of_x_transformers() -> None:
    from x_transformers.attend import Attend

    query, key = vectors(QUERIES).float(), vectors(KEYS, 2).float()
    identity = torch.eye(KEYS).expand(BATCH, HEADS, KEYS, KEYS)
    expected, _ = Attend(l2_distance=True, heads=HEADS)(query, key, identity)
    torch.testing.assert_close(scores("distance").softmax(-1).float(), expected, atol=1e-5, rtol=0)


def test_softcap_is_that_of_gemma() -> None:
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    module = SimpleNamespace(num_key_value_groups=1, head_dim=HEAD, training=False)
    query, key = vectors(QUERIES).float(), vectors(KEYS, 2).float()
    _, expected = eager_attention_forward(module, query, key, key, None, softcap=2.0)
    torch.testing.assert_close(scores("softcap", cap=2.0).softmax(-1).float(), expected, atol=1e-5, rtol=0)


def test_additive_in_pieces_is_additive_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    score = made("additive")
    found = {}
    for at_once in (2**22, 1, 2 * BATCH * HEADS * KEYS * HEAD):  # all, one and two queries at a time
        monkeypatch.setattr(Additive, "AT_ONCE", at_once)
        query, key = vectors(QUERIES).requires_grad_(), vectors(KEYS, 2).requires_grad_()
        values = score(query, key, WHERE)
        gradients = torch.autograd.grad(values.square().sum(), (query, key, score.vector))
        found[at_once] = (values, *gradients)
    first, *others = found.values()
    for other in others:
        for one, two in zip(first, other, strict=True):
            torch.testing.assert_close(one, two)


@pytest.mark.parametrize(("name", "learned"), [("table", True), ("table", False)])
def test_a_table_is_read_at_absolute_positions(name: str, learned: bool) -> None:
    torch.manual_seed(0)
    table = SCORES[name](sizes("decoder_self"), learned=learned)
    late = Where(here(1, start=4), here(KEYS))
    query, key = vectors(1).float(), vectors(KEYS, 2).float()
    torch.testing.assert_close(table(query, key, late)[0, :, 0], table.table[:, 4, :KEYS])
    assert table.table.requires_grad is learned
    torch.manual_seed(1)
    assert not torch.equal(SCORES[name](sizes(), learned=learned).table, table.table)


def test_a_synthesizer_does_not_look_at_keys() -> None:
    torch.manual_seed(0)
    score = SCORES["synthesizer"](sizes("encoder_self")).double()
    query = vectors(QUERIES)
    one, two = (score(query, vectors(KEYS, seed), WHERE) for seed in (2, 3))
    torch.testing.assert_close(one, two)
    expected = torch.relu(query[1, 2, 3]) @ score.outer[2]
    torch.testing.assert_close(one[1, 2, 3], expected[:KEYS])


def test_hard_coded_heads_look_at_the_word_before_the_word_and_the_word_after() -> None:
    score = SCORES["gaussian"](sizes("encoder_self"))
    query = vectors(KEYS)
    weights = score(query, query, call_of(query, query).where).softmax(-1)
    for head, offset in enumerate((-1, 0, 1)):
        for i in range(1, KEYS - 1):
            assert int(weights[0, head, i].argmax()) == i + offset
    # Two positions away a Gaussian of deviation 1 has fallen by e^(−2).
    assert float(weights[0, 1, 3, 5] / weights[0, 1, 3, 3]) == pytest.approx(math.exp(-2.0))
