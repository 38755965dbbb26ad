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

    # Two experiments, each with its own code; the code of the main workspace is a third. It is code of the train stage,
    # so that the stages before it run once.
    path = project.directory / "src/attention_lab/training.py"
    original = path.read_text(encoding="utf-8")
    line = '            "tokens": state.tokens,\n'
    assert line in original
    for name, mechanism in (("first", "additive"), ("second", "uniform")):
        path.write_text(original.replace(line, f'{line}            "code": "{name}",\n'), encoding="utf-8")
        project.run("dvc", "exp", "run", "--queue", "--name", name, "-S", f"attention.mechanism={mechanism}", "train")
    path.write_text(original.replace(line, f'{line}            "code": "main",\n'), encoding="utf-8")

    project.run("dvc", "exp", "run", "--run-all")
    assert "Failed" not in project.run("dvc", "queue", "status").stdout
    shown = json.loads(project.run("dvc", "exp", "show", "--json", "--no-pager").stdout)
    found = {}
    for state in shown:
        for experiment in state.get("experiments") or []:
            data = experiment["revs"][0]["data"]
            found[experiment["name"]] = (
                data["metrics"]["metrics/train.json"]["data"]["code"],
                data["params"]["params.yaml"]["data"]["attention"]["mechanism"],
            )
    assert found == {"first": ("first", "additive"), "second": ("second", "uniform")}

    with sqlite3.connect(project.directory / "mlflow.db") as store:
        names = store.execute("select value from tags where key = 'dvc.experiment'").fetchall()
        states = store.execute("select status from runs").fetchall()
        mechanisms = store.execute("select value from params where key = 'attention.mechanism'").fetchall()
    assert sorted(name for (name,) in names) == ["first", "second"]
    assert states == [("FINISHED",), ("FINISHED",)]
    assert sorted(mechanisms) == [("additive",), ("uniform",)]
