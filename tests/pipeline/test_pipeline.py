"""The pipeline from end to end, as a user runs it, on tiny data."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Project

from attention_lab import encoding

STAGES = ("ingest", "clean", "vocab", "split", "encode", "train", "evaluate", "interpret")


@pytest.fixture(scope="module")
def translated(make_project: Callable[[str], Project]) -> Iterator[Project]:
    """`dvc repro` has run once."""
    project = make_project("translation")
    project.run("dvc", "init", "--no-scm", "-q")
    project.run("dvc", "repro")
    yield project
    shutil.rmtree(project.directory)


def read(project: Project, name: str) -> dict:
    return json.loads((project.directory / name).read_text(encoding="utf-8"))


def runs(project: Project) -> list[dict[str, str]]:
    """Status, model digest and number of metrics of every MLflow run."""
    with sqlite3.connect(project.directory / "mlflow.db") as store:
        found = store.execute("select run_uuid, status from runs").fetchall()
        return [
            {
                "status": status,
                **dict(store.execute("select key, value from tags where run_uuid = ?", (run,)).fetchall()),
                **dict(store.execute("select key, value from params where run_uuid = ?", (run,)).fetchall()),
                **dict(store.execute("select key, value from latest_metrics where run_uuid = ?", (run,)).fetchall()),
            }
            for run, status in found
        ]


def test_a_second_run_does_nothing(translated: Project) -> None:
    lock = (translated.directory / "dvc.lock").read_bytes()
    said = translated.run("dvc", "repro").stdout
    assert "Data and pipelines are up to date." in said
    assert "Running stage" not in said
    assert (translated.directory / "dvc.lock").read_bytes() == lock


def test_what_it_writes(translated: Project) -> None:
    train, evaluate = read(translated, "metrics/train.json"), read(translated, "metrics/evaluate.json")
    assert train["valid_loss"] < train["trivial_loss"]
    assert {"train_loss", "steps", "epochs", "parameters", "tokens"} <= train.keys()
    assert evaluate["score"] == evaluate["bleu"]
    assert evaluate["score_low"] <= evaluate["score"] <= evaluate["score_high"]
    assert evaluate["attention"] == {"mechanism": "scaled_dot_product"}
    assert 0.0 <= read(translated, "metrics/interpret.json")["alignment"]["error_rate"] <= 1.0
    for stage in STAGES[:5]:
        assert read(translated, f"metrics/validation/{stage}.json")["success"] is True
    for page in ("metrics/report.html", "metrics/validation/index.html"):
        text = (translated.directory / page).read_text(encoding="utf-8")
        assert "http://" not in text
        assert "https://" not in text
    lines = (translated.directory / "data/predictions/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == evaluate["examples"]
    assert "prediction" in json.loads(lines[0])


def test_one_mlflow_run_holds_the_result_of_all_stages(translated: Project) -> None:
    (run,) = runs(translated)
    evaluate = read(translated, "metrics/evaluate.json")
    assert run["status"] == "FINISHED"
    assert run["evaluate.bleu"] == pytest.approx(evaluate["bleu"])
    assert run["interpret.alignment.error_rate"] >= 0.0
    assert run["attention.mechanism"] == "scaled_dot_product"
    assert run["interpret.examples"] == "2"
    assert run["data_digest"]
    assert run["model_digest"]


def test_predictions_for_new_text(translated: Project) -> None:
    program = str(Path(sys.executable).with_name("attention-lab"))
    assert translated.run(program, "predict", "The old dog sees the cat.").stdout.strip()
    translated.write("rows.jsonl", '{"text": "The old dog sleeps."}\n{"source": "She reads a book."}\n')
    translated.run(program, "predict", "--input", "rows.jsonl", "--output", "out.jsonl", "--beams", "2")
    answers = [json.loads(line) for line in (translated.directory / "out.jsonl").read_text().splitlines()]
    assert [answer["text"] for answer in answers] == ["The old dog sleeps.", "She reads a book."]
    refused = translated.run(program, "predict", "--input", "none.txt", fails=True)
    sentence = "attention-lab: none.txt: there is no such file; --input takes a text or .jsonl file"
    assert refused.stderr.strip() == sentence
    assert "report       metrics/report.html" in translated.run(program, "summary").stdout


def test_a_forced_run_gives_the_same_lock_weights_included(translated: Project) -> None:
    lock = (translated.directory / "dvc.lock").read_bytes()
    translated.run("dvc", "repro", "--force", "--no-run-cache")
    assert (translated.directory / "dvc.lock").read_bytes() == lock


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


def test_sentiment_changes_one_parameter(make_project: Callable[[str], Project]) -> None:
    # What decides a label is learned from more rows than 300, whatever the seed.
    project = make_project("sentiment").set(task="sentiment")
    project.set(**{"data.size": 3000, "train.epochs": 4, "train.learning_rate": 0.003})
    project.stages(STAGES)
    evaluate = read(project, "metrics/evaluate.json")
    assert evaluate["score_name"] == "accuracy"
    assert {"f1_macro", "f1_weighted", "precision_macro", "recall_macro", "calibration_error", "confusion"} <= (
        evaluate.keys()
    )
    assert evaluate["classical"]["accuracy"] > evaluate["baseline"]["accuracy"]
    assert 0.0 <= read(project, "metrics/interpret.json")["rationale"]["average_precision"] <= 1.0
    (run,) = runs(project)
    assert run["evaluate.accuracy"] == pytest.approx(evaluate["accuracy"])
    shutil.rmtree(project.directory)


def test_summarization_changes_one_parameter(make_project: Callable[[str], Project]) -> None:
    project = make_project("summarization").set(task="summarization")
    project.stages(STAGES)
    evaluate = read(project, "metrics/evaluate.json")
    assert evaluate["score"] == evaluate["rouge1"] > evaluate["baseline"]["rouge1"]
    assert {"rouge2", "rougeL", "rouge_signature", "compression", "novelty_2", "copy_rate"} <= evaluate.keys()
    assert 0.0 <= read(project, "metrics/interpret.json")["salient"]["average_precision"] <= 1.0
    (run,) = runs(project)
    assert run["evaluate.rouge1"] == pytest.approx(evaluate["rouge1"])
    shutil.rmtree(project.directory)


def test_question_answering_changes_one_parameter(make_project: Callable[[str], Project]) -> None:
    project = make_project("questions").set(task="question_answering")
    # Some stories do not fit, and are read in windows.
    project.set(**{"encode.overflow": "window", "encode.max_source_tokens": 64, "encode.overlap": 16})
    project.stages(STAGES)
    encoded = encoding.read(project.directory / "data/encoded/test.arrow")
    assert (encoded["shared"] > 0).any()
    evaluate = read(project, "metrics/evaluate.json")
    assert evaluate["score"] == evaluate["f1"] > evaluate["baseline"]["f1"]
    assert {"exact_match", "no_answer_accuracy", "has_answer_f1"} <= evaluate.keys()
    assert evaluate["examples"] == encoded["row"].nunique()
    assert 0.0 <= read(project, "metrics/interpret.json")["support"]["average_precision"] <= 1.0
    (run,) = runs(project)
    assert run["evaluate.f1"] == pytest.approx(evaluate["f1"])
    program = str(Path(sys.executable).with_name("attention-lab"))
    story = "Anna went to the kitchen. " * 20
    answer = project.run(program, "predict", "--json", "Where is Anna?", "--context", story).stdout
    found = json.loads(answer)
    assert story[found["begins"] :].startswith(found["prediction"]) or found["begins"] == -1
    shutil.rmtree(project.directory)


def test_generation_changes_one_parameter(make_project: Callable[[str], Project]) -> None:
    project = make_project("generation").set(task="generation")
    project.stages(STAGES)
    evaluate = read(project, "metrics/evaluate.json")
    assert evaluate["score"] == evaluate["character_probability"] > evaluate["baseline"]["character_probability"]
    assert 0.0 < evaluate["entropy"] < evaluate["loss"]  # no model foresees more than there is to foresee
    assert evaluate["excess"] == pytest.approx(evaluate["loss"] / evaluate["entropy"] - 1.0, abs=1e-5)
    assert "nobody knows" in read(project, "metrics/interpret.json")["reason"]
    (run,) = runs(project)
    assert run["evaluate.loss"] == pytest.approx(evaluate["loss"])
    program = str(Path(sys.executable).with_name("attention-lab"))
    answer = project.run(program, "predict", "--temperature", "0", "--max-tokens", "6", "Julia lives on").stdout
    assert answer.startswith("Julia lives on")
    shutil.rmtree(project.directory)


def test_another_evaluation_of_the_same_model_is_a_run_of_its_own(translated: Project) -> None:
    before = runs(translated)
    original = (translated.directory / "params.yaml").read_text(encoding="utf-8")
    translated.set(**{"evaluate.beams": 2}).stage("evaluate")
    found = runs(translated)
    assert len(found) == len(before) + 1
    assert sorted(run["evaluate.beams"] for run in found)[0] == "2"
    assert len({run["model_digest"] for run in found}) == 1
    (translated.directory / "params.yaml").write_text(original, encoding="utf-8")
    translated.stage("evaluate")
    assert len(runs(translated)) == len(found)


def test_help_draws_inputs_and_outputs(project: Project) -> None:
    for stage in STAGES:
        said = project.run(sys.executable, "-m", "pipeline", stage, "--help").stdout
        assert "params.yaml" in said
        assert "─┐" in said
        needs = yaml.safe_load((project.directory / "dvc.yaml").read_text())["stages"][stage]["deps"]
        assert all(Path(name).parts[1] in said for name in needs if name.startswith("data/"))
