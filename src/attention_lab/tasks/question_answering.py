"""Question answering: finding the span of a text that answers a question, or that there is none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Literal

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from attention_lab import metrics, params
from attention_lab.batching import Batch, given
from attention_lab.tasks.task import Loss, Task, accepted, of_kind, unigram_nll
from attention_lab.transformer import SpanExtractor
from attention_lab.transformer.spans import best_spans, ends

WORD = re.compile(r"\w+")


class QuestionAnswering(Task):
    """Extractive (Devlin et al. 2019, arXiv 1810.04805, sections 4.2 and 4.3): each token of the text has a probability
    of being the first token of the answer, and one of being its last; both point to <s> if there is no answer. Scored
    with the F1 of SQuAD."""

    name = "question_answering"
    architecture: Literal["spans"] = "spans"
    score = "f1"
    layers = 4  # each layer can connect one more fact
    width = 64

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss:
        """Cross-entropy of start and end. Label smoothing covers only positions at which an answer is possible."""
        logs = ends(of_kind(model, SpanExtractor), batch.source, batch.source_mask)  # (B, 2, L)
        span = given(batch.span, "an answer")  # (B, 2)
        nll = -logs.gather(-1, span.unsqueeze(-1)).sum()
        possible = logs.isfinite()
        uniform = -(logs.masked_fill(~possible, 0.0).sum(-1) / possible.sum(-1)).sum()
        smoothed = (1.0 - smoothing) * nll + smoothing * uniform if smoothing else nll
        correct = (logs.detach().argmax(-1) == span).sum()
        # Finite, because −∞ − (−∞) is NaN.
        logits = logs.flatten(0, 1).clamp(min=torch.finfo(logs.dtype).min)
        return Loss(smoothed, nll.detach(), correct, logits, project=lambda some: some)

    @torch.inference_mode()
    def predict(
        self, model: nn.Module, batch: Batch, tokenizer: PreTrainedTokenizerFast, options: params.Evaluate
    ) -> list[dict[str, Any]]:
        """The `options.best` most probable answers in each window, as `spans` with the characters `start` to `end` of
        the text and a `log_probability`; and `none`, the log-probability of no answer. That is −∞ if every question of
        the training had one: then the model has seen no more than windows without the answer. `join` turns all of them
        into predictions."""
        model = of_kind(model, SpanExtractor)
        logs = ends(model, batch.source, batch.source_mask)
        first, last, best = best_spans(logs, options.max_tokens, options.best)
        found = []
        nones = logs[:, :, 0].sum(1).tolist() if model.config.no_answer else [-math.inf] * len(logs)
        places_of = given(batch.places, "places")
        for row, (places, none) in enumerate(zip(places_of, nones, strict=True)):
            ranked = zip(first[row].tolist(), last[row].tolist(), best[row].tolist(), strict=True)
            spans = [
                {"start": int(places[one, 0]), "end": int(places[other, 1]), "log_probability": score}
                for number, (one, other, score) in enumerate(ranked)
                if number == 0 or score > -math.inf
            ]
            found.append({"spans": spans, "none": none})
        return found

    def join(self, windows: list[dict[str, Any]], record: dict[str, Any], options: params.Evaluate) -> dict[str, Any]:
        """The best answer of all windows; or none, if even in the window where "no answer" is least likely, it is more
        than `options.no_answer` nats likelier than that answer (Devlin et al. 2019, section 4.3: s_null and τ)."""
        none = min(window["none"] for window in windows)
        # Keyed by place and text: windows overlap, and a token may include the space before it.
        worth: dict[tuple[int, str], float] = {}
        for span in (span for window in windows for span in window["spans"]):
            piece = str(record["context"])[span["start"] : span["end"]]
            place = span["start"] + len(piece) - len(piece.lstrip()), piece.strip()
            worth[place] = max(span["log_probability"], worth.get(place, -math.inf))
        if options.no_answer is not None and none > -math.inf:
            worth[-1, ""] = none - options.no_answer
        ranked = sorted(worth, key=lambda place: -worth[place])[: options.best]
        candidates = [
            {"prediction": text, "begins": begins, "probability": math.exp(none if begins < 0 else worth[begins, text])}
            for begins, text in ranked
        ]
        more = {"candidates": candidates} if options.best > 1 else {}
        return {**candidates[0], "probability_of_none": math.exp(none), **more}

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        return metrics.question_answering(
            predictions["prediction"].tolist(), accepted(predictions, "answer"), options.bootstrap, seed
        )

    def headline(self, predictions: pd.DataFrame) -> metrics.Figure:
        return metrics.f1_of_answers(predictions["prediction"].tolist(), accepted(predictions, "answer"))

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Trivial: the whole text. Classical: as many words as an answer has on average in training, where the
        surrounding text has the most words of the question, with more weight for rare ones (after the sliding window of
        Richardson et al. 2013, MCTest, algorithm 1)."""
        lengths = [len(answer.split()) for answer in train["answer"] if answer]
        size = round(sum(lengths) / len(lengths)) if lengths else 1
        rows = list(zip(test["question"], test["context"], strict=True))
        found = {
            "baseline": ("the whole text", [context for _, context in rows]),
            "classical": (f"a sliding window of {size} word{'s' * (size > 1)}", [_window(*row, size) for row in rows]),
        }
        result = {}
        for name, (what, said) in found.items():
            measured = metrics.question_answering(said, accepted(test, "answer"), options.bootstrap, seed)
            result[name] = {"what": what, "exact_match": measured["exact_match"], "f1": measured["f1"]}
        return result

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        return unigram_nll(train, valid, lambda batch: given(batch.span, "an answer"))


def _window(question: str, context: str, size: int) -> str:
    words = context.split()
    asked = {word.lower() for word in WORD.findall(question)}
    forms = [{form.lower() for form in WORD.findall(word)} for word in words]
    counts: dict[str, int] = {}
    for each in forms:
        for form in each:
            counts[form] = counts.get(form, 0) + 1
    hits = [sum(math.log1p(1.0 / counts[form]) for form in each & asked) for each in forms]
    best, place = -1.0, 0
    for start in range(max(1, len(words) - size + 1)):
        inside = sum(hits[start : start + size])
        around = sum(hits[max(0, start - 3 * size) : start + 4 * size]) - 2.0 * inside  # an answer is not the question
        if around > best:
            best, place = around, start
    return " ".join(words[place : place + size])
