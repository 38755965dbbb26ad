"""Which words a prediction depends on: the prediction itself is explained, as the interpret stage explains rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_maps import predictor_of

from attention_lab import records
from attention_lab.errors import InputError
from attention_lab.explanation.words import Answer, answers, chosen, explain
from attention_lab.inference import Predictor
from attention_lab.interpretation import explained
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.methods import METHODS
from attention_lab.interpretation.weights import readings
from attention_lab.vocabulary import UNK_ID

TEXT = "the small dog, sees a cat."
QUESTION, CONTEXT = "sees a dog", "the old cat sleeps under trees"


def only(predictor: Predictor, **texts: str) -> Answer:
    (answer,) = answers(predictor, [texts], max_tokens=7)
    return answer


@pytest.mark.parametrize("shared", [True, False])
def test_scores_are_those_of_the_interpret_stage_with_the_prediction_for_its_target(
    tmp_path: Path, shared: bool
) -> None:
    predictor = predictor_of(tmp_path, "translation", shared=shared)
    answer = only(predictor, source=TEXT)
    source, target = predictor.tokenizer(TEXT), predictor.target_tokenizer(answer.prediction)
    ids = (np.array(of["input_ids"], dtype=np.int32) for of in (source, target))
    encoded = pd.DataFrame([dict(zip(("row", "source", "target"), ("a", *ids), strict=True))])
    texts = pd.DataFrame([{"row": "a", "source": TEXT, "target": answer.prediction}])
    tokenizers = predictor.tokenizer, records.SHAPES["translation"], predictor.target_tokenizer
    (reading,) = readings(predictor.model.config, encoded, texts, *tokenizers)
    wanted = explained.explain([Asked.of(predictor.model, reading, "cpu")], 32)
    found = explain(answer, list(METHODS), {"weights": "layer 2, head 3, reading", "alti": "no such"})
    by_name = {one.method: one for one in found}
    assert by_name["weights"].variant == "layer 2, head 3, reading"
    assert by_name["alti"].variant == next(iter(wanted.scores["alti"]))
    for name, one in by_name.items():
        assert one.scores == pytest.approx(wanted.scores[name][one.variant][0], abs=1e-6)
    assert answer.outputs == answer.prediction.split(" ")
    assert answer.words == TEXT.split()


def test_a_class_is_explained_by_what_is_lost_without_a_word(tmp_path: Path) -> None:
    predictor = predictor_of(tmp_path, "sentiment")
    answer = only(predictor, text="  the small \n dog ")
    assert answer.texts == {"text": "the small dog"}
    ids = torch.tensor([predictor.tokenizer("the small dog")["input_ids"]] * 4)
    for word in range(3):
        ids[word + 1, word + 1] = UNK_ID
    logits, _ = predictor.model(ids, torch.ones_like(ids, dtype=torch.bool))
    said = logits[0].argmax()
    logs = logits.log_softmax(-1)[:, said]
    (one,) = explain(answer, ["occlusion"], {})
    assert one.signed
    assert one.scores[0] == pytest.approx((logs[0] - logs[1:]).tolist(), abs=1e-6)
    assert answer.outputs == [predictor.model.config.labels[said]]


def test_a_language_model_says_the_most_probable_and_its_words_depend_on_those_before(tmp_path: Path) -> None:
    predictor = predictor_of(tmp_path, "generation")
    answer = only(predictor, text="the small dog")
    (greedy,) = predictor.predict(["the small dog"], temperature=0.0, max_tokens=7)
    assert answer.prediction == greedy["prediction"]
    assert answer.outputs == answer.words == answer.prediction.split(" ")
    for one in explain(answer, list(METHODS), {}):
        assert not np.triu(one.scores).any()
        assert np.tril(one.scores, -1).any()


def answered(predictor: Predictor, context: str, no_answer: bool, monkeypatch: pytest.MonkeyPatch) -> Answer:
    plain = predictor.predict

    def surely(inputs: Any, **search: Any) -> Any:
        return plain(inputs, **search, no_answer=-90.0 if no_answer else 90.0)

    monkeypatch.setattr(predictor, "predict", surely)
    return only(predictor, question=QUESTION, context=context)


@pytest.mark.parametrize("none", [True, False])
def test_an_answer_and_that_there_is_none_are_explained_as_they_are_predicted(
    tmp_path: Path, none: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictor_of(tmp_path, "question_answering", segments=2)
    answer = answered(predictor, CONTEXT, none, monkeypatch)
    first, last = answer.asked.said[0].tolist()
    assert (answer.prediction == "") == none
    if none:
        assert (first, last) == (0, 0)
        assert answer.outputs == ["(nothing)"]
    else:
        words = CONTEXT.split()[first - 5 : last - 4]  # <s> sees a dog </s> context
        assert answer.outputs == [" ".join(words)]
    assert answer.words == CONTEXT.split()
    (one,) = explain(answer, ["occlusion"], {})
    assert one.scores.shape == (1, 6)
    assert np.abs(one.scores).sum() > 0.0


@pytest.mark.parametrize("none", [True, False])
def test_of_a_long_context_the_window_with_the_answer_is_explained(
    tmp_path: Path, none: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = predictor_of(tmp_path, "question_answering", segments=2, positions=13)
    context = "the small cat sees the small cat and under trees sleeps the old dog and a cat sees a dog"
    answer = answered(predictor, context, none, monkeypatch)
    assert " ".join(answer.words) in context
    assert len(answer.words) <= 13 - 6
    (note,) = answer.notes
    assert note.endswith(f"{len(answer.words)} of 20 words.")
    assert note.startswith("The text is too long to be read at once. The explanation covers ")
    first, last = answer.asked.said[0].tolist()
    said = [] if none else answer.words[first - 5 : last - 4]
    assert " ".join(said) == answer.prediction


@pytest.mark.parametrize("task", ["translation", "sentiment", "generation"])
def test_of_a_long_text_the_first_words_are_read_answered_and_explained(tmp_path: Path, task: str) -> None:
    predictor = predictor_of(tmp_path, task, positions=9)
    name = predictor.fields[0]
    answer = only(predictor, **{name: "the small dog sees a cat and sleeps under trees"})
    assert answer.texts == {name: "the small dog sees a cat and"}
    assert answer.notes == [
        "The text is too long for the model, which has read only the first 7 of its 10 words."
    ]  # fmt: skip
    assert answer.words[:7] == answer.texts[name].split()
    (one,) = explain(answer, ["occlusion"], {})
    assert one.scores.shape == (len(answer.outputs), len(answer.words))


def test_a_method_that_is_not_defined_says_why(tmp_path: Path) -> None:
    answer = only(predictor_of(tmp_path, "sentiment", mechanism="fnet"), text=TEXT)
    weights, occlusion = explain(answer, ["weights", "occlusion"], {})
    assert (weights.scores, weights.reason) == (None, "fnet has no attention weights")
    assert occlusion.scores is not None


MEASURED = {
    "task": "sentiment",
    "mechanism": "scaled_dot_product",
    "best_method": "norm",
    "methods": {"norm": {"variant": "layer 1"}, "alti": {}, "weights": {"variant": "layer 1, head 2; of each word"}},
}


def test_the_best_method_is_that_of_the_last_run_of_such_a_model(tmp_path: Path) -> None:
    predictor = predictor_of(tmp_path, "sentiment")
    best, variants = chosen(MEASURED, predictor)
    assert (best, variants["norm"], variants["weights"]) == ("norm", "layer 1", "layer 1, head 2")
    assert chosen({**MEASURED, "best_method": None}, predictor)[0] == "weights"
    for other in ({}, {**MEASURED, "task": "translation"}, {**MEASURED, "mechanism": "additive"}):
        assert chosen(other, predictor) == ("weights", {})


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="input 1: the text is empty"):
        only(predictor_of(tmp_path, "sentiment"), text="  ")
