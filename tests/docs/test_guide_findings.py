"""What the findings page says in words holds in what was measured."""

from __future__ import annotations

import json

import pytest
import yaml
from guide_pages import DOCS, ROOT

from benchmarks.quality import SETTING, in_setting

QUALITY = json.loads((DOCS / "measured" / "quality.json").read_text(encoding="utf-8"))
CURVES = json.loads((DOCS / "measured" / "curves.json").read_text(encoding="utf-8"))["curves"]


def overlap(one: str, other: str) -> bool:
    return QUALITY[one]["low"] <= QUALITY[other]["high"] and QUALITY[other]["low"] <= QUALITY[one]["high"]


@pytest.mark.parametrize("control", ["uniform", "frozen_random"])
def test_choosing_where_to_look_counts(control: str) -> None:
    assert QUALITY[control]["high"] < QUALITY["scaled_dot_product"]["low"] / 2


def test_the_scale_matters() -> None:
    assert overlap("dot", "uniform")
    assert QUALITY["t5"]["high"] < QUALITY["scaled_dot_product"]["low"] / 2 + 5


def test_rows_that_are_the_same_model_show_what_another_training_gives() -> None:
    same = ["scaled_dot_product", "nystrom", "rotary_interleaved", "local", "longformer", "bigbird", "block_local"]
    scores = [QUALITY[name]["bleu"] for name in same]
    assert QUALITY["rotary"]["bleu"] == QUALITY["scaled_dot_product"]["bleu"]
    assert 0.5 < max(scores) - min(scores) < 2.0


def test_neighbours_alone_go_far() -> None:
    assert QUALITY["hard_coded"]["low"] > QUALITY["uniform"]["high"] + 20


def test_linear_time_can_cost_quality_and_recurrent_kernels_in_a_decoder_do_not_much() -> None:
    for name in ("linear", "performer", "cosformer"):
        assert QUALITY[name]["high"] < QUALITY["scaled_dot_product"]["low"] - 5
    for name in ("gated_deltanet", "retention"):
        assert overlap(name, "scaled_dot_product")


def test_zeros_alone_are_not_what_costs_learning() -> None:
    assert QUALITY["sparsemax"]["high"] < QUALITY["entmax15"]["low"] < QUALITY["topk"]["low"]
    assert overlap("topk", "scaled_dot_product")


@pytest.mark.parametrize("name", ["multi_query", "grouped_query", "latent", "talking_heads"])
def test_one_seed_cannot_say_whether_there_is_a_difference(name: str) -> None:
    assert overlap(name, "scaled_dot_product")


def test_linear_time_overtakes_at_about_a_thousand_positions() -> None:
    for name in ("linear", "performer", "linformer", "nystrom", "retention"):
        assert CURVES[name]["1024"]["seconds"] < CURVES["scaled_dot_product"]["1024"]["seconds"]
        assert CURVES[name]["256"]["seconds"] > 0.6 * CURVES["scaled_dot_product"]["256"]["seconds"]


def test_the_table_of_quality_has_runs_of_one_setting() -> None:
    """As MLflow has parameters, which is as text."""
    sections = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    default = {"task": sections["task"], "attention.options": str(sections["attention"]["options"])}
    for section in ("data", "model", "train"):
        default |= {f"{section}.{name}": str(value) for name, value in sections[section].items()}
    assert not in_setting(default)
    queued = default | {name: str(yaml.safe_load(value)) for name, value in (one.split("=") for one in SETTING)}
    assert in_setting(queued)
    assert not in_setting(queued | {"task": "sentiment"})
    assert not in_setting(queued | {"attention.options": "{'window': 2}"})
