"""A comparison as a table for the terminal, Markdown, a page or JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from io import StringIO

from jinja2 import Environment, PackageLoader
from rich.console import Console
from rich.table import Table
from rich.text import Text

from attention_lab.comparison import COSTS, KNOWN, Comparison, Line


def table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    digits = 1 if max(line.score for line in found.lines) > 1.5 else 3  # of 100, or of 1
    settings = list(found.lines[0].settings)
    more = [title for title in (*KNOWN.values(), *COSTS.values()) if any(title in line.more for line in found.lines)]
    titles = [*settings, "seeds", found.score_name, "95 %", "difference", "chance", *more]
    rows = []
    for number, line in enumerate(found.lines):
        rows.append(
            [
                *line.settings.values(),
                str(len(line.seeds)) + f" ({len(line.failed)} failed)" * bool(line.failed),
                f"{line.score:.{digits}f}",
                "" if line.low is None else f"{line.low:.{digits}f} to {line.high:.{digits}f}",
                "" if number == found.against else _signed(line, digits),
                "" if line.chance is None else f"{line.chance:.3f}" + " (rows)" * (line.over == "rows"),
                *(_figure(title, line.more.get(title)) for title in more),
            ]
        )
    return titles, rows


def _signed(line: Line, digits: int) -> str:
    if line.difference is None:
        return "no seed in common"
    of = f" ({line.shared} of {len(line.seeds)} seeds)" * (line.shared < len(line.seeds))
    if not line.margin:
        return f"{line.difference:+.{digits}f}" + ("" if line.margin is None else f" ± {0:.{digits}f}") + of
    digits = max(digits, -math.floor(math.log10(line.margin)))  # a margin of 0.0004 is not 0
    return f"{line.difference:+.{digits}f} ± {line.margin:.{digits}f}{of}"


def _figure(title: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if title in KNOWN.values() else f"{value:,.0f}"


def terminal(found: Comparison, width: int | None = None) -> str:
    """For people at a terminal; width None: as wide as it needs. On a narrow one what stands behind the scores is left
    out, the last first, before a word is cut."""
    titles, rows = table(found)
    needed = len(titles)
    left_out: list[str] = []
    sides = [max(map(len, column)) + 3 for column in zip(titles, *rows, strict=True)]
    while width and sum(sides[:needed]) > width and titles[needed - 1] in (*KNOWN.values(), *COSTS.values()):
        needed -= 1
        left_out.insert(0, titles[needed])
    titles, rows = titles[:needed], [row[:needed] for row in rows]
    drawn = Table(title=f"{found.task}: {found.score_name}", title_justify="left", title_style="bold", pad_edge=False)
    settings = len(found.lines[0].settings)
    for number, title in enumerate(titles):
        drawn.add_column(Text(title), justify="left" if number < settings else "right", overflow="fold")
    for number, row in enumerate(rows):
        drawn.add_row(*map(Text, row), style="bold" if number == found.against else "")
    console = Console(width=width or 240, file=(written := StringIO()), force_terminal=width is not None)
    console.print(drawn)
    narrow = [f"No room for {', '.join(left_out)}: widen the terminal, or use --html or --json."] * bool(left_out)
    for note in (*found.notes, *narrow):
        console.print(Text(note))
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())


def markdown(found: Comparison) -> str:
    """For a page or a pull request."""
    titles, rows = table(found)
    settings = len(found.lines[0].settings)
    lines = [titles, ["---" if number < settings else "---:" for number in range(len(titles))], *rows]
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in lines] + ["", *found.notes])


def page(found: Comparison) -> str:
    """One HTML file that asks for nothing from elsewhere: the table, and scores with their intervals drawn."""
    titles, rows = table(found)
    spans = [
        (line.score, line.score, line.score) if line.low is None or line.high is None
        else (line.low, line.score, line.high)
        for line in found.lines
    ]  # fmt: skip
    least, most = min(low for low, _, _ in spans), max(high for _, _, high in spans)
    width = (most - least) or 1.0
    drawn = [tuple(round(100.0 * (value - least) / width, 2) for value in span) for span in spans]
    template = Environment(loader=PackageLoader("attention_lab.comparison", "."), autoescape=True).get_template(
        "page.html"
    )
    digits = 1 if most > 1.5 else 3
    scale = [f"{end:.{digits}f}" for end in (least, most)] if most > least else []  # what dots and lines are drawn on
    settings = len(found.lines[0].settings)
    return template.render(found=found, titles=titles, rows=rows, drawn=drawn, settings=settings, scale=scale)


def as_json(found: Comparison) -> str:
    """For other programs."""
    return json.dumps(asdict(found), indent=2)
