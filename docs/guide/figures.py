"""Pictures of weights, on the same sentence for all mechanisms, and of measured results: plain SVG.

Colours are those of the page (`static/guide.css`), so they follow its light and dark modes.
"""

from __future__ import annotations

import math
from functools import cache
from html import escape
from typing import Any

import torch
from torch import Tensor

from attention_lab.attention import CATALOGUE, Mechanism, MultiHeadAttention, Place, mechanism
from attention_lab.attention.catalogue import available
from attention_lab.mechanisms import READ, SMALL, WRITTEN

WIDTH, HEADS, SHOWN = 32, 4, 2
CELL, HIGH, LABEL, HEAD = 30, 24, 62, 58  # in a map: width and height of a cell, space for words on the left and on top
Curve = dict[str, dict[str, float]]  # positions: {seconds, bytes}


def options_of(row: Mechanism) -> dict[str, Any]:
    """Values small enough to make a difference in a sentence of ten words, for options that the mechanism has."""
    return {name: value for name, value in SMALL.items() if type(available(row).get(name)) is int}


@cache
def weights(name: str, place: Place) -> Tensor:
    """Weights of the first heads (SHOWN, Lq, Lk) of an untrained layer in that place.

    As far as mechanisms have words and projections in common, these are the same: only the mechanism differs.
    """
    row = CATALOGUE[name]
    generator = torch.Generator().manual_seed(0)
    words = {word: 1.5 * torch.randn(WIDTH, generator=generator) for word in dict.fromkeys([*READ, *WRITTEN])}
    read, written = (torch.stack([words[word] for word in text]).unsqueeze(0) for text in (READ, WRITTEN))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        plain = _layer(CATALOGUE["scaled_dot_product"], place).state_dict()
        layer = _layer(mechanism(name, options_of(row)), place)
        own = layer.state_dict()
        alike = {key: plain[key] for key, value in own.items() if key in plain and plain[key].shape == value.shape}
        layer.load_state_dict({**own, **alike})
        _, found = layer(written, read, weights=True) if place == "cross" else layer(read, weights=True)
    return found[0, :SHOWN]


def _layer(row: Mechanism, place: Place) -> MultiHeadAttention:
    torch.default_generator.manual_seed(0)
    return MultiHeadAttention(WIDTH, HEADS, row, place, length=16).eval()


def maps(name: str, place: Place) -> str:
    """The weights of a mechanism, one map for each head."""
    queries = WRITTEN if place == "cross" else READ
    drawn = [_map(grid, queries, f"{name}, head {head}") for head, grid in enumerate(weights(name, place), start=1)]
    return f'<div class="maps">{"".join(drawn)}</div>'


def _map(grid: Tensor, queries: list[str], title: str) -> str:
    """One map: a row for each word that looks, a column for each word looked at, hundredths in the cells.

    All maps have the same colour scale from 0 to 1, so that they can be compared; values beyond 1 are as dark as 1.
    """
    if grid.shape != (len(queries), len(READ)):
        raise ValueError(f"{title}: weights of {tuple(grid.shape)} for {len(queries)} and {len(READ)} words")
    wide, high = LABEL + CELL * len(READ) + 22, HEAD + HIGH * len(queries)
    parts = [
        f'<svg viewBox="0 0 {wide} {high}" role="img" aria-label="{escape(title)}: weights of words on words">',
        f'<text class="word" x="{LABEL - 6}" y="14" text-anchor="end">{escape(title.split(", ")[1])}</text>',
    ]
    for column, key in enumerate(READ):
        x, y = LABEL + CELL * (column + 0.6), HEAD - 6
        parts.append(f'<text class="word" transform="translate({x:g} {y}) rotate(-50)">{escape(key)}</text>')
    for line, (query, row) in enumerate(zip(queries, grid.tolist(), strict=True)):
        y = HEAD + HIGH * line
        parts.append(f'<text class="word" x="{LABEL - 6}" y="{y + 16}" text-anchor="end">{escape(query)}</text>')
        for column, weight in enumerate(row):
            parts.append(_cell(LABEL + CELL * column, y, weight, f"{query} → {READ[column]}"))
    return "".join([*parts, "</svg>"])


def _cell(x: int, y: int, weight: float, pair: str) -> str:
    size = f'x="{x}" y="{y}" width="{CELL - 1}" height="{HIGH - 1}"'
    if abs(weight) < 1e-6:
        return f'<rect class="nothing" {size}/>'
    sign, share = ("minus" if weight < 0 else "plus"), min(1.0, abs(weight))
    number = f"{100 * weight:.0f}".replace("-0", "0").replace("-", "−")
    # Where black and white are equally easy to read on the colour: in dark mode and in light mode of the page.
    filled = " full" if share > 0.82 else " half" if share > 0.58 else ""
    return (
        f'<rect class="{sign}" {size} fill-opacity="{max(0.04, share):.2f}"><title>{escape(pair)}: {weight:.3f}</title>'
        f'</rect><text class="number{filled}" x="{x + CELL // 2}" y="{y + 16}">{number}</text>'
    )


def chart(curves: dict[str, Curve], against: dict[str, Curve], title: str) -> str:
    """Time against positions, both logarithmic. The curves in `against` are drawn in grey, for comparison."""
    points = {
        name: [(math.log2(int(n)), math.log10(1e3 * one["seconds"])) for n, one in curve.items()]
        for name, curve in {**against, **curves}.items()
    }
    every = [point for line in points.values() for point in line]
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    low, high = math.floor(min(y for _, y in every)), math.ceil(max(y for _, y in every))
    wide, tall = 400, 240

    def at(x: float, y: float) -> tuple[float, float]:
        return 46 + wide * (x - left) / (right - left), 12 + tall * (high - y) / (high - low)

    parts = [f'<svg class="chart" viewBox="0 0 640 {tall + 56}" role="img" aria-label="{escape(title)}">']
    for power in range(low, high + 1):
        _, y = at(left, power)
        parts.append(f'<path class="grid" d="M46 {y:.0f}H{46 + wide}"/>')
        parts.append(f'<text class="tick" x="40" y="{y + 4:.0f}" text-anchor="end">{10.0**power:g}</text>')
    for exponent in range(int(left), int(right) + 1):
        x, _ = at(exponent, low)
        parts.append(f'<text class="tick" x="{x:.0f}" y="{tall + 30}" text-anchor="middle">{2**exponent}</text>')
    parts.append(f'<text class="tick" x="{46 + wide / 2:.0f}" y="{tall + 48}" text-anchor="middle">positions</text>')
    parts.append('<text class="tick" x="50" y="10">ms</text>')
    ends: list[tuple[float, str, str]] = []
    for number, (name, line) in enumerate(points.items()):
        style = "against" if name in against else f"line line{(number - len(against)) % 6}"
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line))
        parts.append(f'<polyline class="{style}" points="{drawn}"/>')
        ends.append((at(*line[-1])[1], name, style))
        if line[-1][0] < right:
            x, y = at(*line[-1])
            parts.append(f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    # Names are on the right, in the order in which their lines end, and never overlap.
    previous = 0.0
    for y, name, style in sorted(ends):
        previous = max(y, previous + 15.0)
        parts.append(f'<path class="{style}" d="M{52 + wide} {previous:.0f}h14"/>')
        parts.append(f'<text class="name" x="{72 + wide}" y="{previous + 4:.0f}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def intervals(rows: dict[str, tuple[float, float, float]], unit: str, marked: set[str]) -> str:
    """A dot and an interval for each name, in the order given: name → (value, low, high). `marked` are controls."""
    left, wide, high = 126, 244, 15
    tall = high * len(rows) + 34

    def at(value: float) -> float:
        return left + wide * value / 100.0

    parts = [
        f'<svg class="chart narrow" viewBox="0 0 400 {tall}" role="img" aria-label="{escape(unit)} of each mechanism">'
    ]
    for tick in range(0, 101, 20):
        parts.append(f'<path class="grid" d="M{at(tick):.0f} 4V{tall - 26}"/>')
        parts.append(f'<text class="tick" x="{at(tick):.0f}" y="{tall - 8}" text-anchor="middle">{tick}</text>')
    for number, (name, (value, low, up)) in enumerate(rows.items()):
        y = 12 + high * number
        style = "control" if name in marked else "line0"
        parts.append(f'<text class="name" x="{left - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<path class="interval {style}" d="M{at(low):.1f} {y}H{at(up):.1f}"/>')
        parts.append(f'<circle class="dot {style}" cx="{at(value):.1f}" cy="{y}" r="2.4">')
        parts.append(f"<title>{escape(name)}: {value:.1f} ({low:.1f} to {up:.1f})</title></circle>")
    parts.append(f'<text class="tick" x="{left - 12}" y="{tall - 8}" text-anchor="end">{escape(unit)}</text>')
    return "".join([*parts, "</svg>"])
