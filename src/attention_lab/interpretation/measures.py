"""How good attributions are: do they find the words that are known to matter (plausibility), and does the prediction
depend on the words that they find (faithfulness)? Neither implies the other (Jacovi & Goldberg 2020, arXiv 2004.03685).

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

FAITHFUL = ("comprehensiveness", "sufficiency")  # the columns of the result of `faithfulness`
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # shares of words that are hidden or kept (DeYoung et al. 2020, section 4.2)


class Plausibility(Protocol):
    """A comparison with gold. name: the figure that methods are ranked by. more_is_better: whether higher is better."""

    name: str
    more_is_better: bool

    def counts(self, scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """What figures are computed from, row by row (n, …), for each way of reading scores."""
        ...

    def figures(self, counts: np.ndarray) -> dict[str, float]:
        """Figures of rows with these counts (n, …), by name."""
        ...


@dataclass(frozen=True)
class Alignment:
    """Alignment error rate against the sure and possible links of each row; see `alignment.alignment_error_rate`.

    Scores are turned into links in each of `alignment.WAYS`.
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
    """Average precision, token F1 and IOU-F1 against the words that decide, averaged over rows.

    If the output has several words, a source word's score is the sum over all of them.
    """

    gold: Sequence[set[int]]
    name = "average_precision"
    more_is_better = True

    def counts(self, scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Average precision, token F1 and IOU-F1 of each row: (n, 3)"""
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
    """F1 of chosen words (n,) against the true ones (DeYoung et al. 2020, ERASER, arXiv 1911.03429, section 4.1)."""
    total = int(truth.sum() + chosen.sum())
    return 2.0 * int((truth & chosen).sum()) / total if total else 0.0


def iou_f1(truth: np.ndarray, chosen: np.ndarray, threshold: float = 0.5) -> float:
    """F1 of the chosen phrases (runs of words). A phrase counts as a hit if its intersection over union with a true
    phrase is at least `threshold` (DeYoung et al. 2020, section 4.1)."""
    gold, said = _phrases(truth), _phrases(chosen)
    hits = sum(any(len(one & other) >= threshold * len(one | other) for other in gold) for one in said)
    return 2.0 * hits / (len(gold) + len(said)) if gold or said else 0.0


def _phrases(words: np.ndarray) -> list[set[int]]:
    """Runs of True, as sets of their positions."""
    places = np.flatnonzero(words)
    return [set(run.tolist()) for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(run)]


@dataclass(frozen=True)
class Counted:
    """What a method's figures on some rows are computed from, and the variant that it came from."""

    variant: str
    counts: np.ndarray


def counted(measure: Plausibility, variants: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Counted]:
    """The counts of every variant of a method, read in every way."""
    found: dict[str, Counted] = {}
    for variant, scores in variants.items():
        for way, counts in measure.counts(scores).items():
            found[f"{variant}; {way}" if variant and way else variant or way] = Counted(variant, counts)
    return found


def better(measure: Plausibility, figure: float, other: float) -> bool:
    return figure > other if measure.more_is_better else figure < other


def best(measure: Plausibility, candidates: Mapping[str, np.ndarray]) -> str:
    """The name of the candidate with the best figure; the first, if there are several."""
    figures = {name: measure.figures(counts)[measure.name] for name, counts in candidates.items()}
    return (max if measure.more_is_better else min)(figures, key=lambda name: figures[name])


def with_intervals(
    counts: np.ndarray, figures: Callable[[np.ndarray], Mapping[str, float]], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Figures of all rows by name, each with …_low and …_high, its 95 % interval over resampled rows; these are None
    for a single row.

    Args:
        counts: what figures are computed from, row by row (n, …).
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
    """Spearman's correlation along the last axis of two arrays (…, n) → (…); NaN where one of them is constant."""
    from scipy.stats import rankdata

    one, other = (rankdata(values, axis=-1) for values in (first, second))
    one, other = (ranks - ranks.mean(-1, keepdims=True) for ranks in (one, other))
    size = np.sqrt((one**2).sum(-1) * (other**2).sum(-1))
    return np.where(size > 0.0, (one * other).sum(-1) / np.where(size > 0.0, size, 1.0), np.nan)


def alike(first: Sequence[np.ndarray], second: Sequence[np.ndarray], *, goes_on: bool = False) -> np.ndarray:
    """Spearman's correlation of two attributions (Wq, Wk) of each row (n,), averaged over the words of the output; NaN
    if it is undefined for all of them.

    Args:
        goes_on: a language model. Only words before an output word have scores, and the others are 0 for any model, so
            they are left out.
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
    """Comprehensiveness p(ŷ|x) − p(ŷ|x without the top words) and sufficiency p(ŷ|x) − p(ŷ|only the top words),
    averaged over SHARES of the words (DeYoung et al. 2020, section 4.2) and over the words of the output.

    Words are hidden as <unk>. Each word of the output has its own ranking of source words; for a language model only
    words before it can be hidden. The seed breaks ties.

    Args:
        scores: by method, (Wq, Wk) for each row of the batch.
        words: the maximum number of words of the output that are measured, evenly spread.

    Returns:
        (B, 2) by method; NaN for rows in which nothing can be hidden.
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
    """Whether the model predicts the very text that it reads, as a language model does."""
    return asked.writes and asked.reading.targets is None


def _outputs(asked: Asked, row: int, most: int) -> list[int]:
    """Words of the output that the model predicts, at most `most` of them, evenly spread."""
    said = sorted({owner for owner in asked.outputs(row).owners if owner is not None})
    if len(said) <= most:
        return said
    return [said[place] for place in np.linspace(0, len(said) - 1, most).round().astype(int)]


# ------------------------------------------------------------------------------------------- controls


def controls(shape: tuple[int, int], gold: np.ndarray | None, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Attributions (Wq, Wk) that do not come from a model: random, constant, by position alone (the diagonal, or the
    order of the words if there is a single output), and the gold itself."""
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
BLIND = tuple(name for name in CONTROLS if name != "oracle")  # these know neither the model nor the truth
