"""The trained model of question answering as an MLflow pyfunc, like `serving.py`: a signature stands in the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import BaseModel

from attention_lab.errors import InputError


class Question(BaseModel):
    """What is asked, and the text that may hold the answer."""

    question: str
    context: str


class Served(PythonModel):
    """Questions in, answers out: {"inputs": [{"question": …, "context": …}, …]} → [{"prediction": …}, …]."""

    def load_context(self, context: PythonModelContext) -> None:
        from attention_lab.inference import Predictor

        self.predictor = Predictor(Path(context.artifacts["model"]))

    def predict(self, model_input: list[Question]) -> list[dict[str, Any]]:
        try:
            return self.predictor.predict([asked.model_dump() for asked in model_input])
        except InputError as error:  # the client's mistake, and no error of the server
            raise MlflowException.invalid_parameter_value(str(error)) from None


mlflow.models.set_model(Served())
