"""Small models with words to explain, for each architecture: a batch as `Asked`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from planted import WORDS, config, encoded_of, reversed_records, tokenizer_of

from attention_lab.attention import CATALOGUE, PLACES
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.weights import readings
from attention_lab.records import SHAPES
from attention_lab.transformer import Model, build

TASKS = {
    "encoder_decoder": "translation",
    "classifier": "sentiment",
    "spans": "question_answering",
    "decoder": "generation",
}
LABELS = ("bad", "good", "so")


def records_of(task: str, rows: int, seed: int = 0) -> pd.DataFrame:
    frame = reversed_records(rows, seed, "test")
    texts = frame["source"]
    if task == "sentiment":
        labels = [LABELS[number % 2] for number in range(rows)]
        return pd.DataFrame({"row": frame["row"], "split": "test", "text": texts, "label": labels})
    if task == "generation":
        return pd.DataFrame({"row": frame["row"], "split": "test", "text": texts})
    if task == "question_answering":
        return pd.DataFrame(
            {
                "row": frame["row"], "split": "test", "context": texts, "question": "red green",
                "answer": texts.str.split(" ").str[1], "start": texts.str.find(" ") + 1,
            }
        )  # fmt: skip
    return frame


def model_of(architecture: str, words: int, mechanism: str = "scaled_dot_product", **changes: Any) -> Model:
    """An untrained model in float64, with the mechanism where it is valid."""
    torch.manual_seed(3)
    places = {
        place: {"name": mechanism if place in CATALOGUE[mechanism].places else "scaled_dot_product"} for place in PLACES
    }
    more = {"labels": LABELS} if architecture == "classifier" else {}
    more |= {"segments": 2} if architecture == "spans" else {}
    values = {
        "architecture": architecture,
        "task": TASKS[architecture],
        "mechanisms": places,
        "width": 24,
        "heads": 4,
        **more,
    }
    return build(config(words, **{**values, **changes})).double().eval()


def asked_of(
    architecture: str, mechanism: str = "scaled_dot_product", rows: int = 3, only: str | None = None, **changes: Any
) -> Asked:
    """One batch of rows of different lengths, or the one of them with that name."""
    task = TASKS[architecture]
    tokenizer = tokenizer_of([" ".join(WORDS)])
    model = model_of(architecture, len(tokenizer), mechanism, **changes)
    frame = records_of(task, rows)
    frame = frame[frame["row"] == only].reset_index(drop=True) if only else frame
    encoded = encoded_of(frame, task, tokenizer, list(LABELS))
    (reading,) = readings(model.config, encoded, frame, tokenizer, SHAPES[task])
    return Asked.of(model, reading, "cpu")


def words_hidden(asked: Asked, row: int, *words: int) -> tuple[int, np.ndarray]:
    return row, np.isin(np.arange(len(asked.sources[row].words)), words)
