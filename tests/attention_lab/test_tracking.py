"""What MLflow is told, in a store of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stores import tables

from attention_lab import records, tracking

PARAMS = {"seed": 1, "task": "sentiment", "vocab": {"size": 100}}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(tables())
    client, experiment = tracking._connect()
    return lambda: client.search_runs([experiment], order_by=["attributes.start_time ASC"])


def test_classes_of_any_name_a_failure_and_a_training_that_goes_on(store: Any) -> None:
    with tracking.training_run("key", "first", PARAMS) as log:
        log.result("evaluate", {"labels": {"C++": {"f1": 0.5}, "a//b": {"f1": 0.25}}, "confusion": {"C++": {"C++": 1}}})
    (run,) = store()
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"evaluate.labels.C__.f1": 0.5, "evaluate.labels.a_/b.f1": 0.25}
    assert run.data.params["vocab.size"] == "100"

    def broken() -> None:
        with tracking.training_run("other", "second", PARAMS) as log:
            log.metrics(0, {"a name?": 1.0})
            raise RuntimeError("killed")

    with pytest.raises(Exception, match=r"a name\?"):
        broken()
    assert store()[-1].info.status == "FAILED"

    # A process that was killed leaves its run running; the training goes on in it, if its parameters are the same.
    client, experiment = tracking._connect()
    left = client.create_run(experiment, tags={"training_key": "third"}).info.run_id
    tracking.Run(client, left).params(PARAMS)
    with tracking.training_run("third", "again", PARAMS) as log:
        assert log.identifier == left
    client.set_terminated(left, "RUNNING")
    with tracking.training_run("third", "again", {**PARAMS, "vocab": {"size": 200}}) as log:
        assert log.identifier != left


def test_a_training_that_a_person_ends_did_not_fail_and_goes_on_in_its_run(store: Any) -> None:
    def ended_by(error: BaseException, key: str) -> str:
        try:
            with tracking.training_run(key, "first", PARAMS) as log:
                log.metrics(1, {"loss": 2.0})
                raise error
        except type(error):
            return log.identifier

    identifier, other = ended_by(KeyboardInterrupt(), "key"), ended_by(ValueError(), "other")
    assert {run.info.run_id: run.info.status for run in store()} == {identifier: "KILLED", other: "FAILED"}
    assert {result.run: result.failed for result in tracking.results()} == {identifier: False, other: True}

    with tracking.training_run("key", "again", PARAMS) as log:
        assert log.identifier == identifier
        assert {run.info.run_id: run.info.status for run in store()}[identifier] == "RUNNING"
        log.metrics(2, {"loss": 1.0})
    client, _ = tracking._connect()
    assert [point.step for point in client.get_metric_history(identifier, "loss")] == [1, 2]
    with tracking.training_run("other", "again", PARAMS) as log:  # what has failed is not gone on with
        assert log.identifier != other


def test_an_explanation_goes_with_the_evaluation_it_is_of(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = tmp_path / "model", tmp_path / "data"
    for folder in (model, data):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    monkeypatch.setenv("DVC_EXP_NAME", "first-try")
    with tracking.training_run("key", "trained", PARAMS) as log:
        log.data("sentiment", data)
        log.tags({"model_digest": records.digest(model)})

    def found(stage: str, value: float, *, beams: int, steps: int = 12) -> str:
        params = {**PARAMS, "evaluate": {"beams": beams}, "interpret": {"steps": steps}}
        with tracking.run_of(model, params, stage) as log:
            log.result(stage, {"score": value})
            return log.identifier

    first = found("evaluate", 0.1, beams=1)
    assert found("interpret", 0.5, beams=1) == first  # all of one result in one run
    monkeypatch.setenv("DVC_EXP_NAME", "second-try")
    second = found("evaluate", 0.2, beams=4)
    third = found("interpret", 0.6, beams=1, steps=5)
    runs = {run.info.run_id: run for run in store()}
    assert len({first, second, third}) == len(runs) == 3
    assert runs[second].data.metrics == {"evaluate.score": 0.2}  # nobody has explained it yet
    assert runs[third].data.metrics == {"evaluate.score": 0.1, "interpret.score": 0.6}
    assert runs[third].data.params["evaluate.beams"] == "1"
    assert [runs[one].data.tags["dvc.experiment"] for one in (first, third)] == ["first-try", "second-try"]
    assert all(len(run.inputs.dataset_inputs) == 1 for run in runs.values())
    assert found("interpret", 0.7, beams=4) == second

    (model / "file").write_text("another, whose training is in another store")
    assert store()[-1].data.params["seed"] == "1"
    fourth = found("evaluate", 0.3, beams=1)
    assert {run.info.run_id: run.data.params for run in store()}[fourth] == {
        "seed": "1", "task": "sentiment", "vocab.size": "100", "evaluate.beams": "1",
    }  # fmt: skip


def test_a_run_says_in_words_what_was_found_and_is_not_buried_in_tags(store: Any, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "file").write_text("weights")
    with tracking.training_run("key", "trained", PARAMS) as log:
        log.tags({"model_digest": records.digest(tmp_path / "model")})
    score = {"score_name": "accuracy", "score": 0.75, "score_low": 0.5, "score_high": 1.0, "examples": 1700}
    evaluated = {**score, "split": "test", "baseline": {"what": "always", "accuracy": 0.25}}
    method = {"what": "w", "paper": "p", "reason": "r", "variant": "v", "average_precision": 0.9}
    gate = {"value": 0.3, "bound": 0.1, "passed": True, "sentence": "It moves."}
    explained = {
        "sentences": ["random 0.1"], "conclusion": ["Read alti."], "best_method": "alti",
        "methods": {"alti": {**method, "average_precision_low": 0.8, "average_precision_high": 1.0}},
        "gates": {"permuted_weights": gate},
    }  # fmt: skip

    def found(stage: str, values: dict[str, Any], steps: int) -> Any:
        params = {**PARAMS, "evaluate": {"beams": 1}, "interpret": {"steps": steps}}
        with tracking.run_of(tmp_path / "model", params, stage) as log:
            log.result(stage, values)
        return next(run.data for run in store() if run.info.run_id == log.identifier)

    how_good = (
        "**accuracy 0.75** on 1,700 test examples, 95 % interval 0.5 to 1. Baseline (always): 0.25."
    )  # fmt: skip
    assert found("evaluate", evaluated, 1).tags[tracking.NOTE] == how_good
    for steps in (1, 1, 2):  # said once, also where it is found again, and in a run of its own
        data = found("interpret", explained, steps)
        assert data.tags[tracking.NOTE] == (
            f"{how_good}{tracking.LOOKED}- Random 0.1.\n- Read alti.\n\nSee the artifact report.html."
        )
        assert {tag for tag in data.tags if tag.startswith("interpret.")} == {"interpret.best_method"}
        assert {name for name in data.metrics if name.startswith("interpret.")} == {
            "interpret.methods.alti.average_precision", "interpret.gates.permuted_weights.value",
        }  # fmt: skip
        assert data.tags["mlflow.source.name"]


@pytest.mark.parametrize("name", ["C++", "what?", "a, b", "a//b", "/a", "a/", "é ü", "x" * 300, "日本"])
def test_every_name_is_one_that_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(tracking._allowed(f"evaluate.labels.{name}.f1"))
