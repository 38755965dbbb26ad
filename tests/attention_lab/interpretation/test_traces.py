"""Passes over one example: own output and reference, and what could have come next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from planted import WORDS, config, encoded_of, tokenizer_of

from attention_lab.attention import PLACES
from attention_lab.interpretation.traces import LIKELIEST, Trace, traces
from attention_lab.records import SHAPES
from attention_lab.transformer import build

SOURCE, TARGET, SAID = "red green blue", "pink grey black white brown", "grey red"


def seen(
    architecture: str,
    task: str,
    record: dict[str, Any],
    prediction: str,
    kind: str = "word",
    mechanism: str = "scaled_dot_product",
) -> list[Trace]:
    tokenizer = tokenizer_of([" ".join(WORDS)] * 3, kind)
    labels = ("bad", "good") if architecture == "classifier" else ()
    torch.manual_seed(2)
    changes = {
        "segments": 2 * (architecture == "spans"),
        "mechanisms": {place: {"name": mechanism} for place in PLACES},
    }
    model = build(config(len(tokenizer), architecture=architecture, task=task, labels=labels, **changes)).eval()
    frame = pd.DataFrame([{"row": "x:1", "split": "test", **record}])
    encoded = encoded_of(frame, task, tokenizer, list(labels)).to_dict("records")[0]
    return traces(model, encoded, record, prediction, tokenizer, SHAPES[task], "cpu")


@pytest.mark.parametrize("kind", ["word", "bpe", "character"])
def test_own_output_and_reference_are_two_passes_of_one_source(kind: str) -> None:
    record = {"source": SOURCE, "target": TARGET, "references": None, "alignment": None}
    own, reference = seen("encoder_decoder", "translation", record, SAID, kind)
    assert (own.of, reference.of) == ("output", "reference")
    assert own.target is not None
    assert own.target.words == SAID.split()
    assert reference.target is not None
    assert reference.target.words == TARGET.split()
    for trace in (own, reference):
        assert trace.source is not None
        assert trace.target is not None
        read, written = len(trace.source.tokens), len(trace.target.tokens) - 1
        assert trace.weights["cross"].shape == (2, 3, written, read)
        assert trace.weights["decoder_self"].shape == (2, 3, written, written)
        assert (np.triu(trace.weights["decoder_self"], 1) == 0.0).all()
        assert len(trace.steps) == written == len(trace.target.owners) - 1
        assert (trace.source.tokens[0], trace.source.tokens[-1]) == ("<s>", "</s>")
    assert (own.weights["encoder_self"] == reference.weights["encoder_self"]).all()


def test_steps_have_the_most_probable_tokens_in_their_order() -> None:
    record = {"source": SOURCE, "target": TARGET, "references": None, "alignment": None}
    (both,) = seen("encoder_decoder", "translation", record, TARGET)
    assert both.of == "both"
    assert both.target is not None
    for token, step in zip(both.target.tokens[1:], both.steps, strict=True):
        chances = [chance for _, chance in step.likeliest]
        assert len(chances) == LIKELIEST
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) <= 1.0 + 1e-6
        assert dict(step.likeliest).get(token, step.said) == pytest.approx(step.said)
        assert step.said <= chances[0]


def test_a_language_model_has_a_text_and_no_source() -> None:
    record = {"text": TARGET, "true_nats": 5.0}
    own, reference = seen("decoder", "generation", record, SAID)
    assert (own.of, own.source, reference.of) == ("output", None, "reference")
    assert own.target is not None
    assert own.weights["decoder_self"].shape == (2, 3, 3, 3)  # <s> grey red


def test_an_output_longer_than_the_model_reads_is_cut() -> None:
    record = {"text": TARGET, "true_nats": 5.0}
    own, _ = seen("decoder", "generation", record, " ".join(WORDS * 7))
    assert own.target is not None
    assert len(own.target.tokens) == 32
    assert own.target.tokens[-1] == "</s>"


def test_a_question_stands_before_the_words_of_the_text() -> None:
    record = {
        "context": TARGET, "question": SOURCE, "answer": "grey black", "start": 5, "references": None, "support": None
    }  # fmt: skip
    (trace,) = seen("spans", "question_answering", record, "grey black")
    assert (trace.of, trace.asked) == ("input", 3)
    assert trace.source is not None
    assert trace.source.words == [*SOURCE.split(), *TARGET.split()]
    assert trace.source.owners == [None, 0, 1, 2, None, 3, 4, 5, 6, 7, None]
    assert trace.weights["encoder_self"].shape == (2, 3, 11, 11)


@pytest.mark.parametrize(("mechanism", "shape"), [("scaled_dot_product", (2, 3, 7, 7)), ("fnet", (0, 0, 0, 0))])
def test_a_mechanism_without_weights_has_an_empty_map(mechanism: str, shape: tuple[int, ...]) -> None:
    record = {"text": TARGET, "label": "good", "rationale": None}
    (trace,) = seen("classifier", "sentiment", record, "good", mechanism=mechanism)
    assert trace.weights["encoder_self"].shape == shape
    assert trace.steps == []
