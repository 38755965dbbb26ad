"""All attributions of the examples that are shown, for people's own analysis."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.findings import Attribution

DIGITS = 6


def jsonl(examples: Sequence[Example], attributions: Mapping[str, Sequence[Attribution]]) -> bytes:
    """JSON lines, compressed by gzip without a date, so that the same numbers give the same bytes; read them with
    `pandas.read_json(path, lines=True)`.

    One object for each example and method: row; words, of the source (Wk); outputs, the words that were written (Wq),
    or the class or the answer; method; scores (Wq, Wk) or null; signed; reason, why there are none. The method "shown"
    is what the report begins with, `what` says what it is.
    """
    lines = [json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in _lines(examples, attributions)]
    return gzip.compress("".join(lines).encode(), mtime=0)


def _lines(examples: Sequence[Example], attributions: Mapping[str, Sequence[Attribution]]) -> Iterator[dict[str, Any]]:
    for example in examples:
        first = Attribution("shown", example.weights)
        for one in (first, *attributions.get(example.row, ())):
            scores = None if one.scores is None else one.scores.round(DIGITS)
            yield {
                "row": example.row,
                "words": example.keys,
                "outputs": example.queries or [example.prediction],
                "method": one.method,
                "scores": None if scores is None else scores.tolist(),
                "signed": one.signed if one is not first else bool(scores is not None and (scores < 0).any()),
                "reason": one.reason or None,
                "what": example.shown if one is first else None,
            }
