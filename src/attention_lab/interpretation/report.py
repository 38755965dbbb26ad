"""One HTML page about one trained model: it opens with a double click and asks the network for nothing.

The page has no script. Its one style sheet is allowed by its hash; everything else is refused by the page's own
Content-Security-Policy, so text from data can neither load nor run anything. Weights are shown as classes of
colour with their numbers in the cells, so that they can be read without colour.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from attention_lab.interpretation.alignment import ROWS
from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.rationale import GOLD_WORDS

STEPS = 20  # shades of the heatmap
SHOWN = 40  # words of each side of a heatmap: keeps the page small and the table legible
PERCENT = ("bleu", "bleu_lowercase", "chrf")  # metrics that end at 100, all others at 1


SPELLED = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "character_probability": "probability of a character",
    "f1_micro": "micro-F1",
}


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart: value, low and high between 0 and 1; label as printed."""

    name: str
    label: str
    value: float
    low: float | None = None
    high: float | None = None
    ours: bool = False


@dataclass(frozen=True)
class Cell:
    """One weight: its shade, 0 to STEPS; its text, in percent or as value; whether it is outlined."""

    shade: int
    text: str
    marked: bool


def render(
    metrics: Mapping[str, Any],
    examples: Sequence[Example],
    *,
    evaluate: Mapping[str, Any],
    facts: Mapping[str, str],
) -> str:
    """The page.

    Args:
        metrics: the content of metrics/interpret.json. evaluate: the content of metrics/evaluate.json.
        facts: what was trained, as names and values.
    """
    environment = Environment(
        loader=PackageLoader("attention_lab.interpretation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sha256"] = _sha256
    found = metrics.get("alignment")
    return environment.get_template("report.html").render(
        metrics=metrics,
        evaluate=evaluate,
        facts=facts,
        score=_score(evaluate),
        score_name=SPELLED.get(evaluate["score_name"], evaluate["score_name"].replace("_", " ")),
        bars=_bars(metrics),
        ranked=_ranked(metrics),
        gold_words=next((words for gold, words in GOLD_WORDS.items() if gold in metrics), ""),
        grids=[(name, candidates(found, index)) for index, name in enumerate(ROWS)] if found else [],
        examples=[(example, cells(example)) for example in examples],
        shown=SHOWN,
        steps=STEPS,
    )


def cells(example: Example) -> list[list[Cell]]:
    """The weights of an example, a list per query, at most SHOWN each way; empty if there are none.

    In a map the shade is the weight itself. In a single strip it is relative to the heaviest word.
    """
    if example.weights is None:
        return []
    weights = example.weights[:SHOWN, :SHOWN] if example.queries else example.weights
    top = 1.0 if example.queries else max(float(weights.max()), 1e-12)
    gold = np.zeros(example.weights.shape, dtype=bool) if example.gold is None else example.gold
    return [
        [
            Cell(_shade(weight / top), f"{100 * weight:.0f}", bool(gold[query, key]))
            for key, weight in enumerate(line.tolist())
        ]
        for query, line in enumerate(weights)
    ]


def candidates(found: Mapping[str, Any], row: int) -> list[list[Cell]]:
    """Alignment error rates of each layer and head, the better the darker; the chosen one outlined."""
    chosen = (found["layer"] - 1, 0 if found["head"] == "mean" else found["head"])
    return [
        [
            Cell(_shade(1.0 - value), f"{value:.2f}", ROWS[row] == found["row"] and (layer, head) == chosen)
            for head, value in enumerate(line)
        ]
        for layer, line in enumerate(found["grid"][row])
    ]


def _shade(share: float) -> int:
    return round(STEPS * min(max(share, 0.0), 1.0))


def _score(evaluate: Mapping[str, Any]) -> list[Bar]:
    """The headline metric beside its baselines."""
    name = evaluate["score_name"]
    full, digits = (100.0, 1) if name in PERCENT else (1.0, 3)
    low, high = evaluate.get("score_low"), evaluate.get("score_high")
    bars = [
        Bar(
            "this model",
            f"{evaluate['score']:.{digits}f}",
            evaluate["score"] / full,
            None if low is None else low / full,
            None if high is None else high / full,
            ours=True,
        )
    ]
    for kind in ("classical", "baseline"):
        if kind in evaluate:
            value = evaluate[kind][name]
            bars.append(Bar(f"{kind}: {evaluate[kind]['what']}", f"{value:.{digits}f}", value / full))
    return bars


def _bars(metrics: Mapping[str, Any]) -> list[Bar]:
    """What was measured of the attention, beside what needs no attention."""
    if found := metrics.get("alignment"):
        other = next(name for name in ROWS if name != found["row"])
        return [
            _bar(f"attention, {found['row']} row", found["error_rate"], found["low"], found["high"], ours=True),
            _bar(f"attention, best place of the {other} row", found["rows"][other]),
            _bar("diagonal: the word at the same relative position", found["diagonal"]),
            _bar("random links", found["random"]),
        ]
    if found := _ranked(metrics):
        return [
            *(
                _bar(name, value, found["low"], found["high"], ours=True)
                if name == found["method"]
                else _bar(name, value)
                for name, value in found["methods"].items()
            ),
            _bar("random scores", found["random"]),
            _bar("constant score: the share of gold words", found["constant"]),
        ]
    return []


def _ranked(metrics: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What `rationale.measure` has found, for tasks with gold words."""
    found: Mapping[str, Any] | None = next((metrics[gold] for gold in GOLD_WORDS if metrics.get(gold)), None)
    return found


def _bar(name: str, value: float, low: float | None = None, high: float | None = None, *, ours: bool = False) -> Bar:
    return Bar(name, f"{value:.2f}", value, low, high, ours)


def _sha256(text: str) -> str:
    """The hash by which a Content-Security-Policy knows an inline element."""
    return base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()
