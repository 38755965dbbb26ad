"""Pictures of weights as PNG: the same numbers give the same bytes.

Rows of a map are queries (that attend), columns are keys (attended to). Gold cells are outlined, not just coloured.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

SHOWN = 40  # words per side; with more, labels would be too small to read
LETTERS = 18  # of a label
MAP = "Blues"  # one hue, from light to dark: readable with colour blindness and in greyscale
SIGNED_MAP = "PuOr"  # from orange (negative) through white (0) to violet (positive)
GOLD = "#d55e00"  # vermilion of Okabe & Ito's palette


def weights_map(
    weights: np.ndarray,
    queries: Sequence[str],
    keys: Sequence[str],
    *,
    title: str,
    query_name: str,
    key_name: str,
    gold: np.ndarray | None = None,
) -> bytes:
    """A map of weights (Wq, Wk) with gold cells (Wq, Wk) outlined, limited to the first SHOWN words of each side."""
    weights = weights[:SHOWN, :SHOWN]
    rows, columns = weights.shape
    figure = Figure(figsize=(max(5.0, 2.6 + 0.36 * columns), 2.2 + 0.34 * rows), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(weights, cmap=MAP, vmin=0.0, vmax=1.0, aspect="equal")
    axes.set_xticks(range(columns), [_label(word) for word in keys[:SHOWN]], rotation=55, ha="left", va="bottom")
    axes.set_yticks(range(rows), [_label(word) for word in queries[:SHOWN]])
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_rotation_mode("anchor")
    axes.set_xlabel(key_name)
    axes.set_ylabel(query_name)
    _grid(axes, rows, columns)
    if gold is not None:
        for row, column in np.argwhere(gold[:SHOWN, :SHOWN]).tolist():
            axes.add_patch(Rectangle((column - 0.44, row - 0.44), 0.88, 0.88, fill=False, edgecolor=GOLD, linewidth=2))
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("weight")
    bar.outline.set_visible(False)
    _title(figure, title)
    return png(figure)


def strips(
    rows: Sequence[tuple[str, Sequence[str], np.ndarray, np.ndarray | None]],
    *,
    title: str,
) -> bytes:
    """Texts as strips of words, each given as (name, words, weights (W,), gold (W,) or None).

    The darker a word, the more weight it has relative to the heaviest word of its text; gold words are underlined.
    """
    longest = max(min(len(words), SHOWN) for _, words, _, _ in rows)
    figure = Figure(figsize=(1.0 + 0.86 * longest, 0.9 + 0.95 * len(rows)), layout="constrained")
    for number, (name, words, weights, gold) in enumerate(rows, start=1):
        axes = figure.add_subplot(len(rows), 1, number)
        shown = weights[:SHOWN]
        top = max(float(shown.max()), 1e-12)
        axes.imshow(shown[None] / top, cmap=MAP, vmin=0.0, vmax=1.25, aspect="auto", extent=(0, len(shown), 0, 1))
        for index, (word, weight) in enumerate(zip(words, shown, strict=False)):
            colour = "white" if weight / top > 0.7 else "#1a1a1a"
            _text(axes, index + 0.5, 0.6, _label(word, 10), color=colour, fontsize=9)
            _text(axes, index + 0.5, 0.25, f"{weight:.0%}", color=colour, fontsize=7)
            if gold is not None and gold[index]:
                axes.plot([index + 0.08, index + 0.92], [-0.1, -0.1], color=GOLD, linewidth=3, clip_on=False)
        axes.set_xlim(0, longest)
        axes.set_ylim(-0.18, 1)
        axes.set_axis_off()
        axes.set_title(name, fontsize=9, loc="left", parse_math=False)
    _title(figure, title)
    return png(figure)


def candidates_map(grids: Sequence[np.ndarray], names: Sequence[str], *, title: str, value_name: str) -> bytes:
    """Grids (N, H + 1) of values between 0 and 1 for every layer and head; column 0 is the mean of the heads."""
    layers, heads = grids[0].shape
    figure = Figure(figsize=(1.6 + len(grids) * (0.9 + 0.62 * heads), 1.9 + 0.5 * layers), layout="constrained")
    for number, (grid, name) in enumerate(zip(grids, names, strict=True), start=1):
        axes = figure.add_subplot(1, len(grids), number)
        image = axes.imshow(grid, cmap=f"{MAP}_r", vmin=0.0, vmax=1.0, aspect="auto")
        axes.set_xticks(range(heads), ["mean", *(str(head) for head in range(1, heads))])
        axes.set_yticks(range(layers), [str(layer) for layer in range(1, layers + 1)])
        axes.tick_params(length=0)
        axes.set_xlabel("head")
        axes.set_ylabel("layer" if number == 1 else "")
        axes.set_title(name, fontsize=10)
        _grid(axes, layers, heads)
        for (layer, head), value in np.ndenumerate(grid):
            _text(axes, head, layer, f"{value:.2f}", color="white" if value < 0.4 else "#1a1a1a", fontsize=9)
    figure.colorbar(image, ax=figure.axes, shrink=0.9, pad=0.02).set_label(value_name)
    _title(figure, title)
    return png(figure)


def heads_map(weights: np.ndarray, *, title: str) -> bytes:
    """All heads (N, H, Lq, Lk) of one place as small maps, one row per layer; each map is scaled to its largest
    absolute weight."""
    layers, heads = weights.shape[:2]
    figure = Figure(figsize=(0.8 + 1.25 * heads, 0.9 + 1.4 * layers), layout="constrained")
    for number, grid in enumerate(weights.reshape(-1, *weights.shape[2:])):
        layer, head = divmod(number, heads)
        axes = figure.add_subplot(layers, heads, number + 1)
        largest = max(float(np.abs(grid).max(initial=0.0)), 1e-12)
        signed = bool((grid < 0).any())
        colours = SIGNED_MAP if signed else MAP
        axes.imshow(grid, cmap=colours, vmin=-largest if signed else 0.0, vmax=largest, aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=8)
    _title(figure, title)
    return png(figure)


def png(figure: Figure) -> bytes:
    """The figure as PNG, without the date and the version of the software."""
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # The only bundled font lacks some scripts and draws boxes instead; the HTML report shows every script.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support .* natively")
        figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    return stream.getvalue()


def _label(word: str, letters: int = LETTERS) -> str:
    """A word as plain text: dollar signs, which would start a formula, are escaped, and long words are cut."""
    short = word if len(word) <= letters else word[: letters - 1] + "…"
    return short.replace("$", r"\$")


def _text(axes: Axes, x: float, y: float, text: str, *, color: str, fontsize: int) -> Text:
    return axes.text(x, y, text, ha="center", va="center", color=color, fontsize=fontsize)


def _title(figure: Figure, title: str) -> None:
    """Add a title: left-aligned, wrapped to the figure's width, and without formulas, since a row's name may contain
    any character."""
    letters = int((figure.get_figwidth() - 0.2) / 0.095)
    lines = [part for line in title.split("\n") for part in textwrap.wrap(line, letters)]
    figure.suptitle("\n".join(lines), fontsize=11, x=0.02, ha="left", parse_math=False)


def _grid(axes: Axes, rows: int, columns: int) -> None:
    """Draw white lines between the cells, and no frame."""
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
