"""Tasks whose models write, beside translation: one parameter chosen, all stages run on tiny data."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import transformers
from conftest import STAGES, Project

from attention_lab.huggingface import LabForCausalLM


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
    answer = project.program("predict", "--temperature", "0", "--max-tokens", "6", "Julia lives on")
    assert answer.startswith("Julia lives on")
    goes_on = transformers.pipeline("text-generation", model=str(project.directory / "data" / "model"))
    assert isinstance(goes_on.model, LabForCausalLM)
    (found,) = goes_on("Julia lives on", max_new_tokens=6, do_sample=False)
    assert found["generated_text"] == answer.removesuffix("\n")
    shutil.rmtree(project.directory)


def test_a_book_is_one_text_read_in_windows(make_project: Callable[[str], Project]) -> None:
    """One row in each split: a score, for which there is no interval, and a report of the first window."""
    project = make_project("book")
    for split, times in (("train", 90), ("valid", 12), ("test", 20)):
        sentences = (f"The dog number {number} sees a cat." for number in range(times))
        (project.directory / f"{split}.txt").write_text("\n".join(sentences), encoding="utf-8")
    files = {f"data.{split}": f"{split}.txt" for split in ("train", "valid", "test")}
    book = {"data.source": "file", "data.unit": "file", "vocab.tokenizer": "character", "encode.overflow": "window"}
    project.set(task="generation", **files, **book, **{"encode.max_source_tokens": 50})
    project.stages(STAGES)
    evaluate = project.read("metrics/evaluate.json")
    assert (evaluate["examples"], evaluate["score_low"], evaluate["loss_high"]) == (1, None, None)
    assert evaluate["score"] > evaluate["baseline"]["character_probability"]
    page = (project.directory / "metrics/report.html").read_text(encoding="utf-8")
    assert "The dog number 0 sees a cat." in page
    assert "number 19" not in page
    assert list((project.directory / "metrics/plots/attention").iterdir())
    assert "(no interval: a single example)" in project.program("summary")
    shutil.rmtree(project.directory)
