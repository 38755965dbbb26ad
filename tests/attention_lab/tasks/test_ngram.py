"""The classical language model."""

from __future__ import annotations

import math

import pytest

from attention_lab.tasks.ngram import END, CharacterNGram


@pytest.mark.parametrize("order", [1, 2, 5])
def test_probabilities_of_all_characters_sum_to_one(order: int) -> None:
    model = CharacterNGram(["banana", "bandana", "cabana"], order)
    context = "an"[: order - 1]
    known = [*"abcdn", END, "?"]  # what follows a context, and a character that was never seen
    assert sum(model.probability(context, character) for character in known) == pytest.approx(1.0, abs=1e-12)


def test_absolute_discounting_by_hand() -> None:
    # "ab" and its end: three characters once each, so p(a) = (1 − d)/3 + d·3/3·1/4 with d = 3/4.
    model = CharacterNGram(["ab"], 2)
    of_a = 0.25 / 3 + 0.75 / 4
    assert model.probability("", "a") == pytest.approx(of_a)
    assert model.probability("b", "a") == pytest.approx(0.75 * of_a)  # after b only the end was seen, once
    assert model.probability("b", END) == pytest.approx(0.25 + 0.75 * of_a)
    assert model.probability("z", "a") == pytest.approx(of_a)  # a context that was never seen says nothing
    expected = [0.25 + 0.75 * of_a] * 3  # each of a, b and the end was all that followed its context
    assert model.nats("ab") == pytest.approx(-sum(map(math.log, expected)))


def test_a_longer_context_helps_where_text_repeats_itself() -> None:
    texts = ["the cat sat on the mat", "the dog sat on the log"] * 5
    short, long = CharacterNGram(texts, 1), CharacterNGram(texts, 4)
    assert long.nats("the cat sat on the log") < 0.4 * short.nats("the cat sat on the log")
    assert math.isfinite(long.nats("Ünknown ✓"))
