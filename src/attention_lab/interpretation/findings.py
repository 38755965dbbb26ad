"""What interpretation finds, in the form in which its parts pass it on: methods make it, measures judge it, the report
shows it.

Shapes: Wq words of the output (1 for a class or an answer), Wk words of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from attention_lab.attention import Place


def in_words(method: str) -> str:
    """A method, control or measure as a sentence has it."""
    return method.replace("_", " ")


@dataclass(frozen=True)
class Attribution:
    """How much each word of the source counts for each output of one example, by one method.

    method: its name in `methods.METHODS`. scores: (Wq, Wk), larger counts more; None where the method is not defined.
    signed: a score below 0 speaks against the output. reason: why there are no scores, in a sentence.
    """

    method: str
    scores: np.ndarray | None
    signed: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Placed:
    """How much one layer mixes of each word (Wk) into each word that looks (Wq), by one method. layer: counted from 1.
    words, queries: those that are looked at, and those that look."""

    place: Place
    layer: int
    method: str
    words: list[str]
    queries: list[str]
    scores: np.ndarray


@dataclass(frozen=True)
class Head:
    """What one head does. layer and head are counted from 1.

    role: what it mostly looks at, e.g. "the word before"; "" where nothing stands out. share: of queries, that do.
    entropy: of its weights, as a share of the largest possible. importance: E|∂L/∂ξ| of its gate ξ (Michel et al. 2019,
    arXiv 1905.10650, equation 2). ablation: by how many nats a prediction the loss grows without it. patching: what a
    straight line says of that, −E[∂L/∂ξ]. None: not measured. ends: of these figures by name, low and high of the 95 %
    interval over rows.
    """

    place: Place
    layer: int
    head: int
    role: str
    entropy: float | None
    importance: float | None
    ablation: float | None
    patching: float | None = None
    share: float | None = None
    ends: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Gate:
    """A check that stands between a figure and a conclusion.

    value: what was measured. bound: what it is held against. passed: None where the check does not apply.
    sentence: what was checked, what came out and what follows, for a reader who sees the report for the first time.
    """

    name: str
    value: float | None
    bound: float | None
    passed: bool | None
    sentence: str
