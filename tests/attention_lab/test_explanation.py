"""Attention of one new input, held against the model run by hand and against what the reports collect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_models import config

from attention_lab import params, records, vocabulary
from attention_lab.explanation import explain
from attention_lab.interpretation import rationale
from attention_lab.interpretation.weights import Row, collect
from attention_lab.transformer import build

WORDS = "the old dog sees a small cat and sleeps under trees"
TEXT, WRITTEN = "the small dog, sees a cat.", "cat a sees old"
KINDS = ("word", "character")


def tokenizer_of(kind: str) -> Any:
    options = params.Vocab(tokenizer=kind, size=100, min_frequency=1, max_unknown_share=1.0)
    return vocabulary.train([f"{WORDS}, ."], options, None)


def trained(architecture: str, kind: str = "word", mechanism: str = "scaled_dot_product", **changes: Any) -> Any:
    """A model of random weights, in what `explain` needs of a trained one."""
    torch.manual_seed(7)
    tokenizer = tokenizer_of(kind)
    labels = ("no", "yes", "perhaps") if architecture == "classifier" else ()
    values = {"labels": labels, "mechanism": mechanism, "positions": 64, "decoder_layers": 3, **changes}
    model = build(config(architecture=architecture, vocabulary=len(tokenizer), **values)).eval()
    return SimpleNamespace(model=model, tokenizer=tokenizer, device="cpu")


def collected(given: Any, task: str, **texts: str) -> Row:
    """What a report would show of a row with these texts."""
    ids = {name: np.array(given.tokenizer(text)["input_ids"]) for name, text in texts.items()}
    source, *target = ids.values()
    encoded = pd.DataFrame({"row": ["a:1"], "source": [source], **({"target": target} if target else {})})
    table = pd.DataFrame([{"row": "a:1", **texts}])
    return next(collect(given.model, encoded, table, given.tokenizer, records.SHAPES[task], "cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_decoder_looks_at_the_source_as_in_a_report_with_the_prediction_for_its_target(kind: str) -> None:
    given = trained("encoder_decoder", kind)
    cross, own, written = explain(given, [TEXT], WRITTEN)
    row = collected(given, "translation", source=TEXT, target=WRITTEN)
    assert cross.weights == pytest.approx(row.cross_words("predicting"))
    assert own.weights == pytest.approx(row.own_words())
    assert (cross.queries, cross.keys) == (WRITTEN.split(), TEXT.split())
    assert own.queries == own.keys == TEXT.split()
    assert written.queries == written.keys == WRITTEN.split()


def test_layer_and_head_are_counted_from_one_and_the_mean_is_that_of_the_heads() -> None:
    given = trained("encoder_decoder")
    cross = explain(given, [TEXT], WRITTEN)[0]
    source, target = (torch.tensor([given.tokenizer(text)["input_ids"]]) for text in (TEXT, WRITTEN))
    _, seen = given.model(source, torch.ones_like(source, dtype=torch.bool), target[:, :-1], weights=True)
    # <s> and the marks, which are tokens of their own, are no words.
    words = [i for i, token in enumerate(given.tokenizer.convert_ids_to_tokens(source[0])) if token.strip().isalpha()]
    assert len(words) == len(TEXT.split())
    wanted = seen.cross[2][0, 1, : len(WRITTEN.split())][:, words]
    assert cross.of(3, 2) == pytest.approx(wanted.detach().numpy())
    assert cross.of(3) == pytest.approx(seen.cross[2][0].mean(0)[: len(WRITTEN.split())][:, words].detach().numpy())


def test_the_decoder_looks_at_the_word_it_reads_and_those_before_it() -> None:
    written = explain(trained("encoder_decoder"), [TEXT], WRITTEN)[2].of(1)
    assert (np.diag(written) > 0).all()
    assert not np.triu(written, 1).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_model_reads_its_own_text(kind: str) -> None:
    given = trained("decoder", kind)
    (found,) = explain(given, ["the small dog"], TEXT)
    assert found.weights == pytest.approx(collected(given, "generation", text=TEXT).own_words())
    assert found.queries == found.keys == TEXT.split()
    assert not np.triu(found.of(3, 1), 1).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_looks_from_its_first_position_as_in_a_report(kind: str) -> None:
    given = trained("classifier", kind)
    through, each = explain(given, [TEXT], "yes")
    scores = rationale.scores(collected(given, "sentiment", text=TEXT))
    assert through.of(1)[0] == pytest.approx(scores["rollout"])
    for layer in (1, 2):
        assert each.of(layer)[0] == pytest.approx(scores[f"attention layer {layer}"])
    assert each.keys == through.keys == TEXT.split()
    assert each.queries == through.queries == []


def test_two_texts_are_one_sequence_as_the_tokenizer_pairs_them() -> None:
    given = trained("spans")
    question, context = "sees a dog", "the old cat sleeps"
    (found,) = explain(given, [question, context], "cat")
    ids = torch.tensor([given.tokenizer(question, context)["input_ids"]])
    _, seen = given.model(ids, torch.ones_like(ids, dtype=torch.bool), weights=True)
    words = [1, 2, 3, 5, 6, 7, 8]  # <s> question </s> context </s>
    assert found.queries == found.keys == ["sees", "a", "dog", "the", "old", "cat", "sleeps"]
    assert found.of(2, 2) == pytest.approx(seen.encoder_self[1][0, 1][words][:, words].detach().numpy())


def test_what_stands_between_two_spaces_is_no_word() -> None:
    given = trained("decoder")
    (found,) = explain(given, ["the"], "the  old dog")
    whole = collected(given, "generation", text="the  old dog").own_words()
    assert found.keys == ["the", "old", "dog"]
    assert found.weights == pytest.approx(whole[:, :, [0, 2, 3]][..., [0, 2, 3]])


def test_words_beyond_the_models_positions_are_left_out() -> None:
    found = explain(trained("classifier", positions=6), ["the old dog sees a small cat"], "no")[1]
    assert found.keys == ["the", "old", "dog", "sees"]
    assert found.weights.shape == (2, 3, 1, 4)


def test_a_prediction_of_no_words_has_no_rows() -> None:
    cross = explain(trained("encoder_decoder"), [TEXT], "")[0]
    assert cross.queries == []
    assert cross.of(1).shape == (0, len(TEXT.split()))


def test_a_mechanism_without_weights_says_so() -> None:
    (found,) = explain(trained("classifier", mechanism="fnet"), [TEXT], "no")
    assert len(found.weights) == 0
    assert found.keys == TEXT.split()
    assert found.notes == ["The mechanism fnet has no attention weights, so there is nothing to show."]


def test_only_shares_are_followed_through_the_layers() -> None:
    (found,) = explain(trained("classifier", mechanism="differential"), [TEXT], "no")
    assert len(found.weights) == 2
    assert any("negative" in note for note in found.notes)
