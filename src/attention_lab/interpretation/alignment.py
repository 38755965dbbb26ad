"""Does cross-attention find the words that translate each other?

Words are linked by the largest weight, in one of three ways: each target word with the source word it attends to most,
each source word with the target word that attends to it most, or both. If one word translates two, only linking from
the side of the two can find both links. The links of every layer, for each head and for the mean of the heads, are
compared with gold alignments.

A decoder position reads word t and predicts word t + 1, so a target word has two rows of weights: the one that
predicts it and the one that has it as input. Which of them aligns depends on the model (Chen et al. 2020, arXiv
2004.14837, section 3), so both are candidates. Way, row, layer and head are chosen on one split and reported on
another.

Every word's argmax is a link (the first, if several words share the largest weight), even if the gold leaves the word
unaligned: such a link counts as an error, as is usual for alignments read from attention.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from attention_lab.errors import InputError
from attention_lab.interpretation.weights import Row
from attention_lab.metrics import interval, rounded

ROWS = ("predicting", "input")
WAYS = ("of each target word", "of each source word", "of each word")  # … the largest score is a link
Link = tuple[int, int]


def alignment_error_rate(
    found: Sequence[Collection[Link]],
    sure: Sequence[Collection[Link]],
    possible: Sequence[Collection[Link]] | None = None,
) -> float:
    """AER = 1 − (|A∩S| + |A∩P|) / (|A| + |S|), between 0 (best) and 1 (Och & Ney 2003, "A systematic comparison of
    various statistical alignment models", Computational Linguistics 29:1, "Evaluation Methodology"). Links are summed
    over all sentences before dividing.

    Args:
        found: A, the links of each sentence, (source word, target word).
        sure: S, links that must be found.
        possible: P, links that may be found; it always includes S.

    Raises:
        ValueError: there are no found and no sure links, and so nothing to divide by.
    """
    hits = links = 0
    for a, s, p in zip(found, sure, possible if possible is not None else sure, strict=True):
        found_set, sure_set = set(a), set(s)
        hits += len(found_set & sure_set) + len(found_set & (sure_set | set(p)))
        links += len(found_set) + len(sure_set)
    if not links:
        raise ValueError("the alignment error rate needs at least one link")
    return 1.0 - hits / links


def linked(scores: np.ndarray) -> np.ndarray:
    """The links given by scores (…, Wt, Ws) in each of the `WAYS`: boolean (3, …, Wt, Ws)."""
    target, source = scores.shape[-2:]
    of_target = scores.argmax(-1)[..., None] == np.arange(source)
    of_source = scores.argmax(-2)[..., None, :] == np.arange(target)[:, None]
    return np.stack([of_target, of_source, of_target | of_source])


class Links(NamedTuple):
    """hits: number of links in the gold, where a possible link that is not sure counts half. found: number of links."""

    hits: np.ndarray
    found: np.ndarray


@dataclass(frozen=True)
class Counts:
    """Numbers of links of n sentences, from which AER = 1 − 2 · hits / (found + sure).

    weights: (n, 3, 2, N, H + 1), by way (see WAYS), row (see ROWS), layer and head, where head 0 is the mean of the
    heads. random: (n, 3), expected for links drawn uniformly. diagonal: (n, 3), for linking each word to the one at the
    same relative position. sure: (n,), sure links of the gold.
    """

    weights: Links
    random: Links
    diagonal: Links
    sure: np.ndarray

    def error(self, links: Links, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """AER (…) of links (n, …) over the sentences `rows`."""
        total = links.found[rows].sum(0) + self.sure[rows].sum()
        return np.asarray(1.0 - 2.0 * links.hits[rows].sum(0) / total)


def _weights(row: Row) -> np.ndarray:
    """How much each target word attends to each source word: (2, N, H + 1, Wt, Ws); head 0 is the mean of the heads."""
    both = np.stack([row.cross_words(where) for where in ROWS])
    return np.concatenate([both.mean(2, keepdims=True), both], axis=2)


def _diagonal(target: int, source: int) -> np.ndarray:
    """Links between words at the same relative position, in each of the `WAYS`: (3, Wt, Ws)."""
    of_target, of_source = np.zeros((2, target, source), dtype=bool)
    of_target[np.arange(target), ((np.arange(target) + 0.5) * source / target).astype(int)] = True
    of_source[((np.arange(source) + 0.5) * target / source).astype(int), np.arange(source)] = True
    return np.stack([of_target, of_source, of_target | of_source])


def count(
    rows: Iterable[Row],
    gold: Mapping[str, Collection[Sequence[int]]],
    possible: Mapping[str, Collection[Sequence[int]]] | None = None,
) -> Counts | None:
    """Count links that agree with `gold`: links (source word, target word) by row name. None if no row with weights has
    any gold link.

    Args:
        possible: links that may be found, in addition to those of `gold`, which are sure.

    Raises:
        InputError: a gold link refers to a word that does not exist.
    """
    weights: list[Links] = []
    random: list[Links] = []
    diagonal: list[Links] = []
    sure: list[int] = []
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
                    f"words and the target {target}, counted from 0 and separated by single spaces; fix the row"
                )
            truth[j, i] = 1.0 if (i, j) in links else 0.5
        chance = np.array([1 / source, 1 / target, 1 / source + 1 / target - 1 / (source * target)])
        weights.append(_held(linked(_weights(row)), truth))
        diagonal.append(_held(_diagonal(target, source), truth))
        random.append(Links(truth.sum() * chance, truth.size * chance))
        sure.append(len(links))
    if not sure:
        return None
    return Counts(_stacked(weights), _stacked(random), _stacked(diagonal), np.array(sure))


def _held(there: np.ndarray, truth: np.ndarray) -> Links:
    """Compare the links of one sentence (…, Wt, Ws) with the gold (Wt, Ws): 1 if sure, ½ if only possible."""
    return Links((there * truth).sum((-2, -1)), there.sum((-2, -1)))


def _stacked(sentences: Sequence[Links]) -> Links:
    return Links(np.stack([one.hits for one in sentences]), np.stack([one.found for one in sentences]))


def measure(valid: Counts, test: Counts, *, resamples: int, seed: int) -> dict[str, Any]:
    """Choose way, row, layer and head on `valid`; report their alignment error rate on `test`.

    Returns:
        error_rate, low, high (95 % bootstrap over sentences; None for one sentence), way, row, layer (from 1), head
        (from 1, or "mean"), random and diagonal (baselines, linked in the same way), sentences, chosen_on (number of
        sentences of `valid`), rows: the error rate of each row with its own best way, layer and head (also chosen on
        `valid`), grid: test error rate of every candidate linked in that way, [row][layer][head], head 0 the mean.
    """
    choosing, reporting = valid.error(valid.weights), test.error(test.weights)
    way, row, layer, head = np.unravel_index(int(choosing.argmin()), choosing.shape)
    chosen = Links(*(numbers[:, way, row, layer, head] for numbers in test.weights))
    low, high = interval(lambda rows: float(test.error(chosen, rows)), len(test.sure), resamples, seed)
    best = {name: reporting[:, index].flat[int(choosing[:, index].argmin())] for index, name in enumerate(ROWS)}
    return {
        "error_rate": rounded(reporting[way, row, layer, head]),
        "low": low,
        "high": high,
        "way": WAYS[int(way)],
        "row": ROWS[int(row)],
        "layer": int(layer) + 1,
        "head": int(head) if head else "mean",
        "random": rounded(float(test.error(test.random)[way])),
        "diagonal": rounded(float(test.error(test.diagonal)[way])),
        "sentences": len(test.sure),
        "chosen_on": len(valid.sure),
        "rows": {name: rounded(float(value)) for name, value in best.items()},
        "grid": [[[rounded(cell) for cell in line] for line in table] for table in reporting[way]],
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
        f"{found['diagonal']:.2f}) at {place(found)}, by the largest weight {found['way']}, chosen on the validation "
        "split"
    )


def reading(found: dict[str, Any]) -> list[str]:
    """What can be concluded from the numbers, and what cannot."""
    bar = min(found["random"], found["diagonal"])
    low, high = (found["error_rate"] if found[end] is None else found[end] for end in ("low", "high"))
    if high < bar:
        first = (
            "In this place the largest weights agree with the known alignment better than word order alone (the "
            "diagonal) or chance. There, weights can be read as a guess at which words translate each other, with an "
            f"error rate of {found['error_rate']:.2f}."
        )
    elif low > bar:
        first = (
            "Even in its best place, attention agrees with the known alignment less well than a baseline that ignores "
            "the weights. These weights should not be read as an alignment."
        )
    else:
        first = (
            "Even in its best place, attention agrees with the known alignment no better than a baseline that ignores "
            "the weights, as far as this many sentences can tell. These weights should not be read as an alignment."
        )
    return [
        first,
        "This holds for that one place: the table shows how far other layers, heads and rows of the same model differ.",
        f"Words are linked by the largest weight {found['way']}, which did best on the validation rows. The table of "
        "methods links words in the same manner, for each method in its own best way, in the sentences that every "
        "method explains, often fewer.",
        "This does not say that the model translates a word because of the weight: agreeing with a known alignment "
        "is one thing, causing an output another. Only an intervention could show the latter.",
        "The weights were read while the model was given the reference word by word, not its own output.",
    ]
