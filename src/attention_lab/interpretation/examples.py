"""The choice of examples for a report, and what it shows of each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from attention_lab.interpretation import alignment, rationale
from attention_lab.interpretation.traces import Trace
from attention_lab.interpretation.weights import Row
from attention_lab.records import Shape

READABLE = 24  # words; longer texts are shown only if there are too few shorter ones


@dataclass(frozen=True)
class Example:
    """One example as a report shows it.

    row: where it comes from. source, reference, prediction: texts, or label and predicted label. right: whether
    prediction and reference are the same; None for a language model, which may continue freely. probability: of the
    prediction, if known. keys: words attended to (Wk). queries: words that attend (Wq); empty for a model that only
    reads, whose single query is what its output is read from. weights: (Wq, Wk), with Wq = 1 for such a model; None if
    the mechanism has none. gold: (Wq, Wk), True where weight belongs, or None. shown: a description of the weights.
    inputs: the texts that were read, by name. readers: positions whose attention may explain the prediction, by kind.
    traces: all weights.
    """

    row: str
    source: str
    reference: str
    prediction: str
    right: bool | None
    probability: float | None
    keys: list[str]
    queries: list[str]
    weights: np.ndarray | None
    gold: np.ndarray | None
    shown: str
    inputs: dict[str, str] = field(default_factory=dict)
    readers: dict[str, list[int]] = field(default_factory=dict)
    traces: Sequence[Trace] = ()


def choose(predictions: pd.DataFrame, right: np.ndarray, words: np.ndarray, number: int, seed: int) -> list[str]:
    """Draw rows to show with the seed: first wrong ones, half of all if there are enough, then correct ones.

    Args:
        predictions: with a column `row`. right (n,) and words (n,), the length of the longer side, refer to its rows.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(predictions))
    order = order[np.argsort(words[order] > READABLE, kind="stable")]  # readable ones before long ones
    wrong, correct = order[~right[order]], order[right[order]]
    half = min(len(wrong), max(number // 2, number - len(correct)))
    names = predictions["row"].to_numpy()
    return [str(name) for name in names[np.concatenate([wrong[:half], correct[: number - half]])]]


def describe(
    row: Row,
    record: Mapping[Hashable, Any],
    answer: Mapping[Hashable, Any],
    gold: Sequence[Any] | None,
    shape: Shape,
    measured: dict[str, Any] | None,
) -> Example:
    """Make the example of one row, with the weights of the place that was measured.

    Args:
        record: its texts. answer: `prediction`, `reference`, possibly `probability`. gold: links or word numbers.
        measured: result of `alignment.measure` or `rationale.measure`; None: show the last layer's mean of heads.
    """
    keys = row.source.words
    alone = shape.truth is None  # a text of its own, whose words attend to those before them
    queries = row.target.words if row.target is not None else keys if alone else []
    right = None if alone else str(answer["prediction"]) == str(answer["reference"])
    truth: np.ndarray | None = None
    if gold is not None:
        truth = np.zeros((max(len(queries), 1), len(keys)), dtype=bool)
        for link in gold:
            # A plain number is a word that all queries should attend to.
            source, target = link if shape.gold == "alignment" else (link, slice(None))
            truth[target, source] = True
    if alone:
        weights, shown = _looking_back(row)
    else:
        weights, shown = _aligned(row, measured, bool(right)) if queries else _ranked(row, measured)
    probability = answer.get("probability")
    return Example(
        row=row.row,
        source="\n".join(str(record[name]) for name in shape.inputs),
        reference=str(answer["reference"]),
        prediction=str(answer["prediction"]),
        right=right,
        probability=None if probability is None else float(probability),
        keys=keys,
        queries=queries,
        weights=weights,
        gold=truth,
        shown=shown,
        inputs={name: str(record[name]) for name in shape.inputs},
        readers=row.readers,
    )


def _aligned(row: Row, measured: dict[str, Any] | None, right: bool) -> tuple[np.ndarray | None, str]:
    if row.cross is None or not len(row.cross):
        return None, "this mechanism has no weights"
    place: dict[str, Any] = {"layer": len(row.cross), "head": "mean", "row": "predicting"}
    if measured:
        chosen = {"layer": int(measured["method"].rsplit(" ", 1)[1])} if "method" in measured else measured
        place |= {name: chosen[name] for name in place if name in chosen}
    heads = row.cross_words(place["row"])[place["layer"] - 1]
    forced = (
        "its own output, which is the reference"
        if right
        else "given the reference, which differs from what it would write"
    )
    weights = heads.mean(0) if place["head"] == "mean" else heads[place["head"] - 1]
    return weights, f"{alignment.place(place)}; the model was {'writing ' if right else ''}{forced}"


def _looking_back(row: Row) -> tuple[np.ndarray | None, str]:
    if not len(row.own):
        return None, "this mechanism has no weights"
    return row.own_words()[-1].mean(0), "the last layer, mean of heads, while the text is read word by word"


def _ranked(row: Row, measured: dict[str, Any] | None) -> tuple[np.ndarray | None, str]:
    found = rationale.scores(row, shares=True)  # show a rollout if one was measured
    if not found:
        return None, "this mechanism has no weights"
    method = measured["method"] if measured else [name for name in found if "layer" in name][-1]
    reader = "the model"
    if list(row.readers) == ["attention"]:
        reader = "the first position" if row.readers["attention"] == [0] else "the mean position"
    return found[method][None], f"how much weight {reader} gives each word, by {method}"
