"""Does cross-attention find the words that translate each other?

Each target word is linked to the source word with the largest weight (the first of them, if several share it). The
links of every layer, of each head and of the mean of its heads, are held against gold alignments.

A decoder position reads word t and predicts word t + 1, so a target word has two rows of weights: the one that
predicts it and the one where it is the input. Which of them aligns depends on the model (Chen et al. 2020, arXiv
2004.14837, section 3), so both are candidates. The candidate is chosen on one split and reported on another.

Every target word's argmax is a link, also where the gold leaves the word unaligned: such a link counts as an error,
as is usual for alignments read from attention.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attention_lab.errors import InputError
from attention_lab.interpretation.weights import Row
from attention_lab.metrics import interval, rounded

ROWS = ("predicting", "input")
Link = tuple[int, int]


def alignment_error_rate(
    found: Sequence[Collection[Link]],
    sure: Sequence[Collection[Link]],
    possible: Sequence[Collection[Link]] | None = None,
) -> float:
    """AER = 1 − (|A∩S| + |A∩P|) / (|A| + |S|), between 0 (best) and 1 (Och & Ney 2003, "A systematic comparison of
    various statistical alignment models", Computational Linguistics 29:1, "Evaluation Methodology"). Links are
    counted over all sentences, then divided.

    Args:
        found: A, the links of each sentence, (source word, target word).
        sure: S, links that must be there.
        possible: P, links that may be there; S is always part of it.

    Raises:
        ValueError: nothing is found and nothing is sure, so that there is nothing to divide by.
    """
    hits = links = 0
    for a, s, p in zip(found, sure, possible if possible is not None else sure, strict=True):
        found_set, sure_set = set(a), set(s)
        hits += len(found_set & sure_set) + len(found_set & (sure_set | set(p)))
        links += len(found_set) + len(sure_set)
    if not links:
        raise ValueError("the alignment error rate needs at least one link")
    return 1.0 - hits / links


@dataclass(frozen=True)
class Counts:
    """Links of n sentences; with them AER = 1 − 2 · hits / (found + sure).

    hits: (n, 2, N, H + 1) links that are in the gold, by row (see ROWS), layer and head, where head 0 is the mean of
    the heads; a link that is possible and not sure is half of one. found, sure: (n,). random: (n,) hits expected of
    links drawn evenly. diagonal: (n,) hits of linking each target word to the source word at the same relative
    position.
    """

    hits: np.ndarray
    found: np.ndarray
    sure: np.ndarray
    random: np.ndarray
    diagonal: np.ndarray

    def error(self, hits: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """AER of hits (n, …) over the sentences `rows` → (…)."""
        links = self.found[rows].sum() + self.sure[rows].sum()
        return np.asarray(1.0 - 2.0 * hits[rows].sum(0) / links)


def hardest(row: Row) -> np.ndarray:
    """The source word each target word looks at most: (2, N, H + 1, Wt), head 0 the mean of the heads."""
    both = np.stack([row.cross_words(where) for where in ROWS])
    return np.concatenate([both.mean(2, keepdims=True), both], axis=2).argmax(-1)


def count(
    rows: Iterable[Row],
    gold: Mapping[str, Collection[Sequence[int]]],
    possible: Mapping[str, Collection[Sequence[int]]] | None = None,
) -> Counts | None:
    """Count links that agree with `gold`: links (source word, target word) by row name. None if no row has any, sure or
    possible.

    Args:
        possible: links that may be there, beside those of `gold`, which are sure.

    Raises:
        InputError: a gold link names a word that is not there.
    """
    columns: list[tuple[np.ndarray, int, int, float, float]] = []
    for row in rows:
        links = {(int(i), int(j)) for i, j in gold[row.row]}
        others = {(int(i), int(j)) for i, j in (possible or {}).get(row.row, ())} - links
        if row.target is None or row.cross is None or not len(row.cross) or not links | others:
            continue
        source, target = len(row.source.words), len(row.target.words)
        truth = np.zeros((target, source))
        for i, j in links | others:
            if not (0 <= i < source and 0 <= j < target):
                raise InputError(
                    f"{row.row}: the alignment [{i}, {j}] names a word that is not there; the source has {source} "
                    f"words and the target {target}, counted from 0 between single spaces"
                )
            truth[j, i] = 1.0 if (i, j) in links else 0.5
        each = np.arange(target)
        diagonal = ((each + 0.5) * source / target).astype(int)
        columns.append(
            (
                truth[each, hardest(row)].sum(-1),
                target,
                len(links),
                truth.sum() / source,
                truth[each, diagonal].sum(),
            )
        )
    if not columns:
        return None
    hits, found, sure, random, diagonal = zip(*columns, strict=True)
    return Counts(np.stack(hits), np.array(found), np.array(sure), np.array(random), np.array(diagonal))


def measure(valid: Counts, test: Counts, *, resamples: int, seed: int) -> dict[str, Any]:
    """Choose row, layer and head on `valid`; report their alignment error rate on `test`.

    Returns:
        error_rate, low, high (95 % bootstrap over sentences; null for one sentence), row, layer (from 1), head (from
        1, or "mean"), random and diagonal (baselines), sentences, chosen_on (sentences of `valid`), rows: for each
        row the error rate of its own best layer and head (chosen on `valid` as well), grid: test error rate of every
        candidate, [row][layer][head], head 0 the mean.
    """
    choosing, reporting = valid.error(valid.hits), test.error(test.hits)
    row, layer, head = np.unravel_index(int(choosing.argmin()), choosing.shape)
    chosen = test.hits[:, row, layer, head]
    low, high = interval(lambda rows: float(test.error(chosen, rows)), len(chosen), resamples, seed)
    best = {name: float(reporting[index].flat[int(choosing[index].argmin())]) for index, name in enumerate(ROWS)}
    return {
        "error_rate": rounded(reporting[row, layer, head]),
        "low": low,
        "high": high,
        "row": ROWS[int(row)],
        "layer": int(layer) + 1,
        "head": int(head) if head else "mean",
        "random": rounded(float(test.error(test.random))),
        "diagonal": rounded(float(test.error(test.diagonal))),
        "sentences": len(chosen),
        "chosen_on": len(valid.hits),
        "rows": {name: rounded(value) for name, value in best.items()},
        "grid": [[[rounded(cell) for cell in line] for line in table] for table in reporting],
    }


def place(found: dict[str, Any]) -> str:
    """Where the chosen weights come from: "layer 2, mean of heads, predicting row"."""
    head = "mean of heads" if found["head"] == "mean" else f"head {found['head']}"
    return f"layer {found['layer']}, {head}, {found['row']} row"


def sentence(found: dict[str, Any]) -> str:
    """The result in one sentence."""
    between = "" if found["low"] is None else f"95 % interval {found['low']:.2f} to {found['high']:.2f}; "
    return (
        f"alignment error rate {found['error_rate']:.2f} ({between}random {found['random']:.2f}, diagonal "
        f"{found['diagonal']:.2f}) at {place(found)}, chosen on the valid split"
    )


def reading(found: dict[str, Any]) -> list[str]:
    """What the numbers allow one to conclude, and what they do not."""
    bar = min(found["random"], found["diagonal"])
    low, high = (found["error_rate"] if found[end] is None else found[end] for end in ("low", "high"))
    if high < bar:
        first = (
            "In this place the largest weights agree with the known alignment more often than word order alone (the "
            "diagonal) or chance would. There, weights can be read as a guess at which words translate each other, "
            f"with an error rate of {found['error_rate']:.2f}."
        )
    elif low > bar:
        first = (
            "Even in its best place, attention agrees with the known alignment less often than a baseline that looks "
            "at no weights. These weights should not be read as an alignment."
        )
    else:
        first = (
            "Even in its best place, attention agrees with the known alignment no better than a baseline that looks "
            "at no weights, within what this many sentences can tell. These weights should not be read as an "
            "alignment."
        )
    return [
        first,
        "It holds for that one place: the table shows how far other layers, heads and rows of the same model differ.",
        "Here each target word is linked to the one source word of its largest weight; the methods side by side link "
        "words in the direction that did best on valid rows, in the sentences that every method explains, often fewer.",
        "It does not say that the model translates a word because of the weight: agreement with a known alignment "
        "is one thing, the cause of an output another. Only an intervention could show the latter.",
        "Weights were read while the model was given the reference word by word, not its own output.",
    ]
