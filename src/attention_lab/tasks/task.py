"""The interface of a task: its model, its loss, how it predicts, and how it is measured.

To add a task, add a file like `translation.py`, a line in `tasks/__init__.py`, and its columns to `records.SHAPES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from attention_lab import metrics, params
from attention_lab.batching import Batch
from attention_lab.decoding import Rules
from attention_lab.errors import InputError
from attention_lab.transformer import Architecture, Config
from attention_lab.transformer.pointer import States

Kind = TypeVar("Kind", bound=nn.Module)


@dataclass(frozen=True)
class Loss:
    """Sums over the predictions of a batch.

    smoothed: what training minimises; nll: −log p of the truth, in nats; correct: number of predictions whose most
    probable value is the truth; all scalars.
    states: (N, W), what the N predictions are computed from; project: maps any of them, (n, W), to logits (n, V). So
    logits are available a few at a time, and are not in memory unless needed.
    """

    smoothed: Tensor
    nll: Tensor
    correct: Tensor
    states: States
    project: Callable[[Any], Tensor]


class Trainable(Protocol):
    """What training needs to know of a task. `word_dropout` is the share of source tokens replaced by <unk> in training
    if `train.word_dropout` is null."""

    word_dropout: float = 0.0

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss: ...

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        """Nats per prediction on `valid` of a model that knows only how often each value occurs in `train`."""
        ...


class Task(Trainable, Protocol):
    """One application. `score` names the metric by which runs are compared (higher is better); `layers`, `width` and
    `position` are used if `model.layers`, `model.width` and `model.position` are null."""

    name: str
    score: str
    layers: int = 2
    width: int = 128
    position: params.Positional = "rotary"

    @property
    def architecture(self) -> Architecture: ...

    def predict(
        self,
        model: nn.Module,
        batch: Batch,
        tokenizer: PreTrainedTokenizerFast,
        options: params.Evaluate,
    ) -> list[dict[str, Any]]:
        """Return one JSON-serialisable dict per row of the batch, with at least `prediction`, or with what `join` makes
        that of. If `options.best` is above 1, it has up to that many `candidates`, best first: dicts with `prediction`
        and how probable it is.

        Args:
            tokenizer: the tokenizer of what the model writes.

        Raises:
            InputError: several answers are requested, but this task gives only one.
        """
        ...

    def stream(self, model: nn.Module, batch: Batch, options: params.Evaluate) -> Iterator[int]:
        """Yield the tokens of the prediction for a batch of one row, each as soon as it is chosen. Decoding is greedy,
        or by sampling if `predict` samples.

        Raises:
            InputError: the task does not generate text.
        """
        raise InputError(
            f"a model of {self.name} gives its answer all at once, so nothing can be streamed; leave out --stream"
        )

    def join(self, windows: list[dict[str, Any]], record: dict[str, Any], options: params.Evaluate) -> dict[str, Any]:
        """Combine the dicts of a record's windows, in order, into one; most tasks read a record as a single window.

        Args:
            record: its texts by column.
        """
        (found,) = windows
        return found

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        """Return all metrics of a table with truth and predictions, under their usual names, and `score_low` and
        `score_high`, the 95 % interval of the headline metric."""
        ...

    def headline(self, predictions: pd.DataFrame) -> metrics.Figure:
        """The headline metric, `score`, as a function of row numbers of a table with truth and predictions."""
        ...

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Return the metrics of methods without attention: `baseline` (trivial) and, if there is one, `classical`."""
        ...


def rules(config: Config, options: params.Evaluate) -> Rules:
    """The decoding rules of a model with these options."""
    return replace(
        Rules.of(config),
        min_tokens=options.min_tokens,
        no_repeat_ngram=options.no_repeat_ngram,
        repetition_penalty=options.repetition_penalty,
    )


def one_answer(options: params.Evaluate, why: str) -> None:
    """Check that only one answer is requested.

    Raises:
        InputError: several answers are requested.
    """
    if options.best > 1:
        raise InputError(f"there are no {options.best} best answers: {why}; leave best at 1")


def accepted(rows: pd.DataFrame, column: str) -> list[list[str]]:
    """All correct answers for each row: that in the column, and any further references."""
    further: Sequence[Any] = rows["references"].tolist() if "references" in rows else [None] * len(rows)
    return [[text, *(others if others is not None else [])] for text, others in zip(rows[column], further, strict=True)]


def has_words(texts: Iterable[str]) -> bool:
    """Whether tf-idf has anything to count: texts of emoji alone have no words, and so no classical baseline."""
    return any(re.search(r"\w", text) for text in texts)


def of_kind(model: nn.Module, kind: type[Kind]) -> Kind:
    """Return the model, which must be of that class.

    Raises:
        TypeError: it is of another class.
    """
    if not isinstance(model, kind):
        raise TypeError(f"this task needs a {kind.__name__}, not a {type(model).__name__}")
    return model


def classified(logits: Tensor, truth: Tensor, smoothing: float) -> Loss:
    """Cross-entropy with label smoothing of logits (N, V) against truth (N,) (Szegedy et al. 2016, section 7)."""
    logs = logits.float().log_softmax(-1)
    nll = -logs.gather(-1, truth.unsqueeze(-1)).sum()
    smoothed = (1.0 - smoothing) * nll - smoothing * logs.mean(-1).sum() if smoothing else nll
    correct = (logits.detach().argmax(-1) == truth).sum()
    return Loss(smoothed, nll.detach(), correct, logits, project=lambda some: some)


def unigram_nll(
    train: Iterable[Batch], valid: Iterable[Batch], values: Callable[[Batch], Tensor], *, ignore: int | None = None
) -> float:
    """Nats per value under the add-one smoothed frequencies of the training values.

    Args:
        values: gives the values to predict in a batch.
        ignore: a value that is not counted, such as padding.
    """
    seen, asked = (torch.cat([values(batch).flatten() for batch in batches]) for batches in (train, valid))
    if ignore is not None:
        seen, asked = seen[seen != ignore], asked[asked != ignore]
    counts = torch.bincount(seen, minlength=int(max(seen.max(), asked.max())) + 1).double() + 1.0
    return float(-(counts / counts.sum()).log()[asked].mean())
