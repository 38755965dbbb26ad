"""Scores for people's own analysis."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pandas as pd
from shown import classified, translated

from attention_lab.interpretation.findings import Attribution, Placed
from attention_lab.interpretation.listing import jsonl
from attention_lab.interpretation.viewer import Scores

WORDS = ["the", "old", "dog"]


def test_every_pass_and_method_has_a_line_that_pandas_reads() -> None:
    examples = [translated(WORDS, ["der", "Hund"], right=False), classified(["a", "b", "c"], "good", "bad")]
    scores = np.array([[0.5, -1.0, 1 / 3], [0.0, 1.0, 2.0]])
    known = Scores(
        {
            examples[0].row: [Attribution("norm", scores, signed=True), Attribution("alti", None, reason="no values")],
            examples[1].row: [Attribution("norm", scores[:1])],
        }
    )
    own = Scores({examples[0].row: [Attribution("norm", scores[::-1], signed=True)]})
    content = jsonl(examples, known, own)
    assert content == jsonl(examples, known, own)
    table = pd.read_json(io.BytesIO(content), lines=True, compression="gzip")
    assert table["of"].tolist() == ["output", "reference", "reference", "input"]
    assert table["method"].tolist() == ["norm", "norm", "alti", "norm"]
    assert table["outputs"].tolist() == [["wrong", "words"], ["der", "Hund"], ["der", "Hund"], ["bad"]]
    assert table["words"].tolist() == [WORDS] * 3 + [["a", "b", "c"]]
    assert np.array(table["scores"][1]).round(4).tolist() == scores.round(4).tolist()
    assert table["scores"][2] is None
    assert table["reason"].tolist()[2] == "no values"
    assert table["place"].isna().all()


def test_a_layer_has_a_line_with_its_own_words() -> None:
    example = translated(WORDS, ["der", "Hund"], right=True)
    scores = np.array([[1.0, 0.0], [0.25, 0.75]])
    layer = Placed("decoder_self", 2, "value_zeroing", ["der", "Hund"], ["der", "Hund"], scores)
    (line,) = map(
        json.loads, gzip.decompress(jsonl([example], Scores(layers={example.row: [layer]}), Scores())).splitlines()
    )
    assert (line["place"], line["layer"], line["method"]) == ("decoder_self", 2, "value_zeroing")
    assert (line["words"], line["outputs"], line["scores"]) == (["der", "Hund"], ["der", "Hund"], scores.tolist())
