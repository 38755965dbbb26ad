"""Heads: what they look at, and what is lost without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explainable import asked_of

from attention_lab.interpretation import heads
from attention_lab.interpretation.asked import loss
from attention_lab.interpretation.findings import Head
from attention_lab.interpretation.hooks import attention_layers, gated
from attention_lab.metrics import interval


@pytest.mark.parametrize("architecture", ["encoder_decoder", "classifier", "spans", "decoder"])
def test_ablation_is_the_loss_of_a_model_whose_head_is_cut_off(architecture: str) -> None:
    asked = asked_of(architecture)
    found = heads.found_in(asked.model, [asked])
    assert set(found) == set(asked.model.config.places)
    before = loss(asked.model, asked.batch)
    for place, layers in attention_layers(asked.model).items():
        head = next(one for one in found[place] if (one.layer, one.head) == (2, 3))
        output = layers[1].output
        kept = output.weight.detach().clone()
        with torch.no_grad():
            output.weight[:, 2 * 6 : 3 * 6] = 0.0  # what projects head 3 of width 6
            lost = loss(asked.model, asked.batch) - before
            output.weight.copy_(kept)
        assert head.ablation == pytest.approx(float(lost.mean()), abs=1e-5)


def test_importance_and_patching_are_the_slope_of_the_gate() -> None:
    asked, step = asked_of("classifier"), 1e-4
    found = heads.found_in(asked.model, [asked])["encoder_self"]
    for one in found:
        gates = torch.ones(2, 1, 4, dtype=torch.float64)
        gates[one.layer - 1, :, one.head - 1] += step
        with torch.no_grad():
            before = loss(asked.model, asked.batch)
            with gated(asked.model, {"encoder_self": gates}):
                slope = (loss(asked.model, asked.batch) - before) / step
        assert one.importance == pytest.approx(float(slope.abs().mean()), rel=1e-2, abs=2e-3)
        assert one.patching == pytest.approx(-float(slope.mean()), rel=1e-2, abs=2e-3)


def test_open_gates_change_nothing() -> None:
    asked = asked_of("encoder_decoder")
    ones = {place: torch.ones(len(found), 1, 4) for place, found in attention_layers(asked.model).items()}
    with gated(asked.model, ones):
        after = loss(asked.model, asked.batch)
    torch.testing.assert_close(after, loss(asked.model, asked.batch))


def looks(weights: np.ndarray, allowed: np.ndarray | None = None) -> heads._Looks:
    found = heads._Looks("encoder_self")
    queries, keys = weights.shape[2:]
    allowed = np.ones_like(weights) if allowed is None else allowed
    found.add(weights, allowed, np.arange(queries), np.arange(keys) + 100, rarest=2)
    return found


@pytest.mark.parametrize(("step", "role"), [(-1, "the word before"), (0, "itself"), (1, "the word after")])
def test_a_head_with_one_offset_has_its_name(step: int, role: str) -> None:
    n = 23
    weights = np.zeros((1, 2, n, n))
    weights[0, 0] = np.eye(n)[np.clip(np.arange(n) + step, 0, n - 1)]
    weights[0, 1] = np.eye(n)[np.random.default_rng(0).permutation(n)]
    found = looks(weights).roles()
    assert found is not None
    assert found.tolist() == [[role, ""]]


def test_other_roles() -> None:
    n = 11
    weights = np.zeros((1, 3, n, n))
    weights[0, 0, :, 0] = weights[0, 1, :, n - 1] = 1.0
    weights[0, 2, :7, 2] = weights[0, 2, 7:, 8] = 1.0
    found = looks(weights).roles()
    assert found is not None
    assert found.tolist() == [["the first position", "the last position", "the rarest word"]]


def test_entropy_is_a_share_of_the_largest_possible() -> None:
    n = 7
    weights = np.zeros((1, 3, n, n))
    weights[0, 0] = 1.0 / n
    weights[0, 1] = np.eye(n)
    weights[0, 2, :, :2] = 0.5
    found = looks(weights).entropy(True)
    np.testing.assert_allclose(found, [[1.0, 0.0, np.log(2) / np.log(n)]], atol=1e-9)
    assert looks(weights).entropy(False) is None


@pytest.mark.parametrize("window", [1, 3, 7])
def test_even_weights_over_what_a_query_may_see_are_spread_as_far_as_can_be_and_have_no_role(window: int) -> None:
    n = 7
    at = np.arange(n)
    allowed = ((at <= at[:, None]) & (at > at[:, None] - window))[None, None].astype(float)
    found = looks(allowed / allowed.sum(-1, keepdims=True), allowed)
    roles = found.roles()
    assert roles is not None
    if window == 1:  # every query sees itself alone
        assert found.entropy(True) is None
        assert roles.tolist() == [["itself"]]
    else:
        np.testing.assert_allclose(found.entropy(True), [[1.0]], atol=1e-9)
        assert roles.tolist() == [[""]]


@pytest.mark.parametrize("mechanism", ["uniform", "causal", "local", "block_local"])
def test_a_model_of_even_weights_is_told_so(mechanism: str) -> None:
    """… whatever its pattern lets it see: its scores are all 0."""
    asked = asked_of("classifier", mechanism)
    with torch.no_grad():
        for block in asked.model.encoder.blocks:
            if mechanism != "uniform":
                block.attention.heads.query.weight.zero_()
                block.attention.heads.query.bias.zero_()
    for head in heads.found_in(asked.model, [asked])["encoder_self"]:
        assert head.entropy == pytest.approx(1.0, abs=1e-5)
        assert head.role == ""


@pytest.mark.parametrize("of", [np.arange(1, 24), np.arange(46).reshape(23, 2) + 5])
def test_intervals_are_those_of_the_bootstrap_of_scipy(of: np.ndarray) -> None:
    values = np.random.default_rng(3).gamma(2.0, size=(23, 2))
    low, high = heads._ends(values, of, 9973, 1)
    for head in range(2):
        below = of if of.ndim == 1 else of[:, head]
        wanted = interval(lambda rows, h=head, b=below: float(values[rows, h].sum() / b[rows].sum()), 23, 9973, 2)
        assert (low[head], high[head]) == pytest.approx(wanted, rel=0.02)
        assert low[head] < heads._ratio(values, of)[head] < high[head]


def test_every_figure_of_a_head_has_an_interval_over_rows() -> None:
    asked = asked_of("encoder_decoder")
    for of_place in heads.found_in(asked.model, [asked], resamples=97, seed=1).values():
        for head in of_place:
            assert (head.share is None) == (head.role == "")
            for name in heads.MEASURED:
                figure, (low, high) = getattr(head, name), head.ends.get(name, (None, None))
                assert (figure is None) == (low is None) == (high is None), name
                if None not in (figure, low, high):
                    assert low - 1e-6 <= figure <= high + 1e-6, name


def test_one_row_has_no_interval_and_without_resamples_there_is_none() -> None:
    for rows, resamples in ((1, 97), (5, 0)):
        assert np.isnan(heads._ends(np.ones((rows, 1, 1)), np.ones(rows), resamples, 0)).all()


def test_the_share_of_a_role_is_that_of_the_queries_that_keep_to_it() -> None:
    n = 20
    weights = np.eye(n)[np.arange(n)][None, None]
    weights[0, 0, :1] = np.eye(n)[7]  # one of twenty looks elsewhere
    found = looks(weights)
    values, of = found.parts(np.array([["itself"]], dtype=object), True)["share"]
    assert heads._ratio(values, of).tolist() == [[0.95]]


def test_agreement_is_over_all_heads() -> None:
    made = [Head("cross", 1, n, "", None, float(n), float(n**2), float(-n)) for n in range(1, 6)]
    assert heads.agreement({"cross": made}) == {"heads": 5, "importance": 1.0, "patching": -1.0}
    assert heads.agreement({"cross": made[:2]})["importance"] is None
