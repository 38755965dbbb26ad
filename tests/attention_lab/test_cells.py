"""What a cell of a user's table means; that files of every format say the same is in test_sources.py."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from attention_lab import cells
from attention_lab.errors import InputError
from attention_lab.records import SHAPES


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (None, ""),
        (math.nan, ""),
        (True, "true"),
        (1, "1"),
        (1.0, "1"),
        (1.5, "1.5"),
        ("", ""),
        (Decimal("2.00"), "2"),
        (Decimal("2.50"), "2.50"),
        (Decimal(2**60 + 1), str(2**60 + 1)),
    ],
)
def test_a_value_as_text(value: Any, text: str) -> None:
    assert cells.text(value, "text", "a.csv:1") == text


@pytest.mark.parametrize(
    ("column", "value", "meaning"),
    [
        ("answer", None, None),
        ("answer", math.nan, None),
        ("answer", "", ""),
        ("answer", 1.0, "1"),
        ("start", None, -1),
        ("start", "7", 7),
        ("start", 7.0, 7),
        ("references", '["a", "b"]', ["a", "b"]),
        ("references", "", None),
        ("labels", "a|b", ["a", "b"]),
        ("labels", "[]", []),
        ("labels", [1.0, "b"], ["1", "b"]),
        ("labels", None, None),
        ("labels", [Decimal("1.0")], ["1"]),
        ("start", Decimal(3), 3),
        ("true_nats", Decimal("1.5"), 1.5),
        ("alignment", "0-0 1-2", [[0, 0], [1, 2]]),
        ("possible", "[[3, 4]]", [[3, 4]]),
        ("rationale", [False, True], [False, True]),
        ("rationale", "[-1, 0, 1]", [-1, 0, 1]),
        ("support", "", None),
        ("true_nats", 1.5, 1.5),
    ],
)
def test_a_value_of_a_column(column: str, value: Any, meaning: Any) -> None:
    assert cells.CONVERSIONS[column](value, column, "a.csv:1") == meaning


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("start", "two", "a number of characters"),
        ("start", 1e30, "a number of characters"),
        ("start", 10**400, "a number of characters"),
        ("start", -7, "a number of characters"),
        ("start", True, "a number of characters"),
        ("references", "a, b", "a list of texts"),
        ("labels", [None], "a list of labels"),
        ("alignment", "0-0 1", r"a list of \[source word, target word\] pairs"),
        ("rationale", [-2, 0], "a list of word numbers"),
        ("rationale", [-1, 2], "a list of word numbers"),
        ("true_nats", "many", "a number"),
        ("true_nats", 10**400, "a number of 0 or more"),
        ("true_nats", math.inf, "a number of 0 or more"),
        ("true_nats", -1.0, "a number of 0 or more"),
        ("true_nats", True, "a number of 0 or more"),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(column: str, value: Any, expected: str) -> None:
    with pytest.raises(InputError, match=f"a.csv:1: {column} should be {expected}.*; fix the row"):
        cells.CONVERSIONS[column](value, column, "a.csv:1")


def test_every_gold_column_has_a_meaning() -> None:
    assert {shape.gold for shape in SHAPES.values()} <= cells.GOLD.keys() <= cells.CONVERSIONS.keys()


@pytest.mark.parametrize(
    ("gold", "numbers"),
    [
        ([0, 1, 1], [1, 2]),
        ([True, False, False], [0]),
        ([-1, 0, 1], [0, 2]),
        ([0, 2], [0, 2]),
        ([0, 1], [0, 1]),
        ([], []),
        (None, None),
    ],
)
def test_a_mask_says_which_words_are_gold(gold: list[Any] | None, numbers: list[int] | None) -> None:
    assert cells.numbered(gold, "one two three") == numbers


def test_gold_points_at_words_that_are_there() -> None:
    frame = pd.DataFrame({"row": ["a:1", "a:2"], "text": ["one two", "one"], "rationale": [[1], [1]]})
    cells.check_words(frame[:1], SHAPES["sentiment"], "rationale")
    with pytest.raises(InputError, match="a:2: rationale names word 1 of text, but its 1 words"):
        cells.check_words(frame, SHAPES["sentiment"], "rationale")


@pytest.mark.parametrize(
    ("gold", "said"), [([True, False], "true or false"), ([0, -1], "-1, 0 or 1"), ([1, 1], "0 or 1")]
)
def test_what_is_said_of_words_is_said_of_each(gold: list[Any], said: str) -> None:
    frame = pd.DataFrame({"row": ["a:1"], "text": ["one two three"]})
    frame["rationale"] = [cells.numbered(gold, "one two three")]
    with pytest.raises(InputError, match=f"a:1: rationale gives {said} for 2 words, but text has 3, separated"):
        cells.check_words(frame, SHAPES["sentiment"], "rationale")
