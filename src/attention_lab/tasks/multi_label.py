"""Multi-label classification: a text in, any number of labels (even none) out, with an encoder.

Shapes: B texts, C labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from attention_lab import metrics, params
from attention_lab.batching import Batch, given
from attention_lab.tasks.task import Loss, Task, classified, has_words, of_kind, one_answer
from attention_lab.transformer import Classifier


class MultiLabel(Task):
    """One yes-or-no prediction for each label (binary relevance; Tsoumakas & Katakis 2007, Multi-label classification:
    an overview, section 2.1). Scored with F1 over all of them (micro)."""

    name = "multi_label"
    architecture: Literal["classifier"] = "classifier"
    score = "f1_micro"
    word_dropout = 0.05

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss:
        """Binary cross-entropy of each label, B · C predictions. The sigmoid of a logit z is the softmax of 0 and z, so
        each prediction is a choice between two classes."""
        logits, _ = of_kind(model, Classifier)(batch.source, batch.source_mask)
        pairs = torch.stack((torch.zeros_like(logits), logits), -1).flatten(0, 1)  # (B · C, 2)
        return classified(pairs, given(batch.label, "labels").long().flatten(), smoothing)

    @torch.inference_mode()
    def predict(
        self, model: nn.Module, batch: Batch, tokenizer: PreTrainedTokenizerFast, options: params.Evaluate
    ) -> list[dict[str, Any]]:
        """Predict all labels with a probability of at least `options.threshold`, in alphabetical order; `probability`
        is that of having exactly these labels."""
        one_answer(options, "each label is decided on its own, and `probabilities` has them all")
        classifier = of_kind(model, Classifier)
        logits, _ = classifier(batch.source, batch.source_mask)
        shares = logits.float().sigmoid().cpu()
        has = shares >= options.threshold
        names = classifier.config.labels
        return [
            {
                "prediction": sorted(name for name, there in zip(names, which, strict=True) if there),
                "probability": together,
                "probabilities": dict(zip(names, each, strict=True)),
            }
            for which, together, each in zip(
                has.tolist(), torch.where(has, shares, 1.0 - shares).prod(-1).tolist(), shares.tolist(), strict=True
            )
        ]

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        truth, answers = predictions["labels"].tolist(), predictions["prediction"].tolist()
        sure = predictions["probabilities"].tolist()
        return metrics.multi_label(truth, answers, options.bootstrap, seed, names=sure[0], probabilities=sure)

    def headline(self, predictions: pd.DataFrame) -> metrics.Figure:
        return metrics.f1_of_rows(predictions["labels"].tolist(), predictions["prediction"].tolist())

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Trivial: the k most frequent labels for every text, with the k that does best in training. Classical: tf-idf
        of words and word pairs with a logistic regression for each label, at the same threshold."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MultiLabelBinarizer

        binarizer = MultiLabelBinarizer()
        has = binarizer.fit_transform(train["labels"])  # (rows, C)
        frequent = _best_constant(has)
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
            OneVsRestClassifier(LogisticRegression(C=10.0, solver="liblinear", random_state=seed)),
        )
        guesses = {
            "baseline": (
                f"the {len(frequent)} most frequent label{'s' * (len(frequent) > 1)} for every text",
                np.isin(np.arange(has.shape[1]), frequent)[None].repeat(len(test), 0),
            )
        }
        if has_words(train["text"]):
            model.fit(train["text"], has)
            guesses["classical"] = (
                "tf-idf (1-2 words) with a logistic regression for each label",
                model.predict_proba(test["text"]) >= options.threshold,
            )
        keys = ("f1_micro", "f1_macro", "subset_accuracy", "hamming_loss")
        result = {}
        for name, (what, guessed) in guesses.items():
            said: Sequence[Sequence[str]] = [binarizer.classes_[row].tolist() for row in guessed]
            measured = metrics.multi_label(
                test["labels"].tolist(), said, options.bootstrap, seed, names=binarizer.classes_
            )
            result[name] = {"what": what, **{key: measured[key] for key in keys}}
        return result

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        """Nats per prediction if each label's probability is its add-one smoothed frequency, the same in every text."""
        seen = torch.cat([given(batch.label, "labels") for batch in train]).double()
        asked = torch.cat([given(batch.label, "labels") for batch in valid]).double()
        share = (seen.sum(0) + 1.0) / (len(seen) + 2.0)
        return float(-(asked * share.log() + (1.0 - asked) * (1.0 - share).log()).mean())


def _best_constant(has: np.ndarray) -> np.ndarray:
    """The labels (k,) whose prediction for every text gives the best F1; they are the k most frequent. has: (rows,
    C)."""
    counts = has.sum(0)
    order = np.argsort(-counts, kind="stable")
    hits, size = counts[order].cumsum(), np.arange(1, len(order) + 1)
    return np.asarray(order[: 1 + int(np.argmax(2 * hits / (size * len(has) + counts.sum())))])
