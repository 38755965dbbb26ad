"""Sentiment analysis and any other single-label classification: a text in, one label out, with an encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from attention_lab import metrics, params
from attention_lab.batching import Batch, given
from attention_lab.tasks.task import Loss, Task, classified, has_words, of_kind, unigram_nll
from attention_lab.transformer import Classifier


class Sentiment(Task):
    """One label per text; scored with accuracy."""

    name = "sentiment"
    architecture: Literal["classifier"] = "classifier"
    score = "accuracy"
    word_dropout = 0.05

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss:
        logits, _ = of_kind(model, Classifier)(batch.source, batch.source_mask)
        return classified(logits, given(batch.label, "labels"), smoothing)

    @torch.inference_mode()
    def predict(
        self, model: nn.Module, batch: Batch, tokenizer: PreTrainedTokenizerFast, options: params.Evaluate
    ) -> list[dict[str, Any]]:
        classifier = of_kind(model, Classifier)
        logits, _ = classifier(batch.source, batch.source_mask)
        shares = logits.float().softmax(-1).cpu()
        names = classifier.config.labels
        answers = []
        for row in shares:
            ranked = row.sort(descending=True, stable=True)
            best = zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True)
            candidates = [{"prediction": names[number], "probability": share} for share, number in best]
            more = {"candidates": candidates[: options.best]} if options.best > 1 else {}
            answers.append({**candidates[0], "probabilities": dict(zip(names, row.tolist(), strict=True)), **more})
        return answers

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        truth, answers = predictions["label"].tolist(), predictions["prediction"].tolist()
        return metrics.classification(truth, answers, predictions["probabilities"].tolist(), options.bootstrap, seed)

    def headline(self, predictions: pd.DataFrame) -> metrics.Figure:
        return metrics.accuracy_of_rows(predictions["label"].tolist(), predictions["prediction"].tolist())

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Trivial: the most frequent label. Classical: tf-idf of words and word pairs with logistic regression."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        truth = test["label"].tolist()
        majority = train["label"].mode()[0]
        found = {"baseline": {"what": f"always {majority!r}", **_short(truth, [majority] * len(truth))}}
        if not has_words(train["text"]):
            return found
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
            LogisticRegression(C=10.0, max_iter=1000, random_state=seed),
        )
        model.fit(train["text"], train["label"])
        guessed = model.predict(test["text"]).tolist()
        what = "tf-idf (1-2 words) with logistic regression"
        return {**found, "classical": {"what": what, **_short(truth, guessed)}}

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        return unigram_nll(train, valid, lambda batch: given(batch.label, "labels"))


def _short(truth: list[str], guessed: list[str]) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    return {
        "accuracy": metrics.rounded(accuracy_score(truth, guessed)),
        "f1_macro": metrics.rounded(f1_score(truth, guessed, average="macro", zero_division=0)),
    }
