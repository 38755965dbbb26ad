"""An explanation in a terminal: for each word of the output the words of the text, coloured by how much they count.

Where standard output is no terminal there are no colours, and the three heaviest words with their scores are all.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from attention_lab.explanation.maps import CAUTION
from attention_lab.explanation.told import Told
from attention_lab.explanation.words import Answer, Scored
from attention_lab.interpretation.methods import METHODS

HEAVIEST = 3  # words that are told with their scores
LEAST = 0.1  # of the heaviest word's score: below it a word has no colour
DIGITS = 6

# Grounds, of the 256 colours that terminals have in common, from least to most: one hue, each darker than the one
# before, so that they differ in lightness and not in hue alone. The ink is given with them, so that words can be read
# whatever the ground of the terminal is.
FOR, AGAINST = (153, 75, 33, 26), (223, 215, 208, 166)  # as on the page
LEGEND = ("less", " ", " ", "more")
INKS = ("color(16)", "color(16)", "color(16)", "bold color(231)")


def shown(told: Sequence[Told], *, short: bool, width: int | None) -> str:
    """What `attention-lab explain` prints: of several models, each text by the one and then by the other.

    Args:
        short: a line for each method.
        width: of the terminal; None: no colours, for a file or another program.
    """
    lines: list[str] = []
    for of_text in zip(*(one.answers for one in told), strict=True):
        for model, (answer, found) in zip(told, of_text, strict=True):
            lines += _whose(model, width) if len(told) > 1 else []
            lines += [*_head(answer), ""]
            for one in found:
                lines += _in_short(answer, one, width) if short else _in_full(answer, one, width)
            lines += [] if lines[-1] == "" else [""]
    if width is not None:
        signed = any(one.signed for model in told for _, found in model.answers for one in found)
        lines += _legend(signed, width)
    return "\n".join([*lines, *([CAUTION] if width is None else _printed(Text(CAUTION), width))])


def as_json(told: Sequence[Told]) -> str:
    """A JSON line for each text, model and method: inputs, prediction, outputs, words, method, variant, scores (Wq,
    Wk), signed, reason, notes; of several models, before them its folder as `model`."""
    return "\n".join(
        _as_json({"model": str(model.folder)} if len(told) > 1 else {}, answer, one)
        for of_text in zip(*(one.answers for one in told), strict=True)
        for model, (answer, found) in zip(told, of_text, strict=True)
        for one in found
    )


def _as_json(model: dict[str, str], answer: Answer, one: Scored) -> str:
    content = {
        **model,
        "inputs": answer.texts,
        "prediction": answer.answer["prediction"],
        "outputs": answer.outputs,
        "words": answer.words,
        "method": one.method,
        "variant": one.variant,
        "scores": None if one.scores is None else one.scores.round(DIGITS).tolist(),
        "signed": one.signed,
        "reason": one.reason or None,
        "notes": answer.notes,
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _whose(told: Told, width: int | None) -> list[str]:
    name = f"{told.folder} · {told.mechanism}"
    return [name] if width is None else _printed(Text(name, style="bold reverse"), width)


def _head(answer: Answer) -> list[str]:
    sure = answer.answer.get("probability")
    said = answer.prediction or "(nothing)"
    lines = [f"{name}: {text}" for name, text in answer.texts.items()]
    lines.append(f"prediction: {said}" + (f" ({100 * sure:.1f} %)" if isinstance(sure, float) else ""))
    return [*lines, *answer.notes]


def _title(one: Scored) -> str:
    variant = f" ({one.variant})" if one.variant else ""
    return f"{one.method}{variant}: {METHODS[one.method].what}"


def _in_full(answer: Answer, one: Scored, width: int | None) -> list[str]:
    if one.scores is None:
        return [_title(one), f"  not defined here: {one.reason}", ""]
    rows = [(output, scores, _heaviest(answer, scores)) for output, scores in _rows(answer, one.scores)]
    if not rows:
        return [_title(one), "  the prediction has no word that depends on another", ""]
    widest = max(len(output) for output, _, _ in rows)
    if width is None:
        return [_title(one), *(f"  {output:<{widest}}  {_told(best)}" for output, _, best in rows), ""]
    cells = [
        (Text(output, style="bold"), _coloured(answer.words[: len(scores)], scores), Text(_told(best), style="dim"))
        for output, scores, best in rows
    ]
    side = width > sum(max(cell.cell_len for cell in column) + 1 for column in zip(*cells, strict=True))
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(max_width=max(8, width // 4), overflow="fold")
    table.add_column(overflow="fold")
    for output, words, figures in cells:
        table.add_row(output, words, *([figures] if side else []))
        if not side:
            table.add_row("", Text(" ").append(figures))
    return [*_printed(Text(_title(one)), width), *_printed(table, width), ""]


def _in_short(answer: Answer, one: Scored, width: int | None) -> list[str]:
    """Of a text that was written, the heaviest word of each of its words; else the heaviest words of the text."""
    name = f"{one.method:<{max(map(len, METHODS))}}"
    if one.scores is None:
        return [f"{name}  not defined here: {one.reason}"]
    rows = [(output, _heaviest(answer, scores)) for output, scores in _rows(answer, one.scores)]
    if answer.asked.writes:
        told = ", ".join(f"{output} ← {answer.words[best[0][0]] if best else '–'}" for output, best in rows)
    else:
        told = _told(rows[0][1]) if rows else "–"
    return [f"{name}  {told}"] if width is None else _printed(_hanging(name, told), width)


def _hanging(name: str, told: str) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    table.add_row(name, Text(told))
    return table


def _rows(answer: Answer, scores: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The words of the output with the scores of the words they may depend on; in a language model those before."""
    rows = enumerate(zip(answer.outputs, scores, strict=True))
    if answer.goes_on:
        return [(output, row[:number]) for number, (output, row) in rows if number and output]
    return [(output, row) for _, (output, row) in rows if output]


def _heaviest(answer: Answer, scores: np.ndarray) -> list[tuple[int, str, float]]:
    order = np.argsort(-np.abs(scores), kind="stable")[:HEAVIEST]
    return [(int(word), answer.words[word], float(scores[word])) for word in order if scores[word] != 0.0]


def _told(best: Sequence[tuple[int, str, float]]) -> str:
    return ", ".join(f"{word} {_number(score)}" for _, word, score in best) or "no word counts"


def _number(score: float) -> str:
    return f"{score:.2f}" if abs(score) >= 0.005 else f"{score:.0e}"


def _coloured(words: Sequence[str], scores: np.ndarray) -> Text:
    most = float(np.abs(scores).max(initial=0.0)) or 1.0
    found = Text()
    for word, share in zip(words, scores / most, strict=True):
        found.append(f" {word} ", _style(float(share)))
    return found


def _style(share: float) -> str:
    """Of a share of the heaviest score, from −1 to 1."""
    if abs(share) < LEAST:
        return ""
    shades = FOR if share > 0.0 else AGAINST
    number = min(int(abs(share) * len(shades)), len(shades) - 1)
    return f"{INKS[number]} on color({shades[number]})"


def _legend(signed: bool, width: int) -> list[str]:
    found = Text("Each line has its own scale; a word counts ")
    shares = [(number + 0.5) / len(FOR) for number in range(len(FOR))]
    for share, word in zip(shares, LEGEND, strict=True):
        found.append(f" {word} ", _style(share))
    if signed:
        found.append("  speaks against ")
        for share, word in zip(shares, LEGEND, strict=True):
            found.append(f" {word} ", _style(-share))
    return [*_printed(found, width), ""]


def _printed(what: Text | Table, width: int) -> list[str]:
    console = Console(
        width=width, file=(written := io.StringIO()), force_terminal=True, color_system="256", highlight=False
    )
    console.print(what)
    return [line.rstrip() for line in written.getvalue().rstrip("\n").split("\n")]
