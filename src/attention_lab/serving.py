"""The trained model as an MLflow pyfunc ("models from code"): MLflow runs this file to load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel, PythonModelContext


class Served(PythonModel):
    """Texts in, predictions out: {"inputs": ["text", …]} → [{"prediction": …}, …]."""

    def load_context(self, context: PythonModelContext) -> None:
        from attention_lab.inference import Predictor

        self.predictor = Predictor(Path(context.artifacts["model"]))

    def predict(self, model_input: list[str]) -> list[dict[str, Any]]:
        return self.predictor.predict(list(model_input))


mlflow.models.set_model(Served())
