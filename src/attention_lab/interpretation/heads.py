"""What individual heads do: what they attend to, how spread their weights are, and how much predictions need them.

Shapes: B rows, H heads, N layers of a place, Lq queries, Lk keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from attention_lab.attention import Place
from attention_lab.interpretation.asked import Asked, loss
from attention_lab.interpretation.findings import Head
from attention_lab.interpretation.hooks import Used, attention_layers, gated, recorded
from attention_lab.interpretation.measures import spearman
from attention_lab.interpretation.shares import call_of
from attention_lab.metrics import rounded
from attention_lab.transformer import Model

POSITIONAL = 0.9  # share of queries whose largest weight is at one offset (Voita et al. 2019, arXiv 1905.09418, 5.1)
RARE = 0.5  # … at the rarest word (section 5.3, which gives no share)
REACH = 2  # the largest offset that is a role
MEASURED = ("share", "entropy", "importance", "ablation", "patching")
EQUAL = 1e-5  # weights whose relative difference is no larger than this are equal up to rounding


def found_in(
    model: Model, batches: Sequence[Asked], *, resamples: int = 0, seed: int = 0
) -> dict[Place, list[Head]]:  # fmt: skip
    """Measure all heads of a model on these rows, by place.

    Ablation is exact: the loss with the head's output set to 0 and everything else unchanged.

    Args:
        resamples: number of resamples of the rows for the 95 % intervals; 0: no intervals.
    """
    where = {place: _Looks(place) for place in model.config.places}
    frequency = _frequency(batches)
    effects = [_effects(model, asked) for asked in batches]
    for asked in batches:
        _watch(asked, where, frequency)
    found: dict[Place, list[Head]] = {}
    for place, looks in where.items():
        rows = {
            name: np.moveaxis(np.concatenate([effect[place][name] for effect in effects], 1), 1, 0)
            for name in ("importance", "ablation", "patching")
        }  # (B, N, H)
        shape = rows["importance"].shape[1:]
        roles = looks.roles()
        roles = np.full(shape, "", dtype=object) if roles is None else roles
        parts = {name: (values, np.ones(len(values))) for name, values in rows.items()} | looks.parts(
            roles, model.config.mechanism(place).weights == "probabilities"
        )
        figures = {name: _ratio(values, of) for name, (values, of) in parts.items()}
        ends = {name: _ends(values, of, resamples, seed) for name, (values, of) in parts.items()}
        for shares in (figures, ends):
            if "share" in shares:
                shares["share"] = np.where(roles == "", np.nan, shares["share"])
        found[place] = [
            Head(
                place=place,
                layer=layer + 1,
                head=head + 1,
                role=str(roles[layer, head]),
                **{name: _told(figures, name, (layer, head)) for name in MEASURED},
                ends={
                    name: (_told({name: low}, name, (layer, head)), _told({name: high}, name, (layer, head)))
                    for name, (low, high) in ends.items()
                },
            )
            for layer, head in np.ndindex(*shape)
        ]
    return found


def _ratio(values: np.ndarray, of: np.ndarray, axis: int = 0) -> np.ndarray:
    """Σ values (n, …) / Σ of (n, …) or (n,), over rows; NaN for 0 / 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(values.sum(axis) / of.sum(axis))


def _ends(values: np.ndarray, of: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Low and high (2, …) of the 95 % percentile bootstrap interval (Efron 1979) of `_ratio` over rows; NaN without
    resamples, or with a single row."""
    from scipy.stats import bootstrap

    rows = len(values)
    if rows < 2 or not resamples:
        return np.full((2, *values.shape[1:]), np.nan)
    found = bootstrap(
        (values, np.broadcast_to(of.reshape(of.shape + (1,) * (values.ndim - of.ndim)), values.shape)),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return np.stack((found.low, found.high))


def _told(figures: Mapping[str, np.ndarray], name: str, head: tuple[int, ...]) -> float | None:
    value = float(figures[name][head]) if name in figures else float("nan")
    return rounded(value) if np.isfinite(value) else None


def agreement(heads: Mapping[Place, Sequence[Head]]) -> dict[str, Any]:
    """How well the two cheap figures rank heads compared with exact ablation: Spearman's correlation over all heads of
    the model; None for fewer than three heads, or if a figure is the same for all."""
    every = [head for of_place in heads.values() for head in of_place]
    true = np.array([head.ablation for head in every], dtype=float)
    found: dict[str, Any] = {"heads": len(every)}
    for name in ("importance", "patching"):
        cheap = np.array([getattr(head, name) for head in every], dtype=float)
        value = float(spearman(cheap, true)) if len(every) > 2 else float("nan")
        found[name] = rounded(value) if np.isfinite(value) else None
    return found


def _effects(model: Model, asked: Asked) -> dict[Place, dict[str, np.ndarray]]:
    """importance, patching and ablation of each head for each row: (N, B, H).

    importance: |∂L/∂ξ| of the head's gate ξ at 1 (Michel et al. 2019, arXiv 1905.10650, equation 2). patching: −∂L/∂ξ,
    the linear approximation of the increase of L when ξ goes to 0 (attribution patching with zeros: Nanda 2023; Syed et
    al. 2023, arXiv 2310.10348, equation 1). ablation: the actual increase.
    """
    layers, rows, heads = attention_layers(model), len(asked.names), model.config.heads
    gates = {
        place: torch.ones(len(of_place), rows, heads, device=asked.said.device, requires_grad=True)
        for place, of_place in layers.items()
    }
    with gated(model, gates):
        before = loss(model, asked.batch)
    slopes = torch.autograd.grad(before.sum(), list(gates.values()), allow_unused=True)
    found: dict[Place, dict[str, np.ndarray]] = {}
    for (place, gate), slope in zip(gates.items(), slopes, strict=True):
        known = torch.zeros_like(gate) if slope is None else slope
        found[place] = {"importance": known.abs().cpu().numpy(), "patching": -known.cpu().numpy()}
        found[place]["ablation"] = np.zeros(gate.shape, dtype=np.float32)
        for layer, head in np.ndindex(gate.shape[0], heads):
            closed = gate.detach()[:, :1].clone()
            closed[layer, :, head] = 0.0
            with torch.no_grad(), gated(model, {place: closed}):
                after = loss(model, asked.batch)
            found[place]["ablation"][layer, :, head] = (after - before.detach()).cpu().numpy()
    return found


class _Looks:
    """What the heads of a place attend to most, and how spread their weights are, row by row."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.hits: dict[str, list[np.ndarray]] = {}  # role → (N, H) for each row
        self.queries: list[int] = []  # number for each row
        self.entropies: list[np.ndarray] = []  # (N, H) for each row, summed over queries with several visible keys …
        self.seeing: list[np.ndarray] = []  # … and the number of these queries

    def add(
        self, weights: np.ndarray, allowed: np.ndarray, reads: np.ndarray, tokens: np.ndarray, rarest: int
    ) -> None:  # fmt: skip
        """Add one row: weights (N, H, Lq, Lk); allowed, whether a query may attend to a key; reads, the tokens that
        queries read, or in cross-attention predict (Lq,); tokens, those of the keys (Lk,); rarest, the key whose token
        is rarest."""
        queries, keys = weights.shape[2:]
        top = weights.argmax(-1)
        most = weights.max(-1, keepdims=True)
        one = (weights > most * (1.0 - EQUAL)).sum(-1) == 1  # a tie has no largest weight
        at = np.arange(queries)
        self.queries.append(queries)
        for name, hit in {
            "the first position": top == 0,
            "the last position": top == keys - 1,
            "the rarest word": top == rarest,
            **{_offset(self.place, step): top == at + step for step in range(-REACH, REACH + 1)},
            "a token like its own": tokens[top] == reads,
        }.items():
            self.hits.setdefault(name, []).append((hit & one).sum(-1))
        # The weight of a query with a single visible key is uninformative.
        visible = allowed.sum(-1)
        shares = np.clip(weights, 1e-12, None)
        entropy = -(shares * np.log(shares)).sum(-1) / np.log(np.maximum(visible, 2))
        self.entropies.append((entropy * (visible > 1)).sum(-1))
        self.seeing.append((visible > 1).sum(-1))

    def roles(self) -> np.ndarray | None:
        """The role of each head (N, H); "" if none applies."""
        if not self.hits:
            return None
        shares = {name: np.sum(rows, axis=0) / sum(self.queries) for name, rows in self.hits.items()}
        found = np.full(next(iter(shares.values())).shape, "", dtype=object)
        for place in np.ndindex(found.shape):
            name = max(shares, key=lambda role: shares[role][place] / _least(role))
            if shares[name][place] >= _least(name):
                found[place] = name
        return found

    def entropy(self, shares: bool) -> np.ndarray | None:
        """Mean entropy (N, H), as a share of the maximum; None if weights are not probabilities, or if a head has no
        query with a choice."""
        seeing = np.sum(self.seeing, axis=0)
        return np.asarray(np.sum(self.entropies, axis=0) / seeing) if shares and np.all(seeing) else None

    def parts(self, roles: np.ndarray, shares: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What the share of a head's role (0 if it has none) and its entropy are computed from, row by row: values (n,
        N, H) and what their sum is divided by."""
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if self.hits:
            hits = np.zeros((len(self.queries), *roles.shape))
            for name, rows in self.hits.items():
                hits[:, roles == name] = np.stack(rows)[:, roles == name]
            found["share"] = hits, np.array(self.queries)
        if self.entropy(shares) is not None:
            found["entropy"] = np.stack(self.entropies), np.stack(self.seeing)
        return found


def _least(role: str) -> float:
    """The share of queries from which on a role applies."""
    return RARE if role == "the rarest word" else POSITIONAL


def _offset(place: Place, step: int) -> str:
    if place == "cross":
        return (
            "the same position"
            if step == 0
            else f"{abs(step)} position{'s' * (abs(step) > 1)} " + ("further" if step > 0 else "back")
        )
    names = {-1: "the word before", 0: "itself", 1: "the word after"}
    return names.get(step, f"{abs(step)} words {'after' if step > 0 else 'before'}")


@torch.no_grad()
def _watch(asked: Asked, where: Mapping[Place, _Looks], frequency: Mapping[int, int]) -> None:
    layers = attention_layers(asked.model)
    with recorded(layer for of_place in layers.values() for layer in of_place) as calls:
        asked.log_probabilities()
    for place, of_place in layers.items():
        if asked.model.config.mechanism(place).weights == "none":
            continue
        used = []
        for number, layer in enumerate(of_place):
            call = call_of(layer, calls[layer])[0]
            used.append(Used(place, number, layer.core.weights(call), call, layer.core))
        weights, allowed = torch.stack([one.weights for one in used]), torch.stack([one.allowed() for one in used])
        source, said = asked.batch.source.cpu().numpy(), asked.batch.target
        for row, (s, t) in enumerate(asked.reading.lengths.tolist()):
            queries, keys = _lengths(place, asked.writes and asked.reading.targets is not None, s, t)
            matrix, seen = (of[:, row, :, :queries, :keys].float().cpu().numpy() for of in (weights, allowed))
            target = source[row] if said is None else said[row].cpu().numpy()
            tokens = (source[row] if place != "decoder_self" else target)[:keys]
            reads = (target[1:] if place == "cross" else tokens)[:queries]
            rarest = int(np.argmin([frequency[int(token)] for token in tokens]))
            where[place].add(matrix, seen, reads, tokens, rarest)


def _lengths(place: Place, target: bool, s: int, t: int) -> tuple[int, int]:
    """Numbers of queries and keys of a row, without padding."""
    if place == "cross":
        return t - 1, s
    length = t - 1 if place == "decoder_self" and target else s - (place == "decoder_self")
    return length, length


def _frequency(batches: Iterable[Asked]) -> dict[int, int]:
    """How often each token occurs in these rows."""
    found: Counter[int] = Counter()
    for asked in batches:
        for tokens in (asked.batch.source, asked.batch.target):
            if tokens is not None:
                found.update(tokens.flatten().tolist())
    return found
