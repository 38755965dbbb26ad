"""Translation: a source sentence in, a target sentence out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from attention_lab import metrics, params
from attention_lab.tasks.sequence_to_sequence import SequenceToSequence
from attention_lab.tasks.task import accepted, has_words

AT_ONCE = 500  # number of test sentences compared with all training sentences at once


class Translation(SequenceToSequence):
    """Scored with BLEU."""

    name = "translation"
    score = "bleu"
    word_dropout = 0.05
    position: params.Positional = "sinusoidal_rotary"  # sines tell equal words of the source apart

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        answers = predictions["prediction"].tolist()
        return metrics.translation(answers, accepted(predictions, "target"), options.bootstrap, seed)

    def headline(self, predictions: pd.DataFrame) -> metrics.Figure:
        return metrics.bleu_of_rows(predictions["prediction"].tolist(), accepted(predictions, "target"))

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Trivial: the source, untranslated. Classical: a translation memory (Nagao 1984, A framework of a mechanical
        translation between Japanese and English by analogy principle), which returns the translation of the training
        sentence nearest by tf-idf of words and word pairs."""
        found = {"baseline": ("the source, untranslated", test["source"].tolist())}
        if has_words(train["source"]):
            said = train["target"].iloc[_nearest(train["source"], test["source"])].tolist()
            found["classical"] = ("the translation of the nearest training sentence by tf-idf", said)
        return {name: {"what": what} | _short(said, accepted(test, "target")) for name, (what, said) in found.items()}


def _nearest(known: pd.Series, asked: pd.Series) -> np.ndarray:
    """For each text in `asked`, the number of the text in `known` whose tf-idf vector has the largest dot product.

    Terms that occur in more than every tenth known text are left out: they tell little about similarity and cost most.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32
    )  # fmt: skip
    memory = vectors.fit_transform(known)
    rare = np.flatnonzero(memory.getnnz(0) <= max(10, len(known) // 10))
    memory, given = memory[:, rare].T.tocsr(), vectors.transform(asked)[:, rare]
    starts = range(0, given.shape[0], AT_ONCE)
    return np.concatenate([np.asarray((given[at : at + AT_ONCE] @ memory).argmax(1)).ravel() for at in starts])


def _short(said: list[str], truth: list[list[str]]) -> dict[str, Any]:
    return {name: value for name, value in metrics.overlap(said, truth).items() if not name.endswith("_signature")}
