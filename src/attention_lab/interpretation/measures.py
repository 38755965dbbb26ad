"""How good attributions are: do they name the words that are known to matter (plausibility), and does the prediction
depend on the words that they name (faithfulness)? One does not follow from the other (Jacovi & Goldberg 2020, arXiv
2004.03685).

Shapes: n rows, Wq words of the output, Wk words of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from attention_lab.interpretation.alignment import WAYS, Link, linked
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.rationale import average_precision
from attention_lab.metrics import interval, rounded

FAITHFUL = ("comprehensiveness", "sufficiency")  # the columns of what `faithfulness` gives
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # of the words, that are hidden or kept (DeYoung et al. 2020, section 4.2)


class Plausibility(Protocol):
    """A measure against gold. name: of the figure by which methods are ranked. more_is_better: of that figure."""

    name: str
    more_is_better: bool

    def counts(self, scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """What figures of some rows are made from, (n, …), by how scores are read."""
        ...

    def figures(self, counts: np.ndarray) -> dict[str, float]:
        """Figures of rows (n, …) by name."""
        ...


@dataclass(frozen=True)
class Alignment:
    """Alignment error rate against the sure and the possible links of each row; see `alignment.alignment_error_rate`.

    Scores are read as links in each of `alignment.WAYS`.
    """

    sure: Sequence[set[Link]]
    possible: Sequence[set[Link]]
    name = "alignment_error_rate"
    more_is_better = False

    def counts(self, scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """(n, 2): |A∩S| + |A∩P|, |A| + |S|"""
        found: dict[str, list[tuple[int, int]]] = {way: [] for way in WAYS}
        for score, sure, possible in zip(scores, self.sure, self.possible, strict=True):
            for way, there in zip(WAYS, linked(score), strict=True):
                links = {(int(i), int(j)) for j, i in np.argwhere(there)}
                hits = len(links & sure) + len(links & (sure | possible))
                found[way].append((hits, len(links) + len(sure)))
        return {way: np.array(numbers) for way, numbers in found.items()}

    def figures(self, counts: np.ndarray) -> dict[str, float]:
        hits, links = counts.sum(0)
        return {self.name: float(1.0 - hits / links)}


@dataclass(frozen=True)
class Rationale:
    """Average precision, token F1 and IOU-F1 against the words that decide, in the mean over rows.

    Where several words are written, what counts is what all of them together take of a word.
    """

    gold: Sequence[set[int]]
    name = "average_precision"
    more_is_better = True

    def counts(self, scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """(n, 3)"""
        found = []
        for score, gold in zip(scores, self.gold, strict=True):
            by_word = score.sum(0)
            truth = np.isin(np.arange(len(by_word)), list(gold))
            best = np.zeros(len(by_word), dtype=bool)
            best[np.argsort(-by_word, kind="stable")[: truth.sum()]] = True
            found.append((average_precision(truth, by_word), token_f1(truth, best), iou_f1(truth, best)))
        return {"": np.array(found)}

    def figures(self, counts: np.ndarray) -> dict[str, float]:
        return dict(zip((self.name, "token_f1", "iou_f1"), counts.mean(0).tolist(), strict=True))


def token_f1(truth: np.ndarray, chosen: np.ndarray) -> float:
    """F1 of the chosen words (n,) against the true ones (DeYoung et al. 2020, ERASER, arXiv 1911.03429, section
    4.1)."""
    total = int(truth.sum() + chosen.sum())
    return 2.0 * int((truth & chosen).sum()) / total if total else 0.0


def iou_f1(truth: np.ndarray, chosen: np.ndarray, threshold: float = 0.5) -> float:
    """F1 of the chosen phrases, words in a row, where one counts as found if the words that it shares with a true one
    are at least half of those that are in either (DeYoung et al. 2020, section 4.1)."""
    gold, said = _phrases(truth), _phrases(chosen)
    hits = sum(any(len(one & other) >= threshold * len(one | other) for other in gold) for one in said)
    return 2.0 * hits / (len(gold) + len(said)) if gold or said else 0.0


def _phrases(words: np.ndarray) -> list[set[int]]:
    """Runs of True, as sets of their numbers."""
    places = np.flatnonzero(words)
    return [set(run.tolist()) for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(run)]


@dataclass(frozen=True)
class Counted:
    """What a method's figures on some rows are made from, and by which variant."""

    variant: str
    counts: np.ndarray


def counted(measure: Plausibility, variants: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Counted]:
    """Every variant of a method, read in every way."""
    found: dict[str, Counted] = {}
    for variant, scores in variants.items():
        for way, counts in measure.counts(scores).items():
            found[f"{variant}; {way}" if variant and way else variant or way] = Counted(variant, counts)
    return found


def better(measure: Plausibility, figure: float, other: float) -> bool:
    return figure > other if measure.more_is_better else figure < other


def best(measure: Plausibility, candidates: Mapping[str, np.ndarray]) -> str:
    """The name of the counts with the best figure, the first of equal ones."""
    figures = {name: measure.figures(counts)[measure.name] for name, counts in candidates.items()}
    return (max if measure.more_is_better else min)(figures, key=lambda name: figures[name])


def with_intervals(
    counts: np.ndarray, figures: Callable[[np.ndarray], Mapping[str, float]], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Figures of all rows, by name, each with …_low and …_high, its 95 % interval over resampled rows; null for one
    row.

    Args:
        counts: what figures of some rows are made from, (n, …).
    """

    def figure(some: np.ndarray, name: str) -> float:
        return figures(counts[some])[name]

    found: dict[str, Any] = {}
    for name, value in figures(counts).items():
        found[name] = rounded(value)
        ends = interval(partial(figure, name=name), len(counts), resamples, seed)
        found[f"{name}_low"], found[f"{name}_high"] = ends
    return found


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of the last axes of two tables (…, n) → (…); NaN where one of them is the same
    everywhere."""
    from scipy.stats import rankdata

    one, other = (rankdata(values, axis=-1) for values in (first, second))
    one, other = (ranks - ranks.mean(-1, keepdims=True) for ranks in (one, other))
    size = np.sqrt((one**2).sum(-1) * (other**2).sum(-1))
    return np.where(size > 0.0, (one * other).sum(-1) / np.where(size > 0.0, size, 1.0), np.nan)


def alike(first: Sequence[np.ndarray], second: Sequence[np.ndarray], *, goes_on: bool = False) -> np.ndarray:
    """Of each row (n,), Spearman's correlation of two attributions (Wq, Wk) in the mean over the words of the output;
    NaN where none has one.

    Args:
        goes_on: each word is said after those before it, which alone have scores; the others are 0 whatever the model.
    """
    found = []
    for one, other in zip(first, second, strict=True):
        if goes_on:
            values = np.array([spearman(one[said, :said], other[said, :said]) for said in range(2, len(one))])
        else:
            values = spearman(one, other)
        known = values[np.isfinite(values)]
        found.append(float(known.mean()) if len(known) else float("nan"))
    return np.array(found)


# ------------------------------------------------------------------------------------------- faithfulness


def faithfulness(
    asked: Asked, scores: Mapping[str, Sequence[np.ndarray]], *, words: int, seed: int
) -> dict[str, np.ndarray]:
    """Comprehensiveness p(ŷ|x) − p(ŷ|x without the best words) and sufficiency p(ŷ|x) − p(ŷ|the best words alone), in
    the mean over SHARES of the words (DeYoung et al. 2020, section 4.2), and over the words of the output.

    Words are hidden as <unk>. A word that is written has a ranking of its own, and only those before it can be hidden
    in a text that goes on. Of equal scores the seed decides.

    Args:
        scores: by method, (Wq, Wk) of each row of the batch.
        words: of the output, at most so many, evenly spread, for each of which texts are read.

    Returns:
        By method (B, 2); NaN for rows in which nothing can be hidden.
    """
    wanted: dict[tuple[int, bytes], np.ndarray] = {}
    uses: list[tuple[str, int, int, int, tuple[int, bytes]]] = []  # method, row, output, 0 hidden or 1 kept, text
    generator = np.random.default_rng(seed)
    for row in range(len(asked.names)):
        there = asked.can_be_hidden(row)
        ties = generator.random(len(there))
        outputs = _outputs(asked, row, words)
        nothing = np.zeros(len(there), dtype=bool)
        wanted[row, nothing.tobytes()] = nothing
        for method, of_rows in scores.items():
            for output in outputs:
                usable = there & (np.arange(len(there)) < output) if goes_on(asked) else there
                order = np.lexsort((ties, -of_rows[row][output]))
                order = order[usable[order]]
                if not len(order):
                    continue
                for share in SHARES:
                    top = np.zeros(len(there), dtype=bool)
                    top[order[: int(np.ceil(share * len(order)))]] = True
                    for kind, hidden in enumerate((top, usable & ~top)):
                        key = (row, hidden.tobytes())
                        wanted[key] = hidden
                        uses.append((method, row, output, kind, key))
    logs = asked.hiding([(key[0], hidden) for key, hidden in wanted.items()])
    found = dict(zip(wanted, (np.exp(log) for log in logs), strict=True))
    whole = {}
    for row in range(len(asked.names)):
        nothing = np.zeros(len(asked.sources[row].words), dtype=bool)
        whole[row] = found[row, nothing.tobytes()]
    sums = {method: np.zeros((len(asked.names), 2)) for method in scores}
    counts = {method: np.zeros((len(asked.names), 2)) for method in scores}
    for method, row, output, kind, key in uses:
        sums[method][row, kind] += whole[row][output] - found[key][output]
        counts[method][row, kind] += 1
    return {method: sums[method] / np.where(counts[method] == 0, np.nan, counts[method]) for method in scores}


def goes_on(asked: Asked) -> bool:
    """Does the model say the very text that it reads?"""
    return asked.writes and asked.reading.targets is None


def _outputs(asked: Asked, row: int, most: int) -> list[int]:
    """Words of the output that the model has to say, at most so many, evenly spread."""
    said = sorted({owner for owner in asked.outputs(row).owners if owner is not None})
    if len(said) <= most:
        return said
    return [said[place] for place in np.linspace(0, len(said) - 1, most).round().astype(int)]


# ------------------------------------------------------------------------------------------- controls


def controls(shape: tuple[int, int], gold: np.ndarray | None, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Attributions (Wq, Wk) that no model has made: by chance, all equal, by position alone (the diagonal, or the order
    of the words where there is one output), and the gold itself."""
    queries, keys = shape
    places = (np.arange(keys) + 0.5) / keys
    diagonal = (np.arange(queries)[:, None] + 0.5) / queries if queries > 1 else 0.0
    found = {
        "random": generator.random(shape),
        "constant": np.ones(shape),
        "position": -np.abs(places - diagonal) * np.ones(shape),
    }
    return found if gold is None else {**found, "oracle": gold.astype(float)}


CONTROLS = {
    "random": "scores drawn uniformly at random",
    "constant": "every word counts the same",
    "position": "the diagonal, or the first words if there is a single output",
    "oracle": "the known truth itself",
}
