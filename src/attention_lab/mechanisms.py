"""The catalogue for a terminal: all mechanisms in a table, or one with its parts and a picture of its weights."""

from __future__ import annotations

import inspect
import io
import json
import math
import re
import textwrap
from typing import Any

import torch
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from attention_lab.attention import CATALOGUE, PLACES, Mechanism, MultiHeadAttention, Place, mechanism
from attention_lab.attention.catalogue import CHOICES, available
from attention_lab.errors import InputError
from attention_lab.transformer.config import FALLBACK

COLUMNS = ("name", "weights", "paper", "cost", "in", "weights are")
LETTERS = {"encoder_self": "e", "decoder_self": "d", "cross": "x"}
PLACE_NAMES = {place: place.replace("_", " ") + "-attention" for place in PLACES}
KINDS = {
    "probabilities": "0 or more, and each row sums to 1",
    "weights": "0 or more, of any sum",
    "signed": "of any sign",
    "effective": "what the mechanism outputs for the values v = I: of any sign and sum",
    "none": "there are none",
}
FOOT = f"""
in: e encoder self-attention, d decoder self-attention, x cross-attention; elsewhere {FALLBACK} takes its place.
`attention-lab mechanisms NAME` shows one in detail; `composed` is built from parts of your choice."""
LINE = 100

# For the picture: choices that show in a sentence of ten words, for options that a mechanism has.
SMALL = {"window": 2, "dilation": 2, "stride": 3, "block": 3, "blocks": 1, "prefix": 3, "k": 3, "landmarks": 3}
READ = ["the", "old", "dog", "sees", "a", "small", "cat", "in", "the", "garden"]
WRITTEN = ["der", "alte", "Hund", "sieht", "eine", "kleine", "Katze", "im", "Garten"]
SHADES = " ░▒▓█"


def answer(
    name: str | None, *, place: str | None, weights: str | None, search: str | None, as_json: bool, width: int | None
) -> str:
    """What `attention-lab mechanisms` prints.

    Args:
        width: of the terminal; None: plain lines of any length, for a file or another program.

    Raises:
        InputError: there is no such mechanism, nothing passes the filters, or there are both a name and filters.
    """
    if name is None:
        rows = chosen(place, weights, search)
        return _json([content(row) for row in rows]) if as_json else table(rows, width)
    if place or weights or search:
        raise InputError("give either the name of a mechanism or filters, not both")
    row = mechanism(name)
    return _json(content(row)) if as_json else page(row)


def _json(what: Any) -> str:
    return json.dumps(what, ensure_ascii=False, indent=2)


def chosen(place: str | None, weights: str | None, search: str | None) -> list[Mechanism]:
    """The rows that are valid in that place, have such weights and hold that text somewhere."""

    def text(row: Mechanism) -> str:
        return "\n".join((row.name, row.formula, row.paper, row.when, *row.parts.values(), *available(row))).lower()

    rows = [row for row in CATALOGUE.values() if place in (None, *row.places) and weights in (None, row.weights)]
    rows = [row for row in rows if (search or "").lower() in text(row)]
    if not rows:
        raise InputError("no mechanism passes these filters; `attention-lab mechanisms` lists all")
    return rows


def content(row: Mechanism) -> dict[str, Any]:
    """All that the catalogue says about a mechanism, with the default values of its options."""
    named = {key: getattr(row, key) for key in ("name", "formula", "paper", "when", "cost", "weights", "why")}
    return {**named, "places": list(row.places), "parts": row.parts, "options": available(row)}


def table(rows: list[Mechanism], width: int | None) -> str:
    """A line for each mechanism; in a terminal its formula and paper take as many lines as they need."""
    cells = [
        (row.name, row.formula, row.paper, row.cost, "".join(LETTERS[place] for place in row.places), row.weights)
        for row in rows
    ]
    widest = [max(map(cell_len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    if width is None:
        lines = ["  ".join(map(set_cell_size, line, widest)).rstrip() for line in (COLUMNS, *cells)]
        return "\n".join([*lines, FOOT])
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for title, wide in zip(COLUMNS, widest, strict=True):
        long = title in ("weights", "paper")
        drawn.add_column(title, width=None if long else wide, ratio=wide if long else None, overflow="fold")
    for line in cells:
        drawn.add_row(*map(Text, line))
    console = Console(width=width, file=(written := io.StringIO()), force_terminal=True)
    console.print(drawn, Text(FOOT))
    return written.getvalue().rstrip()


def page(row: Mechanism) -> str:
    """One mechanism: what it is, what it is made of, how to choose it and how its weights look."""
    if row.name == "composed":
        parts = [line for kind, names in CHOICES.items() if kind != "kernel" for line in _entry(kind, ", ".join(names))]
        command = _command(row, "{score: additive, normaliser: sparsemax, pattern: local, window: 8}")
        return "\n".join(["composed: parts of your choice, with their options", "", *parts, "", command])
    lines = [f"{row.name}: {row.formula}", ""]
    lines += _entry("paper", row.paper) + _entry("use it for", row.when) + _entry("cost", row.cost)
    lines += _entry("weights", f"{row.weights}: {KINDS[row.weights]}")
    lines += _entry("valid in", ", ".join(PLACE_NAMES[place] for place in row.places))
    for place in PLACES:
        if place not in row.places:
            lines += _entry("not in", f"{PLACE_NAMES[place]}: {row.why} ({FALLBACK} takes its place)")
    lines += ["", "Parts"]
    for kind, name in row.parts.items():
        sentence, file = _about(CHOICES[kind][name])
        lines += _entry(kind, f"{name}: {sentence}") + _entry("", file)
    if row.position is None:
        lines += _entry("position", "that of the model (model.position)")
    lines += ["", "Options"]
    options = available(row)
    for option, value in options.items():
        lines += _entry(option, json.dumps(value))
    lines += [] if options else ["  none"]
    lines += ["", "Choose it", _command(row)]
    own = [option for option in options if option in row.options or option not in available(Mechanism("", "", ""))]
    if own:
        lines.append(_command(row, f"{{{own[0]}: {json.dumps(options[own[0]])}}}"))
    return "\n".join([*lines, "", "Its weights", *picture(row)])


def _command(row: Mechanism, options: str = "") -> str:
    given = f" -S '+attention.options={options}'" if options else ""
    return f"  dvc exp run -S attention.mechanism={row.name}{given}"


def _entry(title: str, text: str) -> list[str]:
    first = f"  {title:<11} "
    return textwrap.wrap(text, LINE, initial_indent=first, subsequent_indent=" " * len(first)) or [first.rstrip()]


def _about(part: Any) -> tuple[str, str]:
    """The first sentence of a part's docstring, and the file it is in."""
    part = getattr(part, "func", part)  # of a partial
    first = " ".join((inspect.getdoc(part) or "").split("\n\n")[0].split())
    # A full stop ends a sentence where a capital follows: "et al. 2017" and "arXiv 1706.03762" go on.
    return re.split(r"(?<=\.)\s+(?=[A-Z])", first)[0], f"src/{part.__module__.replace('.', '/')}.py"


def picture(row: Mechanism) -> list[str]:
    """The weights of a layer that has learned nothing, drawn in shades."""
    if row.weights == "none":
        return ["  This mechanism has no weights to look at."]
    options = {name: value for name, value in SMALL.items() if type(available(row).get(name)) is int}
    place = row.places[0]
    grid, queries = _weights(row, place, options), WRITTEN if place == "cross" else READ
    most, label = float(grid.abs().max()), max(map(len, queries))
    lines = [" " * (label + 3) + " ".join(READ)]
    for word, weights in zip(queries, grid.abs().tolist(), strict=True):
        shades = [SHADES[math.ceil(4 * weight / most) if weight > 1e-6 else 0] for weight in weights]
        cells = " ".join(shade * len(key) for shade, key in zip(shades, READ, strict=True))
        lines.append(f"  {word:>{label}} {cells}".rstrip())
    given = "".join(f", {name} = {value}" for name, value in options.items())
    sign = "" if bool((grid >= 0.0).all()) else ", whatever the sign"
    scale = f"Blank: below 0.000001; █: up to {most:.2f}{sign}."
    said = f"{PLACE_NAMES[place]}, mean of 2 heads, random projections{given}. {scale}"
    return [*lines, "", *textwrap.wrap(said, LINE, initial_indent="  ", subsequent_indent="  ")]


def _weights(row: Mechanism, place: Place, options: dict[str, Any]) -> Tensor:
    """The mean of two heads (Lq, Lk), which is the same at every call."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(0)
        layer = MultiHeadAttention(32, 2, mechanism(row.name, options), place, length=16).eval()
        words = {word: 2.0 * torch.randn(32) for word in [*READ, *WRITTEN]}
        read, written = (torch.stack([words[word] for word in text]).unsqueeze(0) for text in (READ, WRITTEN))
        _, weights = layer(written, read, weights=True) if place == "cross" else layer(read, weights=True)
    return weights[0].mean(0)
