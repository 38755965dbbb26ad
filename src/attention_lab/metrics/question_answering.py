"""Question answering: the measures of SQuAD 1.1 and 2.0."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from attention_lab.metrics.figures import Figure, interval, rounded

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalised(answer: str) -> str:
    """The answer in lower case, without ASCII punctuation and English articles, with one space between words."""
    return " ".join(ARTICLE.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def word_f1(prediction: str, reference: str) -> float:
    """F1 of the words of two normalised answers, as multisets; if one is empty, 1 if both are, else 0."""
    left, right = prediction.split(), reference.split()
    if not left or not right:
        return float(left == right)
    return 2 * (Counter(left) & Counter(right)).total() / (len(left) + len(right))


def question_answering(
    predictions: Sequence[str], references: Sequence[Sequence[str]], resamples: int, seed: int
) -> dict[str, Any]:
    """Exact match and F1 (0 to 1, mean over the questions) as in SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250,
    section 6.1), each against the acceptable answer that fits best.

    The only correct answer to an unanswerable question is none (SQuAD 2.0; Rajpurkar et al. 2018, arXiv 1806.03822).
    If there are such questions, `has_answer` and `no_answer` count both kinds, `no_answer_accuracy` is the share of
    unanswerable questions that were left unanswered, and `has_answer_exact_match` and `has_answer_f1` are the metrics
    of the others. `score_low` and `score_high` are the interval of F1.

    Args:
        predictions: the answers, "" for none.
        references: the acceptable answers to each question; [] or [""] if it is unanswerable.
    """
    pairs = list(zip(map(normalised, predictions), map(_acceptable, references), strict=True))
    matches = np.array([float(said in truths) for said, truths in pairs])
    has = np.array([any(accepted) for accepted in references])
    f1 = f1_of_answers(predictions, references)
    low, high = interval(f1, len(matches), resamples, seed)
    found: dict[str, Any] = {"exact_match": rounded(matches.mean()), "f1": rounded(f1(np.arange(len(matches))))}
    if not has.all():
        found |= {
            "has_answer": int(has.sum()),
            "no_answer": int((~has).sum()),
            "no_answer_accuracy": rounded(matches[~has].mean()),
        }
        if has.any():
            found |= {
                "has_answer_exact_match": rounded(matches[has].mean()),
                "has_answer_f1": rounded(f1(np.flatnonzero(has))),
            }
    return {**found, "score_low": low, "score_high": high}


def f1_of_answers(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Figure:
    """Mean F1 of the answers as a function of row numbers."""
    pairs = zip(map(normalised, predictions), map(_acceptable, references), strict=True)
    overlaps = np.array([max(word_f1(said, truth) for truth in truths) for said, truths in pairs])
    return lambda rows: float(overlaps[rows].mean())


def _acceptable(answers: Sequence[str]) -> list[str]:
    """Answers, normalised. One that is only articles and punctuation does not count, as in SQuAD 2.0's official
    script."""
    return [truth for truth in map(normalised, answers) if truth] or [""]
