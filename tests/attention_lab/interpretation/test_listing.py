"""Scores for people's own analysis."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from shown import classified, translated

from attention_lab.interpretation.findings import Attribution
from attention_lab.interpretation.listing import jsonl

WORDS = ["the", "old", "dog"]


def test_every_method_has_a_line_that_pandas_reads() -> None:
    examples = [translated(WORDS, ["der", "Hund"]), classified(["a", "b", "c", "d", "e"], "good", "bad")]
    scores = np.array([[0.5, -1.0, 1 / 3], [0.0, 1.0, 2.0]])
    attributions = {
        examples[0].row: [Attribution("norm", scores, signed=True), Attribution("alti", None, reason="no values")]
    }
    content = jsonl(examples, attributions)
    assert content == jsonl(examples, attributions)
    table = pd.read_json(io.BytesIO(content), lines=True, compression="gzip")
    assert table["method"].tolist() == ["shown", "norm", "alti", "shown"]
    assert table["outputs"].tolist() == [["der", "Hund"]] * 3 + [["bad"]]
    assert np.array(table["scores"][1]).round(4).tolist() == scores.round(4).tolist()
    assert table["scores"][2] is None
    assert table["reason"].tolist()[2] == "no values"
    assert table["signed"].tolist()[:2] == [False, True]
