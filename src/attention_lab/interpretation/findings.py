"""The data types for findings: methods produce them, measures judge them, the report shows them.

Shapes: Wq words of the output (1 for a class or an answer), Wk words of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from attention_lab.attention import Place


def in_words(method: str) -> str:
    """The name of a method, control or measure as it appears in a sentence."""
    return method.replace("_", " ")


@dataclass(frozen=True)
class Attribution:
    """How much each word of the source counts for each output of one example, by one method.

    method: its name in `methods.METHODS`. scores: (Wq, Wk), higher means more important; None if the method is not
    defined. signed: a negative score counts against the output. reason: why there are no scores.
    """

    method: str
    scores: np.ndarray | None
    signed: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Placed:
    """How much of each word (Wk) one layer mixes into each attending word (Wq), by one method.

    layer: counted from 1. words: those attended to. queries: those that attend."""

    place: Place
    layer: int
    method: str
    words: list[str]
    queries: list[str]
    scores: np.ndarray


@dataclass(frozen=True)
class Head:
    """What one head does. layer and head are counted from 1.

    role: what it mostly attends to, e.g. "the word before"; "" if nothing stands out. share: share of queries that do.
    entropy: of its weights, as a share of the maximum. importance: E|∂L/∂ξ| of its gate ξ (Michel et al. 2019, arXiv
    1905.10650, equation 2). ablation: increase of the loss without it, in nats per prediction. patching: the linear
    approximation of that, −E[∂L/∂ξ]. None: not measured. ends: low and high of the 95 % interval over rows of these
    figures, by name.
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
    """A check that must pass before a conclusion is drawn from a figure.

    value: what was measured. bound: what it is compared with. passed: None if the check does not apply.
    sentence: what was checked, the result and what follows, for a reader who sees the report for the first time.
    """

    name: str
    value: float | None
    bound: float | None
    passed: bool | None
    sentence: str
