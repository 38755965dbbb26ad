"""Does a mechanism need more than queries, keys and values? Found by trial on a few numbers, so no list is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from attention_lab.attention.catalogue import Mechanism, available
from attention_lab.attention.contract import Place, Sizes, Where, here
from attention_lab.huggingface.attached import Attached

KEYS = 6
FAR = 10007  # beyond the reach of any window, and prime, so no multiple of a stride


def usable(row: Mechanism) -> str | None:
    """None if a model of transformers can use a mechanism in at least one place, else the reason why not."""
    reasons: list[str] = []
    for place in row.places:
        why = refused(row, place)
        if why is None:
            return None
        reasons.append(why)
    return reasons[0]


def refused(row: Mechanism, place: Place) -> str | None:
    """The reason why a mechanism is not valid in that place of a model of transformers; None: it is valid."""
    if place not in row.places:
        return row.why
    if row.kernel is not None:
        return "it is a kernel, which is not given the model's mask"
    if row.heads != "separate" or available(row).get("key_heads") is not None:
        return "how heads share keys is the model's own choice"
    part, output = _trial(row, place)
    if part.core.operation.maps > 1:
        return "it needs several queries and keys per head, but the model projects one"
    whole = output()
    if not whole.isfinite().all():
        return "it reads the inputs of the layer, but is given only queries, keys and values"
    if place != "encoder_self" and not torch.allclose(output(last=1), whole[:, -1:], atol=1e-5):
        return "a step of decoding needs what earlier ones left, but the model's cache keeps only keys and values"
    if place == "cross" and _ordered(output):
        return "in cross-attention a model does not say where its queries are"
    return None


def counts_positions(row: Mechanism) -> bool:
    """Whether a mechanism's output depends on the positions of queries and keys in self-attention."""
    places = [place for place in row.places if place != "cross" and refused(row, place) is None]
    return any(_ordered(_trial(row, place)[1]) for place in places)


def _ordered(output: Callable[..., Tensor]) -> bool:
    return not torch.equal(output(apart=0), output(apart=FAR))


def _trial(row: Mechanism, place: Place) -> tuple[Attached, Callable[..., Tensor]]:
    """A small mechanism, and a function that gives its output for the `last` queries at positions `apart` apart."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        part = Attached(row, Sizes(heads=2, head=4, width=8, length=16, place=place)).eval()
        for parameter in part.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))  # away from 0, where a part has no effect
        query, key, value = torch.randn(3, 1, 2, KEYS, 4)
    past = torch.ones(1, 1, KEYS, KEYS, dtype=torch.bool).tril() if place == "decoder_self" else None

    @torch.no_grad()
    def output(last: int = KEYS, apart: int = 1) -> Tensor:
        where = Where(
            queries=here(KEYS)[:, -last:] * apart,
            keys=here(KEYS) * apart,
            allowed=None if past is None else past[:, :, -last:],
        )
        return cast(Tensor, part(query[:, :, -last:], key, value, where)[0])

    return part, output
