"""Beam search against a search that tries every sequence."""

from __future__ import annotations

import itertools

import pytest
import torch
from test_models import END, PAD, START, config, sentences  # the tiny models of the transformer's tests

from attention_lab.decoding import beam_search
from attention_lab.transformer import EncoderDecoder, build


def tiny(vocabulary: int = 7, **changes: object) -> EncoderDecoder:
    torch.manual_seed(3)
    model = build(config(vocabulary=vocabulary, **changes)).eval()
    assert isinstance(model, EncoderDecoder)
    with torch.no_grad():
        model.embedding.tokens.weight.mul_(3.0)  # untrained logits are nearly alike; these have preferences
    return model


def log_probability(model: EncoderDecoder, source: torch.Tensor, mask: torch.Tensor, tokens: list[int]) -> float:
    target = torch.tensor([[START, *tokens]])
    logits = model.project(model(source, mask, target[:, :-1])[0])[0]
    logs = logits.log_softmax(-1)
    return float(sum(logs[i, token] for i, token in enumerate(tokens)))


@torch.inference_mode()
def test_wide_beams_find_the_best_of_all_sequences() -> None:
    model = tiny()
    source, mask, _ = sentences()
    source = source.clamp(max=6)
    for row in range(2):
        one, one_mask = source[row : row + 1], mask[row : row + 1]
        inner = [t for t in range(7) if t not in (PAD, START, END)]
        whole = [[*middle, END] for n in range(4) for middle in itertools.product(inner, repeat=n)]
        cut = [list(middle) for middle in itertools.product(inner, repeat=4)]  # max_tokens reached without an end
        scores = {tuple(tokens): log_probability(model, one, one_mask, tokens) for tokens in whole + cut}
        best = max(scores, key=scores.__getitem__)
        found, value = beam_search(model, one, one_mask, beams=300, length_penalty=0.0, max_tokens=5)
        assert found[0] == [token for token in best if token != END]
        assert value[0] == pytest.approx(scores[best], abs=1e-4)


@torch.inference_mode()
def test_one_beam_takes_the_most_probable_token_each_time() -> None:
    model = tiny(29)
    source, mask, _ = sentences()
    found, _ = beam_search(model, source, mask, beams=1, length_penalty=1.0, max_tokens=9)
    for row, tokens in enumerate(found):
        said = [START]
        for expected in [*tokens, *([END] if len(tokens) < 8 else [])]:
            logits = model.project(model(source[row : row + 1], mask[row : row + 1], torch.tensor([said]))[0])[0, -1]
            logits[[PAD, START]] = -torch.inf
            assert int(logits.argmax()) == expected
            said.append(expected)


@torch.inference_mode()
@pytest.mark.parametrize("beams", [1, 4])
def test_a_batch_gives_what_its_rows_give_alone(beams: int) -> None:
    model = tiny(29, position="learned")
    source, mask, _ = sentences()
    together, values = beam_search(model, source, mask, beams=beams, length_penalty=1.0, max_tokens=9)
    for row in range(2):
        length = int(mask[row].sum())
        alone, value = beam_search(
            model, source[row : row + 1, :length], mask[row : row + 1, :length],
            beams=beams, length_penalty=1.0, max_tokens=9,
        )  # fmt: skip
        assert alone[0] == together[row]
        assert value[0] == pytest.approx(values[row], abs=1e-4)


@torch.inference_mode()
def test_special_tokens_are_never_said() -> None:
    model = tiny(29)
    source, mask, _ = sentences()
    found, _ = beam_search(model, source, mask, beams=3, length_penalty=1.0, max_tokens=20)
    assert all(token not in (PAD, START, END) for tokens in found for token in tokens)
