"""The tasks, one file each."""

from typing import Any

from attention_lab.tasks.generation import Generation
from attention_lab.tasks.multi_label import MultiLabel
from attention_lab.tasks.question_answering import QuestionAnswering
from attention_lab.tasks.sentiment import Sentiment
from attention_lab.tasks.summarization import Summarization
from attention_lab.tasks.task import Loss, Task, Trainable
from attention_lab.tasks.translation import Translation
from attention_lab.transformer import Config

TASKS: dict[str, Task] = {
    task.name: task
    for task in (Translation(), Summarization(), QuestionAnswering(), Generation(), Sentiment(), MultiLabel())
}

__all__ = ["TASKS", "Loss", "Task", "Trainable", "in_full"]


def in_full(values: dict[str, Any], config: Config) -> dict[str, Any]:
    """Parameters to be logged, with the task's own values in place of null in the sections model and train: a run that
    sets such a value explicitly is the same run."""
    decided = {"model": config.model_dump(), "train": {"word_dropout": TASKS[config.task].word_dropout}}
    return values | {
        section: {name: of_task.get(name) if value is None else value for name, value in values[section].items()}
        for section, of_task in decided.items()
    }
