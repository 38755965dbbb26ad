"""What may be said next and what is drawn: against the logits processors of transformers."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from transformers import (
    LogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from attention_lab.decoding import Draw, Rules

TEXTS, LENGTH, VOCABULARY, END = 17, 13, 11, 10


def texts() -> tuple[Tensor, Tensor]:
    """Logits (N, V) and what was said (N, L), in few words, so that there is much to repeat."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(TEXTS, VOCABULARY, generator=generator) * 3
    said = torch.randint(0, 5, (TEXTS, LENGTH), generator=generator)
    said[3] = 2  # one word over and over: it repeats n-grams of every length
    return logits, said


@pytest.mark.parametrize("penalty", [1.0, 1.2, 3.0, 0.5])
def test_the_repetition_penalty_is_that_of_transformers(penalty: float) -> None:
    logits, said = texts()
    expected = RepetitionPenaltyLogitsProcessor(penalty)(said, logits.clone()).log_softmax(-1)
    torch.testing.assert_close(Rules(END, repetition_penalty=penalty).log_probabilities(logits, said, 0), expected)


@pytest.mark.parametrize("size", [1, 2, 3, LENGTH, LENGTH + 1, LENGTH + 5])
def test_ngrams_that_may_not_be_repeated_are_those_of_transformers(size: int) -> None:
    logits, said = texts()
    expected = NoRepeatNGramLogitsProcessor(size)(said, logits.log_softmax(-1))
    found = Rules(END, no_repeat_ngram=size).log_probabilities(logits, said, 0)
    torch.testing.assert_close(found, expected)
    assert expected.isneginf().any() == (size <= LENGTH)


@pytest.mark.parametrize("written", [0, 2, 3, 4])
def test_the_least_length_is_that_of_transformers(written: int) -> None:
    logits, said = texts()
    processor = MinNewTokensLengthLogitsProcessor(LENGTH - written, 3, END)
    found = Rules(END, min_tokens=3).log_probabilities(logits, said, written)
    torch.testing.assert_close(found, processor(said, logits.log_softmax(-1)))
    assert found[:, END].isneginf().all() == (written < 3)


def test_what_is_never_said_keeps_its_share() -> None:
    logits, said = texts()
    found = Rules(END, (3, 7)).log_probabilities(logits, said, 0)
    expected = logits.log_softmax(-1)
    expected[:, [3, 7]] = -torch.inf
    assert torch.equal(found, expected)


def test_a_text_that_may_say_nothing_may_end() -> None:
    """Three words, each said already, and an end that comes too early or was in the prompt."""
    logits = torch.tensor([[1.0, 2.0, 3.0, 0.5], [1.0, 2.0, 3.0, 0.5]])
    said = torch.tensor([[0, 1, 2], [0, 1, 3]])
    found = Rules(3, no_repeat_ngram=1, min_tokens=5).log_probabilities(logits, said, 3)
    expected = logits.log_softmax(-1)
    expected[0, :3] = -torch.inf
    expected[1, [0, 1, 3]] = -torch.inf
    assert torch.equal(found, expected)
    assert torch.equal(Rules(3, no_repeat_ngram=1).log_probabilities(logits, said, 3)[:, 3], expected[0, 3].repeat(2))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 4, 50])
@pytest.mark.parametrize("top_p", [0.01, 0.6, 0.95, 1.0])
def test_the_distribution_is_that_of_transformers(temperature: float, top_k: int | None, top_p: float) -> None:
    logits, said = texts()
    warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(temperature)]
    warpers += [] if top_k is None else [TopKLogitsWarper(top_k)]
    warpers += [TopPLogitsWarper(top_p)]
    expected = logits.double()
    for warper in warpers:
        expected = warper(said, expected)
    found = Draw(temperature, top_k, top_p).probabilities(logits)
    torch.testing.assert_close(found, expected.softmax(-1))


def test_no_temperature_takes_the_most_probable_token() -> None:
    logits, _ = texts()
    uniform = torch.rand(TEXTS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Draw(temperature=0.0).token(logits, uniform), logits.argmax(1))


@pytest.mark.parametrize("draw", [Draw(), Draw(temperature=1.7), Draw(top_k=5), Draw(top_p=0.8), Draw(0.8, 7, 0.9)])
def test_tokens_are_as_frequent_as_they_are_probable(draw: Draw) -> None:
    logits = torch.linspace(-1.0, 1.0, VOCABULARY)[torch.arange(VOCABULARY) * 7 % VOCABULARY]
    logits[4] = -torch.inf
    uniform = torch.rand(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    counts = draw.token(logits.expand(20_000, -1), uniform).bincount(minlength=VOCABULARY)
    shares = draw.probabilities(logits.unsqueeze(0))[0]
    possible = shares > 0
    assert not counts[~possible].any()
    assert chisquare(counts[possible], 20_000 * shares[possible]).pvalue > 0.01


def test_a_draw_turns_the_distribution_function_round() -> None:
    logs = torch.tensor([-torch.inf, 0.25, -torch.inf, 0.5, 0.25, -torch.inf])
    logs = torch.where(logs > 0, logs.log(), logs).repeat(6, 1)
    uniform = torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 0.7501, 1.0 - 2.0**-53], dtype=torch.float64)
    assert Draw().token(logs, uniform).tolist() == [1, 1, 3, 3, 4, 4]


@pytest.mark.parametrize("wrong", [{"temperature": -0.1}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_a_value_out_of_its_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="temperature must be 0 or more"):
        Draw(**wrong)
