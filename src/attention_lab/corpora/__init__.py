"""Embedded corpora: small artificial languages with known ground truth, so that everything runs without a download.

Each corpus is a function of size (rows) and seed that returns a table as described in `attention_lab.records`, with a
split for every row and, where there is one, the gold column that attention can be compared with. At its default size
the whole pipeline takes about four minutes on two cores.

To add one, write its grammar and a `generate(size, seed)` in a file of its own, and add it below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from attention_lab.corpora.generation import generate as generation_rows
from attention_lab.corpora.multi_label import generate as labelled_rows
from attention_lab.corpora.question_answering import generate as question_rows
from attention_lab.corpora.sentiment import generate as sentiment_rows
from attention_lab.corpora.summarization import generate as summary_rows
from attention_lab.corpora.translation import generate as translation_rows


@dataclass(frozen=True)
class Corpus:
    """generate: size and seed → rows. size: the default number of rows."""

    generate: Callable[[int, int], pd.DataFrame]
    size: int


CORPORA: dict[str, Corpus] = {
    "translation": Corpus(translation_rows, 42_000),
    "summarization": Corpus(summary_rows, 7_000),
    "generation": Corpus(generation_rows, 12_000),
    "question_answering": Corpus(question_rows, 16_000),
    "sentiment": Corpus(sentiment_rows, 24_000),
    "multi_label": Corpus(labelled_rows, 18_000),
}
