"""What the project's own files say: the class behind a mechanism, its docstring, and the tests that cover it."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from attention_lab.attention import CATALOGUE, Mechanism
from attention_lab.attention.catalogue import CHOICES

ROOT = Path(__file__).parent.parent.parent
TESTS = ROOT / "tests" / "attention_lab" / "attention"
LAW = "tests/attention_lab/attention/test_law.py"
DEFAULTS = {one.name: one.default for one in fields(Mechanism)}


def part(kind: str, name: str) -> Any:
    """The class behind a choice of a part."""
    found = CHOICES[kind][name]
    return getattr(found, "func", found)  # of a partial


def file_of(found: Any) -> str:
    """The file of a class, relative to the project's root."""
    return str(Path(inspect.getsourcefile(found) or "").relative_to(ROOT))


def summary(found: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(found) or "").split("\n\n")[0].split())


def argument(found: Any, name: str) -> str:
    """What a docstring says about an argument under `Args:`, in one line; empty if it says nothing there."""
    _, _, arguments = (inspect.getdoc(found) or "").partition("Args:\n")
    said = re.search(rf"(?:^    |; ){name}: (.*?)(?=; \w+: |\n    \w+: |\n\n|\Z)", arguments, re.DOTALL | re.MULTILINE)
    return " ".join(said[1].split()) if said else ""


def own_parts(row: Mechanism) -> dict[str, Any]:
    """The classes that make a mechanism what it is: {kind: class}.

    Those are the parts that scaled dot-product attention does not have. If a row differs only in an option, it is the
    part that takes the option.
    """
    special = {
        kind: part(kind, name)
        for kind, name in row.parts.items()
        if name != DEFAULTS[kind] and not (kind == "position" and name == "none")
    }
    taking = {
        kind: part(kind, name)
        for kind, name in row.parts.items()
        if set(row.options) & set(inspect.signature(part(kind, name)).parameters)
    }
    found = special or taking
    return found or {kind: part(kind, row.parts[kind]) for kind in ("score", "normaliser")}


@cache
def tests_in(file: Path) -> dict[str, ast.FunctionDef]:
    return {
        node.name: node
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def is_test(reference: str) -> bool:
    """Does a test of that name exist, written as in pytest: FILE::NAME?"""
    file, _, name = reference.partition("::")
    return (ROOT / file).is_file() and (not name or name in tests_in(ROOT / file))


@cache
def named_in(file: Path) -> dict[str, frozenset[str]]:
    """The names and strings that occur in each test of a file."""
    return {
        name: frozenset(
            node.id if isinstance(node, ast.Name) else str(node.value)
            for node in ast.walk(test)
            if isinstance(node, ast.Name | ast.Constant)
        )
        for name, test in tests_in(file).items()
    }


def tests_of(name: str) -> list[str]:
    """The tests that name a mechanism or its own parts, except those of the law, as FILE::NAME."""
    row = CATALOGUE[name]
    parts = own_parts(row)
    wanted = {name} | {found.__name__ for found in parts.values()}
    wanted |= {row.parts[kind] for kind in parts if row.parts[kind] != DEFAULTS[kind]}
    return [
        f"{reference}::{test}"
        for file in sorted(TESTS.rglob("test_*.py"))
        if (reference := str(file.relative_to(ROOT))) != LAW
        for test, found in named_in(file).items()
        if wanted & found
    ]


@cache
def told() -> dict[str, str]:
    """The theory page that explains a mechanism first: {mechanism: page}."""
    found: dict[str, str] = {}
    order = (ROOT / "docs" / "theory" / "index.md").read_text(encoding="utf-8").splitlines()
    for line in order:
        file = ROOT / "docs" / "theory" / f"{line.strip()}.md"
        if line.strip() and file.is_file():
            for name in re.findall(r"\{(?:mechanism|row)\}`? ?([a-z0-9_]+)", file.read_text(encoding="utf-8")):
                found.setdefault(name, f"theory/{file.stem}")
    return found


@cache
def messages() -> list[str]:
    """The messages of the code's `InputError`s, with … for the values that are inserted."""
    found: list[str] = []
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                called = node.exc
                if isinstance(called.func, ast.Name) and called.func.id == "InputError":
                    found += _texts(called.args[0])
            if isinstance(node, ast.FunctionDef) and node.name.endswith("_sentence"):
                found += [text for part in ast.walk(node) if isinstance(part, ast.JoinedStr) for text in _texts(part)]
    return found


def _texts(node: ast.expr) -> list[str]:
    """The texts that an expression can evaluate to."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(_texts(part)[0] for part in parts)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [one + other for one in _texts(left) for other in _texts(right)]
        case ast.BinOp(left=left, op=ast.Mult()):
            return ["", *_texts(left)]
        case ast.IfExp(body=body, orelse=orelse):
            return _texts(body) + _texts(orelse)
    return ["…"]


def is_message(text: str) -> bool:
    """Does the code contain this message? … stands for anything."""
    wanted = re.compile(".*".join(re.escape(piece) for piece in text.split("…")), re.DOTALL)
    return any(wanted.search(known) for known in messages())


def plain(text: str) -> str:
    """Text escaped so that Markdown shows it unchanged."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$^])", r"\\\1", text)
