"""The model in MLflow: it says what `predict` says, its signature has the task's types, and its server says what is
wrong with a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import mlflow
import pytest
from mlflow.pyfunc import PyFuncModel, scoring_server
from starlette.testclient import TestClient
from test_demo import TASKS, TEXT, folder

from attention_lab import tracking
from attention_lab.inference import Predictor

QUESTION = {"question": "who sees a cat", "context": TEXT}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[PyFuncModel, Predictor]]]:
    """Models with random weights, as the train stage leaves them in MLflow, and what predicts with them here."""
    at = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{at / 'mlflow.db'}")
        patch.setenv("DVC_ROOT", str(at))
        patch.chdir(at)

        @cache
        def model(task: str) -> tuple[PyFuncModel, Predictor]:
            with tracking.training_run(task, task, {"task": task}) as log:
                log.model(folder(at / task, task), task, QUESTION if task == "question_answering" else TEXT)
            found = mlflow.search_logged_models(
                filter_string=f"source_run_id = '{log.identifier}'", output_format="list"
            )
            return mlflow.pyfunc.load_model(found[0].model_uri), Predictor(at / task / "model")

        yield model


@pytest.mark.parametrize("task", TASKS)
def test_it_says_what_predict_says_and_its_signature_has_the_types_of_that(
    logged: Callable[[str], tuple[PyFuncModel, Predictor]], recwarn: pytest.WarningsRecorder, task: str
) -> None:
    model, here = logged(task)
    inputs = [QUESTION] * 2 if task == "question_answering" else [TEXT, "a cat sleeps ."]
    wanted = here.predict(inputs)
    assert model.predict(inputs) == wanted
    outputs = model.metadata.get_output_schema().inputs[0].to_dict()["properties"]
    assert outputs.keys() == wanted[0].keys()
    kinds = {str: "string", bool: "boolean", int: "long", float: "double", list: "array", dict: "map"}
    assert {name: kind["type"] for name, kind in outputs.items()} == {
        name: kinds[type(value)] for name, value in wanted[0].items()
    }
    assert not [warning for warning in recwarn if "mlflow/types" in warning.filename]


def test_a_server_answers_and_says_what_is_wrong(logged: Callable[[str], tuple[PyFuncModel, Predictor]]) -> None:
    model, here = logged("question_answering")
    client = TestClient(scoring_server.init(model), raise_server_exceptions=False)

    def ask(inputs: list[Any]) -> tuple[int, Any]:
        answer = client.post("/invocations", json={"inputs": inputs})
        return answer.status_code, answer.json()

    status, answer = ask([QUESTION])
    assert (status, answer["predictions"]) == (200, here.predict([QUESTION]))
    status, answer = ask([{"question": "who sees a cat", "context": " "}])
    assert status == 400
    assert "input 1: the context is empty or missing" in answer["message"]
    status, answer = ask(["who sees a cat"])
    assert status == 400
