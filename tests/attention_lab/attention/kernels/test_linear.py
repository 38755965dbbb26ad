"""Linear attention, Performer and cosFormer against the matrix of their weights, written out."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from kernel_layers import BATCH, HEAD, HEADS, inputs, layer

from attention_lab.attention import Cache, Place
from attention_lab.attention.contract import Call, Sizes, Where, here
from attention_lab.attention.kernels.linear import Performer

NAMES = ["linear", "performer", "cosformer"]
PLACES = [(n, p) for n in NAMES for p in ("encoder_self", "decoder_self", "cross") if (n, p) != ("cosformer", "cross")]


def similarity(name: str, attention, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """What is 0 or more for each pair, before it is divided by its sum: (B, H, Lq, Lk)."""
    if name == "linear":
        query, key = (torch.where(x > 0, x + 1.0, x.exp()) for x in (query, key))
        return torch.einsum("bhif,bhjf->bhij", query, key)
    if name == "performer":
        query, key = (
            torch.exp(
                torch.einsum("bhid,hdf->bhif", x, attention.core.kernel.directions) - x.square().sum(-1)[..., None] / 2
            )
            for x in (query / HEAD**0.25, key / HEAD**0.25)
        )
        return torch.einsum("bhif,bhjf->bhij", query, key)
    products = torch.einsum("bhid,bhjd->bhij", query.clamp(min=0), key.clamp(min=0))
    i, j = torch.arange(query.shape[2]).double()[:, None], torch.arange(key.shape[2]).double()
    return products * torch.cos(math.pi * (i - j) / (2 * 200))


def by_hand(name: str, attention, call: Call, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weights = similarity(name, attention, call.query, call.key)
    if call.where.exists is not None:
        weights = weights * call.where.exists[:, None, None]
    if call.where.causal:
        weights = weights.tril()
    weights = torch.nan_to_num(weights / weights.sum(-1, keepdim=True))
    return weights @ value, weights


@pytest.mark.parametrize("length", [7, 64, 150])
@pytest.mark.parametrize(("name", "place"), PLACES)
def test_output_weights_and_gradients_are_those_of_the_matrix(name: str, place: Place, length: int) -> None:
    attention = layer(name, place, length=200)
    query, memory = inputs(length).requires_grad_(), inputs(9, 2) if place == "cross" else None
    keys = length if memory is None else 9
    mask = torch.arange(keys) < torch.tensor([[keys], [keys - 3]])
    call, value = attention.call(query, memory, mask)
    output, weights = attention.core(call, value, weights=True)
    expected, matrix = by_hand(name, attention, call, value)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(weights, matrix, atol=1e-12, rtol=0)
    ours, theirs = (torch.autograd.grad(o.square().sum(), query, retain_graph=True)[0] for o in (output, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_step_by_step_has_the_output_and_gradients_of_the_matrix(name: str) -> None:
    attention, sequence = layer(name, "decoder_self", length=200), inputs(75).requires_grad_()
    call, value = attention.call(sequence)
    expected = attention.output(by_hand(name, attention, call, value)[0].transpose(1, 2).flatten(2))
    cache = Cache()
    stepped = torch.cat([attention(step, cache=cache)[0] for step in sequence.split(1, 1)], 1)
    torch.testing.assert_close(stepped, expected, atol=1e-12, rtol=0)
    ours, theirs = (torch.autograd.grad(o.square().sum(), sequence)[0] for o in (stepped, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_near(name: str) -> None:
    """Relative to the largest output, over three chunks."""
    attention, sequence = layer(name, "decoder_self", length=200), inputs(150)
    exact = attention(sequence)[0].detach()
    rough = attention.float()(sequence.float())[0].detach()
    assert float((rough.double() - exact).abs().max() / exact.abs().max()) < 1e-5


def performer(features: int = 64) -> Performer:
    return Performer(Sizes(heads=HEADS, head=HEAD, width=33, length=64, place="cross"), features=features)


def performer_error(features: int) -> float:
    """Of the weights, from those of softmax attention, in the mean."""
    generator = torch.Generator().manual_seed(0)
    query, key = 0.5 * torch.randn(2, 8, HEADS, 20, HEAD, generator=generator, dtype=torch.float64)
    values = torch.eye(20, dtype=torch.float64).expand(8, HEADS, 20, 20)
    weights = performer(features)(Call(query, query, key, Where(here(20), here(20))), values)
    exact = (query @ key.transpose(-2, -1) / math.sqrt(HEAD)).softmax(-1)
    return float((weights - exact).abs().sum(-1).mean())


def test_performer_comes_near_to_softmax_attention_with_many_features() -> None:
    """Four times as many features, half the error."""
    errors = [performer_error(features) for features in (16, 64, 256, 1024, 4096)]
    for more, fewer in pairwise(errors):
        assert 1.5 < more / fewer < 2.7
    assert errors[-1] < 0.03


def test_directions_of_the_performer_are_orthogonal_in_groups_as_long_as_gaussians_and_saved() -> None:
    attention = layer("performer", "encoder_self", features=11 * 40 + 3)
    directions = attention.state_dict()["core.kernel.directions"]
    assert directions.shape == (HEADS, HEAD, 11 * 40 + 3)
    assert not attention.core.kernel.directions.requires_grad
    groups = directions[..., : 11 * 40].unflatten(-1, (40, 11)).movedim(-2, 1)  # (H, 40, D, 11)
    products = groups.transpose(-2, -1) @ groups
    lengths = products.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(products, torch.diag_embed(lengths), atol=1e-5, rtol=0)
    assert float(lengths.mean()) == pytest.approx(HEAD, rel=0.05)  # of a χ² with D degrees of freedom
    assert float(lengths.var()) == pytest.approx(2 * HEAD, rel=0.15)
    assert not torch.equal(directions[0], directions[1])


@pytest.mark.parametrize("causal", [False, True])
def test_long_keys_do_not_vanish_in_the_performer(causal: bool) -> None:
    """In float32, e^−200 is 0: features have to be taken from the largest of them."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, BATCH, HEADS, 70, HEAD, dtype=torch.float64)
    key = key * torch.linspace(18.0, 15.0, 70, dtype=torch.float64)[:, None]  # each a little shorter than the last
    key[:, :, 1] /= 18.0  # the largest features, of a key that does not exist
    where = Where(here(70), here(70), causal=causal, exists=(torch.arange(70) != 1).expand(BATCH, -1))
    exact = performer()(Call(query, query, key, where), value)
    rough = performer()(Call(query.float(), query.float(), key.float(), where), value.float())
    assert (exact.abs().amax(-1) > 0.0).all()
    torch.testing.assert_close(rough.double(), exact, atol=1e-4, rtol=1e-4)


def test_a_key_ahead_takes_no_digits_from_those_before_in_the_performer() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, BATCH, HEADS, 20, HEAD)
    key[:, :, :10] *= 12.0  # so long that their features are nothing beside those of the keys behind them
    whole = performer()(Call(query, query, key, Where(here(20), here(20), causal=True)), value)
    first, key, value = query[:, :, :10], key[:, :, :10], value[:, :, :10]
    alone = performer()(Call(first, first, key, Where(here(10), here(10), causal=True)), value)
    torch.testing.assert_close(whole[:, :, :10], alone)
    assert (alone.abs().amax(-1) > 0.0).all()


def test_positions_that_do_not_exist_may_stand_anywhere() -> None:
    """At the start too, where the performer has no key yet to scale its features by."""
    for name in NAMES[:2]:
        attention = layer(name, "decoder_self")
        mask = torch.tensor([[False, False, True, True, False, True], [True] * 6])
        call, value = attention.call(inputs(6), mask=mask)
        output, weights = attention.core(call, value, weights=True)
        expected, matrix = by_hand(name, attention, call, value)
        torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
        torch.testing.assert_close(weights, matrix, atol=1e-12, rtol=0)


def test_cosformer_takes_positions_from_the_longest_on_for_the_last() -> None:
    attention = layer("cosformer", "encoder_self", longest=8)
    call, _ = attention.call(inputs(30))
    weights = attention.core.weights(call)
    assert (weights >= 0.0).all()
    products = torch.einsum("bhid,bhjd->bhij", call.query.clamp(min=0), call.key.clamp(min=0))
    places = torch.arange(30).double().clamp(max=7)
    expected = products * torch.cos(math.pi * (places[:, None] - places) / 16)
    torch.testing.assert_close(weights, expected / expected.sum(-1, keepdim=True), atol=1e-12, rtol=0)


@pytest.mark.parametrize("place", ["encoder_self", "decoder_self"])
@pytest.mark.parametrize("scale", [10.0, 30.0, 100.0])
def test_queries_and_keys_that_leave_no_feature_give_nothing_and_no_nan(place: Place, scale: float) -> None:
    """Products of features below the smallest normal number are no weights: divided by them, gradients were NaN."""
    attention = layer("performer", place).float()
    query = (scale * inputs(64).float()).requires_grad_()
    output, weights = attention(query, weights=True)
    output.sum().backward()
    assert query.grad is not None
    assert query.grad.isfinite().all()
    assert weights.isfinite().all()
    assert (weights.sum(-1) <= 1.0 + 1e-4).all()
