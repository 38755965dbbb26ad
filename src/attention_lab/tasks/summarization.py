"""Summarization: a document in, its summary out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from attention_lab import metrics, params
from attention_lab.tasks.sequence_to_sequence import SequenceToSequence
from attention_lab.tasks.task import accepted, has_words

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class Summarization(SequenceToSequence):
    """Scored with ROUGE-1, the first metric in most published tables."""

    name = "summarization"
    score = "rouge1"

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        return _measured(predictions, predictions["prediction"].tolist(), options, seed)

    def headline(self, predictions: pd.DataFrame) -> metrics.Figure:
        return metrics.rouge1_of_rows(predictions["prediction"].tolist(), accepted(predictions, "summary"))

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Trivial: the document's first sentence. Classical: its most central one, whose tf-idf vector is nearest to
        that of the whole document (Radev et al. 2004, Centroid-based summarization of multiple documents)."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        sentences = [SENTENCE_END.split(document.strip()) for document in test["document"]]
        found = {"baseline": ("the document's first sentence", [each[0] for each in sentences])}
        if has_words(train["document"]):
            vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(train["document"])
            central = []
            for each, document in zip(sentences, test["document"], strict=True):
                nearness = vectors.transform(each) @ vectors.transform([document]).T
                central.append(each[int(np.argmax(nearness.toarray()))])
            found["classical"] = ("the document's most central sentence by tf-idf", central)
        keys = ("rouge1", "rouge2", "rougeL", "exact_match")
        return {
            name: {"what": what}
            | {key: value for key, value in _measured(test, said, options, seed).items() if key in keys}
            for name, (what, said) in found.items()
        }


def _measured(rows: pd.DataFrame, said: list[str], options: params.Evaluate, seed: int) -> dict[str, Any]:
    return metrics.summarization(said, accepted(rows, "summary"), rows["document"].tolist(), options.bootstrap, seed)
