"""Small things that look like trained ones: a tokenizer, models, records and rows with planted attention."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from attention_lab import encoding, params, vocabulary
from attention_lab.attention import PLACES
from attention_lab.attention.contract import Call
from attention_lab.interpretation.hooks import attention_layers
from attention_lab.interpretation.weights import Row, Words
from attention_lab.records import SHAPES
from attention_lab.transformer import Config, EncoderDecoder

ROOT = Path(__file__).parents[3]
PARAMS = params.load(ROOT / "params.yaml")
WORDS = ["red", "green", "blue", "black", "white", "brown", "grey", "pink"]


def tokenizer_of(texts: list[str], kind: str = "word") -> PreTrainedTokenizerFast:
    return vocabulary.train(
        texts, PARAMS.vocab.model_copy(update={"tokenizer": kind, "min_frequency": 1, "size": 200}), None
    )


def config(vocabulary_size: int, **changes: Any) -> Config:
    mechanisms = {place: {"name": "scaled_dot_product"} for place in PLACES}
    values: dict[str, Any] = {
        "architecture": "encoder_decoder",
        "task": "translation",
        "vocabulary": vocabulary_size,
        "labels": (),
        "pad": 0,
        "start": 2,
        "end": 3,
        "positions": 32,
        "layers": 2,
        "decoder_layers": 2,
        "width": 12,
        "heads": 3,
        "feedforward": 17,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "norm": "pre",
        "position": "sinusoidal",
        "mechanisms": mechanisms,
    }
    return Config(**(values | changes))


class Reverser(EncoderDecoder):
    """Looks, when it predicts target word j of n (or reads it, `late`), at source word n − 1 − j, in layer 2, head 3.

    All other weights of cross-attention are even; these and no others are used. <s> stands at source position 0, so
    word i is at i + 1.
    """

    late = False

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        for number, layer in enumerate(attention_layers(self)["cross"]):
            layer.core.weights = partial(self._planted, number)
            layer.core.path = lambda call: "explicit"

    def _planted(self, layer: int, call: Call) -> Tensor:
        exists = call.where.exists.float()
        even = exists / exists.sum(-1, keepdim=True)
        weights = even[:, None, None].expand(*call.query.shape[:3], -1).clone()
        for row, there in enumerate(exists.sum(-1).int().tolist() if layer == 1 else []):
            for t in range(min(there - 2, weights.shape[2] - self.late)):
                weights[row, 2, t + self.late] = 0.0
                weights[row, 2, t + self.late, there - 2 - t] = 1.0
        return weights


def reversed_records(rows: int, seed: int, name: str) -> pd.DataFrame:
    """Sentences of three to seven words and the same words in reverse, with their alignment."""
    generator = np.random.default_rng(seed)
    lines = []
    for number in range(rows):
        words = generator.choice(WORDS, int(generator.integers(3, 8))).tolist()
        lines.append(
            {
                "row": f"{name}.csv:{number + 1}",
                "split": name,
                "source": " ".join(words),
                "target": " ".join(words[::-1]),
                "alignment": [[i, len(words) - 1 - i] for i in range(len(words))],
            }
        )
    return pd.DataFrame(lines)


def encoded_of(frame: pd.DataFrame, task: str, tokenizer: PreTrainedTokenizerFast, labels: list[str]) -> pd.DataFrame:
    return encoding.encode(frame, SHAPES[task], tokenizer, labels, PARAMS.encode)[0]


def plain_row(name: str, cross: np.ndarray) -> Row:
    """A row of one-piece words whose cross-attention between words is (N, H, Wt, Ws) in the predicting row."""
    layers, heads, target, source = cross.shape
    full = np.zeros((layers, heads, target + 1, source + 2))
    full[:, :, :target, 1:-1] = cross
    return Row(
        row=name,
        source=Words([f"s{i}" for i in range(source)], [None, *range(source), None]),
        target=Words([f"t{i}" for i in range(target)], [None, *range(target), None]),
        own=np.zeros((layers, heads, source + 2, source + 2)),
        cross=full,
    )
