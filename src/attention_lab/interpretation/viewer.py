"""The data of the report's viewer: examples with all weights, small enough for one page.

The first example has the weights of all heads. Others have them as long as there is room, then only the mean of the
heads of each layer, then none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.findings import Attribution, Placed
from attention_lab.interpretation.packing import pack

ROOM = 3_500_000  # characters of base64 for examples with all heads, which keeps a page below 5 MB
MOST = 13_000_000  # … and for all examples, which keeps a page below 15 MB even for the largest models
DIGITS = 4


@dataclass(frozen=True)
class Scores:
    """Scores of one pass over each example, by row name.

    attributions: of each method. shares: (T − 1,), the share of each predicted token that comes from the source,
    between 0 and 1. layers: what individual layers do.
    """

    attributions: Mapping[str, Sequence[Attribution]] = field(default_factory=dict)
    shares: Mapping[str, np.ndarray] = field(default_factory=dict)
    layers: Mapping[str, Sequence[Placed]] = field(default_factory=dict)


NOTHING = Scores()


def viewed(
    examples: Sequence[Example], *, linked: bool, known: Scores, own: Scores, share: float = 1.0
) -> list[dict[str, Any]]:
    """One JSON-serialisable object per example; see `page/data.js` for how the page uses it.

    Args:
        linked: gold consists of pairs of words; otherwise of words, whatever attends to them.
        known: scores of the pass over the reference or the input. own: of the pass over the model's own output.
        share: the share of the page's room that these examples may take.
    """
    room, most = int(share * ROOM), int(share * MOST)
    found: list[dict[str, Any]] = []
    for number, example in enumerate(examples):
        passes = [own if trace.of == "output" else known for trace in example.traces]
        methods = [one.attributions.get(example.row, ()) for one in passes]
        shares = [one.shares.get(example.row) for one in passes]
        whole = _packed(example, methods, heads=True)
        if number and len(whole["blob"]) > room:
            whole = _packed(example, methods, heads=False)
        if number and len(whole["blob"]) > most:
            maps, blob = pack([])
            whole = {"maps": maps, "blob": blob, "only": "none"}
        room, most = room - len(whole["blob"]), most - len(whole["blob"])
        found.append({**_told(example, methods, shares, linked), **whole})
    return found


def _told(
    example: Example, methods: Sequence[Sequence[Attribution]], shares: Sequence[np.ndarray | None], linked: bool
) -> dict[str, Any]:  # fmt: skip
    """Everything except the weights; methods and shares are those of each trace."""
    asked = example.traces[0].asked if example.traces else 0
    gold = None
    if example.gold is not None:
        pairs = [[query, key + asked] for query, key in np.argwhere(example.gold).tolist()]
        gold = {"links": pairs} if linked else {"words": sorted({key for _, key in pairs})}
    traces = []
    for trace, tried, share in zip(example.traces, methods, shares, strict=True):
        of_words = gold is not None and "words" in gold
        told = {
            "of": trace.of,
            "target": None if trace.target is None else asdict(trace.target),
            "steps": [[_short(s.said), [[t, _short(p)] for t, p in s.likeliest]] for s in trace.steps],
            "gold": gold if trace.of != "output" or of_words else None,
            "shares": None if share is None else [_short(one) for one in share.tolist()],
            "reasons": {one.method: one.reason for one in tried if one.scores is None},
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


def _packed(example: Example, methods: Sequence[Sequence[Attribution]], *, heads: bool) -> dict[str, Any]:
    """The weights and scores of all traces, and for each trace which of the arrays belong to it."""
    arrays: list[np.ndarray] = []
    places: list[dict[str, int]] = []
    scores: list[dict[str, int]] = []
    for number, (trace, tried) in enumerate(zip(example.traces, methods, strict=True)):
        mine: dict[str, int] = {}
        for place, weights in trace.weights.items():
            if number and place == "encoder_self":  # the same in every pass, since the source is
                mine |= {place: places[0][place]} if place in places[0] else {}
            elif weights.size:
                mine[place] = len(arrays)
                arrays.append(weights if heads else weights.mean(1, keepdims=True))
        places.append(mine)
        found = [(one.method, np.atleast_2d(one.scores)) for one in tried if one.scores is not None]
        scores.append({method: len(arrays) + at for at, (method, _) in enumerate(found)})
        arrays += [values[None, None] for _, values in found]
    maps, blob = pack(arrays)
    return {"maps": maps, "blob": blob, "only": "" if heads else "mean", "places": places, "scores": scores}


def _short(value: float) -> float:
    return round(float(value), DIGITS)
