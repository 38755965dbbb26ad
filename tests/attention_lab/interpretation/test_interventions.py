"""Other weights, and other parameters."""

from __future__ import annotations

import pytest
import torch
from explainable import asked_of

from attention_lab.interpretation import interventions
from attention_lab.interpretation.hooks import Used, reweighted
from attention_lab.interpretation.methods import looked_at


def used_after(asked, change) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights before and after a change, of each layer where the source is looked at."""
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(used: Used) -> torch.Tensor:
        pairs.append((used.weights, change(used)))
        return pairs[-1][1]

    with torch.no_grad(), reweighted(asked.model, keep, [looked_at(asked.model.config)]):
        asked.log_probabilities()
    assert len(pairs) == asked.model.config.layers
    return pairs


@pytest.mark.parametrize("mechanism", ["scaled_dot_product", "local", "sparsemax", "linear"])
@pytest.mark.parametrize("architecture", ["classifier", "decoder"])
def test_permuted_and_even_weights_stay_where_a_query_may_look(architecture: str, mechanism: str, monkeypatch) -> None:
    asked = asked_of(architecture, mechanism)
    changes = []
    monkeypatch.setattr(interventions, "_changed", lambda batches, change: changes.append(change))
    interventions.permuted([asked], seed=0)
    interventions.evened([asked])
    deal, even = changes
    for before, after in used_after(asked, deal):
        torch.testing.assert_close(before.sort(-1).values, after.sort(-1).values)
        assert not torch.equal(before, after)
    for before, after in used_after(asked, even):
        there = after > 0.0
        assert (before[~there] == 0.0).all()
        torch.testing.assert_close(after, there / there.sum(-1, keepdim=True).clamp(min=1.0), check_dtype=False)


def test_changes_are_distances_between_distributions() -> None:
    asked = asked_of("encoder_decoder")
    found = interventions.evened([asked])
    assert ((found.distance > 0.0) & (found.distance < 1.0)).all()
    nothing = interventions._changed([asked], lambda used: used.weights)
    assert (nothing.distance < 1e-9).all()
    assert (nothing.right == nothing.right_before).all()


def test_a_cascade_ends_with_another_model_and_leaves_the_first() -> None:
    asked = asked_of("encoder_decoder")
    before = {name: tensor.clone() for name, tensor in asked.model.state_dict().items()}
    parts = []
    for part, changed in interventions.cascade(asked.model, seed=7):
        parts.append(part)
        state = changed.state_dict()
        new = {name for name in state if not torch.equal(state[name].double(), before[name])}
        if part == "decoder layer 2":
            assert {name.split(".blocks.")[1][0] for name in new if ".blocks." in name} == {"1"}
            assert not any(name.startswith("encoder.blocks") for name in new)
    assert parts == [
        "output", "decoder layer 2", "decoder layer 1", "encoder layer 2", "encoder layer 1", "embedding",
    ]  # fmt: skip
    assert any("weight" in name and "blocks" in name for name in new)
    assert all(torch.equal(tensor, before[name]) for name, tensor in asked.model.state_dict().items())
