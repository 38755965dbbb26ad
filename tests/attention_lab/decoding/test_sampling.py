"""Drawn texts: as probable as the model has them, the same in every company, and as they come."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from scipy.stats import chisquare
from searched import best_targets
from test_models import END, PAD, START, sentences
from tiny_models import Remembering, log_probabilities, tiny

from attention_lab.decoding import Draw, Rules, TargetState, TextState, by_length, sample, stream
from attention_lab.errors import InputError


def test_texts_are_as_frequent_as_they_are_probable() -> None:
    """All texts of at most two tokens; what is never said takes no part."""
    model = Remembering(7)
    rules = Rules.of(model.config)
    allowed = [token for token in range(7) if token not in (PAD, START)]

    def share(prompt: list[int], token: int) -> float:
        logits = model.logits(torch.tensor([prompt]))[0, allowed]
        return float(logits.softmax(0)[allowed.index(token)])

    expected = {(END,): share([START], END)}
    for first in (token for token in allowed if token != END):
        for second in allowed:
            expected[first, second] = share([START], first) * share([START, first], second)
    assert sum(expected.values()) == pytest.approx(1.0)
    found = sample(
        TextState(model), torch.full((3000, 1), START), rules, Draw(), max_tokens=2, seeds=range(3000)
    )  # fmt: skip
    said = [(*text.tokens, END) if text.ended else tuple(text.tokens) for text in found]
    assert chisquare([said.count(text) for text in expected], [3000 * p for p in expected.values()]).pvalue > 0.01


def test_a_text_is_the_same_alone_and_in_any_batch() -> None:
    model = Remembering(29)
    rules = Rules.of(model.config)
    prompts = torch.arange(5, 22).unsqueeze(1)
    seeds = [100 + row for row in range(17)]
    together = sample(TextState(model), prompts, rules, Draw(0.9, 20, 0.95), max_tokens=13, seeds=seeds)
    sizes = model.sizes
    assert sizes[0] == 17
    assert 0 < sizes[-1] < sizes[len(sizes) // 2] < 17  # texts that have ended leave the batch
    assert {text.ended for text in together} == {True, False}
    assert max(len(text.tokens) + text.ended for text in together) == 13
    for row in (0, 3, 16):
        alone = sample(
            TextState(model), prompts[row : row + 1], rules, Draw(0.9, 20, 0.95), max_tokens=13, seeds=[seeds[row]]
        )[0]
        assert alone.tokens == together[row].tokens
        assert alone.log_probability == pytest.approx(together[row].log_probability)
    other = sample(TextState(model), prompts, rules, Draw(0.9, 20, 0.95), max_tokens=13, seeds=range(17))
    assert [text.tokens for text in other] != [text.tokens for text in together]


def test_prompts_of_different_lengths_are_batched_by_length() -> None:
    model = Remembering(13)
    rules, draw = Rules.of(model.config), Draw()
    prompts = [[START, 5, 6], [START], [START, 7, 8], [START, 9], [START, 6, 5]]
    found = {}
    for rows, tokens in by_length(prompts):
        assert tokens.tolist() == [prompts[row] for row in rows]
        texts = sample(TextState(model), tokens, rules, draw, max_tokens=7, seeds=rows)
        found |= dict(zip(rows, texts, strict=True))
    assert sorted(found) == list(range(5))
    for row, prompt in enumerate(prompts):
        alone = sample(TextState(model), torch.tensor([prompt]), rules, draw, max_tokens=7, seeds=[row])[0]
        assert alone.tokens == found[row].tokens
        said = [*alone.tokens, *([END] if alone.ended else [])]
        assert found[row].log_probability == pytest.approx(model.log_probability(prompt, said), abs=1e-5)


def test_a_stream_is_the_sample_token_by_token() -> None:
    model = Remembering(29)
    rules, draw = Rules(END, (PAD, START), min_tokens=6), Draw(temperature=1.3)
    prompt = torch.tensor([START, 5, 8])
    whole = sample(TextState(model), prompt.unsqueeze(0), rules, draw, max_tokens=30, seeds=[4])[0]
    assert len(whole.tokens) >= 6
    assert list(stream(TextState(model), prompt, rules, draw, max_tokens=30, seed=4)) == whole.tokens
    model.sizes = []
    first = list(islice(stream(TextState(model), prompt, rules, draw, max_tokens=30, seed=4), 2))
    assert first == whole.tokens[:2]
    assert len(model.sizes) == 4  # three of the prompt and one token read: no step further than was asked for


def test_rules_hold_in_what_is_drawn() -> None:
    model = Remembering(11)
    rules = Rules(END, (PAD, START), min_tokens=4, no_repeat_ngram=2, repetition_penalty=1.1)
    found = sample(TextState(model), torch.full((31, 1), START), rules, Draw(2.0), max_tokens=40, seeds=range(31))
    for text in found:
        pairs = list(zip([START, *text.tokens], text.tokens, strict=False))
        assert len(pairs) == len(set(pairs)) >= 4
        assert not {PAD, START, END} & set(text.tokens)


@torch.inference_mode()
def test_an_encoder_decoder_draws_what_the_full_pass_has() -> None:
    model = tiny(29, position="rotary")
    source, mask, _ = sentences()
    state = TargetState(model, source, mask)
    start = torch.full((2, 1), START)
    found = sample(state, start, Rules.of(model.config), Draw(temperature=2.0), max_tokens=9, seeds=[1, 2])
    for row, text in enumerate(found):
        said = [*text.tokens, *([END] if text.ended else [])]
        expected = log_probabilities(model, source[row : row + 1], mask[row : row + 1], [said])[tuple(said)]
        assert text.log_probability == pytest.approx(expected, abs=1e-4)


@torch.inference_mode()
def test_without_temperature_it_is_one_beam() -> None:
    model = tiny(29)
    source, mask, _ = sentences()
    expected, values = best_targets(model, source, mask, beams=1, length_penalty=1.0, max_tokens=9)
    found = sample(
        TargetState(model, source, mask), torch.full((2, 1), START), Rules.of(model.config), Draw(temperature=0.0),
        max_tokens=8, seeds=[0, 0],
    )  # fmt: skip
    assert [text.tokens for text in found] == expected
    assert [text.log_probability for text in found] == pytest.approx(values)


def test_a_text_ends_where_the_positions_do() -> None:
    model = Remembering(7, position="learned", positions=5)
    rules = Rules(END, (PAD, START, END))
    cut = sample(TextState(model), torch.full((1, 2), 4), rules, Draw(), max_tokens=9, seeds=[1])[0]
    assert (len(cut.tokens), cut.ended) == (3, False)
    with pytest.raises(InputError, match="the prompt has 6 tokens, but the model has 5 positions"):
        next(stream(TextState(model), torch.full((6,), 4), rules, Draw(), max_tokens=9, seed=1))
