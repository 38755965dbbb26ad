"""The chunked scan against its recurrence, position by position."""

from __future__ import annotations

import pytest
import torch

from attention_lab.attention.kernels.scan import scan

BATCH, HEADS, FEATURES, WIDTH = 2, 3, 5, 7


def given(length: int, decayed: bool, erased: bool, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(length)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(BATCH, HEADS, *shape, generator=generator, dtype=torch.float64)

    found = {"query": draw(length, FEATURES), "key": draw(length, FEATURES), "value": draw(length, WIDTH)}
    found["key"] = found["key"] / found["key"].norm(dim=-1, keepdim=True)  # longer keys and the delta rule diverges
    if decayed:
        found["decay"] = -torch.rand(BATCH, HEADS, length, generator=generator, dtype=torch.float64)
    if erased:
        found["strength"] = torch.rand(BATCH, HEADS, length, generator=generator, dtype=torch.float64)
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in found.items()}


def loop(query, key, value, decay=None, strength=None) -> tuple[torch.Tensor, torch.Tensor]:
    state, outputs = torch.zeros(BATCH, HEADS, FEATURES, WIDTH, dtype=query.dtype), []
    for t in range(query.shape[2]):
        k, v = key[:, :, t, :, None], value[:, :, t, None, :]
        if decay is not None:
            state = decay[:, :, t, None, None].exp() * state
        if strength is not None:
            beta = strength[:, :, t, None, None]
            state = state - beta * k * (k * state).sum(2, keepdim=True)
            v = beta * v
        state = state + k * v
        outputs.append((query[:, :, t, :, None] * state).sum(2))
    return torch.stack(outputs, 2), state


@pytest.mark.parametrize("erased", [False, True], ids=["added", "erased"])
@pytest.mark.parametrize("decayed", [False, True], ids=["kept", "decayed"])
@pytest.mark.parametrize(("length", "chunk"), [(1, 64), (13, 1), (13, 5), (64, 64), (75, 32)])
def test_chunks_give_what_the_recurrence_gives(length: int, chunk: int, decayed: bool, erased: bool) -> None:
    tensors = given(length, decayed, erased)
    expected, last = loop(**tensors)
    output, state = scan(**tensors, chunk=chunk)
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(state, last, atol=1e-12, rtol=0)
    weight = torch.linspace(-1.0, 1.0, output.numel(), dtype=output.dtype).view_as(output)
    theirs = torch.autograd.grad((expected * weight).sum() + last.sum(), list(tensors.values()), allow_unused=True)
    ours = torch.autograd.grad((output * weight).sum() + state.sum(), list(tensors.values()), allow_unused=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


@pytest.mark.parametrize("erased", [False, True], ids=["added", "erased"])
def test_a_state_is_where_a_sequence_goes_on(erased: bool) -> None:
    tensors = given(50, True, erased)
    whole, last = scan(**tensors)
    state, pieces = None, []
    for start, end in ((0, 17), (17, 18), (18, 50)):
        piece = {n: t[:, :, start:end] for n, t in tensors.items()}
        output, state = scan(**piece, state=state, chunk=8)
        pieces.append(output)
    torch.testing.assert_close(torch.cat(pieces, 2), whole, atol=1e-12, rtol=0)
    torch.testing.assert_close(state, last, atol=1e-12, rtol=0)


def test_a_state_that_is_let_go_of_at_once_gives_no_infinity() -> None:
    """e^400 is more than float32 can hold: what fades from a key ahead of the query must not be computed."""
    tensors = given(40, True, True, torch.float32)
    tensors["decay"] = (400.0 * tensors["decay"].detach()).requires_grad_()
    output, _ = scan(**tensors)
    torch.testing.assert_close(output, loop(**tensors)[0], atol=1e-5, rtol=0)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(output.sum(), list(tensors.values())))
