"""Hooks to observe a running model and to intervene in it: record calls, replace weights or values, gate heads. They
last until the end of the `with` block and leave nothing on the modules.

Shapes: B rows, H heads, Lq queries, Lk keys, D width of a head, W width of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from attention_lab.attention import MultiHeadAttention, Place
from attention_lab.attention.composition import Composition
from attention_lab.attention.contract import Call
from attention_lab.attention.kernels import Kernelled
from attention_lab.transformer import EncoderDecoder, LanguageModel, Model
from attention_lab.transformer.stacks import Stack


@dataclass(frozen=True)
class Used:
    """The weights (B, H, Lq, Lk) that a layer, counted from 0 in its place, is about to use, and their origin."""

    place: Place
    layer: int
    weights: Tensor
    call: Call
    core: Composition | Kernelled

    def allowed(self) -> Tensor:
        """Which keys each query may attend to, in the shape of the weights."""
        weights, core, call = self.weights, self.core, self.call
        mask = core.mask(call) if isinstance(core, Composition) else call.where.mask
        if mask is None:
            return torch.ones_like(weights, dtype=torch.bool)
        # If a head has several maps, they share one mask.
        mask = mask if mask.shape[1] in (1, weights.shape[1]) else mask[:, : weights.shape[1]]
        return mask.expand(weights.shape)


def stacks(model: Model) -> dict[str, Stack]:
    """Encoder and decoder, as far as the model has them, in this order."""
    if isinstance(model, EncoderDecoder):
        return {"encoder": model.encoder, "decoder": model.decoder}
    if isinstance(model, LanguageModel):
        return {"decoder": model.decoder}
    return {"encoder": model.encoder}


def attention_layers(model: Model) -> dict[Place, list[MultiHeadAttention]]:
    """The attention layers of each place, from bottom to top."""
    found: dict[Place, list[MultiHeadAttention]] = {place: [] for place in model.config.places}
    for stack in stacks(model).values():
        for module in stack.modules():
            if isinstance(module, MultiHeadAttention):
                found[module.place].append(module)
    return found


@dataclass(frozen=True)
class Called:
    """One call of a module: its arguments and its output."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


@contextmanager
def recorded(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Called]]:
    """Record the last call of each of the modules."""
    calls: dict[nn.Module, Called] = {}

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls[module] = Called(args, kwargs, output)

    with _held(module.register_forward_hook(keep, with_kwargs=True) for module in modules):
        yield calls


@contextmanager
def embedded(model: Model, vectors: Tensor) -> Iterator[None]:
    """In the next pass, embed the source as these vectors (B, S, W), whatever its tokens."""

    def replace(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        handle.remove()  # an encoder-decoder embeds its target after its source, with the same module
        return vectors

    handle = model.embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def reweighted(model: Model, change: Callable[[Used], Tensor], places: Iterable[Place] | None = None) -> Iterator[None]:
    """Make layers mix values with other weights than their own; mechanisms without weights are left as they are.

    Args:
        change: the layer's own weights → those to use, of the same shape.
        places: None: all places.
    """

    def hook(place: Place, number: int) -> Callable[..., Any]:
        def mix(core: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            call, value = args
            weights = change(Used(place, number, core.weights(call), call, core))
            return weights.to(value.dtype) @ value, weights if kwargs.get("weights") else None

        return mix

    wanted = model.config.places if places is None else tuple(places)
    with _held(
        layer.core.register_forward_hook(hook(place, number), with_kwargs=True)
        for place, layers in attention_layers(model).items()
        if place in wanted and model.config.mechanism(place).weights != "none"
        for number, layer in enumerate(layers)
    ):
        yield


@contextmanager
def without_value(layer: MultiHeadAttention, key: int) -> Iterator[None]:
    """Set the value of that key to 0, in all heads."""

    def zero(core: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        call, value = args
        value = value.clone()
        value[:, :, key] = 0.0
        return call, value

    with _held([layer.core.register_forward_pre_hook(zero)]):
        yield


@contextmanager
def gated(model: Model, gates: Mapping[Place, Tensor]) -> Iterator[None]:
    """Multiply the output of each head by its gate, before the output projection; gates (N, B or 1, H)."""

    def hook(gate: Tensor) -> Callable[..., Any]:
        def scale(output: nn.Module, args: tuple[Tensor, ...]) -> Tensor:
            (joined,) = args  # (B, Lq, H·D)
            return (joined.unflatten(-1, (gate.shape[-1], -1)) * gate[:, None, :, None]).flatten(2)

        return scale

    with _held(
        layer.output.register_forward_pre_hook(hook(gate))
        for place, layers in attention_layers(model).items()
        if place in gates
        for layer, gate in zip(layers, gates[place], strict=True)
    ):
        yield


@contextmanager
def _held(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield
