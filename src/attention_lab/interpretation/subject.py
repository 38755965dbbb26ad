"""The subject of interpretation: a model, and the rows of two splits with their gold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedTokenizerFast

from attention_lab import vocabulary
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.weights import Row, collect, readings
from attention_lab.params import Interpret
from attention_lab.records import Shape
from attention_lab.transformer import Model

# Limits of what is explained at once, to bound memory: tokens, and logits over all steps of integrated gradients.
TOKENS_AT_ONCE = 500
LOGITS_AT_ONCE = 50_000_000


@dataclass(frozen=True)
class Subject:
    """Everything that is needed to interpret rows of a split."""

    model: Model
    encoded: Mapping[str, pd.DataFrame]
    records: Mapping[str, pd.DataFrame]
    tokenizer: PreTrainedTokenizerFast
    shape: Shape
    options: Interpret
    seed: int
    device: torch.device | str
    target_tokenizer: PreTrainedTokenizerFast | None = None

    def gold(self, split: str, column: str | None = None) -> dict[str, list[Any]]:
        """Gold by row, for rows that have any; for alignments, rows with sure or possible links. column: a column other
        than the shape's gold; if the table lacks it, the result is empty."""
        table, column = self.records[split], column or self.shape.gold
        found = _there(table, column)
        if column == "alignment" and (further := _there(table, "possible")):
            return {row: found.get(row, []) for row in table["row"] if row in found or row in further}
        return found

    def whole(self, split: str) -> pd.DataFrame:
        """Encoded rows that are complete in one piece: text that was cut off has no weights, and weights do not cross
        windows."""
        rows = self.encoded[split]
        return rows[~(rows["truncated"] | rows["row"].duplicated(keep=False)).to_numpy(bool)]

    def look(self, rows: pd.DataFrame, split: str) -> Iterator[Row]:
        texts, of_target = self.records[split], self.target_tokenizer
        return collect(self.model, rows, texts, self.tokenizer, self.shape, self.device, of_target)

    def known(self, split: str, limit: int) -> Iterator[Row]:
        """Rows with gold, at most `limit`, drawn with the seed."""
        rows = self.whole(split)
        return self.look(self.drawn(rows[rows["row"].isin(self.gold(split).keys())], limit), split)

    def drawn(self, rows: pd.DataFrame, limit: int) -> pd.DataFrame:
        if len(rows) <= limit:
            return rows
        return rows.iloc[np.sort(np.random.default_rng(self.seed).choice(len(rows), limit, replace=False))]

    def affordable(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The shortest of these rows that together have at most `options.explained_pairs` pairs of output and source
        tokens, to which the cost of gradients and hidden words is proportional."""
        source = rows["source"].map(len)
        outputs = source if self.shape.truth is None else 1
        if self.shape.target is not None:
            outputs = rows["target"].map(len)
        pairs = (source * outputs).sort_values(kind="stable").cumsum()
        return rows[rows.index.isin(pairs.index[pairs <= self.options.explained_pairs])]

    def asked(self, rows: pd.DataFrame, split: str) -> list[Asked]:
        """Encoded rows in batches small enough to be explained at once."""
        model = self.model.to(self.device).eval()
        tokens = LOGITS_AT_ONCE // (model.config.written * self.options.steps)
        of_split = readings(
            model.config,
            rows,
            self.records[split],
            self.tokenizer,
            self.shape,
            self.target_tokenizer,
            tokens=max(1, min(TOKENS_AT_ONCE, tokens)),
        )
        return [Asked.of(model, reading, self.device) for reading in of_split]


def openings(
    encoded: pd.DataFrame, records: pd.DataFrame, tokenizer: PreTrainedTokenizerFast, shape: Shape
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts that a language model reads in windows, cut to the words of their first window.

    Returns:
        The encoded rows, one for each text, and the records; both as they were if there are no windows.
    """
    if "shared" not in encoded or shape.truth is not None:
        return encoded, records
    longer = set(encoded.loc[encoded["shared"] > 0, "row"])
    first = encoded[encoded["shared"] == 0].drop(columns="shared").reset_index(drop=True)
    texts = dict(zip(records["row"], records[shape.source], strict=True))
    read = []
    for row, ids in zip(first["row"], first["source"], strict=True):
        kept = len(ids)
        if row in longer:
            places = vocabulary.backend(tokenizer).encode(texts[row]).offsets[:kept]
            owners = vocabulary.words(places, texts[row])
            # The last word may go on in the next window. A window of a single word is taken as it is.
            kept = next((n for n in range(kept - 1, 1, -1) if owners[n] != owners[n - 1]), kept)
            texts[row] = texts[row][: places[kept - 1][1]]
        read.append(ids[:kept])
    return (
        first.assign(source=pd.Series(read, dtype=object)),
        records.assign(**{shape.source: [texts[row] for row in records["row"]]}),
    )


def _there(table: pd.DataFrame, column: str) -> dict[str, list[Any]]:
    """The values of a column by row, without empty ones."""
    if column not in table:
        return {}
    pairs = zip(table["row"], table[column], strict=True)
    return {str(row): list(truth) for row, truth in pairs if truth is not None and len(truth)}
