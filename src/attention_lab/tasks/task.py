"""What a task has to say: its model, its loss, how it predicts, how it is measured.

To add a task: a file like `translation.py`, a line in `tasks/__init__.py`, its columns in `records.SHAPES`.
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

    smoothed: what training minimises; nll: −log p of the truth, in nats; correct: predictions whose most probable
    value is the truth; all scalars.
    states: (N, W), from which the predictions are made, and project: (n, W) → (n, V), the logits of any of them. So
    who needs them has them, a few at a time, and where nobody does they are not in memory.
    """

    smoothed: Tensor
    nll: Tensor
    correct: Tensor
    states: States
    project: Callable[[Any], Tensor]


class Trainable(Protocol):
    """What training has to know. `word_dropout` is the share of source tokens that are hidden in training where
    `train.word_dropout` is null."""

    word_dropout: float = 0.0

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss: ...

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        """Nats per prediction of a model that knows only how often each value occurs in training."""
        ...


class Task(Trainable, Protocol):
    """One application. `score` names the metric by which its runs are compared (more is better); `layers` and `width`
    are those of its model where `model.layers` and `model.width` are null."""

    name: str
    score: str
    layers: int = 2
    width: int = 128

    @property
    def architecture(self) -> Architecture: ...

    def predict(
        self,
        model: nn.Module,
        batch: Batch,
        tokenizer: PreTrainedTokenizerFast,
        options: params.Evaluate,
    ) -> list[dict[str, Any]]:
        """One JSON-able dict for each row of the batch, with at least `prediction`, or what `join` makes one of. If
        `options.best` is above 1 it has as many `candidates`, dicts with `prediction` and how probable it is, the best
        first, or fewer where there are no more.

        Args:
            tokenizer: of what the model writes.

        Raises:
            InputError: this task has but one answer, and more are asked for.
        """
        ...

    def stream(self, model: nn.Module, batch: Batch, options: params.Evaluate) -> Iterator[int]:
        """The tokens of the prediction for a batch of one row, each as soon as it is chosen; writing is greedy, or
        drawn where it is drawn for `predict`.

        Raises:
            InputError: the task does not write.
        """
        raise InputError(
            f"a model of {self.name} gives its answer all at once, so nothing can be streamed; leave out --stream"
        )

    def join(self, windows: list[dict[str, Any]], record: dict[str, Any], options: params.Evaluate) -> dict[str, Any]:
        """One dict from those of the windows that a record was read in, in their order; most tasks read all at once.

        Args:
            record: its texts by column.
        """
        (found,) = windows
        return found

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        """All metrics of a table with truth and prediction, each under its usual name, with `score_low` and
        `score_high`, the 95 % interval of the headline metric."""
        ...

    def headline(self, predictions: pd.DataFrame) -> metrics.Figure:
        """The headline metric, `score`, of some of the rows of a table with truth and prediction."""
        ...

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Metrics of what needs no attention: `baseline` (trivial) and where it exists `classical`."""
        ...


def rules(config: Config, options: params.Evaluate) -> Rules:
    """Which tokens a text may have that the model writes."""
    return replace(
        Rules.of(config),
        min_tokens=options.min_tokens,
        no_repeat_ngram=options.no_repeat_ngram,
        repetition_penalty=options.repetition_penalty,
    )


def one_answer(options: params.Evaluate, why: str) -> None:
    """
    Raises:
        InputError: several answers are asked for.
    """
    if options.best > 1:
        raise InputError(f"there are no {options.best} best answers: {why}; leave best at 1")


def accepted(rows: pd.DataFrame, column: str) -> list[list[str]]:
    """All answers to each question that are right: that of the column, and its further references."""
    further: Sequence[Any] = rows["references"].tolist() if "references" in rows else [None] * len(rows)
    return [[text, *(others if others is not None else [])] for text, others in zip(rows[column], further, strict=True)]


def has_words(texts: Iterable[str]) -> bool:
    """Whether tf-idf has something to count: texts of emoji alone have no word, and no classical baseline."""
    return any(re.search(r"\w", text) for text in texts)


def of_kind(model: nn.Module, kind: type[Kind]) -> Kind:
    """The model of a task, which has to be of that kind.

    Raises:
        TypeError: it is of another.
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
        values: what is to be predicted of a batch.
    """
    seen, asked = (torch.cat([values(batch).flatten() for batch in batches]) for batches in (train, valid))
    if ignore is not None:
        seen, asked = seen[seen != ignore], asked[asked != ignore]
    counts = torch.bincount(seen, minlength=int(max(seen.max(), asked.max())) + 1).double() + 1.0
    return float(-(counts / counts.sum()).log()[asked].mean())
