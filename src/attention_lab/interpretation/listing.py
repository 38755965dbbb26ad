"""All attributions of the shown examples, for your own analysis."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from typing import Any

from attention_lab.interpretation.examples import Example
from attention_lab.interpretation.viewer import Scores

DIGITS = 6


def jsonl(examples: Sequence[Example], known: Scores, own: Scores) -> bytes:
    """JSON lines, compressed by gzip without a timestamp, so that the same numbers give the same bytes; read them with
    `pandas.read_json(path, lines=True)`.

    There is one object for each example and method: row; of, "reference" or "output", the text that was written (or
    "input" for a model that only reads); words, those of the source (Wk); outputs, the words that were written (Wq), or
    the class or the answer; method; scores (Wq, Wk) or null; signed; reason, why there are no scores; place and layer,
    null. Then there is one for each layer of each place and each method that covers individual layers, with place and
    layer (from 1); here words are those attended to and outputs those that attend.
    """
    found = [line for example in examples for line in _lines(example, known, own)]
    lines = [json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in found]
    return gzip.compress("".join(lines).encode(), mtime=0)


def _lines(example: Example, known: Scores, own: Scores) -> Iterator[dict[str, Any]]:
    for trace in example.traces:
        written = [example.prediction] if trace.target is None else trace.target.words
        source = example.keys if trace.source is not None or trace.target is None else trace.target.words
        for one in (own if trace.of == "output" else known).attributions.get(example.row, ()):
            yield {
                "row": example.row,
                "of": trace.of,
                "words": source,
                "outputs": written,
                "method": one.method,
                "scores": None if one.scores is None else one.scores.round(DIGITS).tolist(),
                "signed": one.signed,
                "reason": one.reason or None,
                "place": None,
                "layer": None,
            }
        for layer in (own if trace.of == "output" else known).layers.get(example.row, ()):
            yield {
                "row": example.row,
                "of": trace.of,
                "words": layer.words,
                "outputs": layer.queries,
                "method": layer.method,
                "scores": layer.scores.round(DIGITS).tolist(),
                "signed": False,
                "reason": None,
                "place": layer.place,
                "layer": layer.layer,
            }
