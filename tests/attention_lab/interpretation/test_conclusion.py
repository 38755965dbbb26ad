"""What is said follows from figures and gates."""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_lab.interpretation.conclusion import conclude
from attention_lab.interpretation.explained import Table
from attention_lab.interpretation.findings import Gate
from attention_lab.interpretation.measures import Alignment, Rationale

NAMES = (
    "random", "constant", "position", "oracle", "other_example", "randomised_model", "permuted_weights",
    "uniform_weights", "completeness", "replayed_weights",
)  # fmt: skip
SEEDS = Gate("seeds", None, None, None, "one model")


def gates(*closed: str) -> dict[str, Gate]:
    found = {name: Gate(name, 0.0, 0.0, name not in closed, "") for name in NAMES}
    return {**found, "seeds": SEEDS}


def row(precision: float, comprehensiveness: float, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"reason": None}
    for name, value in {"average_precision": precision, "comprehensiveness": comprehensiveness}.items():
        found |= {name: value, f"{name}_low": value - 0.03, f"{name}_high": value + 0.03}
    return {**found, **more}


def table(weights: float = 0.5, gold: bool = True) -> Table:
    rows = {"weights": row(weights, 0.3), "alti": row(0.9, 0.4), "random": row(0.2, 0.1), "oracle": row(1.0, 0.99)}
    return Table(rows, {}, {"alti": np.zeros((1, 3))}, Rationale([]) if gold else None, "alti" if gold else None)


AGREE = {"heads": 8, "importance": 0.9, "patching": 0.1}


def said(*closed: str, **changes: Any) -> str:
    return "\n".join(conclude(table(**changes), gates(*closed), AGREE))


def test_the_best_method_is_named_with_its_interval_and_weights_beside_it() -> None:
    text = said()
    assert "alti is the one to read" in text
    assert "average precision of 0.90 (95 % interval 0.87 to 0.93), against 0.20 for random scores." in text
    assert "The weights alone have 0.50 (95 % interval 0.47 to 0.53), which is worse." in text
    assert "the two cannot be told apart" in said(weights=0.88)
    assert "have 0.97 (95 % interval 0.94 to 1.00), which is better on these rows." in said(weights=0.97)
    assert "another seed may be explained differently" in text


def test_a_method_is_written_as_words() -> None:
    rows = {"weights": row(0.5, 0.3), "value_zeroing": row(0.9, 0.4), "random": row(0.2, 0.1), "oracle": row(1.0, 0.9)}
    found = Table(rows, {}, {"value_zeroing": np.zeros((1, 3))}, Rationale([]), "value_zeroing")
    text = " ".join(conclude(found, gates(), AGREE))
    assert "Of all methods, value zeroing is the one to read" in text
    assert "the words that value zeroing ranks first" in text


def test_beside_the_figure_stands_why_the_chart_has_another() -> None:
    text = said()
    assert "which is worse.\nThis is measured on the texts that every method explains; the report's chart" in text
    rows = {
        name: {f"alignment_error_rate{end}": value for end in ("", "_low", "_high")} | {"reason": None}
        for name, value in (("weights", 0.2), ("random", 0.9))
    }
    linked = Table(rows, {}, {}, Alignment([], []), "weights")
    links = "\n".join(conclude(linked, gates(), AGREE))
    assert "0.90 for random scores.\nThis is measured on the texts that every method explains; the report's" in links
    assert "no better than the random control.\nThis is measured on the texts that every method" in said("random")
    rows = {**table().rows, "weights": {"reason": "it has none"}}
    without = Table(rows, {}, {}, Rationale([]), "alti")
    for closed in ((), ("random",)):
        assert "chart" not in "\n".join(conclude(without, gates(*closed), AGREE))


def test_the_most_faithful_method_is_none_of_the_controls() -> None:
    assert "Hiding the words that alti ranks first" in said()


def test_what_is_lost_without_words_has_to_differ_in_the_digits_that_are_told() -> None:
    rows = {"alti": row(0.9, 0.0349), "random": row(0.2, -0.001), "weights": row(0.5, 0.0)}
    told = "\n".join(conclude(Table(rows, {}, {}, None, None), gates(), AGREE))
    assert "by 0.03 on average, hiding as many at random by 0.00: predictions depend on them no more" in told
    rows["alti"] = row(0.9, 0.0451)
    assert "by 0.00: predictions depend on them." in "\n".join(
        conclude(Table(rows, {}, {}, None, None), gates(), AGREE)
    )


def test_what_is_no_better_than_a_control_names_nothing() -> None:
    text = said("random", "position")
    assert "no better than the random and position controls" in text
    assert "is the one to read" not in text


def test_every_ground_that_is_missing_is_said_first() -> None:
    assert said("replayed_weights").startswith("The weights shown are not the ones the model used")
    assert "untrained model gives scores that are as good" in said("randomised_model")
    assert "from another example do as well" in said("other_example")


def test_weights_that_change_nothing_are_no_explanation() -> None:
    assert "should not be read as an explanation" in said("permuted_weights")
    assert "making them all equal" in said("uniform_weights")
    assert "do depend on which word has which weight" in said()


def test_without_gold_nothing_is_plausible() -> None:
    text = said(gold=False)
    assert "There is no gold standard here" in text
    assert "is the one to read" not in text
    assert "predictions depend on them" in text
