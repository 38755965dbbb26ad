"""Encoded rows → padded batches and masks, bucketed by length.

Rows of similar length share a batch, so there is hardly any padding, and a batch holds as many rows as fit into a token
budget, so every step costs about the same. Shapes: B rows, Ls and Lt the longest source and target, C labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

Given = TypeVar("Given")


@dataclass(frozen=True)
class Batch:
    """A padded batch of rows.

    rows: their numbers in the data set. source (B, Ls). source_mask (B, Ls): True = a token, False = padding.
    Depending on the task: target (B, Lt), from start to end token; label (B,), or (B, C) True = has that label; span
    (B, 2), first and last position of an answer; places, B arrays (S, 2), the character range of each position; shared
    (B,), the number of tokens at the start of a window that the previous one also contains.
    """

    rows: list[int]
    source: Tensor
    source_mask: Tensor
    target: Tensor | None = None
    label: Tensor | None = None
    span: Tensor | None = None
    places: list[np.ndarray] | None = None
    shared: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        moved: dict[str, Any] = {n: value.to(device) for n, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


def given(value: Given | None, name: str) -> Given:
    """Return a field of a batch, which must be present.

    Raises:
        TypeError: it is None, so the batch belongs to another task.
    """
    if value is None:
        raise TypeError(f"a batch without {name} is of another task")
    return value


class Examples(Dataset[Batch]):
    """The encoded rows of one split. Indexing takes a list of row numbers and returns a padded batch.

    source, target: token ids of each row; label: (rows,) class numbers or (rows, C) bool; span (rows, 2), places and
    shared (rows,): see `Batch`; lengths (rows, 2): numbers of source and target tokens.
    """

    def __init__(
        self,
        source: Sequence[np.ndarray],
        target: Sequence[np.ndarray] | None = None,
        label: np.ndarray | None = None,
        *,
        span: np.ndarray | None = None,
        places: Sequence[np.ndarray] | None = None,
        shared: np.ndarray | None = None,
        pad: int,
    ) -> None:
        self.source = source
        self.target = target
        self.label = label
        self.span = None if span is None else span.astype(np.int64)
        self.places = places
        self.shared = None if shared is None else shared.astype(np.int64)
        self.pad = pad
        lengths = [
            [len(ids) for ids in source],
            [len(ids) for ids in target] if target else [0] * len(source),
        ]
        self.lengths = np.array(lengths, dtype=np.int64).T

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: list[int]) -> Batch:
        source = padded([self.source[row] for row in rows], self.pad)
        return Batch(
            rows=rows,
            source=source,
            source_mask=source != self.pad,
            target=None if self.target is None else padded([self.target[row] for row in rows], self.pad),
            label=None if self.label is None else torch.from_numpy(self.label[rows]),
            span=None if self.span is None else torch.from_numpy(self.span[rows]),
            places=None if self.places is None else [self.places[row] for row in rows],
            shared=None if self.shared is None else torch.from_numpy(self.shared[rows]),
        )

    def of_epoch(self, number: int) -> Examples:
        """The examples for epoch `number` of a training, counted from 0: the same rows in the same order. Here they are
        always identical; subclasses draw them anew."""
        return self

    def predictions(self, rows: list[int]) -> int:
        """The number of values that a model predicts for these rows: one class per row, or a yes or no for each label;
        start and end of an answer; or each token but the first of the target, or, if there is none, of the source,
        without the tokens shared with the previous window."""
        if self.label is not None:
            return int(self.label[rows].size)
        if self.span is not None:
            return 2 * len(rows)
        tokens = int(self.lengths[rows, 0 if self.target is None else 1].sum())
        return tokens - (len(rows) if self.shared is None else int(self.shared[rows].clip(min=1).sum()))


def padded(rows: Sequence[np.ndarray], pad: int) -> Tensor:
    """Rows of token ids → (B, L) int64, padded with `pad` at the end."""
    table = np.full((len(rows), max(len(row) for row in rows)), pad, dtype=np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return torch.from_numpy(table)


class TokenBuckets(Sampler[list[int]]):
    """Lists of row numbers, each with at most `tokens` source and target tokens including padding (or one longer row).

    With a seed, rows of equal length are shuffled among themselves, and then the batches, in every epoch. The number of
    batches and their lengths stay the same, so the number of steps is known in advance. Without a seed the longest come
    first. The batches of an epoch are a pure function of (seed, epoch), so an interrupted training can resume
    mid-epoch.
    """

    def __init__(self, lengths: np.ndarray, tokens: int, *, seed: int | None = None) -> None:
        self.lengths = lengths
        self.tokens = tokens
        self.seed = seed

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.epoch(0))

    def __len__(self) -> int:
        return len(self.epoch(0))

    def epoch(self, number: int) -> list[list[int]]:
        source, target = self.lengths[:, 0], self.lengths[:, 1]
        if self.seed is None:
            ties = np.arange(len(source))
        else:
            generator = np.random.default_rng((self.seed, number))
            ties = generator.permutation(len(source))
        order = np.lexsort((ties, source, target))[::-1]
        batches: list[list[int]] = []
        batch: list[int] = []
        longest = (0, 0)
        for row in order.tolist():
            grown = (max(longest[0], int(source[row])), max(longest[1], int(target[row])))
            if batch and (len(batch) + 1) * sum(grown) > self.tokens:
                batches.append(batch)
                batch, grown = [], (int(source[row]), int(target[row]))
            batch.append(row)
            longest = grown
        if batch:
            batches.append(batch)
        if self.seed is not None:
            batches = [batches[index] for index in generator.permutation(len(batches))]
        return batches


def examples(encoded: pd.DataFrame, pad: int, classes: int = 0) -> Examples:
    """Make examples from a table that `encoding.read` returns.

    Args:
        classes: C, used if a text can have any number of labels.
    """
    label: np.ndarray | None = encoded["label"].to_numpy(np.int64) if "label" in encoded else None
    if "labels" in encoded:
        label = np.array([np.isin(np.arange(classes), numbers) for numbers in encoded["labels"]])
    return Examples(
        encoded["source"].tolist(),
        encoded["target"].tolist() if "target" in encoded else None,
        label,
        span=np.stack(encoded["span"].tolist()) if "span" in encoded else None,
        places=[places.reshape(-1, 2) for places in encoded["places"]] if "places" in encoded else None,
        shared=encoded["shared"].to_numpy() if "shared" in encoded else None,
        pad=pad,
    )
