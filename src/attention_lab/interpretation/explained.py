"""Rows of a split explained by every method; the methods' scores measured against gold and by intervention.

Shapes: n rows, Wq words of the output, Wk words of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attention_lab.errors import InputError
from attention_lab.interpretation import measures, shares
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.findings import Attribution, Placed
from attention_lab.interpretation.measures import CONTROLS, Alignment, Counted, Plausibility, Rationale
from attention_lab.interpretation.methods import METHODS, Found, Look, attribute, placed, why_not
from attention_lab.transformer import Config


@dataclass(frozen=True)
class Explained:
    """Explained rows.

    names: of the rows, in the order of the batches. scores: (Wq, Wk) for each row, by method and variant. sums: for
    every output that belongs to a word, the sum of its integrated gradients, and what it should be. placed: for each
    row, what its individual layers do, if requested.
    """

    batches: Sequence[Asked]
    names: list[str]
    scores: dict[str, Found]
    sums: list[tuple[float, float]]
    placed: Sequence[Sequence[Placed]] = ()


def explain(
    batches: Sequence[Asked],
    steps: int,
    methods: Sequence[str] | None = None,
    done: Callable[[int], object] = lambda rows: None,
    *,
    layers: bool = False,
) -> Explained:
    """Explain all rows of the batches by these methods of `METHODS`, or by all.

    Args:
        steps: number of steps of integrated gradients.
        done: called after each batch with its number of rows.
        layers: also return what individual layers do.
    """
    names: list[str] = []
    scores: dict[str, Found] = {}
    sums: list[tuple[float, float]] = []
    of_layers: list[list[Placed]] = []
    for asked in batches:
        look = Look(asked, steps)  # it keeps large tensors, so one per batch
        for method, found in attribute(look, methods).items():
            for variant, rows in found.items():
                scores.setdefault(method, {}).setdefault(variant, []).extend(rows)
        if methods is None or "integrated_gradients" in methods:
            sums += _sums(look)
        of_layers += placed(look) if layers else []
        names += asked.names
        done(len(asked.names))
    return Explained(batches, names, scores, sums, of_layers)


def _sums(look: Look) -> list[tuple[float, float]]:
    scores, whole = (tensor.cpu().numpy() for tensor in look.integrated)
    return [
        (float(scores[row, output].sum()), float(whole[row, output]))
        for row in range(len(look.asked.names))
        for output, owner in enumerate(look.asked.outputs(row).owners)
        if owner is not None
    ]


@dataclass(frozen=True)
class Gold:
    """The gold of rows, by name. kind: "alignment", or another gold column of `records.SHAPES`, with word numbers.
    possible: links that may be found in addition to the sure ones."""

    kind: str
    known: Mapping[str, Collection[Any]]
    possible: Mapping[str, Collection[Any]]

    def measure(self, explained: Explained) -> Plausibility:
        if self.kind != "alignment":
            return Rationale([{int(word) for word in self.known[name]} for name in explained.names])
        return Alignment(
            [{(int(i), int(j)) for i, j in self.known[name]} for name in explained.names],
            [{(int(i), int(j)) for i, j in self.possible.get(name, ())} for name in explained.names],
        )

    def matrix(self, name: str, shape: tuple[int, int]) -> np.ndarray:
        """Where weight belongs (Wq, Wk).

        Raises:
            InputError: gold refers to a word that does not exist.
        """
        found = np.zeros(shape, dtype=bool)
        for link in self.known[name]:
            source, target = link if self.kind == "alignment" else (link, None)
            if not (0 <= source < shape[1] and (target is None or 0 <= target < shape[0])):
                raise InputError(
                    f"{name}: gold {self.kind} names a word that is not there: {link}; the text has {shape[1]} words"
                    + (f" and its translation {shape[0]}" if target is not None else "")
                    + ", counted from 0 and separated by single spaces; fix the row"
                )
            found[slice(None) if target is None else target, source] = True
        return found


def with_controls(explained: Explained, gold: Gold | None, seed: int) -> Explained:
    """The same rows, with attributions that do not come from a model added; see `measures.controls`."""
    generator = np.random.default_rng(seed)
    found: dict[str, Found] = {}
    for asked in explained.batches:
        for row, name in enumerate(asked.names):
            shape = (len(asked.outputs(row).words), len(asked.sources[row].words))
            truth = None if gold is None else gold.matrix(name, shape)
            for control, scores in measures.controls(shape, truth, generator).items():
                found.setdefault(control, {"": []})[""].append(scores)
    return replace(explained, scores={**explained.scores, **found})


@dataclass(frozen=True)
class Table:
    """The methods compared.

    rows: the content of `methods` in metrics/interpret.json. variants: those chosen on valid, by method. counts: what
    plausibility on the test rows is computed from, by method. best: the method, other than a control, with the best
    figure on valid; None without gold.
    """

    rows: dict[str, dict[str, Any]]
    variants: dict[str, str]
    counts: dict[str, np.ndarray]
    measure: Plausibility | None
    best: str | None


def chosen(valid: Explained, gold: Gold, method: str) -> tuple[str, Counted]:
    """The variant and way of reading of a method that finds the right words best: its name, and its counts."""
    measure = gold.measure(valid)
    candidates = measures.counted(measure, valid.scores[method])
    way = measures.best(measure, {name: candidate.counts for name, candidate in candidates.items()})
    return way, candidates[way]


def table(
    valid: Explained, test: Explained, gold: Gold | None, config: Config, *, resamples: int, seed: int, words: int
) -> Table:
    """Choose each method's variant on valid rows and measure it on test rows; see `Table`.

    Without gold there is no criterion for the choice, so the first variant of each method is used, for example the last
    layer's mean of heads for weights.

    Args:
        words: number of words of each output whose faithfulness is measured.
    """
    variants: dict[str, str] = {}
    counts: dict[str, np.ndarray] = {}
    chosen_on: dict[str, np.ndarray] = {}
    ways: dict[str, str] = {}
    judge = None if gold is None else gold.measure(test)
    for method, found in test.scores.items():
        variants[method] = next(iter(found))
        if gold is None or judge is None:
            continue
        way, best_on_valid = chosen(valid, gold, method)
        variants[method], chosen_on[method] = best_on_valid.variant, best_on_valid.counts
        on_test: Counted = measures.counted(judge, {variants[method]: found[variants[method]]})[way]
        counts[method], ways[method] = on_test.counts, way
    best = None
    if judge is not None and set(chosen_on) - set(CONTROLS):
        best = measures.best(judge, {name: values for name, values in chosen_on.items() if name not in CONTROLS})
    faithful = _faithfulness(test, variants, words=words, seed=seed)
    rows: dict[str, dict[str, Any]] = {}
    for name, row_of in METHODS.items():
        rows[name] = {"what": row_of.what, "paper": row_of.paper, "reason": why_not(row_of, config) or None}
    for name, what in CONTROLS.items():
        reason = None if name in test.scores else "nobody knows where the model should look"
        rows[name] = {"what": what, "paper": "", "reason": reason, "control": True}
    for name in test.scores:
        row = rows[name]
        row["variant"] = ways.get(name, variants[name])
        if judge is not None:
            row |= measures.with_intervals(counts[name], judge.figures, resamples=resamples, seed=seed)
        known = faithful[name][np.isfinite(faithful[name]).all(1)]
        if len(known):
            row |= measures.with_intervals(
                known,
                lambda some: dict(zip(measures.FAITHFUL, some.mean(0).tolist(), strict=True)),
                resamples=resamples,
                seed=seed,
            )
    return Table(rows, variants, counts, judge, best)


def _faithfulness(test: Explained, variants: Mapping[str, str], *, words: int, seed: int) -> dict[str, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {}
    at = 0
    for asked in test.batches:
        rows = slice(at, at + len(asked.names))
        scores = {method: test.scores[method][variant][rows] for method, variant in variants.items()}
        for method, values in measures.faithfulness(asked, scores, words=words, seed=seed).items():
            found.setdefault(method, []).append(values)
        at = rows.stop
    return {method: np.concatenate(values) for method, values in found.items()}


def attributions(explained: Explained, variants: Mapping[str, str], config: Config) -> dict[str, list[Attribution]]:
    """By row, the attribution of each method in its chosen variant, or the reason why there is none."""
    found: dict[str, list[Attribution]] = {}
    for at, name in enumerate(explained.names):
        found[name] = [
            Attribution(method, None, reason=reason)
            if (reason := why_not(row, config))
            else Attribution(
                method,
                explained.scores[method][variants[method]][at],
                signed=row.signed and variants[method] != "size",
            )
            for method, row in METHODS.items()
        ]
    return found


def shares_of_source(batches: Iterable[Asked]) -> dict[str, np.ndarray]:
    """By row, the share of each predicted token (T − 1,) that comes from the source rather than from the tokens before
    it, in [0, 1] (ALTI+: Ferrando et al. 2022, arXiv 2205.11631). Only for encoder-decoders to which ALTI applies."""
    found: dict[str, np.ndarray] = {}
    for asked in batches:
        if asked.reading.targets is None or why_not(METHODS["alti"], asked.model.config):
            continue
        flow = shares.flow(shares.taken_apart(asked), shares.by_distance)
        total = flow.source.sum(-1).clamp(0.0, 1.0).cpu().numpy()
        for row, name in enumerate(asked.names):
            found[name] = total[row, : len(asked.outputs(row).owners)]
    return found
