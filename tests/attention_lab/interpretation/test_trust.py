"""Gates are open for a model that does what it shows, and closed by each bug that is planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from explainable import asked_of
from planted import PARAMS, WORDS, Reverser, config, encoded_of, reversed_records, tokenizer_of

from attention_lab.interpretation import explained, trust
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.explained import Explained, Gold, Table
from attention_lab.interpretation.findings import Gate
from attention_lab.interpretation.subject import Subject
from attention_lab.interpretation.weights import Row
from attention_lab.records import SHAPES
from attention_lab.transformer import Classifier


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(0)
    tables = {"valid": reversed_records(17, 1, "valid"), "test": reversed_records(23, 2, "test")}
    # The truth is another than the mirror image that the transposed matrix of one is as well: one word further.
    for table in tables.values():
        lengths = table["source"].str.split(" ").map(len)
        table["alignment"] = [[[(j + 1) % n, j] for j in range(n)] for n in lengths]
    tokenizer = tokenizer_of([" ".join(WORDS)])
    model = Further(config(len(tokenizer))).eval()
    encoded = {name: encoded_of(table, "translation", tokenizer, []) for name, table in tables.items()}
    options = PARAMS.interpret.model_copy(update={"steps": 2})
    return Subject(model, encoded, tables, tokenizer, SHAPES["translation"], options, 1, "cpu")


class Further(Reverser):
    """Looks, when it predicts target word j, at source word j + 1, and at the first when it predicts the last."""

    def _planted(self, layer: int, call: Any) -> torch.Tensor:
        weights = super()._planted(0, call)
        for row, there in enumerate(call.where.exists.sum(-1).tolist() if layer == 1 else []):
            for t in range(min(there - 2, weights.shape[2])):
                weights[row, 2, t] = 0.0
                weights[row, 2, t, (t + 1) % (there - 2) + 1] = 1.0
        return weights


def looked(subject: Subject, bug: Callable[[Explained], Explained] = lambda found: found) -> tuple[Table, Explained]:
    gold = Gold("alignment", subject.gold("valid") | subject.gold("test"), {})
    valid, test = (
        explained.with_controls(explained.explain(batches_of(subject, split), 2, ["weights"]), gold, 0)
        for split in ("valid", "test")
    )
    test = bug(test)
    found = explained.table(valid, test, gold, subject.model.config, resamples=100, seed=0, words=1)
    return found, test


def batches_of(subject: Subject, split: str) -> list[Asked]:
    return subject.asked(subject.whole(split), split)


def gates_of(subject: Subject, bug: Callable[[Explained], Explained] = lambda found: found) -> dict[str, Gate]:
    found, test = looked(subject, bug)
    return {gate.name: gate for gate in [*trust.against_controls(found), trust.other_example(test, found)]}


def test_a_model_that_does_what_it_shows_passes(subject: Subject) -> None:
    gates = gates_of(subject)
    assert {name: gate.passed for name, gate in gates.items()} == dict.fromkeys(
        ["random", "constant", "position", "oracle", "other_example"], True
    )
    table, _ = looked(subject)
    assert table.best == "weights"
    assert table.rows["weights"]["alignment_error_rate"] == 0.0
    assert "layer 2" in table.rows["weights"]["variant"]
    assert table.rows["oracle"]["alignment_error_rate"] == 0.0


def test_one_row_has_no_other_to_be_held_against(subject: Subject) -> None:
    found, test = looked(subject)
    alone = replace(test, names=test.names[:1], scores={
        method: {variant: rows[:1] for variant, rows in variants.items()} for method, variants in test.scores.items()
    })  # fmt: skip
    gate = trust.other_example(alone, found)
    assert (gate.value, gate.passed) == (None, None)
    assert "no other" in gate.sentence


def changed(found: Explained, change: Callable[[list[np.ndarray]], list[np.ndarray]]) -> Explained:
    weights = {variant: change(rows) for variant, rows in found.scores["weights"].items()}
    return replace(found, scores={**found.scores, "weights": weights})


def test_weights_of_another_example_close_gates(subject: Subject) -> None:
    def shifted(rows: list[np.ndarray]) -> list[np.ndarray]:
        others = rows[7:] + rows[:7]
        return [trust._stretched(other, row.shape) for other, row in zip(others, rows, strict=True)]

    gates = gates_of(subject, lambda found: changed(found, shifted))
    assert gates["other_example"].passed is False


def test_transposed_weights_close_gates(subject: Subject) -> None:
    def transposed(rows: list[np.ndarray]) -> list[np.ndarray]:
        return [row.T for row in rows]  # as many words on both sides

    gates = gates_of(subject, lambda found: changed(found, transposed))
    assert gates["random"].passed is False or gates["position"].passed is False
    own, bug = (gates_of(subject)["random"].bound, gates["random"].bound)
    assert own is not None
    assert bug is not None
    assert own < 0.1 < 0.5 < bug


def test_layers_in_a_wrong_order_close_gates(subject: Subject) -> None:
    def swapped(found: Explained) -> Explained:
        names = {"layer 1": "layer 2", "layer 2": "layer 1"}
        weights = found.scores["weights"]
        other = {variant: weights[names[variant[:7]] + variant[7:]] for variant in weights}
        return replace(found, scores={**found.scores, "weights": other})

    gates = gates_of(subject, swapped)
    assert gates["random"].passed is False


def rows_of(subject: Subject, asked: Asked) -> list[Row]:
    encoded = subject.whole("test")
    return list(subject.look(encoded[encoded["row"].isin(asked.names[:5])], "test"))


def other_rows(rows: list[Row]) -> list[Row]:
    same = {row.row: other for row in rows for other in rows if row is not other and row.own.shape == other.own.shape}
    return [replace(row, own=same[row.row].own, cross=same[row.row].cross) for row in rows if row.row in same]


BUGS: dict[str, Callable[[list[Row]], list[Row]]] = {
    "another example": other_rows,
    "layers in a wrong order": lambda rows: [replace(row, own=row.own[::-1].copy()) for row in rows],
    "transposed": lambda rows: [replace(row, cross=row.cross.swapaxes(-1, -2)) for row in rows],
}


def test_weights_put_back_give_the_same_prediction(subject: Subject) -> None:
    asked = batches_of(subject, "test")[0]
    gate = trust.replayed_weights(asked, rows_of(subject, asked), subject.model.config)
    assert gate.passed is True
    assert gate.value == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("bug", BUGS)
def test_other_weights_put_back_do_not(subject: Subject, bug: str) -> None:
    asked = batches_of(subject, "test")[0]
    rows = BUGS[bug](rows_of(subject, asked))
    assert rows
    gate = trust.replayed_weights(asked, rows, subject.model.config)
    assert gate.passed is False
    assert "not the weights it used" in gate.sentence


def test_weights_that_are_built_in_are_not_what_was_learned(subject: Subject) -> None:
    """The planted weights stay when every parameter is drawn anew, and that closes the gate."""
    table, _ = looked(subject)
    gold = Gold("alignment", subject.gold("valid") | subject.gold("test"), {})
    batches = batches_of(subject, "test")
    gate, steps = trust.randomised_model(subject.model, batches, table, gold, steps=2, seed=0)
    assert gate.passed is False
    assert gate.value == 0.0
    assert {step["spearman"] for step in steps if step["method"] == "weights"} == {1.0}


def test_what_even_weights_do_not_change_explains_nothing(subject: Subject) -> None:
    """An untrained model is wrong with whatever weights it has."""
    gate = trust.uniform_weights(batches_of(subject, "test"), subject.model.config)
    assert gate.passed is False
    assert "explain nothing" in gate.sentence


def test_integrated_gradients_that_do_not_sum_up_close_a_gate() -> None:
    assert trust.completeness([(1.0, 1.01), (-2.0, -1.99), (0.0, 1e-4)]).passed is True
    assert trust.completeness([]).passed is None  # texts of marks alone have no word to attribute to
    gate = trust.completeness([(1.0, 1.5), (-2.0, -1.5)])
    assert gate.passed is False
    assert gate.value == pytest.approx(1.0 / 3.0, abs=1e-6)


def completeness_of(bias: float, steps: int) -> Gate:
    """Of a model that turns to its last class somewhere between no words and all of them, the sooner the larger the
    bias of that class is."""
    asked = asked_of("classifier", rows=5, activation="gelu")
    assert isinstance(asked.model, Classifier)
    with torch.no_grad():
        asked.model.classes.weight.mul_(41.0)
        asked.model.classes.bias.copy_(torch.tensor([0.0, 0.0, bias]))
    asked = replace(asked, said=torch.full_like(asked.said, 2))
    return trust.completeness(explained.explain([asked], steps, ["integrated_gradients"]).sums)


def test_where_steps_are_too_few_more_open_the_gate() -> None:
    gate = completeness_of(35.0, 2)
    assert gate.passed is False
    assert gate.sentence.endswith("the steps are too few; raise interpret.steps before reading their scores.")
    assert completeness_of(35.0, 40).passed is True


def test_where_the_model_says_the_same_without_words_more_steps_do_not() -> None:
    for steps in (2, 40):
        gate = completeness_of(65.0, steps)
        assert gate.passed is False
        assert "with all words hidden, the model is nearly as sure of its answers" in gate.sentence
        assert "read occlusion or another method instead" in gate.sentence
        assert "interpret.steps" not in gate.sentence


def test_of_answers_that_sum_up_and_others_that_hang_on_no_word_the_others_are_told() -> None:
    gate = trust.completeness([(0.2, 0.2), (0.05, 0.0), (0.0, 0.0), (0.0, 0.0)])
    assert gate.passed is False
    assert "nearly as sure of 75 % of its answers" in gate.sentence


def test_two_seeds(subject: Subject) -> None:
    batches = batches_of(subject, "test")
    first = explained.explain(batches, 2, ["weights"])
    own = dict(zip(first.names, first.scores["weights"]["layer 2, head 3, predicting"], strict=True))
    assert trust.stability(own, own, "weights", "itself").value == 1.0
    generator = np.random.default_rng(0)
    noise = {name: generator.random(scores.shape) for name, scores in own.items()}
    gate = trust.stability(own, noise, "weights", "noise")
    assert gate.passed is False
    assert abs(gate.value or 0.0) < 0.3
    # A row that one of the two could not read at once is left out.
    first_row = next(iter(own))
    assert trust.stability(own, {first_row: own[first_row]}, "weights", "one row").value == 1.0
    gate = trust.stability(own, {}, "weights", "nothing")
    assert (gate.value, gate.passed) == (None, None)


def test_without_gold_no_control_can_be_compared_with(subject: Subject) -> None:
    test = explained.with_controls(explained.explain(batches_of(subject, "test"), 2, ["weights"]), None, 0)
    valid = replace(test, batches=[], names=[], scores={})
    table = explained.table(valid, test, None, subject.model.config, resamples=100, seed=0, words=1)
    assert table.best is None
    assert table.rows["oracle"]["reason"]
    assert "alignment_error_rate" not in table.rows["weights"]
    assert table.rows["weights"]["comprehensiveness"] is not None
    gates = [*trust.against_controls(table), trust.other_example(test, table)]
    assert all(gate.passed is None and gate.sentence for gate in gates)
    gate, steps = trust.randomised_model(subject.model, test.batches, table, None, steps=2, seed=0)
    assert gate.passed is False
    assert all("alignment_error_rate" not in step for step in steps)
