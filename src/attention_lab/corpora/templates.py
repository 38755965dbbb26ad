"""Sentence templates for corpora that simulate the events they describe; filling one records where each value is."""

from __future__ import annotations


def fill(template: str, values: dict[str, str], *, begin: int = 0) -> tuple[list[str], dict[str, range]]:
    """The words of a template with each `<role>` replaced by its value, and role → positions of its words.

    Positions are counted from `begin`, as in `text.split(" ")`; a mark after a role stays with its last word.
    """
    words: list[str] = []
    spans: dict[str, range] = {}
    for item in template.split():
        if item.startswith("<"):
            role, _, mark = item[1:].partition(">")
            said = values[role].split()
            spans[role] = range(begin + len(words), begin + len(words) + len(said))
            words += [*said[:-1], said[-1] + mark]
        else:
            words.append(item)
    return words, spans
