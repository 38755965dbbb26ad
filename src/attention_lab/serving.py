"""The trained model as an MLflow pyfunc ("models from code"): MLflow runs this file to load it.

Each task has a class, because MLflow takes the signature from the types of `predict`: {"inputs": ["text", …]}, or
{"inputs": [{"question": …, "context": …}, …]}, gives one answer for each input.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import BaseModel

from attention_lab.errors import InputError


class Question(BaseModel):
    """What is asked, and the text that may hold the answer."""

    question: str
    context: str


class Answer(BaseModel):
    """truncated: the input was longer than the model reads, and only a part of it was read."""

    truncated: bool


class Written(Answer):
    """A translation or a summary, and its log-probability in nats."""

    prediction: str
    log_probability: float


class Continued(Answer):
    """A text with what was written after it; how many nats all tokens of the given text cost."""

    prediction: str
    nats: float
    tokens: int


class Classified(Answer):
    """The most probable label, and the probability of each."""

    prediction: str
    probability: float
    probabilities: dict[str, float]


class Labelled(Answer):
    """All labels that are probable enough, the probability of exactly these, and that of each."""

    prediction: list[str]
    probability: float
    probabilities: dict[str, float]


class Found(Answer):
    """An answer and the character of the context where it begins; "" and −1 where there is none."""

    prediction: str
    begins: int
    probability: float
    probability_of_none: float


Kind = TypeVar("Kind", bound=Answer)


class Served(PythonModel):
    """A model of any task."""

    def load_context(self, context: PythonModelContext) -> None:
        from attention_lab.inference import Predictor

        self.predictor = Predictor(Path(context.artifacts["model"]))

    def answers(self, inputs: Sequence[str | Question], kind: type[Kind]) -> list[Kind]:
        """Dicts with the fields of `kind`: MLflow's server writes dicts, and no objects of pydantic."""
        texts = [given if isinstance(given, str) else given.model_dump() for given in inputs]
        try:
            return cast("list[Kind]", self.predictor.predict(texts))
        except InputError as error:  # the client's mistake, and no error of the server
            raise MlflowException.invalid_parameter_value(str(error)) from None


class Writer(Served):
    """Translation and summarization."""

    def predict(self, model_input: list[str]) -> list[Written]:
        return self.answers(model_input, Written)


class LanguageModel(Served):
    """Generation."""

    def predict(self, model_input: list[str]) -> list[Continued]:
        return self.answers(model_input, Continued)


class Classifier(Served):
    """Sentiment."""

    def predict(self, model_input: list[str]) -> list[Classified]:
        return self.answers(model_input, Classified)


class Labeller(Served):
    """Multi_label."""

    def predict(self, model_input: list[str]) -> list[Labelled]:
        return self.answers(model_input, Labelled)


class Reader(Served):
    """Question answering."""

    def predict(self, model_input: list[Question]) -> list[Found]:
        return self.answers(model_input, Found)


SERVED = {
    "translation": Writer,
    "summarization": Writer,
    "generation": LanguageModel,
    "sentiment": Classifier,
    "multi_label": Labeller,
    "question_answering": Reader,
}

mlflow.models.set_model(SERVED[mlflow.models.ModelConfig().get("task")]())  # tracking.py gives the task
