"""The catalogue: every attention mechanism by name, with its paper, its formula and its choices.

To add a mechanism: a row here, and a function in `scores.py`, `normalisers.py` or `patterns.py` if it brings a new one.
The tests of the law pick the row up.
"""

from __future__ import annotations

from dataclasses import dataclass

from attention_lab.errors import InputError


@dataclass(frozen=True)
class Mechanism:
    """One way to compute weights W (B, H, Lq, Lk) from queries and keys; the output is W·v."""

    name: str
    paper: str
    formula: str
    score: str
    normaliser: str = "softmax"
    pattern: str = "full"


_ROWS = (
    Mechanism(
        name="scaled_dot_product",
        paper="Vaswani et al. 2017, arXiv 1706.03762",
        formula="softmax(q·k / √d)",
        score="scaled_dot",
    ),
    Mechanism(
        name="dot",
        paper="Luong et al. 2015, arXiv 1508.04025 (global attention)",
        formula="softmax(q·k)",
        score="dot",
    ),
    Mechanism(
        name="additive",
        paper="Bahdanau et al. 2014, arXiv 1409.0473",
        formula="softmax(vᵀ tanh(Wq + Uk))",
        score="additive",
    ),
    Mechanism(
        name="uniform",
        paper="Jain & Wallace 2019, arXiv 1902.10186 (the control)",
        formula="1 / n",
        score="constant",
    ),
)

CATALOGUE: dict[str, Mechanism] = {row.name: row for row in _ROWS}


def mechanism(name: str) -> Mechanism:
    """The row of that name.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    if name not in CATALOGUE:
        raise InputError(f"attention.mechanism: there is no mechanism {name!r}; choose one of {', '.join(CATALOGUE)}")
    return CATALOGUE[name]
