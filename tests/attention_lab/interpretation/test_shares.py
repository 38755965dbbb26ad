"""What attention passes on: parts that sum up to the whole, and shares by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from explainable import asked_of

from attention_lab.attention import CATALOGUE
from attention_lab.interpretation import shares
from attention_lab.interpretation.hooks import attention_layers
from attention_lab.interpretation.shares import Mixed

SOME = ["scaled_dot_product", "differential", "output_gate", "grouped_query", "latent", "talking_heads", "linear"]


def without_biases(model: torch.nn.Module) -> None:
    """Parts of keys know of no bias that is added behind them."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize("norm", ["pre", "post", "sandwich"])
@pytest.mark.parametrize("normalisation", ["layer", "rms"])
@pytest.mark.parametrize("mechanism", SOME)
def test_parts_sum_up_to_what_comes_out(mechanism: str, norm: str, normalisation: str) -> None:
    asked = asked_of("encoder_decoder", mechanism, norm=norm, normalisation=normalisation)
    without_biases(asked.model)
    for layers in shares.taken_apart(asked).values():
        for layer in layers:
            torch.testing.assert_close(layer.parts.sum(2) + (0.0 if layer.own is None else layer.own), layer.output)


def test_parts_are_those_of_a_layer_that_was_told_which_words_are_the_same() -> None:
    asked = asked_of("spans", match=True, segments=3)
    without_biases(asked.model)
    told = shares.taken_apart(asked)["encoder_self"]
    for layer in told:
        torch.testing.assert_close(layer.parts.sum(2) + (0.0 if layer.own is None else layer.own), layer.output)
    for block in asked.model.encoder.blocks:
        torch.nn.init.zeros_(block.attention.core.position.numbers)
    for layer, other in zip(told, shares.taken_apart(asked)["encoder_self"], strict=True):
        assert not torch.allclose(layer.weights, other.weights, atol=1e-2)


@pytest.mark.parametrize("share", [shares.by_weights, shares.by_norm, shares.by_distance])
@pytest.mark.parametrize("architecture", ["encoder_decoder", "classifier", "decoder"])
def test_shares_of_all_sources_sum_to_1_and_padding_has_none(share: shares.Share, architecture: str) -> None:
    asked = asked_of(architecture)
    flow = shares.flow(shares.taken_apart(asked), share)
    total = flow.source.sum(-1) if flow.prefix is None else flow.source.sum(-1) + flow.prefix.sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    for row, length in enumerate(asked.reading.lengths[:, 0]):
        said = len(asked.outputs(row).owners)
        assert (flow.source[row, :said, length:] == 0.0).all()
        assert (flow.source[row, :said] >= 0.0).all()


def test_shares_of_one_layer_by_hand() -> None:
    """Cross-attention: y = (3, 1) = x₁ part (2, 0) + x₂ part (0, −1) + own (1, 2)."""
    layer = Mixed(
        weights=torch.tensor([[[[0.25, 0.75]]], [[[0.5, 0.5]]]]).transpose(0, 1),
        lengths=torch.tensor([[[2.0, 1.0]]]),
        parts=torch.tensor([[[[2.0, 0.0], [0.0, -1.0]]]]),
        own=torch.tensor([[[1.0, 2.0]]]),
        output=torch.tensor([[[3.0, 1.0]]]),
    )
    keys, own = shares.by_weights(layer)
    torch.testing.assert_close(keys, torch.tensor([[[0.1875, 0.3125]]]))
    assert own.item() == 0.5
    keys, own = shares.by_norm(layer)
    whole = 2.0 + 1.0 + 5.0**0.5
    torch.testing.assert_close(keys, torch.tensor([[[2.0 / whole, 1.0 / whole]]]))
    assert own.item() == pytest.approx(5.0**0.5 / whole)
    # ‖y‖ = 4; without x₁ ‖(1, 1)‖ = 2, without x₂ ‖(3, 2)‖ = 5, without own ‖(2, −1)‖ = 3: 2, 0 and 1 nearer.
    keys, own = shares.by_distance(layer)
    torch.testing.assert_close(keys, torch.tensor([[[2.0 / 3.0, 0.0]]]))
    assert own.item() == pytest.approx(1.0 / 3.0)


@pytest.mark.parametrize("norm", ["pre", "post", "sandwich"])
def test_what_a_position_keeps_is_a_part_of_what_comes_from_it(norm: str) -> None:
    """Tᵢ(xⱼ) = αᵢⱼ f(xⱼ), + xᵢ for j = i (Kobayashi et al. 2021, section 3; Ferrando et al. 2022, equation 5), each
    written out from the model's weights, and behind the norm of their sum where that follows."""
    asked = asked_of("classifier", norm=norm, position="learned")
    without_biases(asked.model)
    (found, _) = shares.taken_apart(asked)["encoder_self"]
    block = asked.model.encoder.blocks[0]
    inputs = asked.model.embedding(asked.batch.source)
    layer, around = block.attention, block.around_attention
    call, value = layer.call(inputs if norm == "post" else around.norm(inputs), mask=asked.batch.source_mask)
    weights, (rows, length, width) = layer.core.weights(call), inputs.shape
    parts = inputs.new_zeros(rows, length, length, width)
    for i, j in itertools.product(range(length), repeat=2):
        parts[:, i, j] = layer.output((weights[:, :, i, j, None] * value[:, :, j]).flatten(1))
    torch.testing.assert_close(found.lengths, parts.norm(dim=-1))
    if norm == "sandwich":
        parts = linear_of(around.after, parts.sum(2))(parts)
    for i in range(length):
        parts[:, i, i] += inputs[:, i]
    if norm == "post":
        parts = linear_of(around.norm, parts.sum(2))(parts)
    torch.testing.assert_close(found.parts, parts, atol=1e-5, rtol=1e-4)
    keys, own = shares.by_norm(found)
    torch.testing.assert_close(
        keys, parts.norm(dim=-1) / parts.norm(dim=-1).sum(-1, keepdim=True), atol=1e-5, rtol=1e-4
    )
    output = parts.sum(2, keepdim=True)
    nearer = (output.abs().sum(-1) - (output - parts).abs().sum(-1)).clamp(min=0.0)
    torch.testing.assert_close(
        shares.by_distance(found)[0], nearer / nearer.sum(-1, keepdim=True), atol=1e-4, rtol=1e-3
    )  # fmt: skip
    assert not own.any()


def linear_of(norm: torch.nn.LayerNorm, total: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a layer norm of `total` does to its summands."""
    deviation = (total.var(-1, unbiased=False) + norm.eps).sqrt()[:, :, None, None]
    return lambda parts: (parts - parts.mean(-1, keepdim=True)) / deviation * norm.weight


def test_flow_by_hand() -> None:
    """Two layers of an encoder, one of a decoder, of two positions; shares are given, not computed."""
    first, second = torch.tensor([[[0.5, 0.0], [0.2, 0.3]]]), torch.tensor([[[0.1, 0.4], [0.0, 0.6]]])
    itself, cross = torch.tensor([[[0.7, 0.0], [0.5, 0.1]]]), torch.tensor([[[0.2, 0.5], [0.3, 0.3]]])
    given = {"encoder_self": [first, second], "decoder_self": [itself], "cross": [cross]}

    def share(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rest = 1.0 - keys.sum(-1)
        return (keys, rest) if keys is cross else (keys + torch.diag_embed(rest), torch.zeros_like(rest))

    flow = shares.flow(given, share)  # type: ignore[arg-type]
    one, two = (torch.eye(2) - torch.diag(k.sum(-1)[0]) + k[0] for k in (first, second))
    rest = torch.diag(1.0 - cross.sum(-1)[0])
    decoder = torch.eye(2) - torch.diag(itself.sum(-1)[0]) + itself[0]
    torch.testing.assert_close(flow.source[0], cross[0] @ two @ one)
    assert flow.prefix is not None
    torch.testing.assert_close(flow.prefix[0], rest @ decoder)


def test_order_of_layers_matters() -> None:
    asked = asked_of("classifier", position="learned")
    layers = shares.taken_apart(asked)
    right = shares.flow(layers, shares.by_norm).source
    wrong = shares.flow({place: found[::-1] for place, found in layers.items()}, shares.by_norm).source
    assert not torch.allclose(right, wrong, atol=1e-3)


def test_value_zeroing_by_hand() -> None:
    """In the first layer: the sum of values without one of them, through the rest of the block."""
    asked = asked_of("classifier", rows=2)
    found = shares.value_zeroing(asked)["encoder_self"]
    assert len(found) == 2
    block = asked.model.encoder.blocks[0]
    (layer, _) = attention_layers(asked.model)["encoder_self"]
    inputs = asked.model.embedding(asked.batch.source)
    normed = block.around_attention.norm(inputs)
    call, value = layer.call(normed, mask=asked.batch.source_mask)
    weights = layer.core.weights(call)

    def through(weights: torch.Tensor) -> torch.Tensor:
        hidden = inputs + layer.output((weights @ value).transpose(1, 2).flatten(2))
        return hidden + block.feedforward(block.around_feedforward.norm(hidden))

    distances = []
    for key in range(inputs.shape[1]):
        without = weights.clone()
        without[..., key] = 0.0
        distances.append(1.0 - torch.cosine_similarity(through(without), through(weights), dim=-1))
    by_hand = torch.stack(distances, -1)
    torch.testing.assert_close(
        found[0], by_hand / by_hand.sum(-1, keepdim=True), check_dtype=False, rtol=1e-4, atol=1e-6
    )


def test_a_model_that_reads_only_through_one_path_has_its_share_there() -> None:
    """Every position passes on all of one key and nothing of itself: rollout must follow the permutations."""
    asked = asked_of("classifier", "hard_coded")
    assert CATALOGUE["hard_coded"].weights == "probabilities"
    layers = shares.taken_apart(asked)["encoder_self"]
    once = shares.flow({"encoder_self": layers[:1]}, lambda layer: (layer.weights.mean(1), torch.zeros(3, 9)))
    by_hand = layers[0].weights.mean(1)
    torch.testing.assert_close(once.source, by_hand)
