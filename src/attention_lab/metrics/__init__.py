"""Metrics with 95 % intervals, one file for each kind of task.

Every function returns plain numbers, rounded so that files compare, and `score_low` and `score_high`: the interval of
the task's headline metric over resampled test sets. Where a library of the field has a metric it is that library's;
the intervals are SciPy's bootstrap. Libraries are imported where they are used: stages that only write figures run
without them.
"""

from attention_lab.metrics.classification import calibration_error, classification, multi_label
from attention_lab.metrics.figures import interval, read, rounded, write
from attention_lab.metrics.generation import generation
from attention_lab.metrics.question_answering import question_answering
from attention_lab.metrics.summarization import summarization
from attention_lab.metrics.translation import translation

__all__ = [
    "calibration_error",
    "classification",
    "generation",
    "interval",
    "multi_label",
    "question_answering",
    "read",
    "rounded",
    "summarization",
    "translation",
    "write",
]
