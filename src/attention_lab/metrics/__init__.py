"""Metrics with 95 % intervals, one file for each kind of task.

The function of each task returns plain numbers, rounded so that files can be compared, with `score_low` and
`score_high`, the interval of the task's headline metric over resampled test sets. Metrics come from the field's
established libraries where possible, intervals from SciPy's bootstrap. Libraries are imported where they are used, so
that stages that only write metrics run without them.
"""

from attention_lab.metrics.classification import (
    accuracy_of_rows,
    calibration_error,
    classification,
    f1_of_rows,
    multi_label,
)
from attention_lab.metrics.figures import Figure, interval, read, rounded, write
from attention_lab.metrics.generation import generation, probability_of_rows
from attention_lab.metrics.question_answering import f1_of_answers, question_answering
from attention_lab.metrics.summarization import rouge1_of_rows, summarization
from attention_lab.metrics.translation import bleu_of_rows, overlap, translation

__all__ = [
    "Figure",
    "accuracy_of_rows",
    "bleu_of_rows",
    "calibration_error",
    "classification",
    "f1_of_answers",
    "f1_of_rows",
    "generation",
    "interval",
    "multi_label",
    "overlap",
    "probability_of_rows",
    "question_answering",
    "read",
    "rouge1_of_rows",
    "rounded",
    "summarization",
    "translation",
    "write",
]
