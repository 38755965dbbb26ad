"""Which examples are shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from attention_lab.interpretation.examples import READABLE, choose


@pytest.mark.parametrize(("wrong", "expected"), [(0, 0), (1, 1), (3, 3), (9, 4), (19, 7), (20, 8)])
def test_half_are_wrong_if_there_are_as_many_and_they_come_first(wrong: int, expected: int) -> None:
    table = pd.DataFrame({"row": [f"x:{i}" for i in range(20)]})
    right = np.arange(20) >= wrong
    names = choose(table, right, np.full(20, 5), 8, seed=1)
    assert len(set(names)) == 8
    flags = [right[int(name[2:])] for name in names]
    assert flags == sorted(flags)
    assert flags.count(False) == expected
    assert names == choose(table, right, np.full(20, 5), 8, seed=1)
    assert names != choose(table, right, np.full(20, 5), 8, seed=2)


def test_long_texts_only_where_short_ones_are_missing() -> None:
    table = pd.DataFrame({"row": [f"x:{i}" for i in range(20)]})
    words = np.where(np.arange(20) < 5, READABLE, READABLE + 1)
    names = choose(table, np.ones(20, dtype=bool), words, 6, seed=1)
    assert {f"x:{i}" for i in range(5)} < set(names)


def test_fewer_rows_than_asked_for() -> None:
    assert choose(pd.DataFrame({"row": ["x:0"]}), np.array([False]), np.array([3]), 8, seed=1) == ["x:0"]
