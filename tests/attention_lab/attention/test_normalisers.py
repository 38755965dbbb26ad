"""Normalisers against the implementations of others, and against what defines them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import entmax as oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import BATCH, HEADS, KEYS, QUERIES, call_of, composition, sizes, vectors
from torch import Tensor, nn

from attention_lab.attention.normalisers import NORMALISERS
from attention_lab.errors import InputError


def made(name: str, **options: float) -> nn.Module:
    torch.manual_seed(0)
    normaliser = NORMALISERS[name](sizes(), **options).double()
    if "alpha" in options:  # to the last digit of float64, which the parameter's own type does not have
        normaliser.alpha.data.fill_(math.log((options["alpha"] - 1.0) / (2.0 - options["alpha"])))
    return normaliser


def scores(seed: int = 5, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(BATCH, HEADS, QUERIES, KEYS, dtype=torch.float64, generator=generator)


def mask() -> Tensor:
    found = torch.rand(BATCH, 1, QUERIES, KEYS, generator=torch.Generator().manual_seed(3)) < 0.6
    found[..., 0] = True
    return found


THEIRS = {
    "sparsemax": lambda values: oracle.sparsemax(values, dim=-1),
    "entmax15": lambda values: oracle.entmax15(values, dim=-1),
    "entmax": lambda values: oracle.entmax_bisect(values, alpha=1.3, dim=-1, n_iter=60),
}


@pytest.mark.parametrize("name", THEIRS)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.0, 30.0))
def test_sparse_weights_and_their_gradients_are_those_of_entmax(name: str, seed: int, scale: float) -> None:
    ours = made(name, **({"alpha": 1.3} if name == "entmax" else {}))
    one, two = scores(seed, scale).requires_grad_(), scores(seed, scale).requires_grad_()
    # Theirs raises where a row is masked altogether, so a very low score takes a key away here.
    found, expected = ours(one, mask()), THEIRS[name](two.masked_fill(~mask(), -1e5))
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)
    weighing = scores(seed + 1)
    torch.testing.assert_close(
        torch.autograd.grad((found * weighing).sum(), one)[0],
        torch.autograd.grad((expected * weighing).sum(), two)[0],
        atol=1e-6, rtol=1e-6,
    )  # fmt: skip


def test_a_learned_alpha_has_the_gradient_of_entmax() -> None:
    ours = made("entmax", alpha=1.3)
    alpha = torch.full((HEADS, 1, 1), 1.3, dtype=torch.float64, requires_grad=True)
    weighing = scores(6)
    expected = oracle.entmax_bisect(scores(), alpha=alpha.expand(BATCH, -1, QUERIES, 1), dim=-1, n_iter=60)
    (theirs,) = torch.autograd.grad((expected * weighing).sum(), alpha)
    (found,) = torch.autograd.grad((ours(scores(), None) * weighing).sum(), ours.alpha)
    by_alpha = 0.3 * 0.7  # α = 1 + σ(parameter)
    torch.testing.assert_close(found, theirs * by_alpha, atol=1e-6, rtol=1e-5)


def test_off_by_one_is_pytorchs_zero_attention() -> None:
    theirs = nn.MultiheadAttention(33, HEADS, add_zero_attn=True, batch_first=True).double().eval()
    for matrix in theirs.in_proj_weight.data.chunk(3):
        matrix.copy_(torch.eye(33))
    query, key = vectors(QUERIES), vectors(KEYS, 2)
    flat = [tensor.transpose(1, 2).flatten(2) for tensor in (query, key)]
    _, expected = theirs(flat[0], flat[1], flat[1], average_attn_weights=False)
    found = composition(normaliser="off_by_one").weights(call_of(query, key))
    torch.testing.assert_close(found, expected[..., :-1], atol=1e-12, rtol=0)


def test_the_sink_is_that_of_gpt_oss() -> None:
    from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

    ours = made("sink")
    with torch.no_grad():
        ours.sink.copy_(torch.tensor([-1.0, 0.5, 2.0]))
    module = SimpleNamespace(num_key_value_groups=1, sinks=ours.sink, training=False)
    query, key = vectors(QUERIES), vectors(KEYS, 2)
    _, expected = eager_attention_forward(module, query, key, key, None, scaling=0.3)
    torch.testing.assert_close(ours((query * 0.3) @ key.transpose(-2, -1), None), expected, atol=1e-12, rtol=0)


def test_the_k_best_are_those_of_x_transformers() -> None:
    from x_transformers.attend import Attend

    query, key = vectors(QUERIES).float(), vectors(KEYS, 2).float()
    identity = torch.eye(KEYS).expand(BATCH, HEADS, KEYS, KEYS)
    expected, _ = Attend(sparse_topk=3, heads=HEADS)(query, key, identity)
    found = composition(normaliser="topk", k=3).weights(call_of(query.double(), key.double()))
    torch.testing.assert_close(found.float(), expected, atol=1e-5, rtol=0)
    assert ((found > 0).sum(-1) == 3).all()


@pytest.mark.parametrize(("name", "power"), [("sigmoid", 1), ("relu", 1), ("relu", 2)])
def test_keys_that_do_not_compete_are_divided_by_how_many_there_are(name: str, power: int) -> None:
    values, allowed = scores(), mask()
    found = made(name, **({"power": power} if name == "relu" else {}))(values, allowed)
    for b in range(BATCH):
        for h in range(HEADS):
            for i in range(QUERIES):
                keys = [j for j in range(KEYS) if allowed[b, 0, i, j]]
                for j in range(KEYS):
                    s, n = values[b, h, i, j], len(keys)
                    expected = torch.relu(s) ** power / n if name == "relu" else 1 / (1 + n * torch.exp(-s))
                    assert float(found[b, h, i, j]) == pytest.approx(float(expected) if j in keys else 0.0, abs=1e-14)


def test_entmax_lies_between_softmax_and_sparsemax() -> None:
    values = scores()
    zeros = [float((made(name, **options)(values, None) == 0).double().mean()) for name, options in (
        ("softmax", {}), ("entmax", {"alpha": 1.2}), ("entmax15", {}), ("entmax", {"alpha": 1.8}), ("sparsemax", {}),
    )]  # fmt: skip
    assert zeros == sorted(zeros)
    assert zeros[0] == 0.0
    assert zeros[-1] > 0.5
    torch.testing.assert_close(made("entmax", alpha=1.5)(values, None), made("entmax15")(values, None))


@pytest.mark.parametrize("name", [n for n, kind in NORMALISERS.items() if kind.weighs == "probabilities"])
@pytest.mark.parametrize("keys", [128, 512])
def test_many_keys_in_bfloat16_still_share_one(name: str, keys: int) -> None:
    """Of a text of 512 tokens entmax15 once gave weights whose sum was 7."""
    generator = torch.Generator().manual_seed(2)
    exact = torch.randn(BATCH, HEADS, QUERIES, keys, generator=generator)
    normaliser = NORMALISERS[name](sizes())
    found = normaliser(exact.bfloat16(), None)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float().sum(-1), torch.ones(BATCH, HEADS, QUERIES), atol=0.02, rtol=0.0)
    torch.testing.assert_close(found.float(), normaliser(exact.bfloat16().float(), None), atol=2e-3, rtol=0.01)


@pytest.mark.parametrize("name", ["sparsemax", "entmax15", "entmax"])
def test_a_key_at_the_threshold_has_no_gradient(name: str) -> None:
    """Of the scores 1 and 0 (entmax15: 2 and 0) the second gets exactly nothing: it is no part of the support."""
    far = 2.0 if name == "entmax15" else 1.0
    at = torch.tensor([[[[far, 0.0]]]], dtype=torch.float64, requires_grad=True)
    normaliser = made(name, **({"alpha": 1.9} if name == "entmax" else {}))

    def of_one_head(scores: Tensor) -> Tensor:
        return normaliser(scores.expand(1, HEADS, 1, 2), None)[0, 0, 0]

    jacobian = torch.autograd.functional.jacobian(of_one_head, at).reshape(2, 2)
    torch.testing.assert_close(jacobian.sum(0), torch.zeros(2, dtype=torch.float64), atol=1e-8, rtol=0.0)
    if name != "entmax":  # there the second key is just inside
        assert (jacobian == 0.0).all()


def test_topk_takes_the_first_of_equal_scores_however_many_there_are() -> None:
    normaliser, equal = made("topk", k=2), torch.zeros(1, 1, 1, 40, dtype=torch.float64)
    for keys in (3, 5, 17, 40):
        there = torch.arange(40) < keys
        assert normaliser(equal, there[None, None, None])[0, 0, 0].nonzero().flatten().tolist() == [0, 1]
        assert normaliser(equal[..., :keys], None)[0, 0, 0].nonzero().flatten().tolist() == [0, 1]


@pytest.mark.parametrize("alpha", [1.0, 2.0, 2.5, float("nan")])
def test_an_alpha_that_is_no_entmax_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha must be above 1 and below 2"):
        NORMALISERS["entmax"](sizes(), alpha=alpha)
