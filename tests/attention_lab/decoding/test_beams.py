"""Beam search against a search that tries every sequence."""

from __future__ import annotations

import itertools

import pytest
import torch
from searched import best_targets
from test_models import END, PAD, START, sentences  # the tiny models of the transformer's tests
from tiny_models import Remembering, log_probabilities, tiny

from attention_lab.decoding import Rules, TargetState, TextState, hypotheses
from attention_lab.errors import InputError

INNER = [token for token in range(7) if token not in (PAD, START, END)]


def every_text(most: int) -> list[list[int]]:
    """All texts of at most so many tokens, the end included: those that have ended, and those that were cut."""
    whole = [[*inner, END] for length in range(most) for inner in itertools.product(INNER, repeat=length)]
    return whole + [list(inner) for inner in itertools.product(INNER, repeat=most)]


@torch.inference_mode()
@pytest.mark.parametrize("copy", [False, True])
def test_wide_beams_find_the_best_of_all_sequences(copy: bool) -> None:
    model = tiny(copy=copy)
    source, mask, _ = sentences()
    source = source.clamp(max=6)
    for row in range(2):
        one, one_mask = source[row : row + 1], mask[row : row + 1]
        scores = log_probabilities(model, one, one_mask, every_text(4))
        best = max(scores, key=scores.__getitem__)
        found, value = best_targets(model, one, one_mask, beams=300, length_penalty=0.0, max_tokens=5)
        assert found[0] == [token for token in best if token != END]
        assert value[0] == pytest.approx(scores[best], abs=1e-4)


@torch.inference_mode()
def test_one_beam_takes_the_most_probable_token_each_time() -> None:
    model = tiny(29)
    source, mask, _ = sentences()
    found, _ = best_targets(model, source, mask, beams=1, length_penalty=1.0, max_tokens=9)
    for row, tokens in enumerate(found):
        said = [START]
        for expected in [*tokens, *([END] if len(tokens) < 8 else [])]:
            logits = model.project(model(source[row : row + 1], mask[row : row + 1], torch.tensor([said]))[0])[0, -1]
            logits[[PAD, START]] = -torch.inf
            assert int(logits.argmax()) == expected
            said.append(expected)


@torch.inference_mode()
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("beams", [1, 4])
def test_a_batch_gives_what_its_rows_give_alone(beams: int, copy: bool) -> None:
    model = tiny(29, position="learned", copy=copy)
    source, mask, _ = sentences()
    together, values = best_targets(model, source, mask, beams=beams, length_penalty=1.0, max_tokens=9)
    for row in range(2):
        length = int(mask[row].sum())
        alone, value = best_targets(
            model, source[row : row + 1, :length], mask[row : row + 1, :length],
            beams=beams, length_penalty=1.0, max_tokens=9,
        )  # fmt: skip
        assert alone[0] == together[row]
        assert value[0] == pytest.approx(values[row], abs=1e-4)


@torch.inference_mode()
def test_special_tokens_are_never_said() -> None:
    model = tiny(29)
    source, mask, _ = sentences()
    found, _ = best_targets(model, source, mask, beams=3, length_penalty=1.0, max_tokens=20)
    assert all(token not in (PAD, START, END) for tokens in found for token in tokens)


@torch.inference_mode()
@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0])
def test_the_n_best_are_all_sequences_by_their_worth(length_penalty: float) -> None:
    """With as many beams as there are texts, those are found, once each, and no more."""
    model = tiny()
    source, mask, _ = sentences()
    source = source.clamp(max=6)
    found = hypotheses(
        TargetState(model, source, mask), torch.full((2, 1), START), Rules.of(model.config),
        beams=100, n_best=100, length_penalty=length_penalty, max_tokens=3,
    )  # fmt: skip
    for row, hypothesis_list in enumerate(found):
        one, one_mask = source[row : row + 1], mask[row : row + 1]
        logs = log_probabilities(model, one, one_mask, every_text(3))
        expected = sorted(logs, key=lambda tokens: logs[tokens] / len(tokens) ** length_penalty, reverse=True)
        said = [(*h.tokens, END) if h.ended else tuple(h.tokens) for h in hypothesis_list]
        assert said == expected
        assert [h.log_probability for h in hypothesis_list] == pytest.approx([logs[t] for t in said], abs=1e-4)


def test_a_language_model_goes_on_with_its_prompts() -> None:
    model = Remembering(7)
    prompts = [[START, 4, 6], [START, 5, 5]]
    found = hypotheses(
        TextState(model), torch.tensor(prompts), Rules.of(model.config),
        beams=400, n_best=400, length_penalty=1.0, max_tokens=4,
    )  # fmt: skip
    for prompt, texts in zip(prompts, found, strict=True):
        logs = {tuple(tokens): model.log_probability(prompt, tokens) for tokens in every_text(4)}
        expected = sorted(logs, key=lambda tokens: logs[tokens] / len(tokens), reverse=True)
        assert [(*h.tokens, END) if h.ended else tuple(h.tokens) for h in texts] == expected
    # The prompt is read once for each text, and not for each of its beams.
    assert model.sizes == [2, 2, 800, 800, 800, 800]


def test_the_n_best_of_few_beams_are_different_and_in_order() -> None:
    model = Remembering(23)
    prompts = torch.full((5, 1), START)
    prompts[:, 0] += torch.tensor([0, 3, 5, 7, 9])
    found = hypotheses(
        TextState(model), prompts, Rules.of(model.config), beams=3, n_best=2, length_penalty=0.8, max_tokens=6
    )
    for texts in found:
        worth = [h.log_probability / (len(h.tokens) + h.ended) ** 0.8 for h in texts]
        assert worth == sorted(worth, reverse=True)
        assert len({tuple(h.tokens) for h in texts}) == 2
    with pytest.raises(ValueError, match="3 beams cannot give 4 hypotheses"):
        hypotheses(
            TextState(model), prompts, Rules.of(model.config), beams=3, n_best=4, length_penalty=0.8, max_tokens=6
        )


@pytest.mark.parametrize("beams", [1, 2])
def test_texts_that_have_ended_leave_the_batch_and_the_others_as_they_are(beams: int) -> None:
    model = Remembering(29)
    rules = Rules.of(model.config)
    prompts = torch.arange(5, 22).unsqueeze(1)
    limits = 3 + torch.arange(17) * 7 % 17
    together = hypotheses(TextState(model), prompts, rules, beams=beams, length_penalty=1.0, max_tokens=limits)
    assert model.sizes[0] == 17 * beams
    assert model.sizes == sorted(model.sizes, reverse=True)
    assert len(set(model.sizes)) > 10
    for row in range(17):
        alone = hypotheses(
            TextState(model), prompts[row : row + 1], rules,
            beams=beams, length_penalty=1.0, max_tokens=int(limits[row]),
        )[0][0]  # fmt: skip
        assert len(alone.tokens) + alone.ended <= limits[row]
        assert alone.tokens == together[row][0].tokens
        assert alone.log_probability == pytest.approx(together[row][0].log_probability)


def test_the_rules_hold_in_every_beam() -> None:
    model = Remembering(11)
    rules = Rules(END, (PAD, START), min_tokens=3, no_repeat_ngram=1)
    found = hypotheses(
        TextState(model), torch.tensor([[START, 9]]), rules, beams=5, n_best=5, length_penalty=1.0, max_tokens=20
    )[0]
    assert len(found) == 5
    for text in found:
        assert 3 <= len(text.tokens) == len(set(text.tokens) - {9, PAD, START, END})
        assert text.log_probability == pytest.approx(model.log_probability([START, 9], [*text.tokens, END]), abs=1e-5)


def test_a_prompt_has_a_token_and_a_position_for_each() -> None:
    model = Remembering(7, position="learned", positions=5)
    rules = Rules(END, (PAD, START, END))
    options = {"beams": 2, "length_penalty": 1.0, "max_tokens": 9}
    cut = hypotheses(TextState(model), torch.full((1, 3), 4), rules, **options)[0][0]
    assert (len(cut.tokens), cut.ended) == (2, False)
    with pytest.raises(InputError, match="the prompt has 6 tokens, but the model has 5 positions"):
        hypotheses(TextState(model), torch.full((1, 6), 4), rules, **options)
    with pytest.raises(InputError, match="at least one token"):
        hypotheses(TextState(model), torch.zeros(1, 0, dtype=torch.int64), rules, **options)
