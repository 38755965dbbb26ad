"""The notebook as a page: docs/notebook/index.md with its pictures, generated from the committed .ipynb when the site
is built. They are not in git."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from attention_lab.records import write_bytes
from guide import sources

NOTEBOOK = sources.ROOT / "notebooks" / "attention_from_theory_to_implementation.ipynb"


def files() -> dict[str, bytes]:
    """{file: content}: the page and its pictures."""
    found: dict[str, bytes] = {}
    blocks: list[str] = []
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            # Sphinx writes the anchors of headings in small letters.
            blocks.append(re.sub(r"\]\(#([^)]*)\)", lambda match: f"](#{match[1].lower()})", source))
            continue
        blocks.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            blocks.append(_output(output, found))
    title, rest = blocks[0].split("\n", 1)
    ipynb = f"/../{NOTEBOOK.relative_to(sources.ROOT)}"
    told = f"This is {{download}}`the notebook <{ipynb}>` with the output and the pictures of its last run."
    found["index.md"] = "\n\n".join([title, told, rest, *blocks[1:]]).encode() + b"\n"
    return found


def _output(output: dict[str, Any], found: dict[str, bytes]) -> str:
    """What a cell printed, returned or drew, as Markdown; a picture is added to the files."""
    if output["output_type"] == "stream":
        return f"```text\n{''.join(output['text']).rstrip()}\n```"
    data = output["data"]
    if "image/png" in data:
        name = f"{len(found) + 1}.png"
        found[name] = base64.b64decode("".join(data["image/png"]))
        about = output.get("metadata", {}).get("image/png", {})
        width = f"\n:width: {about['width']}px" if "width" in about else ""
        return f"```{{image}} {name}\n:alt: {about.get('alt', 'What the code above draws.')}{width}\n```"
    if "text/html" in data:
        table = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
        table = table.replace('border="1" class="dataframe"', 'class="docutils align-default dataframe"')
        return f'````{{raw}} html\n<div class="table-wrapper docutils container">{table}</div>\n````'
    return f"```text\n{''.join(data['text/plain'])}\n```"


def write(folder: Path) -> None:
    """Write the files that have changed, and remove all others."""
    folder.mkdir(exist_ok=True)
    wanted = files()
    for file in folder.iterdir():
        if file.name not in wanted:
            file.unlink()
    for name, content in wanted.items():
        file = folder / name
        if not file.is_file() or file.read_bytes() != content:
            write_bytes(content, file)


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "notebook"))
