"""Average precision against scikit-learn and its chance levels; reasons planted in weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import plain_row
from sklearn.metrics import average_precision_score

from attention_lab.errors import InputError
from attention_lab.interpretation.examples import _ranked
from attention_lab.interpretation.rationale import average_precision, count, measure, reading, scores, sentence
from attention_lab.interpretation.weights import Row, Words


def planted(rows: int, seed: int, *, layers: int = 3) -> tuple[list[Row], dict[str, list[int]]]:
    """Texts of 11 words, two of which decide; layer 1's <s> row looks at them, later layers at random."""
    generator = np.random.default_rng(seed)
    found, gold = [], {}
    for number in range(rows):
        weights = generator.random((layers, 2, 13, 13))
        deciding = sorted(generator.permutation(11)[:2].tolist())
        weights[0, :, 0, np.array(deciding) + 1] = 5.0
        weights /= weights.sum(-1, keepdims=True)
        words = Words([f"w{i}" for i in range(11)], [None, *range(11), None])
        found.append(Row(f"x:{number}", words, None, weights, None, {"attention": [0]}))
        gold[f"x:{number}"] = deciding
    return found, gold


def test_what_a_target_looks_at_is_summed_over_its_words() -> None:
    generator = np.random.default_rng(1)
    cross = generator.random((2, 3, 5, 7))
    cross[1] = 0.0
    cross[1, :, [0, 3], 6] = 0.9  # two of five target words look at the last source word …
    cross[1, 0, 1, 2] = 0.5  # … and one head of another at the third
    found = scores(plain_row("x:1", cross), shares=True)
    assert list(found) == ["cross-attention layer 1", "cross-attention layer 2"]
    assert found["cross-attention layer 2"] == pytest.approx([0, 0, 0.5 / 3, 0, 0, 0, 1.8])
    best = count([plain_row("x:1", cross)], {"x:1": [2, 6]}, shares=True, seed=1)
    assert best is not None
    assert best.values[0, 1] == 1.0


@pytest.mark.parametrize("layers", [1, 2])
def test_without_gold_the_last_layer_is_shown(layers: int) -> None:
    cross = np.random.default_rng(1).random((layers, 3, 5, 7))
    weights, shown = _ranked(plain_row("x:1", cross), None)
    assert shown.endswith(f"cross-attention layer {layers}")
    assert weights is not None
    assert weights.shape == (1, 7)


def test_the_planted_layer_is_found() -> None:
    valid, test = (count(*planted(40, seed), shares=True, seed=1) for seed in (1, 2))
    assert valid is not None
    assert test is not None
    found = measure(valid, test, resamples=100, seed=1)
    assert found["method"] == "attention layer 1"
    assert (found["average_precision"], found["low"], found["high"]) == (1.0, 1.0, 1.0)
    assert found["constant"] == pytest.approx(2 / 11, abs=1e-6)
    assert 0.15 < found["random"] < 0.5
    assert set(found["methods"]) == {"attention layer 1", "attention layer 2", "attention layer 3", "rollout"}
    assert found["methods"]["attention layer 3"] < 0.6
    assert "better than chance" in reading(found, "rationale")[0]
    assert sentence(found).startswith("average precision 1.00 against the gold words (95 % interval 1.00 to 1.00;")


def test_values_are_scikit_learns() -> None:
    rows, gold = planted(7, 3)
    counted = count(rows, gold, shares=True, seed=1)
    assert counted is not None
    for number, row in enumerate(rows):
        truth = np.isin(np.arange(11), gold[row.row])
        for method, score in scores(row, shares=True).items():
            expected = average_precision_score(truth, score)
            assert counted.values[number, counted.methods.index(method)] == pytest.approx(expected)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=12))
def test_average_precision_is_scikit_learns_with_ties(pairs: list[tuple[bool, int]]) -> None:
    truth, score = np.array([True, *(t for t, _ in pairs)]), np.array([2, *(s for _, s in pairs)]) / 7
    assert average_precision(truth, score) == pytest.approx(average_precision_score(truth, score))


def test_a_constant_score_is_worth_the_share_of_gold_and_no_more() -> None:
    truth = np.zeros(20, dtype=bool)
    truth[3] = True
    assert average_precision(truth, np.ones(20)) == pytest.approx(0.05)


def test_random_scores_are_near_chance_and_follow_the_seed() -> None:
    rows, gold = planted(300, 4, layers=1)
    first, again, other = (count(rows, gold, shares=True, seed=seed) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert (first.random == again.random).all()
    assert (first.random != other.random).any()
    assert first.random.mean() == pytest.approx(0.33, abs=0.05)


def test_what_the_first_position_gives_special_tokens_is_dropped() -> None:
    weights = np.full((1, 1, 4, 4), 0.25)
    row = Row("x:1", Words(["a"], [None, 0, 0, None]), None, weights, None, {"attention": [0]})
    assert scores(row, shares=True)["attention layer 1"] == pytest.approx([0.5])


def test_without_gold_there_is_no_number_and_wrong_gold_is_refused() -> None:
    rows, gold = planted(2, 5)
    assert count([], {}, shares=True, seed=1) is None
    assert count(rows, {row: [] for row in gold}, shares=True, seed=1) is None
    with pytest.raises(InputError, match="x:0"):
        count(rows, {**gold, "x:0": [11]}, shares=True, seed=1)


def test_bad_scores_are_called_bad() -> None:
    found = {"average_precision": 0.2, "low": 0.18, "high": 0.22, "random": 0.3, "constant": 0.2, "method": "rollout"}
    assert "worse than chance" in reading(found, "rationale")[0]
    assert "no better than chance" in reading(found | {"high": 0.35}, "rationale")[0]


def test_weights_that_are_no_shares_have_no_rollout() -> None:
    (row,), _ = planted(1, seed=1)
    assert set(scores(row, shares=True)) - set(scores(row, shares=False)) == {"rollout"}
