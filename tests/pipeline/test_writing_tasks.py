"""Tasks whose models write, beside translation: one parameter chosen, all stages run on tiny data."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import STAGES, Project


def test_summarization_changes_one_parameter(make_project: Callable[[str], Project]) -> None:
    project = make_project("summarization").set(task="summarization")
    project.stages(STAGES)
    evaluate = project.read("metrics/evaluate.json")
    assert evaluate["score"] == evaluate["rouge1"] > evaluate["baseline"]["rouge1"]
    assert {"rouge2", "rougeL", "rouge_signature", "compression", "novelty_2", "copy_rate"} <= evaluate.keys()
    assert 0.0 <= project.read("metrics/interpret.json")["salient"]["average_precision"] <= 1.0
    (run,) = project.runs()
    assert run["evaluate.rouge1"] == pytest.approx(evaluate["rouge1"])
    shutil.rmtree(project.directory)


def test_generation_changes_one_parameter(make_project: Callable[[str], Project]) -> None:
    project = make_project("generation").set(task="generation")
    project.stages(STAGES)
    evaluate = project.read("metrics/evaluate.json")
    assert evaluate["score"] == evaluate["character_probability"] > evaluate["baseline"]["character_probability"]
    assert 0.0 < evaluate["entropy"] < evaluate["loss"]  # no model foresees more than there is to foresee
    assert evaluate["excess"] == pytest.approx(evaluate["loss"] / evaluate["entropy"] - 1.0, abs=1e-5)
    assert "nobody knows" in project.read("metrics/interpret.json")["reason"]
    (run,) = project.runs()
    assert run["evaluate.loss"] == pytest.approx(evaluate["loss"])
    program = str(Path(sys.executable).with_name("attention-lab"))
    answer = project.run(program, "predict", "--temperature", "0", "--max-tokens", "6", "Julia lives on").stdout
    assert answer.startswith("Julia lives on")
    shutil.rmtree(project.directory)
