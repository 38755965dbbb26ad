"""The mixture of vocabulary and source against its equation, in training, step by step, and where it must not be."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from searched import best_targets
from test_models import END, PAD, START, VOCABULARY, config, model
from torch import Tensor
from torch.nn import functional as F

from attention_lab.attention import CATALOGUE
from attention_lab.attention.composition import Composition
from attention_lab.errors import InputError
from attention_lab.transformer import EncoderDecoder, build, pointer
from attention_lab.transformer.pointer import Pointed, Pointer, mixed_cross_entropy
from attention_lab.vocabulary import UNK_ID

CROSS = {name: row.weights for name, row in CATALOGUE.items() if "cross" in row.places}


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Two sources with <s>, </s>, <unk> and words that occur twice, one of them padded, and their targets."""
    source = torch.tensor([[START, 7, 11, 7, UNK_ID, 23, END], [START, 13, 13, END, PAD, PAD, PAD]])
    target = torch.tensor([[START, 7, 11, 5, 28], [START, 13, 6, UNK_ID, 19]])
    return source, source != PAD, target


def copying(**changes: Any) -> EncoderDecoder:
    """With a gate that opens and closes."""
    built = model(copy=True, **changes)
    assert built.pointer is not None
    torch.nn.init.normal_(built.pointer.gate.weight)
    return built


def direct(transformer: EncoderDecoder, source: Tensor, mask: Tensor, target: Tensor) -> Tensor:
    """Equation 9, word by word, for equal shares: log P (B, Lt, V)."""
    states, seen = transformer(source, mask, target, weights=True)
    assert transformer.pointer is not None
    found = torch.zeros(*target.shape, transformer.config.vocabulary, dtype=torch.float64)
    for b in range(len(source)):
        for t in range(target.shape[1]):
            hidden = states.hidden[b, t]
            generate = torch.sigmoid(hidden @ transformer.pointer.gate.weight[0] + transformer.pointer.gate.bias[0])
            looked = {i: seen.cross[-1][b, 0, t, i] for i in range(source.shape[1])}
            copied = {i: weight for i, weight in looked.items() if source[b, i] >= 5}
            found[b, t] = (transformer.project(hidden)).softmax(-1) * (
                generate + (1.0 - generate) * (1.0 - sum(copied.values()))
            )
            for i, weight in copied.items():
                found[b, t, source[b, i]] += (1.0 - generate) * weight
    return found.log()


@pytest.mark.parametrize("changes", [{}, {"tied": False, "norm": "post"}, {"mechanism": "sparsemax"}])
def test_it_is_equation_9(changes: dict[str, Any]) -> None:
    transformer = copying(**changes)
    source, mask, target = batch()
    found = transformer.project(transformer(source, mask, target)[0])
    torch.testing.assert_close(found, direct(transformer, source, mask, target), atol=1e-12, rtol=0)
    plain = transformer.project(transformer(source, mask, target)[0].hidden).log_softmax(-1)
    more = found[0] - plain[0]
    assert ((more - more[:, [8]])[:, [7, 11, 23]] > 0.1).any(0).all()  # words of the source gain
    for token in (PAD, UNK_ID, START, END):
        torch.testing.assert_close(more[:, token], more[:, 8])  # special tokens do not


@pytest.mark.parametrize("mechanism", [name for name, weights in CROSS.items() if weights == "probabilities"])
def test_probabilities_sum_to_1_padding_changes_nothing_and_a_step_is_the_whole(mechanism: str) -> None:
    transformer = copying(mechanism=mechanism, width=16, heads=4)
    source, mask, target = batch()
    expected = transformer.project(transformer(source, mask, target)[0])
    torch.testing.assert_close(expected.exp().sum(-1), torch.ones(2, 5, dtype=torch.float64))
    alone = transformer.project(transformer(source[1:, :4], mask[1:, :4], target[1:, :3])[0])
    torch.testing.assert_close(alone, expected[1:, :3])
    (memory, _), caches = transformer.read(source, mask), transformer.caches()
    for step in range(target.shape[1]):
        logits = transformer.step(target[:, step : step + 1], memory, caches)
        torch.testing.assert_close(logits, expected[:, step])


@pytest.mark.parametrize("mechanism", [name for name, weights in CROSS.items() if weights != "probabilities"])
def test_weights_that_are_no_probabilities_are_refused(mechanism: str) -> None:
    with pytest.raises(InputError, match=rf"^model\.copy: .* of {mechanism} are .*; set .* or attention\.cross to one"):
        build(config(copy=True, mechanism=mechanism, width=16, heads=4))
    elsewhere = config(width=16, heads=4, mechanism=mechanism).mechanisms | {"cross": {"name": "additive"}}
    build(config(copy=True, width=16, heads=4, mechanisms=elsewhere))


@pytest.mark.parametrize("architecture", ["classifier", "decoder", "spans"])
def test_models_without_a_source_and_a_target_are_what_they_were(architecture: str) -> None:
    options = {"architecture": architecture, "labels": ("a", "b"), "mechanism": "retention"}
    names = [list(build(config(copy=copy, **options)).state_dict()) for copy in (False, True)]
    assert names[0] == names[1]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk", [VOCABULARY, 3 * VOCABULARY, 10_000])
def test_the_loss_is_that_of_the_distribution(smoothing: float, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointer, "CHUNK", chunk)
    transformer = copying()
    source, mask, target = batch()
    truth = target[:, 1:]
    wanted = truth != 19  # as with padding, the positions are those of a mask
    states = transformer(source, mask, target[:, :-1])[0][wanted]
    smoothed, nll, correct = transformer.cross_entropy(states, truth[wanted], smoothing)
    logs = direct(transformer, source, mask, target[:, :-1])[wanted]
    torch.testing.assert_close(nll, F.nll_loss(logs, truth[wanted], reduction="sum"))
    expected = F.cross_entropy(logs, truth[wanted], reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(smoothed, expected)
    assert int(correct) == int((logs.argmax(-1) == truth[wanted]).sum())
    weights = [p for p in transformer.parameters() if p.requires_grad]
    ours, theirs = (torch.autograd.grad(loss, weights) for loss in (smoothed, expected))
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right)
    gradients = {id(p): gradient for p, gradient in zip(weights, ours, strict=True)}
    assert transformer.pointer is not None
    assert gradients[id(transformer.pointer.gate.weight)].abs().max() > 0.01


def test_the_loss_keeps_the_distributions_of_no_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointer, "CHUNK", 3 * VOCABULARY)
    transformer = copying()
    source, mask, target = batch()
    states = transformer(source, mask, target)[0][torch.ones_like(target, dtype=torch.bool)]
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):
        transformer.cross_entropy(states, target.flatten(), 0.1)
        chunks, kept = kept, []
        transformer.project(states)
    assert (10, VOCABULARY) in kept
    assert not {(rows, VOCABULARY) for rows in (1, 3, 10)} & set(chunks)


def test_its_gradients_are_the_numerical_ones() -> None:
    torch.manual_seed(5)
    layer = Pointer(config(copy=True, width=4, heads=2)).double()
    hidden, scores, vectors = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in SHAPES)
    source = torch.tensor([[START, 7, 7, 2, 9]])

    def loss(hidden: Tensor, scores: Tensor, vectors: Tensor, *gate: Tensor) -> Tensor:
        states = layer(hidden, scores.softmax(-1), source)[0]
        truth = torch.tensor([7, 6, END])  # copied twice, generated alone, special
        return mixed_cross_entropy(states, truth, 0.2, lambda some: some.mixed(some.hidden @ vectors.T))[0]

    assert torch.autograd.gradcheck(loss, (hidden, scores, vectors, *layer.parameters()))


SHAPES = ((1, 3, 4), (1, 2, 3, 5), (11, 4))  # hidden (B, Lt, W), scores (B, H, Lt, Ls), vectors (V, W)


def test_who_generates_alone_is_the_plain_model() -> None:
    transformer = copying()
    assert transformer.pointer is not None
    torch.nn.init.zeros_(transformer.pointer.gate.weight)
    torch.nn.init.constant_(transformer.pointer.gate.bias, 50.0)
    plain = model()
    plain.load_state_dict({n: t for n, t in transformer.state_dict().items() if not n.startswith("pointer")})
    source, mask, target = batch()
    expected = plain.project(plain(source, mask, target)[0]).log_softmax(-1)
    torch.testing.assert_close(transformer.project(transformer(source, mask, target)[0]), expected)
    options = {"beams": 3, "length_penalty": 1.0, "max_tokens": 9}
    found = [best_targets(each, source, mask, **options) for each in (transformer, plain)]
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(found[1][1])


def test_a_source_without_words_leaves_all_to_the_vocabulary() -> None:
    transformer = copying()
    source = torch.tensor([[START, UNK_ID, UNK_ID, END, PAD]])
    states, _ = transformer(source, source != PAD, batch()[2][:1])
    torch.testing.assert_close(states.generated, torch.zeros(1, 5, dtype=torch.float64))
    assert (states.copied == 0.0).all()
    torch.testing.assert_close(transformer.project(states), transformer.project(states.hidden).log_softmax(-1))


def test_what_is_all_but_impossible_stays_finite() -> None:
    """In single precision a softmax of −300 is 0, and so is a weight of 1e-42 to its logarithm's gradient."""
    logits = torch.zeros(1, 7)
    logits[0, 5] = logits[0, 6] = -300.0
    logits.requires_grad_()
    copied = torch.tensor([[1e-42, 0.25]], requires_grad=True)
    generated = torch.tensor([0.75]).log().requires_grad_()
    logs = Pointed(torch.zeros(1, 3), generated, copied, torch.tensor([[6, 2]])).mixed(logits)
    assert logs[0, 5:].tolist() == pytest.approx([math.log(0.75 / 5) - 300.0] * 2)
    assert logs[0, 2].exp().item() == pytest.approx(0.75 / 5 + 0.25)
    for gradient in torch.autograd.grad(logs.sum(), (logits, copied, generated)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_only_the_layer_that_points_takes_the_explicit_path_and_drops_nothing(
    checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(config(copy=True, attention_dropout=0.5), gradient_checkpointing=checkpointing).double().train()
    assert isinstance(built, EncoderDecoder)
    asked: list[Composition] = []
    forward = Composition.forward

    def watched(core: Composition, call: Any, value: Tensor, *, weights: bool = False) -> Any:
        asked.extend([core] if weights else [])
        return forward(core, call, value, weights=weights)

    monkeypatch.setattr(Composition, "forward", watched)
    source, mask, target = batch()
    states, seen = built(source, mask, target)
    assert asked == [built.decoder.blocks[1].cross.core]
    assert seen.cross == []
    torch.testing.assert_close(built.project(states).exp().sum(-1), torch.ones(2, 5, dtype=torch.float64))
    assert len(built(source, mask, target, weights=True)[1].cross) == 2


def test_it_says_words_that_it_never_had_to_say() -> None:
    """Said are the first two words of a source. Every fifth word comes only when learning is over."""
    words = torch.arange(5, 1009)
    known, new = words[words % 5 != 0], words[words % 5 == 0]

    def drawn(words: Tensor, rows: int) -> Tensor:
        source = words[torch.randint(len(words), (rows, 7))]
        source[:, 0], source[:, -1] = START, END
        return source

    right = {}
    for copy in (False, True):
        torch.manual_seed(0)
        sizes = {"vocabulary": 1009, "width": 32, "heads": 2, "layers": 1, "decoder_layers": 1, "position": "learned"}
        learner = build(config(copy=copy, **sizes)).train()
        assert isinstance(learner, EncoderDecoder)
        optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
        for _ in range(120):
            source = drawn(known, 37)
            states, _ = learner(source, source != PAD, source[:, :3])
            truth = torch.cat((source[:, 1:3], torch.full((37, 1), END)), 1)
            loss, _, _ = learner.cross_entropy(states[truth != PAD], truth.flatten(), 0.0)
            optimizer.zero_grad()
            (loss / truth.numel()).backward()
            optimizer.step()
        for name, from_words in (("known", known), ("new", new)):
            source, options = drawn(from_words, 101), {"beams": 1, "length_penalty": 1.0, "max_tokens": 6}
            found, _ = best_targets(learner.eval(), source, source != PAD, **options)
            right[copy, name] = sum(said == row[1:3].tolist() for said, row in zip(found, source, strict=True)) / 101
    assert right[True, "known"] > 0.9
    assert right[True, "new"] > 0.6
    assert right[False, "new"] < 0.1


def test_a_target_with_a_vocabulary_of_its_own_is_refused_with_a_sentence() -> None:
    with pytest.raises(InputError, match=r"model\.copy: .* vocabulary of its own; set model\.copy to false or vocab"):
        model(copy=True, target_vocabulary=31)
