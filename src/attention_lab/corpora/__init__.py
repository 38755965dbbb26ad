"""Embedded corpora: small languages with known truth, so that everything runs without a download.

Each corpus is a function of size (rows) and seed that returns a table as `attention_lab.records` describes it,
with a split for every row and with the gold column that attention can be held against.

To add one: write its grammar and a `generate(size, seed)` in a file beside these, and name it below.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from attention_lab.corpora.generation import generate as generation_rows
from attention_lab.corpora.multi_label import generate as labelled_rows
from attention_lab.corpora.question_answering import generate as question_rows
from attention_lab.corpora.sentiment import generate as sentiment_rows
from attention_lab.corpora.summarization import generate as summary_rows
from attention_lab.corpora.translation import generate as translation_rows

CORPORA: dict[str, Callable[[int, int], pd.DataFrame]] = {
    "translation": translation_rows,
    "summarization": summary_rows,
    "generation": generation_rows,
    "question_answering": question_rows,
    "sentiment": sentiment_rows,
    "multi_label": labelled_rows,
}
