"""What all kernels have in common: the way a call takes, and what is kept from step to step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from kernel_layers import BATCH, HEADS, Largest, inputs, layer

from attention_lab.attention import CATALOGUE, Cache, Place
from attention_lab.attention.kernels import KERNELS

ROWS = [(row.name, place) for row in CATALOGUE.values() if row.kernel is not None for place in row.places]
RECURRENT = [row.name for row in CATALOGUE.values() if row.kernel is not None and KERNELS[row.kernel].recurrent]


def test_every_kernel_has_a_row() -> None:
    assert {row.kernel for row in CATALOGUE.values()} - {None} == set(KERNELS)


@pytest.mark.parametrize(("name", "place"), ROWS)
def test_a_call_says_which_way_it_takes(name: str, place: Place) -> None:
    core = layer(name, place).core
    call, _ = layer(name, place).call(inputs(5), inputs(7) if place == "cross" else None)
    ways = {"encoder_self": "linear", "decoder_self": "chunked", "cross": "linear"}
    assert core.path(call) == (ways[place] if name in RECURRENT else "kernel")
    if name in RECURRENT:
        cached = replace(call, cache=Cache(fixed=place == "cross"))
        assert core.path(cached) == ("linear" if place == "cross" else "recurrent")


@pytest.mark.parametrize("name", RECURRENT)
def test_a_step_keeps_as_much_after_4096_positions_as_after_16(name: str) -> None:
    """And the step is still that of the full pass, which takes the chunked way."""
    attention, sequence = layer(name, "decoder_self", length=4097), inputs(4097)
    cache = Cache()
    with torch.no_grad():
        attention(sequence[:, :16], cache=cache)
        sizes = {kept: tensor.shape for kept, tensor in cache.kept.items()}
        attention(sequence[:, 16:4096], cache=cache)
        output, none = attention(sequence[:, 4096:], cache=cache, weights=True)
        expected, _ = attention(sequence)
    assert {kept: tensor.shape for kept, tensor in cache.kept.items()} == sizes
    assert none is None  # the keys are gone
    torch.testing.assert_close(output, expected[:, 4096:])


@pytest.mark.parametrize(("name", "place"), ROWS)
def test_no_tensor_of_all_pairs_is_made(name: str, place: Place) -> None:
    attention, sequence = layer(name, place, length=1024), inputs(1024)
    mask = torch.arange(1024) < torch.tensor([[1024], [1000]])
    with torch.no_grad(), Largest() as largest:
        attention(sequence, sequence if place == "cross" else None, mask=mask)
    assert 0 < largest.numel < BATCH * HEADS * 1024 * 256


def test_asking_a_step_of_cross_attention_for_weights_leaves_its_cache_alone() -> None:
    attention, memory, cache = layer("linear", "cross"), inputs(7), Cache(fixed=True)
    expected, weights = attention(inputs(5), memory, weights=True)
    for step in range(5):
        output, seen = attention(inputs(5)[:, step : step + 1], memory, cache=cache, weights=True)
        torch.testing.assert_close(output, expected[:, step : step + 1])
        torch.testing.assert_close(seen, weights[:, :, step : step + 1])


def test_the_state_of_cross_attention_is_computed_once() -> None:
    attention, cache = layer("performer", "cross"), Cache(fixed=True)
    first, _ = attention(inputs(5), inputs(7), cache=cache)
    cache.kept["key"] = torch.full_like(cache.kept["key"], torch.nan)
    again, _ = attention(inputs(5), inputs(7), cache=cache)
    torch.testing.assert_close(first, again)


@pytest.mark.parametrize(("name", "place"), ROWS)
def test_sums_are_in_float32_where_the_layer_is_not(name: str, place: Place) -> None:
    """With autocast, q, k and v are in bfloat16; what is made of them has its own digits, and no more."""
    attention = layer(name, place, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        call, value = attention.call(inputs(40, dtype=torch.float32), inputs(40, 2, torch.float32))
        rough, _ = attention.core(call, value)
    assert rough.dtype == value.dtype == (torch.float32 if name == "fnet" else torch.bfloat16)
    exact, _ = attention.core(replace(call, query=call.query.double(), key=call.key.double()), value.double())
    torch.testing.assert_close(rough.double(), exact, rtol=2**-8, atol=1e-5)


def test_a_mask_of_pairs_is_refused() -> None:
    attention = layer("linear", "cross")
    call, value = attention.call(inputs(5), inputs(7))
    call = replace(call, where=replace(call.where, allowed=torch.ones(5, 7, dtype=torch.bool)))
    with pytest.raises(ValueError, match="pairs"):
        attention.core(call, value)
