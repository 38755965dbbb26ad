"""The pipeline from end to end, as a user runs it, on tiny data."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, STAGES, Project

from attention_lab import records


@pytest.fixture(scope="module")
def translated(make_project: Callable[[str], Project]) -> Iterator[Project]:
    """`dvc repro` has run once, and what it wrote is committed."""
    project = make_project("translation")
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")
    project.run("dvc", "repro")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "start")
    yield project
    shutil.rmtree(project.directory)


def test_a_second_run_does_nothing(translated: Project) -> None:
    lock = (translated.directory / "dvc.lock").read_bytes()
    said = translated.run("dvc", "repro").stdout
    assert "Data and pipelines are up to date." in said
    assert "Running stage" not in said
    assert (translated.directory / "dvc.lock").read_bytes() == lock


def test_what_it_writes(translated: Project) -> None:
    train, evaluate = translated.read("metrics/train.json"), translated.read("metrics/evaluate.json")
    assert train["valid_loss"] < train["trivial_loss"]
    assert {"train_loss", "steps", "epochs", "parameters", "tokens"} <= train.keys()
    assert evaluate["score"] == evaluate["bleu"]
    assert evaluate["score_low"] <= evaluate["score"] <= evaluate["score_high"]
    assert evaluate["attention"] == {"mechanism": "scaled_dot_product"}
    assert 0.0 <= translated.read("metrics/interpret.json")["alignment"]["error_rate"] <= 1.0
    for stage in STAGES[:5]:
        assert translated.read(f"metrics/validation/{stage}.json")["success"] is True
    for page in ("metrics/report.html", "metrics/validation/index.html"):
        text = (translated.directory / page).read_text(encoding="utf-8")
        assert "http://" not in text
        assert "https://" not in text
    lines = (translated.directory / "data/predictions/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == evaluate["examples"]
    assert "prediction" in json.loads(lines[0])


def test_one_mlflow_run_holds_the_result_of_all_stages(translated: Project) -> None:
    (run,) = translated.runs()
    evaluate = translated.read("metrics/evaluate.json")
    assert run["status"] == "FINISHED"
    assert run["evaluate.bleu"] == pytest.approx(evaluate["bleu"])
    assert run["interpret.alignment.error_rate"] >= 0.0
    assert run["attention.mechanism"] == "scaled_dot_product"
    assert run["interpret.examples"] == "2"
    assert run["data_digest"]
    assert run["model_digest"]


def test_predictions_for_new_text(translated: Project) -> None:
    """By the program itself, as it is installed, and by what it calls."""
    assert translated.program("predict", "The old dog sees the cat.").strip()
    translated.write("rows.jsonl", '{"text": "The old dog sleeps."}\n{"source": "She reads a book."}\n')
    program = str(Path(sys.executable).with_name("attention-lab"))
    translated.run(program, "predict", "--input", "rows.jsonl", "--output", "out.jsonl", "--beams", "2")
    answers = [json.loads(line) for line in (translated.directory / "out.jsonl").read_text().splitlines()]
    assert [answer["text"] for answer in answers] == ["The old dog sleeps.", "She reads a book."]
    refused = translated.run(program, "predict", "--input", "none.txt", fails=True)
    sentence = "attention-lab: none.txt: there is no such file; --input takes a table or a text"
    assert refused.stderr.strip() == sentence
    assert "report       metrics/report.html" in translated.program("summary")
    assert re.search(r"scaled_dot_product +│ +1 │", translated.program("compare"))


def test_a_run_elsewhere_gives_the_same_bytes_weights_included(
    translated: Project, make_project: Callable[[str], Project]
) -> None:
    other = make_project("again")
    other.stages(STAGES)
    stages = yaml.safe_load((translated.directory / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    written = [next(iter(out)) if isinstance(out, dict) else out for stage in stages.values() for out in stage["outs"]]
    assert {"data/raw", "data/model", "data/predictions", "metrics/report.html"} <= set(written)
    for name in (*written, "metrics/train.json", "metrics/evaluate.json", "metrics/interpret.json"):
        assert records.digest(translated.directory / name) == records.digest(other.directory / name), name
    shutil.rmtree(other.directory)


def test_a_comment_in_training_reruns_what_trains_and_nothing_before(translated: Project) -> None:
    path = translated.directory / "src/attention_lab/training.py"
    before = path.read_text(encoding="utf-8")
    path.write_text(before + "# a comment\n", encoding="utf-8")
    status = json.loads(translated.run("dvc", "status", "--json").stdout)
    assert "train" in status
    assert not status.keys() & {"ingest", "clean", "vocab", "split", "encode"}
    said = translated.run("dvc", "repro", "--dry").stdout
    assert [stage for stage in STAGES if f"Running stage '{stage}'" in said] == ["train"]
    path.write_text(before, encoding="utf-8")


def test_another_evaluation_of_the_same_model_is_a_run_of_its_own(translated: Project) -> None:
    before = translated.runs()
    original = (translated.directory / "params.yaml").read_text(encoding="utf-8")
    translated.set(**{"evaluate.beams": 2}).stages(["evaluate"])
    found = translated.runs()
    assert len(found) == len(before) + 1
    assert sorted(run["evaluate.beams"] for run in found)[0] == "2"
    assert len({run["model_digest"] for run in found}) == 1
    (translated.directory / "params.yaml").write_text(original, encoding="utf-8")
    translated.stages(["evaluate"])
    assert len(translated.runs()) == len(found)
    compared = translated.program("compare")
    assert "evaluate.beams" in compared
    assert "(rows)" in compared  # of both, MLflow has the predictions


def test_a_queued_experiment_runs_the_code_it_was_queued_with(translated: Project) -> None:
    """… and logs to the store of the main workspace."""
    # The code of the main workspace is another when the experiment runs. It is code of the train stage, so that the
    # stages before it need not run.
    path = translated.directory / "src/attention_lab/training.py"
    original = path.read_text(encoding="utf-8")
    line = '            "tokens": state.tokens,\n'
    assert line in original
    path.write_text(original.replace(line, f'{line}            "code": "queued",\n'), encoding="utf-8")
    translated.run("dvc", "exp", "run", "--queue", "--name", "first", "-S", "attention.mechanism=additive", "train")
    path.write_text(original.replace(line, f'{line}            "code": "main",\n'), encoding="utf-8")
    before = len(translated.runs())

    translated.run("dvc", "exp", "run", "--run-all")
    assert "Failed" not in translated.run("dvc", "queue", "status").stdout
    shown = json.loads(translated.run("dvc", "exp", "show", "--json", "--no-pager").stdout)
    found = {}
    for state in shown:
        for experiment in state.get("experiments") or []:
            data = experiment["revs"][0]["data"]
            found[experiment["name"]] = (
                data["metrics"]["metrics/train.json"]["data"]["code"],
                data["params"]["params.yaml"]["data"]["attention"]["mechanism"],
            )
    assert found == {"first": ("queued", "additive")}

    (run,) = translated.runs()[before:]
    assert (run["dvc.experiment"], run["attention.mechanism"], run["status"]) == ("first", "additive", "FINISHED")
    path.write_text(original, encoding="utf-8")


@pytest.mark.parametrize("stage", STAGES)
def test_help_draws_inputs_and_outputs(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    app = importlib.import_module(f"pipeline.{stage}").app
    with pytest.raises(SystemExit) as end:
        app(["--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert "params.yaml" in said
    assert "─┐" in said
    needs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    assert all(Path(name).parts[1] in said for name in needs if name.startswith("data/"))
