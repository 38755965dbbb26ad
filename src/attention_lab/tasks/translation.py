"""Translation: a source sentence in, a target sentence out."""

from __future__ import annotations

from typing import Any

import pandas as pd

from attention_lab import metrics, params
from attention_lab.tasks.sequence_to_sequence import SequenceToSequence
from attention_lab.tasks.task import accepted


class Translation(SequenceToSequence):
    """Scored with BLEU."""

    name = "translation"
    score = "bleu"
    word_dropout = 0.05

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        answers = predictions["prediction"].tolist()
        return metrics.translation(answers, accepted(predictions, "target"), options.bootstrap, seed)

    def headline(self, predictions: pd.DataFrame) -> metrics.Figure:
        return metrics.bleu_of_rows(predictions["prediction"].tolist(), accepted(predictions, "target"))

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Trivial: the source, untranslated."""
        copied = metrics.overlap(test["source"].tolist(), accepted(test, "target"))
        return {
            "baseline": {
                "what": "the source, untranslated",
                **{k: copied[k] for k in ("bleu", "chrf", "exact_match")},
            }
        }
