"""What the page about methods of interpretation says in words holds in what was measured."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from guide_pages import DOCS

from benchmarks.interpretation import MECHANISMS, markdown

MEASURED = DOCS / "measured"
FIGURES = pd.read_csv(MEASURED / "interpretation.csv", dtype={"seed": str})
PAGE = (DOCS / "believed.md").read_text(encoding="utf-8")
NAMES = MECHANISMS.split(",")


def mean(task: str, mechanism: str, name: str) -> float:
    chosen = FIGURES[(FIGURES.task == task) & (FIGURES.mechanism == mechanism) & (FIGURES.name == name)]
    assert len(chosen) == 3, (task, mechanism, name)
    return float(chosen.value.mean())


def error(mechanism: str, method: str) -> float:
    return mean("translation", mechanism, f"interpret.methods.{method}.alignment_error_rate")


def test_the_tables_are_those_figures() -> None:
    assert markdown(FIGURES) + "\n" == (MEASURED / "interpretation.md").read_text(encoding="utf-8")
    explained = FIGURES[FIGURES.name == "interpret.methods.random.comprehensiveness"]
    trained = explained[["task", "mechanism", "seed"]].drop_duplicates()
    assert len(trained) == 48
    assert set(trained.mechanism) == set(NAMES)


def test_every_figure_in_the_text_stands_in_the_tables() -> None:
    told = re.findall(r"[\d.]+ ± [\d.]*\d", PAGE)
    tables = (MEASURED / "interpretation.md").read_text(encoding="utf-8")
    assert len(told) > 15
    assert [figure for figure in told if f" {figure} " not in tables] == []


@pytest.mark.parametrize("mechanism", NAMES)
def test_gradient_x_input_is_the_worst_and_occlusion_costs_most(mechanism: str) -> None:
    others = ("weights", "norm", "alti", "value_zeroing", "integrated_gradients", "gradient_x_attention", "occlusion")
    assert error(mechanism, "gradient_x_input") > max(error(mechanism, method) for method in others)
    hidden = {
        m: mean("translation", mechanism, f"interpret.methods.{m}.comprehensiveness") for m in (*others, "oracle")
    }
    assert hidden["occlusion"] >= max(hidden.values()) - 0.005


def test_weights_mislead_where_they_are_not_all_that_mixes_values() -> None:
    for mechanism in ("differential", "sigmoid"):
        assert error(mechanism, "weights") > 1.5 * error(mechanism, "value_zeroing")
    for mechanism in ("scaled_dot_product", "talking_heads"):
        assert abs(error(mechanism, "weights") - error(mechanism, "value_zeroing")) < 0.02


@pytest.mark.parametrize("mechanism", NAMES)
def test_no_method_links_words_better_than_value_zeroing(mechanism: str) -> None:
    of_mechanism = FIGURES[(FIGURES.task == "translation") & (FIGURES.mechanism == mechanism)]
    errors = of_mechanism[of_mechanism.name.str.endswith("alignment_error_rate")]
    means = errors[~errors.name.str.contains("oracle")].groupby("name").value.mean()
    assert round(error(mechanism, "value_zeroing"), 2) == round(means.min(), 2)


def test_most_of_the_words_that_decide_are_found_and_not_all() -> None:
    found = FIGURES[FIGURES.name.str.endswith("average_precision") & ~FIGURES.name.str.contains("oracle")]
    means = found.groupby(["mechanism", "name"]).value.mean()
    best = means.groupby("mechanism").max()
    assert means.idxmax() == ("sigmoid", "interpret.methods.norm_rollout.average_precision")
    assert 0.89 < best["scaled_dot_product"] < best.max() < 0.94
    shared = means["scaled_dot_product"].round(2)
    assert {name.split(".")[2] for name in shared[shared == 0.90].index} == {"norm", "value_zeroing", "alti"}
    assert best.idxmin() == "general"
    assert best["general"] < 0.82


@pytest.mark.parametrize("mechanism", ["general", "differential"])
def test_the_gate_of_completeness_is_closed_where_the_page_says_so(mechanism: str) -> None:
    assert mean("sentiment", mechanism, "interpret.gates.completeness.value") > 0.05
