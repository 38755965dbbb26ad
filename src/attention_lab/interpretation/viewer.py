"""What the report's viewer is given: examples with every weight, small enough for one page.

The first example has the weights of all its heads. Further ones have them as long as there is room; then the mean of
the heads of each layer; then none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.findings import Attribution
from attention_lab.interpretation.packing import pack
from attention_lab.interpretation.traces import Trace

ROOM = 3_500_000  # characters of base64 for the heads of all examples: with them a page stays below 5 MB
MOST = 13_000_000  # … and for examples of any kind: a page of the largest models stays below 15 MB
DIGITS = 4


def viewed(
    examples: Sequence[Example],
    *,
    linked: bool,
    attributions: Mapping[str, Sequence[Attribution]],
    shares: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:
    """One JSON-able object for each example, see `page/data.js` for what the page does with it.

    Args:
        linked: gold belongs to pairs of words; else to words, whatever looks at them.
        attributions: by row name, scores between words of the text that is known (the reference) and the source.
        shares: by row name, (T − 1,), how much of each predicted token of that text comes from the source.
    """
    room, most, found = ROOM, MOST, []
    for number, example in enumerate(examples):
        methods = attributions.get(example.row, ())
        whole = _packed(example, methods, heads=True)
        if number and len(whole["blob"]) > room:
            whole = _packed(example, methods, heads=False)
        if number and len(whole["blob"]) > most:
            whole = {"maps": [], "blob": "", "only": "none"}
        room, most = room - len(whole["blob"]), most - len(whole["blob"])
        found.append({**_told(example, methods, linked, shares.get(example.row)), **whole})
    return found


def _told(
    example: Example, methods: Sequence[Attribution], linked: bool, shares: np.ndarray | None
) -> dict[str, Any]:  # fmt: skip
    """Everything but the weights."""
    asked = example.traces[0].asked if example.traces else 0
    gold = None
    if example.gold is not None:
        pairs = [[query, key + asked] for query, key in np.argwhere(example.gold).tolist()]
        gold = {"links": pairs} if linked else {"words": sorted({key for _, key in pairs})}
    traces = []
    for trace in example.traces:
        known = trace.of != "output"
        of_words = gold is not None and "words" in gold
        told = {
            "of": trace.of,
            "target": None if trace.target is None else asdict(trace.target),
            "steps": [[_short(s.said), [[t, _short(p)] for t, p in s.likeliest]] for s in trace.steps],
            "gold": gold if known or of_words else None,
            "shares": [_short(share) for share in shares.tolist()] if known and shares is not None else None,
            "reasons": {one.method: one.reason for one in methods if one.scores is None} if known else {},
        }
        traces.append(told)
    source = next((trace.source for trace in example.traces if trace.source), None)
    return {
        "row": example.row,
        "inputs": example.inputs,
        "reference": example.reference,
        "prediction": example.prediction,
        "right": example.right,
        "probability": None if example.probability is None else _short(example.probability),
        "source": None if source is None else asdict(source),
        "asked": asked,
        "words": max(len(example.keys), len(example.queries)),
        "readers": example.readers,
        "traces": traces,
    }


def _packed(example: Example, methods: Sequence[Attribution], *, heads: bool) -> dict[str, Any]:
    """The weights of all traces and the scores of all methods, and for each trace which of them are its."""
    arrays: list[np.ndarray] = []
    places: list[dict[str, int]] = []
    scores: list[dict[str, int]] = []
    for number, trace in enumerate(example.traces):
        mine: dict[str, int] = {}
        for place, weights in trace.weights.items():
            if number and place == "encoder_self":  # reads the same source in every pass
                mine |= {place: places[0][place]} if place in places[0] else {}
            elif weights.size:
                mine[place] = len(arrays)
                arrays.append(weights if heads else weights.mean(1, keepdims=True))
        places.append(mine)
        scores.append(_scored(trace, methods, arrays))
    maps, blob = pack(arrays)
    return {
        "maps": maps,
        "blob": blob,
        "only": "" if heads else "mean",
        "places": places,
        "scores": scores,
    }


def _scored(trace: Trace, methods: Sequence[Attribution], arrays: list[np.ndarray]) -> dict[str, int]:
    """Adds the scores of each method, as maps of one layer and head, to `arrays`; their numbers by method."""
    found = {}
    for one in methods:
        if trace.of != "output" and one.scores is not None:
            found[one.method] = len(arrays)
            arrays.append(np.atleast_2d(one.scores)[None, None])
    return found


def _short(value: float) -> float:
    return round(float(value), DIGITS)
