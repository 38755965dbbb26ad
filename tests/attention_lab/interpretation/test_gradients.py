"""Gradients against captum, which has them from others, and against differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from explainable import asked_of

from attention_lab.interpretation import gradients
from attention_lab.interpretation.asked import Asked, log_probabilities
from attention_lab.interpretation.hooks import Used, embedded, reweighted
from attention_lab.transformer import SpanExtractor
from attention_lab.transformer.models import segments_of
from attention_lab.vocabulary import UNK_ID

ARCHITECTURES = ["encoder_decoder", "classifier", "spans", "decoder"]
STEPS = 7


def vectors_of(asked: Asked, source: torch.Tensor) -> torch.Tensor:
    spans = isinstance(asked.model, SpanExtractor)
    segments = segments_of(asked.batch.source, asked.model.config) if spans else None
    return asked.model.embedding(source, segments=segments).detach()


def scored(asked: Asked, output: int) -> Any:
    """The log-probability of one output, of vectors that may be repeated."""

    def forward(vectors: torch.Tensor) -> torch.Tensor:
        times = len(vectors) // len(asked.batch.source)
        batch = asked.batch
        repeated = replace(
            batch,
            source=batch.source.repeat(times, 1),
            source_mask=batch.source_mask.repeat(times, 1),
            target=None if batch.target is None else batch.target.repeat(times, 1),
        )
        with embedded(asked.model, vectors):
            return log_probabilities(asked.model, repeated, asked.said.repeat(times, 1))[output]

    return forward


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_as_captum_says(architecture: str) -> None:
    asked = asked_of(architecture)
    source = asked.batch.source
    unknown = source.clone()
    for row, words in enumerate(asked.sources):
        for token, owner in enumerate(words.owners):
            if owner is not None:
                unknown[row, token] = UNK_ID
    here, there = vectors_of(asked, source), vectors_of(asked, unknown)
    simple, (summed, _) = gradients.gradient_x_input(asked), gradients.integrated_gradients(asked, STEPS)
    for output in range(simple.shape[1]):
        theirs = InputXGradient(scored(asked, output)).attribute(here.clone().requires_grad_())
        torch.testing.assert_close(simple[:, output], theirs.sum(-1).detach(), rtol=1e-6, atol=1e-9)
        theirs = IntegratedGradients(scored(asked, output), multiply_by_inputs=True).attribute(
            here, there, n_steps=STEPS, method="gausslegendre"
        )
        torch.testing.assert_close(summed[:, output], theirs.sum(-1).detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_enough_steps_are_complete_and_one_is_not(architecture: str) -> None:
    asked = asked_of(architecture, activation="gelu")  # without kinks, so that points of a quadrature suffice

    def gap(steps: int) -> float:
        scores, whole = gradients.integrated_gradients(asked, steps)
        return float((scores.sum(-1) - whole).abs().max() / whole.abs().max())

    assert gap(150) < 1e-3
    assert gap(1) > 1e-2


def test_of_the_weights_a_small_change_says_the_same() -> None:
    """A · relu(∂F/∂A), with ∂F/∂A by differences, for all weights of the first layer and of the second."""
    asked = asked_of("classifier", rows=2, heads=2)
    step, place = 1e-4, "encoder_self"
    own: list[torch.Tensor] = []

    def keep(used: Used) -> torch.Tensor:
        own.append(used.weights.detach())
        return used.weights

    with reweighted(asked.model, keep):
        before = asked.log_probabilities()[0].detach()
    by_hand = torch.zeros(2, own[0].shape[-1], dtype=torch.float64)
    for layer, weights in enumerate(own):
        for head, query, key in torch.cartesian_prod(*(torch.arange(size) for size in weights.shape[1:])).tolist():
            change = torch.zeros_like(weights)
            change[:, head, query, key] = step

            def moved(used: Used, layer: int = layer, change: torch.Tensor = change) -> torch.Tensor:
                return used.weights + change if used.layer == layer else used.weights

            with torch.no_grad(), reweighted(asked.model, moved):
                slope = (asked.log_probabilities()[0] - before) / step
            by_hand[:, key] += weights[:, head, query, key] * slope.relu()
    found = gradients.gradient_x_attention(asked, place)[:, 0]
    torch.testing.assert_close(found, by_hand, rtol=5e-2, atol=2e-3, check_dtype=False)


def test_nothing_stays_on_the_model() -> None:
    asked = asked_of("encoder_decoder")
    before = asked.log_probabilities()
    gradients.gradient_x_attention(asked, "cross")
    gradients.integrated_gradients(asked, 2)
    for a, b in zip(before, asked.log_probabilities(), strict=True):
        assert torch.equal(a, b)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in asked.model.modules())
    assert all(parameter.grad is None for parameter in asked.model.parameters())
