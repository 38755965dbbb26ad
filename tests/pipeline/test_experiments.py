"""A queued experiment runs the code it was queued with, and logs to the store of the main workspace."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

from conftest import Project


def test_a_queued_experiment_runs_the_code_it_was_queued_with(make_project: Callable[[str], Project]) -> None:
    project = make_project("queued")
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "start")

    # Two experiments, each with its own code; the code of the main workspace is a third.
    path = project.directory / "src/attention_lab/metrics/figures.py"
    original = path.read_text(encoding="utf-8")
    marked = '    values = {**values, "code": "%s"}\n    text = json.dumps(values'
    assert "    text = json.dumps(values" in original
    for name, mechanism in (("first", "additive"), ("second", "uniform")):
        path.write_text(original.replace("    text = json.dumps(values", marked % name), encoding="utf-8")
        project.run("dvc", "exp", "run", "--queue", "--name", name, "-S", f"attention.mechanism={mechanism}")
    path.write_text(original.replace("    text = json.dumps(values", marked % "main"), encoding="utf-8")

    project.run("dvc", "exp", "run", "--run-all")
    assert "Failed" not in project.run("dvc", "queue", "status").stdout
    shown = json.loads(project.run("dvc", "exp", "show", "--json", "--no-pager").stdout)
    found = {}
    for state in shown:
        for experiment in state.get("experiments") or []:
            data = experiment["revs"][0]["data"]
            metrics = data["metrics"]["metrics/evaluate.json"]["data"]
            found[experiment["name"]] = (metrics["code"], metrics["attention"]["mechanism"])
    assert found == {"first": ("first", "additive"), "second": ("second", "uniform")}

    with sqlite3.connect(project.directory / "mlflow.db") as store:
        names = store.execute("select value from tags where key = 'dvc.experiment'").fetchall()
        states = store.execute("select status from runs").fetchall()
    assert sorted(name for (name,) in names) == ["first", "second"]
    assert states == [("FINISHED",), ("FINISHED",)]
