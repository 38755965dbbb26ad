"""Small things that look like trained ones: a tokenizer, models, records and rows with planted attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from attention_lab import encoding, params, vocabulary
from attention_lab.attention import PLACES
from attention_lab.interpretation.weights import Row, Words
from attention_lab.records import SHAPES
from attention_lab.transformer import Config, EncoderDecoder
from attention_lab.transformer.models import Seen

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

    All other weights are even. <s> stands at source position 0, so word i is at i + 1.
    """

    late = False

    def forward(
        self, source: Tensor, source_mask: Tensor, target: Tensor, *, weights: bool = False
    ) -> tuple[Tensor, Seen]:
        hidden, seen = super().forward(source, source_mask, target, weights=weights)
        for b in range(len(source)):
            words = int(source_mask[b].sum()) - 2
            for layer in seen.cross:
                layer[b] = source_mask[b] / source_mask[b].sum()
            for t in range(min(words, target.shape[1] - self.late)):
                seen.cross[1][b, 2, t + self.late] = 0.0
                seen.cross[1][b, 2, t + self.late, words - t] = 1.0
        return hidden, seen


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
