"""Pictures: deterministic, without the name of what drew them, and safe for every word."""

from __future__ import annotations

import numpy as np
import pytest

from attention_lab.interpretation.heatmap import candidates_map, heads_map, strips, weights_map

AWKWARD = ["$x_1$", "</script>", "שלום", "🙂", "日本", "Donaudampfschifffahrtsgesellschaft", "", "a\\b"]


def a_map(seed: int) -> bytes:
    generator = np.random.default_rng(seed)
    return weights_map(
        generator.random((3, 8)),
        ["one", "$", "three"],
        AWKWARD,
        title="Cross-attention of a$b$.csv:1\nlayer 1, with a title that is far too long for a picture this small",
        query_name="target",
        key_name="source",
        gold=generator.random((3, 8)) > 0.7,
    )


def a_strip(seed: int) -> bytes:
    weights = np.random.default_rng(seed).random(8)
    return strips([("x:1", AWKWARD, weights, weights > 0.5), ("x:2 $", ["alone"], np.ones(1), None)], title="Words")


def a_grid(seed: int) -> bytes:
    grid = np.random.default_rng(seed).random((2, 5))
    return candidates_map([grid, grid], ["left", "right"], title="Grid", value_name="error")


def all_heads(seed: int) -> bytes:
    return heads_map(np.random.default_rng(seed).normal(size=(2, 3, 5, 7)), title="Heads of a$b$.csv:1")


@pytest.mark.parametrize("draw", [a_map, a_strip, a_grid, all_heads])
@pytest.mark.filterwarnings("error")
def test_the_same_numbers_give_the_same_bytes(draw: object) -> None:
    assert callable(draw)
    first = draw(1)
    assert first.startswith(b"\x89PNG")
    assert first == draw(1)
    assert first != draw(2)
    assert b"Software" not in first
    assert b"matplotlib" not in first.lower()


@pytest.mark.filterwarnings("error")
def test_weights_of_zero_and_long_texts() -> None:
    words = [f"w{i}" for i in range(60)]
    assert strips([("x:1", words, np.zeros(60), None)], title="t").startswith(b"\x89PNG")
    picture = weights_map(np.zeros((60, 60)), words, words, title="t", query_name="q", key_name="k")
    assert picture.startswith(b"\x89PNG")
