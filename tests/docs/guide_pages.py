"""The pages of the guide as tests read them: their blocks of code, and the commands in them. README and CONTRIBUTING
are pages, too."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
WRITTEN = sorted(
    page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in ("catalogue", "measured", "notebook")
)
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = [*WRITTEN, README, CONTRIBUTING]
PROGRAMS = {
    "attention-lab", "cd", "cp", "curl", "dvc", "echo", "git", "make", "mlflow", "pre-commit", "pytest",
    "python", "source",
}  # fmt: skip


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The blocks of a page in that language, with the line where each begins."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n") + 1, match[1]) for match in found]


def commands(page: Path) -> list[list[str]]:
    """The commands of a page, as words: in blocks, where a line that ends in a backslash goes on, and in sentences.
    A bar stands between two."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    told = [span for span in re.findall(r"`([^`\n]+)`", text) if " " in span and span.split()[0] in PROGRAMS]
    lines = "\n".join(block for _, block in blocks(page, "sh")).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines + told]
    ends = [[-1, *(at for at, word in enumerate(words) if word == "|"), len(words)] for words in split]
    return [words[a + 1 : b] for words, at in zip(split, ends, strict=True) for a, b in itertools.pairwise(at) if words]


def overrides(words: list[str]) -> list[str]:
    """What a `dvc exp run` sets."""
    return [value for flag, value in itertools.pairwise(words) if flag == "-S"]
