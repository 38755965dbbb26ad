"""The mapping from our weight names to theirs, and helpers shared by all families."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from attention_lab.errors import InputError

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]

ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}
Ours = TypeVar("Ours", bound=nn.Module)


@dataclass(frozen=True)
class Part:
    """Their tensor of that name, after `cut`."""

    name: str
    cut: Callable[[Tensor], Tensor]


# Ours: theirs. A name is that of a module, for its weight and bias, or of a tensor; * stands for the layer number.
# If their name ends in _, "weight" or "bias" is appended directly: in_proj_ for in_proj_weight and in_proj_bias.
Table = Mapping[str, str | Part]


def below(ours: str, theirs: str, table: Table) -> dict[str, str | Part]:
    """The table with the prefix `ours` on all of our names, and `theirs` on all of theirs."""
    return {
        ours + left: theirs + right if isinstance(right, str) else Part(theirs + right.name, right.cut)
        for left, right in table.items()
    }


def third(index: int) -> Callable[[Tensor], Tensor]:
    """Take the rows of queries (0), keys (1) or values (2) from one matrix that projects to all three."""
    return lambda tensor: tensor.chunk(3)[index]


def load(make: Callable[[], Ours], table: Table, theirs: nn.Module) -> Ours:
    """Build a module with `make` and copies of their weights, in eval mode. A bias that they lack becomes 0.

    Raises:
        InputError: a weight of theirs has no place here, or one of ours has no source.
    """
    tensors = theirs.state_dict(keep_vars=True)  # keeps shared tensors the same object
    with torch.device("meta"):  # the weights are replaced anyway, so none are drawn
        ours = make()
    used: set[int] = set()
    state: dict[str, Tensor] = {}
    for name, wanted in ours.state_dict().items():
        their_name, cut = _theirs(name, table)
        if their_name in tensors:
            used.add(id(tensors[their_name]))
            state[name] = cut(tensors[their_name].detach()).clone(memory_format=torch.contiguous_format)
        elif name.endswith(".bias"):
            like = next(theirs.parameters())
            state[name] = torch.zeros(wanted.shape, dtype=like.dtype, device=like.device)
        else:
            raise InputError(f"{type(theirs).__name__} has no {their_name}, which {name} is made from")
    left = [name for name, tensor in tensors.items() if id(tensor) not in used]
    if left:
        raise InputError(f"{type(theirs).__name__} has weights that have no place here: {', '.join(left)}")
    ours.load_state_dict(state, assign=True)
    return ours.eval()


def _theirs(name: str, table: Table) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Their name for one of our tensors, and the cut to apply to it."""
    number = re.search(r"\.(\d+)\.", name)
    general = name if number is None else name.replace(number[0], ".*.", 1)
    module, _, kind = general.rpartition(".")
    entry = table[general] if general in table else table[module]
    part = entry if isinstance(entry, Part) else Part(entry, lambda tensor: tensor)
    found = part.name if number is None else part.name.replace("*", number[1])
    if general not in table:
        found += kind if found.endswith("_") else f".{kind}"
    return found, part.cut


def refuse(model: nn.Module, if_true: bool, why: str) -> None:
    """Refuse the model if the condition holds.

    Raises:
        InputError: the condition holds; the message gives the reason.
    """
    if if_true:
        raise InputError(f"{type(model).__name__} cannot be built from the blocks here: {why}")


def activation(model: Any, name: str) -> Activation:
    """Our name for an activation of theirs.

    Raises:
        InputError: there is no such activation here.
    """
    refuse(model, name not in ACTIVATIONS, f"its activation is {name}; known are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def tied(model: Any) -> bool:
    """Whether the output shares the embedding's weights; flags in the configuration are not always reliable."""
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def token(model: Any, *names: str) -> int:
    """The special token under the first of these names for which the model has one.

    Raises:
        InputError: it has none.
    """
    for name in names:
        for config in (getattr(model, "generation_config", None), model.config):
            value = getattr(config, name, None)
            if value is not None:
                return int(value[0] if isinstance(value, list) else value)
    raise InputError(f"{type(model).__name__} has no {' and no '.join(names)}; set it in its configuration")
