from __future__ import annotations

import pytest
import torch

from attention_lab.attention.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_share_scale_and_mean(share: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(share).train()(torch.ones(1000, 1001))
    actual = round(share * 256) / 256
    assert float((dropped == 0).float().mean()) == pytest.approx(actual, abs=2e-3)
    assert float(dropped.max()) == pytest.approx(1 / (1 - actual), rel=1e-6)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=5e-3)


def test_positions_are_independent() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5).train()(torch.ones(4000, 16)) > 0).float()
    correlation = torch.corrcoef(kept.T) - torch.eye(16)
    assert float(correlation.abs().max()) < 0.08  # five standard deviations of 1/√4000


def test_gradient_passes_where_values_pass() -> None:
    torch.manual_seed(0)
    inputs = torch.ones(999, requires_grad=True)
    output = Dropout(0.25).train()(inputs)
    output.sum().backward()
    assert torch.equal(inputs.grad, output.detach())


def test_nothing_happens_outside_of_training_or_without_a_share() -> None:
    inputs = torch.randn(5)
    assert Dropout(0.5).eval()(inputs) is inputs
    assert Dropout(0.0).train()(inputs) is inputs


def test_the_same_seed_drops_the_same() -> None:
    layer, inputs = Dropout(0.5).train(), torch.ones(1003)
    torch.manual_seed(5)
    first = layer(inputs)
    torch.manual_seed(5)
    assert torch.equal(first, layer(inputs))
