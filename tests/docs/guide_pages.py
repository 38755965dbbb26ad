"""The pages of the guide as tests read them: their blocks of code, and the commands in them."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
WRITTEN = sorted(
    page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in ("catalogue", "measured")
)


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The blocks of a page in that language, with the line where each begins."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n") + 1, match[1]) for match in found]


def commands(page: Path) -> list[list[str]]:
    """The commands of a page, as words; a line that ends in a backslash goes on."""
    lines = "\n".join(block for _, block in blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def overrides(words: list[str]) -> list[str]:
    """What a `dvc exp run` sets."""
    return [value for flag, value in itertools.pairwise(words) if flag == "-S"]
