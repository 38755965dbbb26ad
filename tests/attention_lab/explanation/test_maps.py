"""Attention of one new input, held against the model run by hand and against what the reports collect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_models import config

from attention_lab import params, records, vocabulary
from attention_lab.explanation import explain
from attention_lab.inference import Predictor
from attention_lab.interpretation import rationale
from attention_lab.interpretation.weights import Row, collect
from attention_lab.transformer import build, save
from attention_lab.transformer.models import segments_of

TEXT, WRITTEN = "the small dog, sees a cat.", "cat a sees old"
VOCABULARY = "the old dog sees a small cat and sleeps under trees, ."
ARCHITECTURES = {
    "translation": "encoder_decoder",
    "sentiment": "classifier",
    "generation": "decoder",
    "question_answering": "spans",
}
KINDS = ("word", "character")


def predictor_of(at: Path, task: str, kind: str = "word", *, shared: bool = True, **changes: Any) -> Predictor:
    """A model of random weights, with one vocabulary or with two."""
    torch.manual_seed(7)
    options = params.Vocab(tokenizer=kind, shared=True, size=100, min_frequency=1, max_unknown_share=1.0)
    tokenizer = vocabulary.train([VOCABULARY], options, None)
    labels = ("no", "yes", "perhaps") if task == "sentiment" else ()
    own = None if shared else vocabulary.train([f"{WRITTEN} mice"], options, None)
    sizes = {"vocabulary": len(tokenizer), "positions": 64, "decoder_layers": 3}
    sizes |= {} if own is None else {"target_vocabulary": len(own)}
    values = {"architecture": ARCHITECTURES[task], "task": task, "labels": labels, **sizes, **changes}
    save(build(config(**values)), at)
    vocabulary.save(tokenizer, at, own)
    return Predictor(at)


def collected(given: Predictor, **texts: str) -> Row:
    """What a report would show of a row with these texts."""
    tokenizers = (given.tokenizer, given.target_tokenizer)
    source, *target = (
        np.array(of(text)["input_ids"], dtype=np.int32) for of, text in zip(tokenizers, texts.values(), strict=False)
    )
    encoded = pd.DataFrame({"row": ["a:1"], "source": [source], **({"target": target} if target else {})})
    table = pd.DataFrame([{"row": "a:1", **texts}])
    shape = records.SHAPES[given.task.name]
    return next(collect(given.model, encoded, table, tokenizers[0], shape, "cpu", tokenizers[1]))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_decoder_looks_as_in_a_report_with_the_prediction_for_its_target(
    tmp_path: Path, kind: str, shared: bool
) -> None:
    given = predictor_of(tmp_path, "translation", kind, shared=shared)
    cross, own, written = explain(given, {"source": TEXT}, {"prediction": WRITTEN})
    row = collected(given, source=TEXT, target=WRITTEN)
    assert cross.weights == pytest.approx(row.cross_words("predicting"))
    assert own.weights == pytest.approx(row.own_words())
    assert (cross.queries, cross.keys) == (WRITTEN.split(), TEXT.split())
    assert own.queries == own.keys == TEXT.split()
    assert written.queries == written.keys == WRITTEN.split()


def test_layer_and_head_are_counted_from_one_and_the_mean_is_that_of_the_heads(tmp_path: Path) -> None:
    given = predictor_of(tmp_path, "translation")
    cross = explain(given, {"source": TEXT}, {"prediction": WRITTEN})[0]
    source, target = (torch.tensor([given.tokenizer(text)["input_ids"]]) for text in (TEXT, WRITTEN))
    _, seen = given.model(source, torch.ones_like(source, dtype=torch.bool), target[:, :-1], weights=True)
    # <s> and the marks, which are tokens of their own, are no words.
    words = [i for i, token in enumerate(given.tokenizer.convert_ids_to_tokens(source[0])) if token.strip().isalpha()]
    assert len(words) == len(TEXT.split())
    layer = seen.cross[2][0, :, : len(WRITTEN.split())][..., words].detach().numpy()
    assert cross.of(3, 2) == pytest.approx(layer[1])
    assert cross.of(3) == pytest.approx(layer.mean(0))


def test_the_decoder_looks_at_the_word_it_reads_and_those_before_it(tmp_path: Path) -> None:
    written = explain(predictor_of(tmp_path, "translation"), {"source": TEXT}, {"prediction": WRITTEN})[2].of(1)
    assert (np.diag(written) > 0).all()
    assert not np.triu(written, 1).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_model_reads_its_own_text(tmp_path: Path, kind: str) -> None:
    given = predictor_of(tmp_path, "generation", kind)
    (found,) = explain(given, {"text": "the small dog"}, {"prediction": TEXT})
    assert found.weights == pytest.approx(collected(given, text=TEXT).own_words())
    assert found.queries == found.keys == TEXT.split()
    assert not np.triu(found.of(3, 1), 1).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("pooling", "reader"), [("first", "<s>"), ("mean", "all positions")])
def test_a_classifier_looks_from_where_its_class_is_read_as_in_a_report(
    tmp_path: Path, kind: str, pooling: str, reader: str
) -> None:
    given = predictor_of(tmp_path, "sentiment", kind, pooling=pooling)
    through, each = explain(given, {"text": TEXT}, {"prediction": "yes"})
    scores = rationale.scores(collected(given, text=TEXT), shares=True)
    assert through.of(1)[0] == pytest.approx(scores["rollout"])
    for layer in (1, 2):
        assert each.of(layer)[0] == pytest.approx(scores[f"attention layer {layer}"])
    assert each.keys == through.keys == TEXT.split()
    assert each.queries == through.queries == [reader]


QUESTION, CONTEXT = "sees a dog", "the old cat sleeps under trees"


def answered(given: Predictor, context: str, piece: str) -> tuple[Any, Any]:
    """The maps of an answer, by its text."""
    answer = {"prediction": piece, "begins": context.index(piece) if piece else -1}
    first, whole = explain(given, {"question": QUESTION, "context": context}, answer)
    return first, whole


def test_the_words_of_an_answer_look_at_question_and_text(tmp_path: Path) -> None:
    given = predictor_of(tmp_path, "question_answering", segments=2)
    answer, whole = answered(given, CONTEXT, "old cat")
    ids = torch.tensor([given.tokenizer(QUESTION, CONTEXT)["input_ids"]])
    mask, segments = torch.ones_like(ids, dtype=torch.bool), segments_of(ids, given.model.config)
    _, seen = given.model(ids, mask, segments=segments, weights=True)
    weights = seen.encoder_self[1][0, 1].detach().numpy()
    words = [1, 2, 3, 5, 6, 7, 8, 9, 10]  # <s> question </s> context </s>
    assert whole.queries == whole.keys == answer.keys == [*QUESTION.split(), *CONTEXT.split()]
    assert whole.of(2, 2) == pytest.approx(weights[words][:, words])
    assert answer.queries == ["old", "cat"]
    assert answer.of(2, 2) == pytest.approx(weights[[6, 7]][:, words])


def test_where_there_is_no_answer_the_first_position_looks(tmp_path: Path) -> None:
    first, whole = answered(predictor_of(tmp_path, "question_answering", segments=2), CONTEXT, "")
    assert first.queries == ["<s>"]
    assert first.of(1).shape == (1, len(whole.keys))
    assert (first.of(1) > 0).all()


def test_of_a_long_text_the_window_with_the_answer_is_shown(tmp_path: Path) -> None:
    given = predictor_of(tmp_path, "question_answering", segments=2, positions=11)
    answer, whole = answered(given, "the small cat sees the small cat and under trees sleeps the old dog", "sleeps")
    assert answer.queries == ["sleeps"]
    assert whole.keys[:3] == QUESTION.split()
    assert "sleeps" in whole.keys
    assert len(whole.keys) <= 11 - 3
    first, _ = answered(given, "the small cat sees the small cat and under trees sleeps the old dog", "small cat")
    assert first.keys[3:6] == ["the", "small", "cat"]


def test_what_stands_between_two_spaces_is_no_word(tmp_path: Path) -> None:
    given = predictor_of(tmp_path, "generation")
    (found,) = explain(given, {"text": "the"}, {"prediction": "the  old dog"})
    whole = collected(given, text="the  old dog").own_words()
    assert found.keys == ["the", "old", "dog"]
    assert found.weights == pytest.approx(whole[:, :, [0, 2, 3]][..., [0, 2, 3]])


def test_words_beyond_the_models_positions_are_left_out(tmp_path: Path) -> None:
    given = predictor_of(tmp_path, "sentiment", positions=6)
    found = explain(given, {"text": "the old dog sees a small cat"}, {"prediction": "no"})[1]
    assert found.keys == ["the", "old", "dog", "sees"]
    assert found.weights.shape == (2, 3, 1, 4)


def test_a_prediction_of_no_words_has_no_rows(tmp_path: Path) -> None:
    cross = explain(predictor_of(tmp_path, "translation"), {"source": TEXT}, {"prediction": ""})[0]
    assert cross.queries == []
    assert cross.of(1).shape == (0, len(TEXT.split()))


def test_a_mechanism_without_weights_says_so(tmp_path: Path) -> None:
    given = predictor_of(tmp_path, "sentiment", mechanism="fnet")
    (found,) = explain(given, {"text": TEXT}, {"prediction": "no"})
    assert len(found.weights) == 0
    assert found.keys == TEXT.split()
    assert found.notes == ["The mechanism fnet has no attention weights, so there is nothing to show."]


def test_only_shares_are_followed_through_the_layers(tmp_path: Path) -> None:
    given = predictor_of(tmp_path, "sentiment", mechanism="differential")
    (found,) = explain(given, {"text": TEXT}, {"prediction": "no"})
    assert len(found.weights) == 2
    assert any("negative" in note for note in found.notes)
