"""What the page gets, decoded by NumPy; that the browser decodes it alike is in test_page.py."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import pytest

from attention_lab.interpretation.packing import BLOCKS, KEPT, LONGEST, pack, pooled


def unpacked(described: dict[str, Any], content: bytes) -> np.ndarray:
    """The dense part of a description, (N, H, Lq, Lk or kept)."""
    layers, heads, queries, keys = described["shape"]
    keys = described.get("kept", keys)
    count = layers * heads * queries * keys
    levels = np.frombuffer(content, np.uint8, count, described["at"]).reshape(layers, heads, queries, keys)
    scales = np.array(described["scales"]).reshape(layers, heads, 1, 1)
    return scales * ((levels.astype(float) - 128) / 127 if described["signed"] else levels / 255)


@pytest.mark.parametrize("signed", [False, True])
def test_the_error_is_below_half_a_step_and_zero_stays_zero(signed: bool) -> None:
    generator = np.random.default_rng(3)
    arrays = [generator.random((2, 3, 5, 7)) - 0.5 * signed, generator.random((1, 5, 11, 13)) * 40]
    arrays[0][:, :, 1, 2] = 0.0
    described, blob = pack(arrays)
    content = zlib.decompress(base64.b64decode(blob))
    for array, found in zip(arrays, described, strict=True):
        decoded = unpacked(found, content)
        step = np.abs(array).max((2, 3), keepdims=True) / (254 if found["signed"] else 510)
        assert (np.abs(decoded - array) <= step * 1.001).all()
    assert described[0]["signed"] is signed
    assert (unpacked(described[0], content)[:, :, 1, 2] == 0.0).all()


def test_of_a_long_text_the_largest_weights_of_each_row_stay() -> None:
    weights = np.random.default_rng(7).dirichlet(np.full(LONGEST + 3, 0.05), (1, 2, 5))
    (found,), blob = pack([weights])
    content = zlib.decompress(base64.b64decode(blob))
    kept = unpacked(found, content)
    count = kept.size
    low, high = (
        np.frombuffer(content, np.uint8, count, found["at"] + (1 + plane) * count).astype(int) for plane in (0, 1)
    )
    rebuilt = np.zeros_like(weights)
    np.put_along_axis(rebuilt, (low + 256 * high).reshape(kept.shape), kept, -1)
    largest = np.sort(weights, -1)[..., -KEPT:]
    assert np.sort(kept, -1) == pytest.approx(largest, abs=weights.max() / 500)
    assert np.abs(rebuilt - weights).max() <= max(weights.max() / 500, np.sort(weights, -1)[..., -KEPT].max())
    assert found["blocks"]["shape"] == [1, 2, 5, BLOCKS]


def test_blocks_keep_what_each_row_gives_in_all() -> None:
    maps = np.random.default_rng(1).random((2, 67, 131))
    blocks = pooled(maps)
    assert blocks.shape == (2, BLOCKS, BLOCKS)
    assert blocks[:, 0].sum(-1) == pytest.approx(maps[:, 0].sum(-1))
    assert pooled(maps[:, :3, :5]) == pytest.approx(maps[:, :3, :5])


def test_nothing_gives_nothing() -> None:
    described, blob = pack([])
    assert described == []
    assert zlib.decompress(base64.b64decode(blob)) == b""
