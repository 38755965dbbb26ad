"""The HTML page about one trained model, or two side by side; it opens with a double click and needs no network.

Template, style sheet and scripts are files in `page/`. The page's own Content-Security-Policy allows only its one style
sheet and one script, by their hashes, so text from data can neither load nor run anything. Weights are embedded as
compressed bytes (`packing.py`), one block per example, which is decoded when the example is opened.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from attention_lab.interpretation import story
from attention_lab.interpretation.alignment import ROWS
from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.rationale import GOLD_WORDS
from attention_lab.interpretation.viewer import NOTHING, Scores, viewed
from attention_lab.records import SHAPES

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("data", "marks", "lines", "matrix", "words", "save", "panel", "page")  # concatenated in this order
TITLE = 120  # characters of an input in the list of examples
MOST_CLASSES = 20  # in the filter
UNUSUAL = ("weights", "signed", "effective")  # weights that are not shares; the last sentence of `reading` says why
NOT_MEASURED = "This is one text, and nothing was measured of this model."
NO_WEIGHTS = "This mechanism has no attention weights, so there is nothing to show."


@dataclass(frozen=True)
class Shown:
    """What a page shows of a model.

    metrics: the content of metrics/interpret.json. facts: about the model, as names and values. known, own: scores of
    the examples, see `viewer.viewed`. method: the one shown first; "attention" stands for the weights. folder: where
    the model is, if two are shown.
    """

    metrics: Mapping[str, Any]
    examples: Sequence[Example]
    facts: Mapping[str, str]
    known: Scores = NOTHING
    own: Scores = NOTHING
    method: str = "attention"
    folder: str = ""


def render(models: Sequence[Shown], *, evaluate: Mapping[str, Any] | None) -> str:
    """Render the page.

    Args:
        models: one, or two side by side that have read the same texts. All measurements are of the first.
        evaluate: the content of metrics/evaluate.json; None: the examples are the user's own texts, and nothing was
            measured.
    """
    metrics, examples = models[0].metrics, models[0].examples
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found = metrics.get("alignment")
    style = (PAGE / "page.css").read_text(encoding="utf-8")
    script = "".join((PAGE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    looked = [
        example
        for one in models
        for example in viewed(
            one.examples, linked="alignment" in metrics, known=one.known, own=one.own, share=1 / len(models)
        )
    ]
    return environment.get_template("page.html").render(
        models=models,
        metrics=metrics,
        task=story.spelled(metrics["task"]),
        evaluate=evaluate,
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        index=_json(_index(models, measured=evaluate is not None)),
        looked=[_json(one) for one in looked],
        examples=examples,
        reads=_reads(metrics),
        classes=_classes(examples) if SHAPES[metrics["task"]].label else [],
        lengths=_lengths(examples),
        cards=story.cards(examples),
        score=story.score(evaluate) if evaluate else [],
        score_name=story.score_name(evaluate) if evaluate else "",
        goes_on=_goes_on(metrics),
        bars=story.measured(metrics),
        ranked=story.ranked(metrics),
        grids=[(name, story.candidates(found, index)) for index, name in enumerate(ROWS)] if found else [],
        methods=story.methods(metrics),
        measures=[story.MEASURES[name] for name in story.columns(metrics)],
        gates=story.gates(metrics),
        lead=story.lead(metrics) if evaluate else "",
        explained=story.EXPLAINED.get(evaluate["score_name"], "") if evaluate else "",
        conclusion=metrics.get("conclusion", []),
        steps=story.STEPS,
    )


def _index(models: Sequence[Shown], *, measured: bool) -> dict[str, Any]:
    """The data that the viewer has before an example is opened."""
    metrics = models[0].metrics
    gold = next((words for name, words in GOLD_WORDS.items() if metrics.get(name)), "")
    return {
        "examples": [_listed(of_text) for of_text in zip(*(one.examples for one in models), strict=True)],
        "models": [_model(one, measured=measured and one is models[0]) for one in models],
        "gold": "the known alignment" if "alignment" in metrics else gold,
        "noWeights": NO_WEIGHTS,
    }


def _listed(of_text: Sequence[Example]) -> dict[str, Any]:
    """The entry of one text in the list, with each model's prediction."""
    first = of_text[0]
    sure = [example.probability for example in of_text if example.probability is not None]
    return {
        "title": next(iter(first.inputs.values()), first.source)[:TITLE],
        "said": [example.prediction[:TITLE] for example in of_text],
        "right": first.right,
        "label": first.reference[:TITLE],
        "words": max(len(words) for example in of_text for words in (example.keys, example.queries)),
        "probability": min(sure, default=None),
    }


def _model(shown: Shown, *, measured: bool) -> dict[str, Any]:
    """The data of one model that is common to all of its examples in the viewer."""
    metrics = shown.metrics
    return {
        "folder": shown.folder,
        "mechanism": shown.facts["mechanism"] if shown.folder else "",
        "heads": metrics.get("heads", {}),
        "methods": {name: {"what": found.get("what", "")} for name, found in metrics.get("methods", {}).items()},
        "said": "went on" if _goes_on(metrics) else "said",
        "start": _start(shown),
        "trust": story.trust(metrics) if measured else {"attention": NOT_MEASURED},
        "kind": metrics["reading"][-1] if metrics.get("weights") in UNUSUAL else "",
    }


def _reads(metrics: Mapping[str, Any]) -> bool:
    """Whether the model only reads: its output is labels or a span of its text."""
    shape = SHAPES[metrics["task"]]
    return shape.label is not None or shape.answer is not None


def _goes_on(metrics: Mapping[str, Any]) -> bool:
    return SHAPES[metrics["task"]].truth is None


def _start(shown: Shown) -> dict[str, Any]:
    """The initial view: the place that was measured."""
    metrics, examples = shown.metrics, shown.examples
    place = next((place for example in examples for trace in example.traces for place in trace.weights), "cross")
    if any("cross" in trace.weights for example in examples for trace in example.traces):
        place = "cross"
    layer: int | None = None
    head: int | str = "mean"
    row = "predicting"
    reader = ""
    if found := metrics.get("alignment"):
        layer, head, row = found["layer"], found["head"], found["row"]
    elif (ranked := story.ranked(metrics)) and (chosen := re.fullmatch(r"(.*) layer (\d+)", ranked["method"])):
        reader, layer = chosen.group(1), int(chosen.group(2))
    writes = any(trace.target for example in examples for trace in example.traces)
    return {
        "method": shown.method,
        "trace": 0,
        "place": place,
        "layer": layer,
        "head": head,
        "row": row,
        "reader": reader,
        "unit": "words",
        "view": "lines" if writes else "text",
        "step": 0,
        "query": None,
    }


def _classes(examples: Sequence[Example]) -> list[str]:
    found = sorted({example.reference[:TITLE] for example in examples})
    return found if 1 < len(found) <= MOST_CLASSES else []


def _lengths(examples: Sequence[Example]) -> list[tuple[int, int]]:
    """Up to three ranges of lengths in words with about equally many examples; none for fewer than three lengths."""
    words = np.array([max(len(example.keys), len(example.queries)) for example in examples])
    if len(np.unique(words)) < 3:
        return []
    lower, upper = (int(edge) for edge in np.quantile(words, (1 / 3, 2 / 3)))
    edges = sorted({int(words.min()) - 1, lower, upper, int(words.max())})
    return [(low + 1, high) for low, high in itertools.pairwise(edges)]


def _json(value: object) -> Markup:
    """JSON that is safe in a script element: no character in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704


def _hash(text: str) -> str:
    """The hash by which a Content-Security-Policy identifies an inline element."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
