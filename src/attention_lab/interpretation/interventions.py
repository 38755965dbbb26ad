"""Interventions on a model, to see their effect on predictions and attributions: weights replayed, permuted or made
uniform; parameters randomised from the top.

Shapes: B rows, H heads, N layers, Lq queries, Lk keys.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from attention_lab.attention import Place
from attention_lab.interpretation.asked import Asked, asked_for, choices, truth
from attention_lab.interpretation.hooks import Used, reweighted, stacks
from attention_lab.interpretation.methods import looked_at
from attention_lab.interpretation.weights import Row
from attention_lab.transformer import Model, build


@dataclass(frozen=True)
class Changed:
    """The effect of other weights on predictions, for each row (n,).

    distance: ½ Σ |p − p′| over values (total variation), averaged over the row's choices. right, right_before: the
    share of its choices whose most probable value is correct, with the other weights and with the model's own.
    """

    distance: np.ndarray
    right: np.ndarray
    right_before: np.ndarray


def permuted(batches: Iterable[Asked], seed: int) -> Changed:
    """In the attention that reads the source, permute each query's weights among the keys it may attend to (Jain &
    Wallace 2019, arXiv 1902.10186, section 4.2.1)."""
    generator = torch.Generator().manual_seed(seed)

    def deal(used: Used) -> Tensor:
        weights, allowed = used.weights, used.allowed()
        noise = torch.rand(weights.shape, generator=generator).to(weights.device).masked_fill(~allowed, 2.0)
        # Both orders put allowed keys first, one shuffled and one in their original order.
        mixed, standing = noise.argsort(-1), (~allowed).long().argsort(dim=-1, stable=True)
        return torch.zeros_like(weights).scatter(-1, standing, weights.gather(-1, mixed))

    return _changed(batches, deal)


def evened(batches: Iterable[Asked]) -> Changed:
    """In the attention that reads the source, give every key that a query may attend to the same weight (Wiegreffe &
    Pinter 2019, arXiv 1908.04626, section 3.2; here without retraining)."""

    def even(used: Used) -> Tensor:
        allowed = used.allowed().to(used.weights.dtype)
        return allowed / allowed.sum(-1, keepdim=True).clamp(min=1.0)

    return _changed(batches, even)


@torch.no_grad()
def replayed(asked: Asked, rows: Iterable[Row]) -> float:
    """The largest change of an output's probability when the model is forced to use the weights that were read from
    these rows: 0 if they are the weights that it used; 1 if they have another shape.

    Args:
        asked: a batch that contains these rows.
    """
    worst = 0.0
    place = looked_at(asked.model.config)
    itself: Place = "decoder_self" if place == "decoder_self" else "encoder_self"
    for row in rows:
        at = asked.names.index(row.row)
        given = {itself: row.own} if row.cross is None else {itself: row.own, "cross": row.cross}
        one = _alone(asked, at)
        fits = True

        def put(used: Used, given: dict[Place, np.ndarray] = given) -> Tensor:
            nonlocal fits
            read = torch.from_numpy(given[used.place][used.layer]).to(used.weights)[None]
            fits = fits and read.shape == used.weights.shape
            return read if fits else used.weights

        with reweighted(asked.model, put, given):
            after = torch.stack(one.log_probabilities(), 1).exp()
        before = torch.stack(one.log_probabilities(), 1).exp()
        worst = max(worst, float((after - before).abs().max()) if fits else 1.0)
    return worst


def cascade(model: Model, seed: int) -> Iterator[tuple[str, Model]]:
    """Yield the model with more and more of its parameters randomised, from the output down to the embedding (Adebayo
    et al. 2018, arXiv 1810.03292, section 3.1): the name of the part randomised last, and the model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build(model.config).to(next(model.parameters()).device).state_dict()
    changed = copy.deepcopy(model)
    state = changed.state_dict()
    inside = [
        (f"{name} layer {number + 1}", f"{name}.blocks.{number}.")
        for name, stack in reversed(stacks(model).items())
        for number in reversed(range(len(stack.blocks)))
    ]
    lowest = ("embedding.", "target_embedding.")
    output = [
        name for name in state if not name.startswith(lowest) and not any(name.startswith(part) for _, part in inside)
    ]
    parts = [("output", output)] if output else []
    parts += [(label, [name for name in state if name.startswith(part)]) for label, part in inside]
    parts.append(("embedding", [name for name in state if name.startswith(lowest)]))
    for label, names in parts:
        state.update({name: fresh[name] for name in names})
        changed.load_state_dict(state)
        yield label, changed.eval()


def _changed(batches: Iterable[Asked], change: Callable[[Used], Tensor]) -> Changed:
    distance: list[float] = []
    right: list[float] = []
    before: list[float] = []
    for asked in batches:
        model, place = asked.model, looked_at(asked.model.config)
        with torch.no_grad():
            own = choices(model, asked.batch)
            with reweighted(model, change, [place]):
                other = choices(model, asked.batch)
        wanted = truth(model, asked.batch)
        there = asked_for(model, wanted)
        moved = torch.stack([(a.exp() - b.exp()).abs().sum(-1) / 2.0 for a, b in zip(own, other, strict=True)], 1)
        for values, found in (
            (moved, distance),
            (torch.stack([b.argmax(-1) for b in other], 1) == wanted, right),
            (torch.stack([a.argmax(-1) for a in own], 1) == wanted, before),
        ):
            found += ((values.float() * there).sum(1) / there.sum(1)).tolist()
    return Changed(np.array(distance), np.array(right), np.array(before))


def _alone(asked: Asked, row: int) -> Asked:
    """One row of a batch, without padding."""
    s, t = asked.reading.lengths[row].tolist()
    batch = asked.batch
    one = replace(
        batch,
        source=batch.source[row : row + 1, :s],
        source_mask=batch.source_mask[row : row + 1, :s],
        target=None if batch.target is None else batch.target[row : row + 1, :t],
    )
    said = asked.said[row : row + 1]
    if asked.writes:
        said = said[:, : (s if batch.target is None else t) - 1]
    return replace(asked, batch=one, said=said)
