"""What the cells of a user's table mean: texts, places and labels, and gold, which says which words matter.

A value that cannot be understood ends in an `InputError` that names the row and says what should stand there.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn

import pandas as pd

from attention_lab.errors import InputError
from attention_lab.records import Shape


def text(value: Any, column: str, row: str) -> str:
    """A value as text; "" for none, 1 for 1.0, since tables turn whole numbers with gaps into floats."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # only NaN differs from itself
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | Decimal):  # of Parquet
        return str(int(value)) if value == value // 1 else str(value)
    return _wrong(value, column, row, "a text or a number")


def _answer(value: Any, column: str, row: str) -> str | None:
    """An answer; "" says that there is none, None that nobody knows."""
    return None if value is None or value != value else text(value, column, row)


def _start(value: Any, column: str, row: str) -> int:
    """The place of an answer; −1 if it is not given."""
    if value is None or value != value or value == "":
        return -1
    expected = "a number of characters"
    try:
        start = int(value)
    except (TypeError, ValueError, OverflowError):
        _wrong(value, column, row, expected)
    possible = type(value) is not bool and -1 <= start <= sys.maxsize
    return start if possible else _wrong(value, column, row, expected)


def _references(value: Any, column: str, row: str) -> list[str] | None:
    """Further answers, in JSON if the file has no lists."""
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except ValueError:
            _wrong(value, column, row, "a list of texts")
    if value is None or value != value or value == "":
        return None
    return value if _texts(value) else _wrong(value, column, row, "a list of texts")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _labels(value: Any, column: str, row: str) -> list[str] | None:
    """Labels; in JSON or between bars if the file has no lists. An empty list or text is no label, None not known."""
    expected = "a list of labels, or labels separated by bars (a | b)"
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            _wrong(value, column, row, expected)
    if isinstance(value, str):
        return [label for label in value.split("|") if label.strip()]
    if value is None or value != value:
        return None
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(label, str | int | float | Decimal) for label in found):
        _wrong(value, column, row, expected)
    return [text(label, column, row) for label in found]


def _gold(value: Any, column: str, row: str) -> list[Any] | None:
    expected, fits = GOLD[column]
    if isinstance(value, str) and fits is _pairs and _PHARAOH.fullmatch(value):
        return [[int(number) for number in link.split("-")] for link in value.split()]
    if isinstance(value, str) and value:  # CSV cannot hold a list, but the JSON of one
        try:
            value = json.loads(value)
        except ValueError:
            _wrong(value, column, row, expected)
    if value is None or value != value or value == "":
        return None
    if isinstance(value, Decimal):
        value = float(value)
    return value if fits(value) else _wrong(value, column, row, expected)


_PHARAOH = re.compile(r"\s*\d+-\d+(\s+\d+-\d+)*\s*")


def numbered(gold: list[Any] | None, text: str) -> list[Any] | None:
    """Word numbers; a list with a 0 or 1, or false or true, for each word of the text says which words they are, and so
    does one of polarities, −1, 0 or 1, of words that speak for or against. One of another length stays as it is.
    """
    mask = gold is not None and len(gold) == len(text.split(" ")) and bool(_said_of_each(gold))
    return [number for number, value in enumerate(gold or ()) if value] if mask else gold


def _said_of_each(numbers: list[Any]) -> str:
    """What a list has for each word of a text; "" if it has word numbers, of which 0 or 1 would not come twice. Where a
    text has one or two words, 0 and 1 can be either: if they differ they are numbers."""
    if not numbers or not set(numbers) <= {-1, 0, 1}:
        return ""
    if type(numbers[0]) is bool:
        return "true or false"
    return "-1, 0 or 1" if -1 in numbers else "0 or 1" if len(set(numbers)) < len(numbers) else ""


def _wrong(value: Any, column: str, row: str, expected: str) -> NoReturn:
    raise InputError(
        f"{row}: {column} should be {expected}, not {json.dumps(value, default=str)[:60]}; "
        "fix the row or name another column in data.columns"
    )


def _nats(value: Any) -> bool:
    """Whether it is a number of 0 or more that a float can hold."""
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _words(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    polarities = all(type(number) is int and -1 <= number <= 1 for number in value)
    return _numbers(value) or polarities or all(type(truth) is bool for truth in value)


def _pairs(value: Any) -> bool:
    return isinstance(value, list) and all(_numbers(pair) and len(pair) == 2 for pair in value)


# To add a kind of gold: what a value should be, and whether it is.
GOLD: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "alignment": ("a list of [source word, target word] pairs, or links like 0-0 1-2", _pairs),
    "possible": ("a list of [source word, target word] pairs, or links like 0-0 1-2", _pairs),
    "rationale": ("a list of word numbers, or of a 0 or 1 (or -1) for each word", _words),
    "salient": ("a list of word numbers, or of a 0 or 1 (or -1) for each word", _words),
    "support": ("a list of word numbers, or of a 0 or 1 (or -1) for each word", _words),
    "true_nats": ("a number of 0 or more", _nats),
}


# What becomes of a value, its column and its row. Columns that are not here hold texts.
CONVERSIONS: dict[str, Callable[[Any, str, str], Any]] = {
    "answer": _answer,
    "start": _start,
    "references": _references,
    "labels": _labels,
    **dict.fromkeys(GOLD, _gold),
}


def check_words(frame: pd.DataFrame, shape: Shape, column: str) -> None:
    """Gold must point at words that are there."""
    known = frame[frame[column].notna()]
    for row, gold, *texts in known[["row", column, *shape.gold_texts]].itertuples(index=False):
        per_text = zip(*gold, strict=True) if len(shape.gold_texts) > 1 else [gold]
        for name, text, numbers in zip(shape.gold_texts, texts, per_text, strict=False):
            words = len(text.split(" "))
            if said := _said_of_each(numbers) if len(shape.gold_texts) == 1 else "":
                raise InputError(
                    f"{row}: {column} gives {said} for {len(numbers)} words, but {name} has {words}, separated by "
                    "single spaces; give one for each"
                )
            if max(numbers, default=0) >= words:
                raise InputError(
                    f"{row}: {column} names word {max(numbers)} of {name}, but its {words} words, separated "
                    f"by single spaces, have the numbers 0 to {words - 1}; fix the row"
                )
