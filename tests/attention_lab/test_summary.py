"""What is said after `dvc repro`, from the metrics that it has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attention_lab.errors import InputError
from attention_lab.summary import describe

EVALUATE: dict[str, Any] = {
    "task": "sentiment",
    "attention": {"mechanism": "additive"},
    "split": "test",
    "examples": 1200,
    "score_name": "accuracy",
    "score": 0.8125,
    "score_low": 0.75,
    "score_high": 0.875,
    "baseline": {"what": "always 'good'", "accuracy": 0.5},
}
INTERPRET = {"task": "sentiment", "mechanism": "additive", "sentences": ["average precision 0.91"]}


def written(at: Path, evaluate: dict[str, Any], interpret: dict[str, Any]) -> Path:
    for name, content in (
        ("train", {"parameters": 1234, "steps": 77}),
        ("evaluate", evaluate),
        ("interpret", interpret),
    ):
        (at / f"{name}.json").write_text(json.dumps(content))
    return at


def test_it_tells_score_interval_baseline_and_attention(tmp_path: Path) -> None:
    lines = describe(written(tmp_path, EVALUATE, INTERPRET)).splitlines()
    assert lines[:4] == [
        "sentiment with additive attention, 1,234 parameters, 77 steps",
        "  accuracy on 1,200 test examples: 0.8125 (95 % interval 0.75 to 0.875)",
        "  baseline (always 'good'): 0.5",
        "  average precision 0.91",
    ]


def test_of_one_example_there_is_no_interval(tmp_path: Path) -> None:
    evaluate = {**EVALUATE, "examples": 1, "score_low": None, "score_high": None}
    assert "(no interval: a single example)" in describe(written(tmp_path, evaluate, INTERPRET))


@pytest.mark.parametrize("other", [{"task": "translation"}, {"mechanism": "shaw"}])
def test_what_was_found_of_another_model_is_not_told_of_this_one(tmp_path: Path, other: dict[str, str]) -> None:
    said = describe(written(tmp_path, EVALUATE, INTERPRET | other))
    assert "average precision" not in said
    assert "are those of an earlier model" in said


def test_places_with_mechanisms_of_their_own(tmp_path: Path) -> None:
    evaluate = {**EVALUATE, "attention": {"mechanism": "encoder_self: additive, cross: shaw"}}
    assert "average precision 0.91" in describe(written(tmp_path, evaluate, INTERPRET))


def test_nothing_has_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.json is missing; run `dvc repro` first"):
        describe(tmp_path)
