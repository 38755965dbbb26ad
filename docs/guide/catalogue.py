"""The catalogue as pages: docs/catalogue/NAME.md for every row, written before Sphinx looks for pages.

The pages are generated only from the catalogue, the docstrings of its parts and docs/measured. They are not in git.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import torch
from sphinx.application import Sphinx

from attention_lab.attention import CATALOGUE, PLACES, Mechanism, MultiHeadAttention
from attention_lab.attention.catalogue import CHOICES, available
from attention_lab.mechanisms import KINDS, PLACE_NAMES
from attention_lab.records import write_bytes
from attention_lab.transformer.config import FALLBACK
from guide import measured, sources, telling

LONG = 1024  # positions in the call whose path a page names


def pages() -> dict[str, str]:
    """{file: Markdown} of the whole catalogue."""
    return {"index.md": index(), **{f"{name}.md": page(row) for name, row in CATALOGUE.items()}}


def index() -> str:
    lines = ["| mechanism | weights | paper | cost | used in |", "|---|---|---|---|---|"]
    for name, row in CATALOGUE.items():
        plain = (sources.plain(text) for text in (row.formula, row.paper, row.cost))
        lines.append(f"| {' | '.join((measured.linked(name), *plain, measured.where(row)))} |")
    return "\n".join(
        [
            "# Catalogue",
            "",
            f"All {len(CATALOGUE)} mechanisms. Each page is generated from its row in "
            "`src/attention_lab/attention/rows.py` when the site is built. `attention-lab mechanisms` shows the same "
            "in a terminal.",
            "",
            *lines,
            "",
            "```{toctree}",
            ":hidden:",
            "",
            *CATALOGUE,
            "```",
            "",
        ]
    )


def page(row: Mechanism) -> str:
    told = sources.told().get(row.name)
    theory = [f"The idea behind it, and the problem it solves: [theory](/{told}.md)."] if told else []
    blocks = [
        f"# {row.name}",
        f"```text\n{row.formula}\n```",
        _table(
            {
                "Paper": sources.plain(row.paper),
                "Use it for": sources.plain(row.when),
                "Time": f"{sources.plain(row.cost)}, for L positions and heads of width D",
                "Weights": f"{row.weights}: {KINDS[row.weights]}",
                "Valid in": ", ".join(PLACE_NAMES[place] for place in row.places),
                **_not_in(row),
            }
        ),
        *theory,
        f"```sh\ndvc exp run -S attention.mechanism={row.name}\n```",
        "## Weights",
        telling.picture(row.name),
        "## Parts",
        _parts(row),
        "## Code",
        telling.code(row.name, list(dict.fromkeys(sources.own_parts(row).values()))),
        "## Options",
        _options(row),
        "## How it is computed",
        _paths(row),
        "## Cost",
        measured.cost_table([row.name]),
        "## Quality",
        _quality(row),
        "## Tests",
        _tests(row),
    ]
    return "\n\n".join(blocks) + "\n"


def _table(facts: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {title} | {text} |" for title, text in facts.items())])


def _not_in(row: Mechanism) -> dict[str, str]:
    others = [PLACE_NAMES[place] for place in PLACES if place not in row.places]
    if not others:
        return {}
    return {"Not in": f"{', '.join(others)}: {sources.plain(row.why)}. {{row}}`{FALLBACK}` is used there instead."}


def _parts(row: Mechanism) -> str:
    lines = ["| kind | choice | what it is |", "|---|---|---|"]
    for kind, name in row.parts.items():
        lines.append(f"| {kind} | `{name}` | {sources.plain(sources.summary(sources.part(kind, name)))} |")
    if row.position is None:
        lines.append("| position | | the model's own (`model.position`), in self-attention |")
    return "\n".join(lines)


def _options(row: Mechanism) -> str:
    options = available(row)
    if not options:
        return "None."
    lines = ["| option | default | part | what it is |", "|---|---|---|---|"]
    for option, value in options.items():
        of = {
            kind: sources.argument(sources.part(kind, name), option)
            for kind, name in row.parts.items()
            if option in inspect.signature(CHOICES[kind][name]).parameters
        }
        said = sources.plain(" ".join(of.values())) or "see the code above"
        lines.append(f"| `{option}` | `{json.dumps(value)}` | {', '.join(of)} | {said} |")
    # Show an option of the mechanism's own, not one that nearly all mechanisms have.
    usual = available(Mechanism("", "", ""))
    shown = {name: value for name, value in options.items() if name in row.options or name not in usual}
    for name, value in list(shown.items())[:1]:
        command = (
            f"dvc exp run -S attention.mechanism={row.name} -S '+attention.options={{{name}: {json.dumps(value)}}}'"
        )
        lines += ["", f"```sh\n{command}\n```"]
    return "\n".join(lines)


def _paths(row: Mechanism) -> str:
    lines = []
    for place in row.places:
        layer = MultiHeadAttention(16, 4, row, place, length=LONG).eval()
        inputs = torch.zeros(1, LONG, 16)
        with torch.no_grad():
            path, _, what = layer.explain(inputs, inputs if place == "cross" else None).partition(": ")
        lines.append(f"- {PLACE_NAMES[place]}: **{path}**: {what}")
    said = f"On a CPU, for {LONG} positions, when no weights are asked for (`MultiHeadAttention.explain`):"
    return "\n".join([said, "", *lines])


def _quality(row: Mechanism) -> str:
    if row.name not in measured.quality():
        return "This mechanism has not been trained for the table in docs/measured yet."
    said = (
        "A two-layer model that translates the embedded corpus, trained once: two rows may differ only because of the "
        "seed. See [findings](/findings.md)."
    )
    return "\n".join([measured.quality_table([row.name, FALLBACK]), "", said])


def _tests(row: Mechanism) -> str:
    own = [f"- {{test}}`{test}`" for test in sources.tests_of(row.name)]
    law = f"All tests of {{test}}`{sources.LAW}` that concern its weights and places ([what they say](/theory/law.md))"
    return "\n".join([law + (", and:" if own else "."), "", *own])


def write(folder: Path) -> None:
    """Write the pages that have changed, and remove those of rows that no longer exist."""
    folder.mkdir(exist_ok=True)
    wanted = pages()
    for file in folder.glob("*.md"):
        if file.name not in wanted:
            file.unlink()
    for name, text in wanted.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            write_bytes(text.encode(), file)


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "catalogue"))
