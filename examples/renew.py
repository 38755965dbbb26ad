"""Brings the examples up to date with params.yaml: `python examples/renew.py`, after a change of it.

An example is params.yaml but for the values that its head names, and its own head.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
NAMED = re.compile(r"It is params\.yaml but for: ([\w., ]+?)\.(?:\s|$)")
LINE = re.compile(r"(?P<setting>(?P<space>\s*)(?P<key>\w+):.*?)(?P<comment> +#.*)?")
COMMENTS = 29  # the column in which comments begin


def named(head: str) -> list[str]:
    """The parameters that the comment at the head of an example names."""
    return NAMED.search(head.replace("\n# ", " "))[1].split(", ")


def numbered(lines: list[str]) -> dict[str, int]:
    """Which line sets a value, by the value's full name; each value stands in one line."""
    found, section = {}, ""
    for number, line in enumerate(lines):
        if (match := LINE.fullmatch(line)) is not None:
            section = section if match["space"] else match["key"]
            found[f"{section}.{match['key']}" if match["space"] else section] = number
    return found


def renewed(example: str, params: str) -> str:
    """The text of an example as params.yaml has it now."""
    (head, own), (_, new) = (text.split("\n\n", 1) for text in (example, params))
    before, lines = own.splitlines(), new.splitlines()
    for name in named(head):
        number = numbered(lines)[name]
        setting = LINE.fullmatch(before[numbered(before)[name]])["setting"]
        comment = (LINE.fullmatch(lines[number])["comment"] or "").lstrip()
        lines[number] = f"{setting:{COMMENTS}}{comment}" if comment and len(setting) < COMMENTS else setting
    return "\n".join([head, "", *lines, ""])


if __name__ == "__main__":
    params = (HERE.parent / "params.yaml").read_text(encoding="utf-8")
    for path in sorted(HERE.glob("*.yaml")):
        path.write_text(renewed(path.read_text(encoding="utf-8"), params), encoding="utf-8")
