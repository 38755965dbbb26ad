"""Metrics with 95 % intervals. The metrics are sacrebleu's and scikit-learn's, the intervals SciPy's bootstrap.

Every function returns plain numbers, rounded so that files compare, and `score_low` and `score_high`: the interval of
the task's headline metric over resampled test sets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attention_lab.records import write_bytes


def rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)


def interval(statistic: Callable[[np.ndarray], float], rows: int, resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval (Efron 1979) of a statistic of row numbers (n,)."""
    from scipy.stats import bootstrap

    if rows < 2:
        return float("-inf"), float("inf")
    found = bootstrap(
        (np.arange(rows),),
        statistic,
        n_resamples=resamples,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return rounded(found.low), rounded(found.high)


def translation(hypotheses: Sequence[str], references: Sequence[str], resamples: int, seed: int) -> dict[str, Any]:
    """BLEU and chrF (0 to 100, sacrebleu with its signature) and the share of exact matches (0 to 1).

    BLEU is that of text as it is, cased and detokenized; `bleu_lowercase` is the same with case ignored.
    """
    from sacrebleu.metrics import BLEU, CHRF

    references_of_one = [list(references)]
    bleu = BLEU()
    score = bleu.corpus_score(list(hypotheses), references_of_one)
    chrf = CHRF()
    chrf_score = chrf.corpus_score(list(hypotheses), references_of_one)
    lowercase = BLEU(lowercase=True).corpus_score(list(hypotheses), references_of_one)
    counts = _bleu_counts(hypotheses, references)

    def resampled(rows: np.ndarray) -> float:
        total = counts[rows].sum(0).tolist()
        return float(
            BLEU.compute_bleu(
                correct=total[2:6], total=total[6:], sys_len=total[0], ref_len=total[1], smooth_method="exp"
            ).score
        )

    low, high = interval(resampled, len(counts), resamples, seed)
    exact = np.mean([left == right for left, right in zip(hypotheses, references, strict=True)])
    return {
        "bleu": rounded(score.score),
        "bleu_signature": str(bleu.get_signature()),
        "bleu_lowercase": rounded(lowercase.score),
        "chrf": rounded(chrf_score.score),
        "chrf_signature": str(chrf.get_signature()),
        "exact_match": rounded(exact),
        "score_low": low,
        "score_high": high,
    }


def _bleu_counts(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """(sentences, 10): hypothesis length, reference length, matched and possible 1- to 4-grams. BLEU of a set of
    sentences is a function of their sum, so a resample costs an addition and not a scoring."""
    from sacrebleu.metrics import BLEU

    single = BLEU(effective_order=True)  # has no effect on the counts, and sacrebleu warns without it
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        score = single.sentence_score(hypothesis, [reference])
        rows.append([score.sys_len, score.ref_len, *score.counts, *score.totals])
    return np.array(rows, dtype=np.int64)


def classification(
    truth: Sequence[str],
    guessed: Sequence[str],
    probability: Sequence[float],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Accuracy, precision, recall, F1 (all 0 to 1), the confusion matrix {truth: {prediction: rows}} and calibration.

    `calibration_error` is the expected calibration error in ten bins of confidence (Guo et al. 2017, arXiv
    1706.04599, equation 3)."""
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    names = sorted({*truth, *guessed})
    left, right = np.array(truth), np.array(guessed)
    correct = left == right
    macro = precision_recall_fscore_support(left, right, average="macro", zero_division=0)
    weighted = precision_recall_fscore_support(left, right, average="weighted", zero_division=0)
    each = precision_recall_fscore_support(left, right, labels=names, zero_division=0)
    low, high = interval(lambda rows: float(correct[rows].mean()), len(correct), resamples, seed)
    return {
        "accuracy": rounded(accuracy_score(left, right)),
        "precision_macro": rounded(macro[0]),
        "recall_macro": rounded(macro[1]),
        "f1_macro": rounded(macro[2]),
        "f1_weighted": rounded(weighted[2]),
        "calibration_error": rounded(calibration_error(correct, np.array(probability))),
        "labels": {
            name: {
                "precision": rounded(each[0][index]),
                "recall": rounded(each[1][index]),
                "f1": rounded(each[2][index]),
                "rows": int(each[3][index]),
            }
            for index, name in enumerate(names)
        },
        "confusion": {
            name: dict(zip(names, row.tolist(), strict=True))
            for name, row in zip(names, confusion_matrix(left, right, labels=names), strict=True)
        },
        "score_low": low,
        "score_high": high,
    }


def calibration_error(correct: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Mean distance of confidence and accuracy over bins of confidence, weighted by their rows."""
    which = np.clip((probability * bins).astype(int), 0, bins - 1)
    gaps = [
        abs(correct[which == index].mean() - probability[which == index].mean()) * (which == index).mean()
        for index in np.unique(which)
    ]
    return float(np.sum(gaps))


def write(values: dict[str, Any], path: Path) -> None:
    """Write metrics as JSON that every reader takes: no NaN, keys in order.

    Raises:
        ValueError: a value is not finite.
    """
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(text.encode() + b"\n", path)
