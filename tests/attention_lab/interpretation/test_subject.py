"""Which rows of a split are looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attention_lab import params
from attention_lab.interpretation.subject import Subject
from attention_lab.records import SHAPES

ROOT = Path(__file__).parents[3]


def subject(task: str, pairs: int) -> Subject:
    options = params.load(ROOT / "params.yaml").interpret.model_copy(update={"explained_pairs": pairs})
    nothing: Any = None
    return Subject(nothing, {}, {}, nothing, SHAPES[task], options, 1, "cpu")


@pytest.mark.parametrize(
    ("task", "pairs", "wanted"),
    [
        ("translation", 21, ["b"]),  # 3 · 7
        ("translation", 46, ["b", "c"]),  # … and 5 · 5
        ("translation", 45, ["b"]),
        ("translation", 95, ["a", "b", "c"]),
        ("generation", 34, ["b", "c"]),  # each token looks at those before it: 3² + 5²
        ("sentiment", 18, ["a", "b", "c"]),  # one output: 3 + 5 + 10
        ("sentiment", 8, ["b", "c"]),
    ],
)
def test_the_shortest_are_explained_that_together_have_no_more_pairs(task: str, pairs: int, wanted: list[str]) -> None:
    sizes = {"a": (10, 4), "b": (3, 7), "c": (5, 5)}
    rows = pd.DataFrame(
        [{"row": name, "source": np.arange(s), "target": np.arange(t)} for name, (s, t) in sizes.items()],
        index=[4, 9, 2],
    )
    assert subject(task, pairs).affordable(rows)["row"].tolist() == wanted
