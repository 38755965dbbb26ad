"""New texts for a trained model: arguments, standard input, or a file in any format that data may have."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from attention_lab import presets, readers
from attention_lab.errors import InputError, check_unicode

TEXTS = ("text", "source", "document")  # what a row may call its text, whatever the task calls it
LINES = (".jsonl", ".ndjson")

Row = tuple[str, dict[str, Any]]  # where it stands, for people; its values by name


def of_arguments(arguments: Sequence[str] | None) -> list[Row]:
    """The texts of a command line; without any, or with - alone, the lines of standard input."""
    if not arguments or list(arguments) == ["-"]:
        return of_file(Path("-"))
    for number, argument in enumerate(arguments, start=1):
        check_unicode(argument, f"text {number}")
    return [(f"text {number}", {"text": argument}) for number, argument in enumerate(arguments, start=1)]


def of_file(file: Path) -> list[Row]:
    """The rows of a table, with all that they have, or the lines of a text; blank lines are counted aloud.

    Args:
        file: a format of `readers.READERS` or plain text, each also with .gz; - is standard input.

    Raises:
        InputError: it is missing, broken or empty, or JSON lines are called plain text.
    """
    if file == Path("-"):
        return _lines("standard input", _standard_input())
    if not file.exists() or file.is_dir():
        raise InputError(f"{file}: there is no such file; --input takes a table or a text")
    name, content = str(file), readers.opened(str(file))
    if isinstance(content, str):
        return _lines(name, content)
    if not content:
        raise InputError(f"{name} holds no rows (a header at most); add some or name another file")
    if file.suffix.lower() in LINES:
        _skipped(name, content[-1][0] - len(content))
    rows = [(f"{name}:{number}", row) for number, row in content]
    for where, row in rows:
        check_unicode(written(row), where)  # all of it is written again, beside the prediction
    return rows


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 (byte {error.start}); convert it with iconv first") from None


def _lines(name: str, content: str) -> list[Row]:
    every = content.removesuffix("\n").split("\n")
    lines = [(number, line.removesuffix("\r")) for number, line in enumerate(every, start=1) if line.strip()]
    if not lines:
        raise InputError(f"{name} holds no text; give one text per line")
    _skipped(name, len(every) - len(lines))
    number, first = lines[0]
    if first.lstrip().startswith("{") and _is_row(first):
        raise InputError(f"{name}:{number} is JSON, not plain text; put it into a file whose name ends in .jsonl")
    return [(f"{name}:{number}", {"text": line}) for number, line in lines]


def _skipped(name: str, blank: int) -> None:
    if blank:
        typer.echo(f"blank lines of {name} that were skipped: {blank}", err=True)


def _is_row(line: str) -> bool:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and any(isinstance(row.get(key), str) for key in ("question", *TEXTS))


def written(value: Any) -> str:
    """A row, or a value of one, as JSON; what JSON has no word for, such as a date of a Parquet file, as text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def asked(given: Row, fields: Sequence[str], column: str | None = None) -> str | dict[str, str]:
    """The text of a row; or, for a model that reads several, each that the row has, by its name in `fields`.

    Args:
        fields: the texts that the model reads, see `inference.Predictor.fields`.
        column: the column of the first of them; None: one that is called so, or like those of well-known data sets.

    Raises:
        InputError: the row has no such column.
    """
    where, row = given
    texts = {name: value for name, value in row.items() if isinstance(value, str)}
    found: dict[str, str] = {}
    for field in fields:
        first = field == fields[0]
        names = (field, *presets.ALIASES.get(field, ()), *(TEXTS if first else ()))
        if first and column is not None:
            names = (column,)
        name = next((name for name in names if name in texts), None)
        if name is not None:
            found[field] = texts[name]
        elif first:
            raise InputError(
                f"{where} has no text under {', '.join(dict.fromkeys(names))}, only {', '.join(row) or 'nothing'}; "
                "name the column with --column"
            )
    return found if len(fields) > 1 else found[fields[0]]
