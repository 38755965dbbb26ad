"""The applications, one file each."""

from attention_lab.tasks.generation import Generation
from attention_lab.tasks.multi_label import MultiLabel
from attention_lab.tasks.question_answering import QuestionAnswering
from attention_lab.tasks.sentiment import Sentiment
from attention_lab.tasks.summarization import Summarization
from attention_lab.tasks.task import Loss, Task, Trainable
from attention_lab.tasks.translation import Translation

TASKS: dict[str, Task] = {
    task.name: task
    for task in (Translation(), Summarization(), QuestionAnswering(), Generation(), Sentiment(), MultiLabel())
}

__all__ = ["TASKS", "Loss", "Task", "Trainable"]
