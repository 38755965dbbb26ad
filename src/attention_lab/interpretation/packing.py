"""Weights as bytes for a page: one byte each, compressed, decoded by the browser's own DecompressionStream.

A map is scaled to its largest absolute weight m: a byte b stands for m · b / 255, or for m · (b − 128) / 127 if some
weights are negative, so 0 stays 0 and the largest error is m / 254. Maps of long texts are reduced to the KEPT largest
weights of each row, along with the whole map in BLOCKS × BLOCKS blocks.

Shapes: N layers, H heads, Lq queries, Lk keys.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

LONGEST = 128  # tokens per side; longer maps are reduced
KEPT = 16  # weights kept per row of a reduced map
BLOCKS = 64  # blocks per side of a reduced map


def pack(arrays: Sequence[np.ndarray]) -> tuple[list[dict[str, Any]], str]:
    """What a page needs to restore these weights (N, H, Lq, Lk): a description of each array, and the bytes of all in
    base64.

    A description has shape, signed (whether bytes can stand for negative weights), at (where its bytes begin), scales
    (the largest absolute weight of each map, N·H), and for long texts kept and `blocks`, the description of the maps in
    blocks.
    """
    content = bytearray()
    found = [_described(array, content) for array in arrays]
    return found, base64.b64encode(zlib.compress(bytes(content), 9)).decode()


def _described(array: np.ndarray, content: bytearray) -> dict[str, Any]:
    layers, heads, queries, keys = array.shape
    maps = np.nan_to_num(array.reshape(layers * heads, queries, keys).astype(np.float32))
    if max(queries, keys) <= LONGEST:
        return _dense(maps, array.shape, content)
    kept = min(KEPT, keys)
    places = np.sort(np.argpartition(-np.abs(maps), kept - 1, axis=-1)[..., :kept], axis=-1)
    described = {**_dense(np.take_along_axis(maps, places, -1), array.shape, content), "kept": kept}
    content += (places & 255).astype(np.uint8).tobytes() + (places >> 8).astype(np.uint8).tobytes()
    blocks = pooled(maps)
    return {**described, "blocks": _dense(blocks, (layers, heads, *blocks.shape[1:]), content)}


def _dense(maps: np.ndarray, shape: tuple[int, ...], content: bytearray) -> dict[str, Any]:
    signed = bool((maps < 0).any())
    scales = np.abs(maps).max((1, 2)) if maps.size else np.ones(len(maps))
    scaled = maps / np.maximum(scales, 1e-12)[:, None, None]
    levels = np.rint(128 + 127 * scaled) if signed else np.rint(255 * scaled)
    described = {
        "shape": list(shape),
        "signed": signed,
        "at": len(content),
        "scales": [float(f"{scale:.6g}") for scale in scales.tolist()],
    }
    content += levels.astype(np.uint8).tobytes()
    return described


def pooled(maps: np.ndarray) -> np.ndarray:
    """Reduce maps (M, Lq, Lk) to at most BLOCKS × BLOCKS blocks: the total weight on a block of keys, averaged over a
    block of queries."""
    _, queries, keys = maps.shape
    starts = [np.arange(min(size, BLOCKS)) * size // min(size, BLOCKS) for size in (queries, keys)]
    summed = np.add.reduceat(np.add.reduceat(maps, starts[0], 1), starts[1], 2)
    sizes = np.diff(np.append(starts[0], queries))
    return np.asarray(summed / sizes[:, None])
