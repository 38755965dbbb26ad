"""Tasks whose models only read: one parameter chosen, all stages run on tiny data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest
from conftest import STAGES, Project

from attention_lab import encoding


def test_sentiment_changes_one_parameter(make_project: Callable[[str], Project]) -> None:
    # What decides a label is learned from more rows than 300, whatever the seed.
    project = make_project("sentiment").set(task="sentiment")
    project.set(**{"data.size": 3000, "train.epochs": 4, "train.learning_rate": 0.003})
    project.stages(STAGES)
    evaluate = project.read("metrics/evaluate.json")
    assert evaluate["score_name"] == "accuracy"
    assert {"f1_macro", "f1_weighted", "precision_macro", "recall_macro", "calibration_error", "confusion"} <= (
        evaluate.keys()
    )
    assert evaluate["classical"]["accuracy"] > evaluate["baseline"]["accuracy"]
    assert 0.0 <= project.read("metrics/interpret.json")["rationale"]["average_precision"] <= 1.0
    (run,) = project.runs()
    assert run["evaluate.accuracy"] == pytest.approx(evaluate["accuracy"])
    shutil.rmtree(project.directory)


def test_multi_label_changes_one_parameter(
    make_project: Callable[[str], Project], capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project("multi_label").set(task="multi_label")
    project.set(**{"data.size": 600, "train.epochs": 12})
    project.stages(STAGES)
    evaluate = project.read("metrics/evaluate.json")
    names = sorted(evaluate["labels"])
    assert f"vocab: {len(names)} labels: {', '.join(names[:10])}, …\n" in capsys.readouterr().out
    assert evaluate["score"] == evaluate["f1_micro"] > evaluate["baseline"]["f1_micro"]
    assert {"f1_macro", "precision_micro", "recall_macro", "subset_accuracy", "hamming_loss"} <= evaluate.keys()
    assert evaluate["classical"]["f1_micro"] > evaluate["baseline"]["f1_micro"]
    assert 0.0 <= project.read("metrics/interpret.json")["rationale"]["average_precision"] <= 1.0
    (run,) = project.runs()
    assert run["evaluate.f1_micro"] == pytest.approx(evaluate["f1_micro"])
    said = project.program("predict", "--threshold", "0", "The room was clean, but the bed was not.")
    assert said.strip().split(" | ") == names
    shutil.rmtree(project.directory)


def test_question_answering_changes_one_parameter(
    make_project: Callable[[str], Project], capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project("questions").set(task="question_answering")
    # Some stories do not fit, and are read in windows.
    project.set(**{"encode.overflow": "window", "encode.max_source_tokens": 64, "encode.overlap": 16})
    project.stages(STAGES)
    encoded = encoding.read(project.directory / "data/encoded/test.arrow")
    assert (encoded["shared"] > 0).any()
    assert f"{encoded['row'].nunique()} test in {len(encoded)} windows\n" in capsys.readouterr().out
    evaluate = project.read("metrics/evaluate.json")
    assert evaluate["score"] == evaluate["f1"] > evaluate["baseline"]["f1"]
    assert {"exact_match", "no_answer_accuracy", "has_answer_f1"} <= evaluate.keys()
    assert evaluate["examples"] == encoded["row"].nunique()
    assert 0.0 <= project.read("metrics/interpret.json")["support"]["average_precision"] <= 1.0
    (run,) = project.runs()
    assert run["evaluate.f1"] == pytest.approx(evaluate["f1"])
    story = "Anna went to the kitchen. " * 20
    answer = project.program("predict", "--json", "Where is Anna?", "--context", story)
    found = json.loads(answer)
    assert story[found["begins"] :].startswith(found["prediction"]) or found["begins"] == -1
    shutil.rmtree(project.directory)
