"""The trained model as an MLflow pyfunc ("models from code"): MLflow runs this file to load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from attention_lab.errors import InputError


class Served(PythonModel):
    """Texts in, predictions out: {"inputs": ["text", …]} → [{"prediction": …}, …]."""

    def load_context(self, context: PythonModelContext) -> None:
        from attention_lab.inference import Predictor

        self.predictor = Predictor(Path(context.artifacts["model"]))

    def predict(self, model_input: list[str]) -> list[dict[str, Any]]:
        try:
            return self.predictor.predict(list(model_input))
        except InputError as error:  # the client's mistake, and no error of the server
            raise MlflowException.invalid_parameter_value(str(error)) from None


mlflow.models.set_model(Served())
