"""The measured figures, read from docs/measured when the site is built, so that no page contains its own copy."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from attention_lab.attention import CATALOGUE, PLACES, Mechanism

MEASURED = Path(__file__).parent.parent / "measured"
SHORT = {"encoder_self": "encoder", "decoder_self": "decoder", "cross": "cross"}
LENGTHS = ("128", "1024", "8192")


@cache
def read(name: str) -> dict[str, Any]:
    """docs/measured/NAME.json"""
    return dict(json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8")))


def curves(names: list[str]) -> dict[str, Any]:
    """{name: {positions: {seconds, bytes}}} of the mechanisms that have been measured; a new row may be missing."""
    found = read("curves")["curves"]
    return {name: found[name] for name in names if name in found}


def quality() -> dict[str, dict[str, float]]:
    """{mechanism: its figures}, best BLEU first."""
    return dict(sorted(read("quality").items(), key=lambda item: -item[1]["bleu"]))


def bleu(name: str) -> str:
    """`92.4 (91.1 to 93.5)`"""
    run = read("quality")[name]
    return f"{run['bleu']:.1f} ({run['low']:.1f} to {run['high']:.1f})"


def cost_table(names: list[str]) -> str:
    """Time and memory of one layer at three lengths, as Markdown."""
    about = read("curves")["about"]
    lines = ["| |" + "".join(f" {n} positions |" for n in LENGTHS), "|---|" + "---:|" * len(LENGTHS)]
    shown = list(dict.fromkeys([*names, "scaled_dot_product"]))
    known = curves(shown)
    for name in shown:
        figures = [_figures(known[name].get(n)) if name in known else "not measured yet" for n in LENGTHS]
        lines.append(f"| {linked(name)} |" + "".join(f" {figure} |" for figure in figures))
    said = (
        "Time, and memory on top of what the process already held, of one layer, forward and backward: "
        f"{about['heads']} heads of {about['head']} features, batch size {about['batch']}, {about['threads']} threads "
        f"of a {about['device'].upper()}, median of {about['rounds']} rounds. “–” means too slow or too large to "
        "measure. There were few rounds and the machine was shared, so differences of a few tens of per cent are not "
        "meaningful."
    )
    return "\n".join([*lines, "", said])


def _figures(one: dict[str, float] | None) -> str:
    if one is None:
        return "–"
    milliseconds = 1e3 * one["seconds"]
    time = f"{milliseconds:.1f} ms" if milliseconds < 100 else f"{milliseconds:,.0f} ms"
    return f"{time}, {one['bytes'] / 1e6:,.0f} MB"


def quality_table(names: list[str]) -> str:
    """How well a model with each mechanism translates the embedded corpus, as Markdown."""
    lines = ["| mechanism | BLEU | 95 % interval | alignment error | used in |", "|---|---:|---:|---:|---|"]
    for name, run in quality().items():
        if name not in names:
            continue
        error = run["alignment_error_rate"]
        aligned = "–" if error is None else f"{error:.2f}"
        score, interval = f"{run['bleu']:.1f}", f"{run['low']:.1f} to {run['high']:.1f}"
        lines.append(f"| {linked(name)} | {score} | {interval} | {aligned} | {where(CATALOGUE[name])} |")
    return "\n".join(lines)


def where(row: Mechanism) -> str:
    """The places in which a mechanism is used, in a few words."""
    return "everywhere" if row.places == PLACES else ", ".join(SHORT[place] for place in row.places)


def linked(name: str) -> str:
    """The name of a row as a link to its page."""
    return f"{{row}}`{name}`" if name in CATALOGUE else name
