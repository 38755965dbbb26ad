"""The law, for every row of the catalogue in every place where it is valid: whatever the weights are, they keep these
promises.

Every dimension has a size of its own, so that a transposed axis fails: 3 rows, 4 heads (2 share keys) of width 6,
5 queries or target positions, 7 keys. Everything is in float64, where rounding cannot hide a mistake.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab.attention import CATALOGUE, Cache, Mechanism, MultiHeadAttention, Place, mechanism
from attention_lab.attention.composition import Composition
from attention_lab.attention.contract import here
from attention_lab.attention.kernels import linear
from attention_lab.attention.scores import Additive
from attention_lab.errors import InputError

BATCH, HEADS, QUERIES, KEYS, WIDTH, LENGTH = 3, 4, 5, 7, 24, 64


def every(wanted: Callable[[Mechanism, Place], bool] = lambda row, place: True) -> pytest.MarkDecorator:
    """The rows of the catalogue, in the places where they are valid, for which the promise is made."""
    found = [(row.name, place) for row in CATALOGUE.values() for place in row.places if wanted(row, place)]
    return pytest.mark.parametrize(("name", "place"), found, ids=[f"{name}-{place}" for name, place in found])


def ordered(row: Mechanism) -> bool:
    """Does a row know about positions in cross-attention?"""
    return row.pattern != "full" or row.score in ("table", "gaussian") or row.operation == "local_p"


def bounded(row: Mechanism) -> bool:
    """Does a row need a bounded number of keys, or a state, for the next step?"""
    core = MultiHeadAttention(WIDTH, HEADS, row, "decoder_self").core
    return core.reach is not None or core.recurrent


every_row = every()
with_weights = every(lambda row, place: row.weights != "none")


def layer(
    name: str,
    place: Place,
    dropout: float = 0.0,
    seed: int = 0,
    width: int = WIDTH,
    heads: int = HEADS,
    length: int = LENGTH,
) -> MultiHeadAttention:
    """With every parameter away from 0 and 1, where some start and where mistakes hide."""
    torch.manual_seed(seed)
    attention = MultiHeadAttention(width, heads, mechanism(name), place, dropout=dropout, rotary=True, length=length)
    with torch.no_grad():
        for parameter in attention.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return attention.double().eval()


def inputs(length: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, length, WIDTH, dtype=torch.float64, generator=generator)


def given_to(place: Place, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Inputs and memory of a layer in that place."""
    return (inputs(QUERIES, seed), inputs(KEYS, seed + 1)) if place == "cross" else (inputs(KEYS, seed), None)


def padding(seed: int, keys: int = KEYS) -> torch.Tensor:
    """(B, Lk): rows of any length, 0 included, padded at the end."""
    lengths = torch.randint(0, keys + 1, (BATCH, 1), generator=torch.Generator().manual_seed(seed))
    return torch.arange(keys) < lengths


def mixed_by_hand(attention: MultiHeadAttention, weights: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """The sum over keys of weight times value, as a plain loop: (B, H, Lq, D)."""
    kept = attention.heads.remember(memory, attention.core.position, here(memory.shape[1]))
    value = attention.heads.recall(kept)[1]
    mixed = torch.zeros(*weights.shape[:3], value.shape[-1], dtype=torch.float64)
    for head in range(weights.shape[1]):
        for key in range(weights.shape[3]):
            mixed[:, head] += weights[:, head, :, key, None] * value[:, head, None, key]
    return mixed


@with_weights
def test_the_core_is_the_weighted_sum_of_values(name: str, place: Place) -> None:
    attention, (query, memory) = layer(name, place), given_to(place)
    call, value = attention.call(query, memory, padding(3))
    mixed, weights = attention.core(call, value, weights=True)
    assert weights.shape == (BATCH, HEADS, len(query[0]), KEYS)
    torch.testing.assert_close(mixed, mixed_by_hand(attention, weights, query if memory is None else memory))


@every_row
def test_what_is_asked_for_does_not_change_the_output(name: str, place: Place, monkeypatch) -> None:
    """The fast path equals the explicit one, in evaluation and in training without dropout."""
    attention, (query, memory) = layer(name, place), given_to(place)
    for mask in (None, padding(3)):
        for training in (False, True):
            attention.train(training)
            monkeypatch.setattr(Composition, "FUSED_FROM", 512)
            explicit, _ = attention(query, memory, mask=mask, weights=True)
            monkeypatch.setattr(Composition, "FUSED_FROM", 1)
            fast, nothing = attention(query, memory, mask=mask)
            assert nothing is None
            torch.testing.assert_close(fast, explicit)


@every(lambda row, place: place != "cross")
def test_a_long_sequence_gives_what_the_explicit_path_gives(name: str, place: Place, monkeypatch) -> None:
    """Long enough for blocks, chunks and pieces; the last of them is not full."""
    row = mechanism(name)
    attention = MultiHeadAttention(WIDTH, HEADS, row, place, rotary=True, length=150).double().eval()
    generator = torch.Generator().manual_seed(6)
    query = torch.randn(2, 150, WIDTH, dtype=torch.float64, generator=generator).requires_grad_()
    mask = torch.arange(150) < torch.tensor([[150], [131]])
    explicit, _ = attention(query, mask=mask, weights=True)
    monkeypatch.setattr(Composition, "BLOCKS_FROM", 1)
    monkeypatch.setattr(Additive, "AT_ONCE", 2**10)
    monkeypatch.setattr(linear, "AT_ONCE", 1)  # pieces of 64
    for fused_from in (1, 10_000):
        monkeypatch.setattr(Composition, "FUSED_FROM", fused_from)
        fast, _ = attention(query, mask=mask)
        torch.testing.assert_close(fast[mask], explicit[mask])
    ours, theirs = (torch.autograd.grad(output[mask].square().sum(), query)[0] for output in (fast, explicit))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("length", [KEYS, 150])
def test_a_gpu_gives_what_a_cpu_gives(length: int) -> None:
    """Outputs, weights and gradients of every row in every place; 150 is long enough for blocks, chunks and pieces."""
    apart = []
    for name, place in ((row.name, place) for row in CATALOGUE.values() for place in row.places):
        found = []
        for device in ("cpu", "cuda"):
            attention = layer(name, place, length=max(length, LENGTH)).to(device)
            query = inputs(length).to(device).requires_grad_()
            memory = inputs(length, 2).to(device) if place == "cross" else None
            mask = (torch.arange(length) < torch.tensor([[length], [length - 2], [1]])).to(device)
            fast, _ = attention(query, memory, mask=mask)
            _, weights = attention(query, memory, mask=mask, weights=CATALOGUE[name].weights != "none")
            parameters = [parameter for parameter in attention.parameters() if parameter.requires_grad]
            kept = fast if place == "cross" else fast[mask]
            gradients = torch.autograd.grad(kept.square().sum(), [query, *parameters], materialize_grads=True)
            found.append([tensor.cpu() for tensor in (kept, weights, *gradients) if tensor is not None])
        ours, theirs = found
        # The angles of rotary positions are float32 numbers, and differ in their last bits.
        far = max(
            float((one - other).abs().max() / (1.0 + one.abs().max())) for one, other in zip(ours, theirs, strict=True)
        )
        if not far < 1e-5:
            apart.append(f"{name} {place}: {far:.1e}")
    assert apart == []


@with_weights
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_padding_gets_exactly_nothing_and_weights_are_what_the_row_says(name: str, place: Place, seed: int) -> None:
    mask = padding(seed)
    attention, (query, memory) = layer(name, place, seed=seed), given_to(place, seed)
    weights = attention(query, memory, mask=mask, weights=True)[1].detach()
    assert (weights[~mask[:, None, None, :].expand_as(weights)] == 0.0).all()
    kind = CATALOGUE[name].weights
    if kind in ("probabilities", "weights"):
        assert (weights >= 0.0).all()
    if kind == "probabilities":
        sums, where = weights.sum(-1), attention.call(query, memory, mask)[0]
        allowed = attention.core.mask(where) if CATALOGUE[name].kernel is None else where.where.mask
        expected = allowed.expand_as(weights).any(-1)  # whoever may attend to anything does
        torch.testing.assert_close(sums, expected.double())


@every_row
def test_a_text_of_padding_alone_gives_nothing_and_no_nan(name: str, place: Place) -> None:
    attention = layer(name, place)
    query, memory = (None if tensor is None else tensor.requires_grad_() for tensor in given_to(place))
    mask = torch.ones(BATCH, KEYS, dtype=torch.bool)
    mask[1] = False
    for weights in (False, True):
        output, seen = attention(query, memory, mask=mask, weights=weights)
        if seen is not None:
            assert (seen[1] == 0.0).all()
        nothing = attention.core.operation.output(
            torch.zeros(BATCH, HEADS, output.shape[1], WIDTH // HEADS, dtype=torch.float64),
            attention.call(query, memory, mask)[0],
        )
        torch.testing.assert_close(output[1], attention.output(nothing.transpose(1, 2).flatten(2))[1])
        wanted = [tensor for tensor in (query, memory) if tensor is not None]
        gradients = torch.autograd.grad(output.sum(), wanted, materialize_grads=True)
        assert all(gradient.isfinite().all() for gradient in gradients)
        parameters = torch.autograd.grad(
            attention(query, memory, mask=mask, weights=weights)[0].sum(),
            [*wanted, *(parameter for parameter in attention.parameters() if parameter.requires_grad)],
            allow_unused=True,
        )
        assert all(gradient.isfinite().all() for gradient in parameters if gradient is not None)


@every(lambda row, place: place == "decoder_self")
def test_a_decoder_does_not_look_ahead(name: str, place: Place) -> None:
    attention, sequence = layer(name, place), inputs(KEYS)
    before, weights = attention(sequence, weights=CATALOGUE[name].weights != "none")
    if weights is not None:
        assert (weights.triu(1) == 0.0).all()
    changed = sequence.clone()
    changed[:, 4:] = inputs(KEYS, 9)[:, 4:]
    after, _ = attention(changed)
    assert torch.equal(attention(sequence)[0][:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@every_row
def test_padding_changes_nothing(name: str, place: Place) -> None:
    attention, (query, memory) = layer(name, place), given_to(place)
    expected, _ = attention(query, memory)
    mask = torch.ones(BATCH, KEYS + 4, dtype=torch.bool)
    mask[:, KEYS:] = False
    noise = inputs(4, 8) * 100.0
    if memory is None:
        padded, _ = attention(torch.cat((query, noise), 1), mask=mask)
    else:
        padded, _ = attention(query, torch.cat((memory, noise), 1), mask=mask)
    torch.testing.assert_close(padded[:, : query.shape[1]], expected)


@every_row
def test_rows_of_a_batch_do_not_touch(name: str, place: Place) -> None:
    attention, (query, memory) = layer(name, place), given_to(place)
    mask = padding(3)
    together, _ = attention(query, memory, mask=mask)
    alone, _ = attention(query[1:2], None if memory is None else memory[1:2], mask=mask[1:2])
    torch.testing.assert_close(together[1:2], alone)


@every(lambda row, place: place != "encoder_self")
def test_step_by_step_equals_the_full_pass(name: str, place: Place) -> None:
    """With beams that change places on the way; far enough that a window's cache rolls."""
    attention = layer(name, place)
    steps = 40
    generator = torch.Generator().manual_seed(7)
    sequence = torch.randn(BATCH, steps, WIDTH, dtype=torch.float64, generator=generator)
    memory, mask = (inputs(37, 2), padding(3, 37)) if place == "cross" else (None, None)  # longer than a window
    order = torch.tensor([2, 0, 0])
    full, _ = attention(sequence, memory, mask=mask)
    # After step 3 row r goes on with what row order[r] has seen and its own inputs behind that.
    joined = torch.cat((sequence[order, :4], sequence[:, 4:]), 1)
    memory_moved, mask_moved = (None, None) if memory is None else (memory[order], mask[order])
    full_moved, _ = attention(joined, memory_moved, mask=mask_moved)
    cache = Cache(fixed=place == "cross")
    for step in range(steps):
        token = sequence[:, step : step + 1]
        moved = step > 3
        output, _ = attention(token, memory_moved if moved else memory, mask=mask_moved if moved else mask, cache=cache)
        torch.testing.assert_close(output, (full_moved if moved else full)[:, step : step + 1])
        if step == 3:
            cache.select(order)
    assert cache.length == steps


@every(lambda row, place: place == "decoder_self" and bounded(row))
def test_a_cache_does_not_outgrow_its_bound(name: str, place: Place) -> None:
    attention = layer(name, place)
    cache, sizes = Cache(), []
    for step in range(LENGTH):
        attention(inputs(1, step), cache=cache)
        sizes.append(sum(tensor.numel() for tensor in cache.kept.values()))
    bound = attention.core.reach or 1
    assert len(set(sizes[bound:])) == 1


@every(lambda row, place: place == "cross" and not ordered(row))
def test_keys_have_no_order_of_their_own_where_positions_play_no_part(name: str, place: Place) -> None:
    attention, (query, memory) = layer(name, place), given_to(place)
    order = torch.randperm(KEYS, generator=torch.Generator().manual_seed(4))
    output, weights = attention(query, memory, weights=True)
    shuffled, moved = attention(query, memory[:, order], weights=True)
    torch.testing.assert_close(output, shuffled)
    torch.testing.assert_close(weights[..., order], moved)


@every_row
def test_gradients_are_those_of_finite_differences(name: str, place: Place) -> None:
    attention = layer(name, place, width=4, heads=2)
    query = inputs(3)[:2, :, :4].requires_grad_()
    memory = inputs(4, 2)[:2, :, :4].requires_grad_() if place == "cross" else None
    mask = torch.tensor([[True, True, True, False], [False, False, False, False]])
    mask = mask if memory is not None else mask[:, :3] | torch.tensor([[False], [True]])

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        return attention(*tensors, mask=mask)[0]

    assert torch.autograd.gradcheck(run, (query,) if memory is None else (query, memory))


@every(lambda row, place: row.weights != "none" and row.kernel is None)  # a kernel has no weights that can be dropped
def test_weights_returned_are_the_weights_used_with_dropout_too(name: str, place: Place) -> None:
    attention, (query, memory) = layer(name, place, dropout=0.5).train(), given_to(place)
    call, value = attention.call(query, memory)
    mixed, weights = attention.core(call, value, weights=True)
    assert (weights == 0.0).any()
    torch.testing.assert_close(mixed, mixed_by_hand(attention, weights, query if memory is None else memory))


@every_row
def test_bfloat16_stays_near(name: str, place: Place) -> None:
    """Within 2 % of the largest output, of layers and inputs that are exact in bfloat16."""
    attention = layer(name, place).bfloat16()
    query, memory = (None if t is None else t.bfloat16() for t in given_to(place))
    rough, _ = attention(query, memory)
    exact, _ = attention.double()(query.double(), None if memory is None else memory.double())
    error = (rough.double() - exact).abs() / exact.abs().max()
    assert float(error.max().detach()) < 0.02


@every_row
def test_every_parameter_is_learned_and_every_input_counts(name: str, place: Place) -> None:
    attention = layer(name, place)
    query, memory = given_to(place)
    output, _ = attention(query, memory)
    for parameter_name, parameter in attention.named_parameters():
        if parameter.requires_grad:
            (gradient,) = torch.autograd.grad(output.square().sum(), parameter, retain_graph=True, allow_unused=True)
            idle = gradient is None or not gradient.any()
            # Scores that do not look at queries or keys leave their projections idle.
            blind = CATALOGUE[name].score in ("constant", "table", "gaussian", "synthesizer")
            assert not idle or (blind and parameter_name.split(".")[1] in ("query", "key")), parameter_name


def test_uniform_weighs_every_key_alike() -> None:
    mask = torch.tensor([[True, True, False, True, False, False, False]]).expand(BATCH, -1)
    _, weights = layer("uniform", "cross")(inputs(QUERIES), inputs(KEYS, 2), mask=mask, weights=True)
    torch.testing.assert_close(weights, (mask.double() / 3)[:, None, None].expand_as(weights))


def test_an_unknown_mechanism_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no mechanism 'sofmax'.*; choose one of scaled_dot_product, dot, general"):
        mechanism("sofmax")
