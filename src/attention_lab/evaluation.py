"""Predict a whole split and measure it against the truth, the trivial and the classical baseline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from attention_lab import device, encoding, params, vocabulary
from attention_lab.batching import TokenBuckets, examples
from attention_lab.errors import InputError
from attention_lab.records import Shape
from attention_lab.tasks import TASKS, Task
from attention_lab.transformer import load


class Trained:
    """A trained model, its task and its tokenizers, that of what it reads and that of what it writes (often the same),
    on the device it will run on.

    Args:
        directory: what the train stage wrote, `data/model`.
        task: that it should be for; None: any.

    Raises:
        InputError: a file is missing, the model is for another task, or a tokenizer is of another model.
    """

    def __init__(self, directory: Path, task: str | None = None) -> None:
        self.device = device.choose("auto")
        device.prepare(self.device)
        self.model = load(directory, self.device, task)
        self.tokenizer = vocabulary.load(directory)
        sizes = self.model.config.vocabulary, self.model.config.target_vocabulary
        own = sizes[1] is not None
        self.target_tokenizer = vocabulary.load(directory / vocabulary.TARGET) if own else self.tokenizer
        for tokenizer, size in zip((self.tokenizer, self.target_tokenizer), sizes, strict=True):
            if size is not None and len(tokenizer) > size:
                raise InputError(
                    f"{directory} holds a tokenizer of {len(tokenizer):,} entries and a model that knows {size:,}: "
                    "they are of different trainings; copy both from one, or run `dvc repro train`"
                )
        self.task = TASKS[self.model.config.task]


def predict(
    trained: Trained, encoded: Path, rows: pd.DataFrame, shape: Shape, options: params.Evaluate
) -> pd.DataFrame:
    """Truth, gold and prediction of every row of `options.split`, in the order of the encoded rows.

    Args:
        encoded: the folder that the encode stage wrote.
        rows: the records of that split.
    """
    table = encoding.read(encoded / f"{options.split}.arrow", shape)
    data = examples(table, trained.model.config.pad, len(trained.model.config.labels))
    windows: list[dict[str, Any]] = [{}] * len(data)
    with tqdm(total=len(data), desc="predict", unit="row", mininterval=1.0) as bar:
        for batch in TokenBuckets(data.lengths, options.tokens_per_batch).epoch(0):
            inputs = data[batch].to(trained.device)
            found = trained.task.predict(trained.model, inputs, trained.target_tokenizer, options)
            for row, answer in zip(batch, found, strict=True):
                windows[row] = answer
            bar.update(len(batch))
    names = table["row"].drop_duplicates()
    truth = rows.set_index("row").loc[names, [*shape.required, *shape.optional, shape.gold]].reset_index()
    answers = pd.DataFrame(joined(trained.task, windows, table["row"], truth, options))
    if shape.truth is None:  # a language model is measured by the text that it has read
        cut = table[table["truncated"]].set_index("row")["source"].map(len)
        answers["characters"] = [
            characters(trained.tokenizer, text, cut.get(name))
            for name, text in zip(truth["row"], truth[shape.source], strict=True)
        ]
    return pd.concat([truth, answers], axis=1)


def characters(tokenizer: PreTrainedTokenizerFast, text: str, tokens: int | None) -> int:
    """How many characters of a text stand in its first `tokens` tokens, of which special ones are around it; None: in
    all."""
    if tokens is None:
        return len(text)
    whole = vocabulary.backend(tokenizer).encode(text)
    around = sum(whole.special_tokens_mask)
    places = [place for place, special in zip(whole.offsets, whole.special_tokens_mask, strict=True) if not special]
    return int(places[tokens - around - 1][1])


def joined(
    task: Task, windows: list[dict[str, Any]], names: Iterable[str], records: pd.DataFrame, options: params.Evaluate
) -> list[dict[str, Any]]:
    """One answer for each record, from those to its windows.

    Args:
        names: the row that each window is of.
        records: with `row`, in the order in which their windows come.
    """
    of_row: dict[str, list[dict[str, Any]]] = {}
    for name, window in zip(names, windows, strict=True):
        of_row.setdefault(name, []).append(window)
    texts: list[dict[str, Any]] = [{str(k): v for k, v in record.items()} for record in records.to_dict("records")]
    return [task.join(of_row[record["row"]], record, options) for record in texts]


def measure(
    trained: Trained, predictions: pd.DataFrame, train: pd.DataFrame, options: params.Evaluate, seed: int
) -> dict[str, Any]:
    """The content of metrics/evaluate.json: the task's metrics and its baselines'.

    Args:
        predictions: what `predict` gave.
        train: the training records, for the baselines.

    Raises:
        InputError: there is no row.
    """
    if predictions.empty:
        raise InputError(f"the {options.split} split has no rows; give more rows or raise split.test and split.valid")
    task = trained.task
    measured = task.measure(predictions, options, seed)
    return {
        "task": task.name,
        "attention": {"mechanism": trained.model.config.mechanism_name},
        "split": options.split,
        "examples": len(predictions),
        "score": measured[task.score],
        "score_name": task.score,
        **measured,
        **task.baselines(train, predictions, options, seed),
    }
