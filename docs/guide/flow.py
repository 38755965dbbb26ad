"""The pipeline as a picture, drawn from dvc.yaml."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import yaml

DVC = Path(__file__).parent.parent.parent / "dvc.yaml"
STEP, LEFT, BOX, HIGH = 58, 128, 96, 34  # per stage: distance to the next, left edge, width and height of its box


def stages() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(DVC.read_text(encoding="utf-8"))["stages"])


def outputs(stage: dict[str, Any]) -> list[str]:
    """What a stage writes, metrics included."""
    entries = [*stage.get("outs", []), *stage.get("metrics", [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def edges() -> list[tuple[str, str]]:
    """(writing stage, stage that reads its output), each pair once, in the order of dvc.yaml."""
    writers = {path: name for name, stage in stages().items() for path in outputs(stage)}
    found = [
        (writers[path], name)
        for name, stage in stages().items()
        for read in stage["deps"]
        for path in (read, read.rpartition("/")[0])
        if path in writers
    ]
    return list(dict.fromkeys(found))


def drawn() -> str:
    """A box for each stage, beside it what it writes and what it reads of params.yaml, and a line for each edge."""
    known = stages()
    middle = {name: 22 + STEP * number for number, name in enumerate(known)}
    tall = STEP * len(known)
    parts = [
        f'<svg class="flow" viewBox="0 0 580 {tall}" role="img" aria-label="which stage reads what others write">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">',
        '<path d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    for writer, reader in edges():
        start, end = middle[writer], middle[reader]
        bend = LEFT - 22 * ((end - start) // STEP) - 6
        if end - start == STEP:
            x = LEFT + BOX / 2
            parts.append(f'<path class="arrow" marker-end="url(#head)" d="M{x} {start + HIGH / 2}V{end - HIGH / 2}"/>')
        else:
            # Lines leave a box below its middle and enter one above its middle, so that they can be told apart.
            out, into = start + 7, end - 7
            curve = f"M{LEFT} {out}C{bend} {out} {bend} {into} {LEFT} {into}"
            parts.append(f'<path class="arrow" marker-end="url(#head)" d="{curve}"/>')
    for name, stage in known.items():
        y = middle[name]
        box = f'x="{LEFT}" y="{y - HIGH / 2}" width="{BOX}" height="{HIGH}" rx="6"'
        parts.append(f'<rect class="stage" {box}/><text x="{LEFT + BOX / 2}" y="{y + 5}">{escape(name)}</text>')
        first = [path for path in outputs(stage) if not path.startswith(("metrics/validation", "metrics/plots"))]
        parts.append(f'<text class="beside" x="{LEFT + BOX + 14}" y="{y - 2}">{escape(", ".join(first))}</text>')
        read = f"params: {', '.join(stage['params'])}"
        parts.append(f'<text class="beside small" x="{LEFT + BOX + 14}" y="{y + 14}">{escape(read)}</text>')
    return "".join([*parts, "</svg>"])
