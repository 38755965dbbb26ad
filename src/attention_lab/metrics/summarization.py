"""Summarization: ROUGE by Google's rouge-score, and how much of a summary is taken from the document."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from attention_lab.metrics.figures import Figure, interval, rounded

ROUGES = ("rouge1", "rouge2", "rougeL")


@cache
def _word() -> re.Pattern[str]:
    """Letters and digits with their marks. Python counts marks, such as the vowel signs of Hindi or Tamil, as no
    letters."""
    marks = "".join(sign for sign in map(chr, range(0x300, 0x20000)) if unicodedata.category(sign).startswith("M"))
    return re.compile(rf"[^\W_]+(?:[{marks}]+[^\W_]*)*")


def words(text: str) -> list[str]:
    """Runs of letters and digits, with the marks on them, in lower case."""
    return _word().findall(text.lower())


class _StemmedWords:
    """The tokenizer for ROUGE: words, reduced to their stems if longer than three characters.

    For ASCII text it equals rouge-score's own tokenizer. That one treats every other letter as a space, so that ROUGE
    of a Russian text would always be 0; here words consist of letters of any script.
    """

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stemmer = PorterStemmer()

    def tokenize(self, text: str) -> list[str]:
        return [self._stemmer.stem(word) if len(word) > 3 else word for word in words(text)]


def summarization(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    documents: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """ROUGE-1, ROUGE-2, ROUGE-L (Lin 2004; F1, 0 to 1, mean over the texts) and the share of exact matches.

    ROUGE uses Porter's stemmer, as in published tables (`-m` of the original program); with several references the best
    one counts. ROUGE-L treats a text as one sequence, with line breaks as spaces. `score_low` and `score_high` are the
    interval of ROUGE-1.

    Over all texts together, `compression` is the number of words of the summaries over that of the documents,
    `novelty_1`, `_2`, `_3` the shares of their n-grams that are not in the document (See et al. 2017, arXiv
    1704.04368), and `copy_rate` the share of their words that are. A share of nothing (such as novelty_3 if no summary
    has three words) is 0.

    Args:
        references: one or several for each text.

    Raises:
        ValueError: the lists are of different lengths, or a text has no reference.
    """
    from importlib.metadata import version

    table = _rouges(predictions, references, ROUGES)
    exact = [said in accepted for said, accepted in zip(predictions, references, strict=True)]
    low, high = interval(lambda chosen: float(table[chosen, 0].mean()), len(table), resamples, seed)
    most = max(len(accepted) for accepted in references)
    return {
        **{name: rounded(table[:, column].mean()) for column, name in enumerate(ROUGES)},
        "rouge_signature": f"nrefs:{most}|refs:best|f1:mean|stem:porter|words:unicode|version:{version('rouge-score')}",
        "exact_match": rounded(np.mean(exact)),
        **_origin([words(text) for text in predictions], [words(text) for text in documents]),
        "score_low": low,
        "score_high": high,
    }


def rouge1_of_rows(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Figure:
    """Mean ROUGE-1 as a function of row numbers."""
    table = _rouges(predictions, references, ROUGES[:1])
    return lambda rows: float(table[rows].mean())


def _rouges(predictions: Sequence[str], references: Sequence[Sequence[str]], names: Sequence[str]) -> np.ndarray:
    """ROUGE F1 (summaries, names), each against the reference that fits best."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(names), tokenizer=_StemmedWords())
    rows: list[list[float]] = []
    for prediction, accepted in zip(predictions, references, strict=True):
        if not accepted:
            raise ValueError(f"summary {len(rows) + 1} has no reference")
        best = scorer.score_multi(accepted, prediction)
        rows.append([best[name].fmeasure for name in names])
    return np.array(rows)


def _origin(summaries: list[list[str]], documents: list[list[str]]) -> dict[str, float]:
    """Compression, novelty and copy rate."""
    found = {"compression": _share(sum(map(len, summaries)), sum(map(len, documents)))}
    for n in (1, 2, 3):
        new = possible = 0
        for summary, document in zip(summaries, documents, strict=True):
            theirs = set(_ngrams(document, n))
            possible += len(_ngrams(summary, n))
            new += sum(ngram not in theirs for ngram in _ngrams(summary, n))
        found[f"novelty_{n}"] = _share(new, possible)
        if n == 1:
            found["copy_rate"] = _share(possible - new, possible)
    return found


def _ngrams(tokens: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def _share(part: int, whole: int) -> float:
    return rounded(part / whole) if whole else 0.0
