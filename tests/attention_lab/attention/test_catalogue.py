"""The catalogue: rows, options, composed mechanisms, and what is refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import sizes

from attention_lab.attention import CATALOGUE, MultiHeadAttention, mechanism
from attention_lab.attention.catalogue import CHOICES, available, build
from attention_lab.attention.patterns import Local
from attention_lab.errors import InputError


def test_every_row_tells_its_story() -> None:
    for name, row in CATALOGUE.items():
        assert row.name == name
        assert row.paper, name
        assert row.formula, name
        assert row.when, name
        assert row.places, name
        assert len(row.places) == 3 or row.why, name
        assert all(choice in CHOICES[kind] for kind, choice in row.parts.items()), name
        assert set(row.options) <= set(available(row)), name


def test_every_part_is_in_some_row() -> None:
    """What no row has is not held by the law."""
    for kind, parts in CHOICES.items():
        used = {row.parts.get(kind) for row in CATALOGUE.values()}
        assert set(parts) - used <= {"none"}, kind


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        (
            "sparsmax",
            {},
            r"no mechanism 'sparsmax' \(did you mean sparsemax\?\); choose one of scaled_dot_product, dot",
        ),
        ("t5", {"distance": 2**31}, "attention.options.distance of t5 must be at most 1048576"),
        ("rotary", {"base": float("inf")}, "attention.options.base of rotary must be at most"),
        ("local", {"windw": 3}, "local has no option 'windw'; it has window, key_heads"),
        ("local", {"window": "wide"}, "window of local should be like 16, not 'wide'"),
        ("uniform", {"score": "dot"}, "uniform has no option 'score'"),
        ("composed", {"score": "cosin"}, "score: there is no 'cosin'; choose one of dot, scaled_dot"),
        ("composed", {"window": 3}, "composed has no option 'window'; it has score, normaliser, pattern, position, "),
        ("composed", {"score": ["additive"]}, r"score: there is no \['additive'\]; choose one of dot"),
        ("local", {"window": -1}, "window of local must be 0 or more, not -1"),
        ("topk", {"k": 0}, "k of topk must be above 0, not 0"),
        ("hard_coded", {"deviation": 0.0}, "deviation of hard_coded must be above 0, not 0.0"),
        ("multi_query", {"key_heads": True}, "key_heads of multi_query should be like 1, not True"),
    ],
)
def test_what_does_not_exist_is_refused(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        mechanism(name, options)


@pytest.mark.parametrize(
    ("name", "options", "place", "sentence"),
    [
        ("reformer", {"buckets": 3}, "encoder_self", "buckets: 3 is not even; a plane has a bucket on either side"),
        ("fnet", {}, "cross", "fnet is not for cross-attention: "),
        ("grouped_query", {"key_heads": 2}, "cross", "key_heads: 2 does not divide the 3 heads"),
        ("differential", {}, "cross", "33 / 3 heads is not even"),
        ("composed", {"heads": "bare", "operation": "differential"}, "cross", "needs heads of its own, not bare"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, options: dict[str, Any], place: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build(mechanism(name, options), sizes(place), dropout=0.0, rotary=False)


def test_a_whole_number_can_stand_for_a_fraction() -> None:
    row = mechanism("cosine", {"temperature": 20})
    (found,) = (
        parameter
        for part in build(row, sizes("encoder_self"), dropout=0.0, rotary=False)
        if isinstance(part, torch.nn.Module)
        for name, parameter in part.named_parameters()
        if name.endswith("temperature")
    )
    assert found.is_floating_point()
    assert (found == 20.0).all()


def test_options_reach_their_parts() -> None:
    layer = MultiHeadAttention(12, 3, mechanism("local", {"window": 5}), "decoder_self")
    assert isinstance(layer.core.pattern, Local)
    assert layer.core.pattern.window == 5


def test_composed_is_what_its_parts_make() -> None:
    """The parts of a row, named one by one, are that row."""
    for name in ("additive", "sparsemax", "local", "alibi", "talking_heads", "latent"):
        row = mechanism(name)
        names = {kind: choice for kind, choice in row.parts.items() if choice != "none"}
        layers = []
        for one in (row, mechanism("composed", names)):
            torch.manual_seed(0)
            layers.append(MultiHeadAttention(12, 3, one, "encoder_self").eval())
        inputs = torch.randn(2, 5, 12)
        torch.testing.assert_close(layers[0](inputs)[0], layers[1](inputs)[0])
