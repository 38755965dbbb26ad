"""Do weights point at the words that decide: those that determine a label or an answer, or that a summary states?

A method gives each word a score; average precision says how well the scores rank gold words above the others. The area
under the precision-recall curve by the trapezoidal rule would favour scores with ties (a constant score would look
good); the average precision of a constant score is exactly the share of gold words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_lab.errors import InputError
from attention_lab.interpretation.weights import Row, rollout
from attention_lab.metrics import interval, rounded

# Descriptions of the gold words.
GOLD_WORDS = {
    "rationale": "words that decide the label",
    "salient": "words that the summary states",
    "support": "words that the answer follows from",
}


@dataclass(frozen=True)
class Precision:
    """Average precision of n texts: methods (M names), values (n, M), random and constant (n,)."""

    methods: list[str]
    values: np.ndarray
    random: np.ndarray
    constant: np.ndarray


def scores(row: Row, *, shares: bool) -> dict[str, np.ndarray]:
    """Word scores (Ws,) by method, from the rows of the positions that a prediction is read from.

    "attention layer n": what the positions from which a class is read attend to in that layer, averaged over positions
    and heads (only the last layer's rows enter the prediction directly, earlier ones through what the positions have
    mixed since). "rollout": the same rows after attention rollout over all layers. "attention of the answer layer n",
    "attention of the question layer n" and their rollouts: the same, averaged over the tokens of the predicted answer
    or of the question. If a target is written, "cross-attention layer n": what all its words together attend to in that
    layer of the decoder, averaged over heads.

    Args:
        shares: weights sum to 1; only then is a rollout defined.
    """
    if row.cross is not None:
        if not len(row.cross):
            return {}
        layers = row.cross_words("predicting").mean(1).sum(1)  # (N, H, Wt, Ws) → (N, Ws)
        return {f"cross-attention layer {number}": layer for number, layer in enumerate(layers, 1)}
    if not len(row.own):
        return {}
    found = {}
    for reader, positions in row.readers.items():
        for number, layer in enumerate(row.own, 1):
            found[f"{reader} layer {number}"] = row.given_by(positions, layer.mean(0))
        if shares:
            found[reader.replace("attention", "rollout")] = row.given_by(positions, rollout(row.own))
    return found


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """AP = Σₙ (Rₙ − Rₙ₋₁) Pₙ over the distinct values of `score` (n,), highest first, for `truth` (n,) with at least
    one True; Rₙ and Pₙ are recall and precision of all words that score at least the nth value.

    Equals scikit-learn's `average_precision_score`, which takes a millisecond per text, too much for thousands of texts
    and several methods; a test checks that the two agree.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)  # last index of each run of equal scores
    hits = np.cumsum(truth[order])[last]
    return float((np.diff(hits, prepend=0) * hits / (last + 1)).sum() / hits[-1])


def count(
    rows: Iterable[Row], gold: Mapping[str, Collection[int]], *, shares: bool, seed: int
) -> Precision | None:  # fmt: skip
    """Average precision of every method on every text that has gold words; None if there is none.

    Args:
        shares: see `scores`.

    Raises:
        InputError: a gold index refers to a word that does not exist.
    """
    methods: list[str] = []
    values: list[list[float]] = []
    random: list[float] = []
    constant: list[float] = []
    generator = np.random.default_rng(seed)
    for row in rows:
        found, deciding, length = scores(row, shares=shares), {int(i) for i in gold[row.row]}, len(row.source.words)
        if not deciding or not found:
            continue
        if not all(0 <= i < length for i in deciding):
            raise InputError(
                f"{row.row}: gold {sorted(deciding)} names a word that is not there; the text has {length} "
                "words, counted from 0 and separated by single spaces; fix the row"
            )
        truth = np.isin(np.arange(length), list(deciding))
        methods = list(found)
        values.append([average_precision(truth, score) for score in found.values()])
        random.append(average_precision(truth, generator.random(length)))
        constant.append(float(truth.mean()))
    if not values:
        return None
    return Precision(methods, np.array(values), np.array(random), np.array(constant))


def measure(valid: Precision, test: Precision, *, resamples: int, seed: int) -> dict[str, Any]:
    """Choose the method on `valid`; report its mean average precision on `test`.

    Returns:
        average_precision, low, high (95 % bootstrap over texts; None for one text), method, random (seeded) and
        constant (the share of gold words), texts, chosen_on (number of texts of `valid`), methods: the test value of
        each.
    """
    best = int(valid.values.mean(0).argmax())
    chosen = test.values[:, best]
    low, high = interval(lambda rows: float(chosen[rows].mean()), len(chosen), resamples, seed)
    return {
        "average_precision": rounded(chosen.mean()),
        "low": low,
        "high": high,
        "method": test.methods[best],
        "random": rounded(test.random.mean()),
        "constant": rounded(test.constant.mean()),
        "texts": len(chosen),
        "chosen_on": len(valid.values),
        "methods": {name: rounded(value) for name, value in zip(test.methods, test.values.mean(0), strict=True)},
    }


def sentence(found: dict[str, Any]) -> str:
    """The result in one sentence."""
    between = "" if found["low"] is None else f"95 % interval {found['low']:.2f} to {found['high']:.2f}; "
    return (
        f"average precision {found['average_precision']:.2f} against the gold words ({between}random "
        f"{found['random']:.2f}, constant {found['constant']:.2f}) by {found['method']}, chosen on the validation split"
    )


def reading(found: dict[str, Any], gold: str) -> list[str]:
    """What can be concluded from the numbers, and what cannot; gold: the column they were compared with."""
    bar = max(found["random"], found["constant"])
    low, high = (found["average_precision"] if found[end] is None else found[end] for end in ("low", "high"))
    if low > bar:
        first = (
            f"The scores of {found['method']} rank the {GOLD_WORDS[gold]} above the others better than chance: average "
            f"precision {found['average_precision']:.2f}, where 1 is perfect and {bar:.2f} is chance."
        )
    elif high < bar:
        first = (
            f"Even the best method ranks the {GOLD_WORDS[gold]} worse than chance. These weights should not be read as "
            "reasons."
        )
    else:
        first = (
            f"Even the best method ranks the {GOLD_WORDS[gold]} no better than chance, as far as this many "
            "texts can tell. These weights should not be read as reasons."
        )
    return [
        first,
        "This holds for that method: the table shows how far the others differ on the same model.",
        "The table of methods is measured on the texts that every method explains, often fewer.",
        "This does not say that the model answered because of these words. It says that the scores look like the known "
        "reasons, which is plausibility; whether the prediction depends on the words is faithfulness, and only "
        "changing or removing them could show that.",
    ]
