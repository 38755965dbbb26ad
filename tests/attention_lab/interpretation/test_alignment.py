"""The alignment error rate against values by hand, and alignments planted in weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import plain_row

from attention_lab.errors import InputError
from attention_lab.interpretation.alignment import (
    ROWS,
    Link,
    alignment_error_rate,
    count,
    measure,
    place,
    reading,
    sentence,
)
from attention_lab.interpretation.weights import Row

links = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8)


def test_values_by_hand() -> None:
    found, sure, possible = {(0, 0), (1, 1), (2, 2)}, {(0, 0), (1, 2)}, {(1, 1)}
    # A∩S = {00}, A∩P = {00, 11}: 1 − (1 + 2) / (3 + 2)
    assert alignment_error_rate([found], [sure], [possible]) == pytest.approx(0.4)
    # without possible links P = S: 1 − (1 + 1) / 5
    assert alignment_error_rate([found], [sure]) == pytest.approx(0.6)
    # over a corpus counts are added, rates are not averaged: 1 − (2 + 2) / (5 + 2)
    assert alignment_error_rate([found, {(0, 0)}], [sure, {(0, 0)}]) == pytest.approx(3 / 7)


def test_edges() -> None:
    assert alignment_error_rate([set()], [{(0, 0)}]) == 1.0
    assert alignment_error_rate([{(0, 1)}], [set()]) == 1.0
    assert alignment_error_rate([{(0, 1)}], [set()], [{(0, 1)}]) == 0.0
    with pytest.raises(ValueError, match="at least one link"):
        alignment_error_rate([set()], [set()])


@given(links.filter(bool), links)
def test_zero_for_the_gold_itself(sure: set[tuple[int, int]], possible: set[tuple[int, int]]) -> None:
    assert alignment_error_rate([sure], [sure], [possible]) == 0.0


@given(links, links.filter(bool), links)
def test_between_zero_and_one_and_possible_links_never_hurt(
    found: set[tuple[int, int]], sure: set[tuple[int, int]], possible: set[tuple[int, int]]
) -> None:
    rate = alignment_error_rate([found], [sure], [possible])
    assert 0.0 <= rate <= alignment_error_rate([found], [sure]) <= 1.0


def planted(rows: int, seed: int, *, source: int = 7, target: int = 5) -> tuple[list[Row], dict[str, list[list[int]]]]:
    """Rows of 3 layers and 2 heads: layer 2, head 1 has the largest weight on the gold, the rest is random."""
    generator = np.random.default_rng(seed)
    found, gold = [], {}
    for number in range(rows):
        cross = generator.random((3, 2, target, source))
        partner = generator.permutation(source)[:target]
        cross[1, 0, np.arange(target), partner] = 2.0
        found.append(plain_row(f"x:{number}", cross / cross.sum(-1, keepdims=True)))
        gold[f"x:{number}"] = [[int(i), j] for j, i in enumerate(partner)]
    return found, gold


def test_the_planted_head_is_found() -> None:
    valid, test = (count(*planted(40, seed)) for seed in (1, 2))
    assert valid is not None
    assert test is not None
    found = measure(valid, test, resamples=100, seed=1)
    assert (found["layer"], found["head"], found["row"]) == (2, 1, "predicting")
    assert (found["error_rate"], found["low"], found["high"]) == (0.0, 0.0, 0.0)
    assert found["random"] == pytest.approx(1 - 1 / 7, abs=1e-6)
    assert found["rows"]["input"] > 0.6
    assert np.array(found["grid"]).shape == (2, 3, 3)
    assert place(found) == "layer 2, head 1, predicting row"
    assert sentence(found).startswith("alignment error rate 0.00 (95 % interval 0.00 to 0.00; random 0.86, diagonal")
    assert "can be read as a guess" in reading(found)[0]
    assert found["way"] == "of each target word"
    assert reading(found)[2].startswith("Words are linked by the largest weight of each target word")


def test_a_row_of_possible_links_alone_counts() -> None:
    rows, gold = planted(2, 3)
    (first, second) = gold
    counts = count(rows, {first: gold[first], second: []}, {second: gold[second][:1]})
    assert counts is not None
    chosen = [row.cross_words("predicting").mean(1)[0].argmax(-1) for row in rows]
    found = [{(int(i), j) for j, i in enumerate(best)} for best in chosen]
    sure = [{(i, j) for i, j in gold[first]}, set()]
    possible = [set(), {(i, j) for i, j in gold[second][:1]}]
    expected = alignment_error_rate(found, sure, possible)
    assert counts.error(counts.weights)[0, 0, 0, 0] == pytest.approx(expected)


def test_counts_are_those_of_the_definition() -> None:
    rows, gold = planted(9, 3)
    counts = count(rows, gold)
    assert counts is not None
    sure = [{(i, j) for i, j in gold[row.row]} for row in rows]
    for where, name in enumerate(ROWS):
        for layer in range(3):
            for head in range(3):
                found: list[list[set[Link]]] = [[], [], []]
                for row in rows:
                    heads = row.cross_words(name)[layer]
                    scores = heads[head - 1] if head else heads.mean(0)
                    forward = {(int(i), j) for j, i in enumerate(scores.argmax(1))}
                    backward = {(i, int(j)) for i, j in enumerate(scores.argmax(0))}
                    for links, way in zip(found, (forward, backward, forward | backward), strict=True):
                        links.append(way)
                for way, each in enumerate(found):
                    expected = alignment_error_rate(each, sure)
                    assert counts.error(counts.weights)[way, where, layer, head] == pytest.approx(expected)


def test_two_words_that_one_translates_are_found_from_their_side() -> None:
    """Of three source words, 0 and 1 are translated by target word 0."""
    weights = np.array([[0.5, 0.4, 0.1], [0.1, 0.1, 0.8]])
    counts = count([plain_row("x:1", weights[None, None])], {"x:1": [[0, 0], [1, 0], [2, 1]]})
    assert counts is not None
    assert counts.error(counts.weights)[:, 0, 0, 1] == pytest.approx([1 - 4 / 5, 0.0, 0.0])
    found = measure(counts, counts, resamples=100, seed=1)
    assert (found["way"], found["error_rate"]) == ("of each source word", 0.0)
    assert sentence(found).endswith("by the largest weight of each source word, chosen on the validation split")


def test_weights_of_another_sentence_and_transposed_weights_do_not_align() -> None:
    rows, gold = planted(60, 4, source=6, target=6)
    other = [Row(a.row, a.source, a.target, a.own, b.cross) for a, b in zip(rows, rows[1:] + rows[:1])]  # noqa: B905
    turned = [plain_row(row.row, row.cross_words("predicting").swapaxes(-1, -2)) for row in rows]
    for wrong in (other, turned):
        counts = count(wrong, gold)
        assert counts is not None
        # a permutation agrees with its inverse on fixed points and pairs: on two of six words, on average
        assert counts.error(counts.weights)[0, 0, 1, 1] > 0.5
    lopsided, gold = planted(3, 5, source=7, target=5)
    with pytest.raises(InputError, match="names a word that is not there"):
        count([plain_row(row.row, row.cross_words("predicting").swapaxes(-1, -2)) for row in lopsided], gold)


def test_the_row_where_the_word_is_the_input() -> None:
    """The same weights one position later: the predicting row is the one before."""
    rows, gold = planted(30, 6)
    late = []
    for row in rows:
        assert row.cross is not None
        late.append(Row(row.row, row.source, row.target, row.own, np.roll(row.cross, 1, axis=2)))
    counts = count(late, gold)
    assert counts is not None
    assert counts.error(counts.weights)[0, 1, 1, 1] == 0.0
    assert measure(counts, counts, resamples=100, seed=1)["row"] == "input"


def test_a_target_word_without_gold_is_a_wrong_link() -> None:
    row = plain_row("x:1", np.eye(3)[None, None])
    counts = count([row], {"x:1": [[0, 0], [1, 1]]})
    assert counts is not None
    assert counts.error(counts.weights)[0, 0, 0, 1] == pytest.approx(1 - 4 / 5)
    found = measure(counts, counts, resamples=100, seed=1)
    assert found["low"] is None  # one sentence has no interval
    assert "interval" not in sentence(found)


def test_baselines_by_hand() -> None:
    """Six source words, three target words: of each target word the diagonal is 0→1, 1→3, 2→5; of each source word
    0→0, 1→0, 2→1, 3→1, 4→2, 5→2."""
    row = plain_row("x:1", np.full((1, 1, 3, 6), 1 / 6))
    counts = count([row], {"x:1": [[1, 0], [3, 1], [0, 2]]})
    assert counts is not None
    assert counts.error(counts.diagonal) == pytest.approx([1 - 2 * 2 / 6, 1 - 2 * 2 / 9, 1 - 2 * 2 / 9])
    either = 1 / 6 + 1 / 3 - 1 / 18  # a pair is linked from one side or the other
    expected = [1 - 2 * (3 / 6) / 6, 1 - 2 * (3 / 3) / 9, 1 - 2 * 3 * either / (18 * either + 3)]
    assert counts.error(counts.random) == pytest.approx(expected)


def test_without_gold_there_is_no_number() -> None:
    row = plain_row("x:1", np.eye(3)[None, None])
    assert count([], {}) is None
    assert count([row], {"x:1": []}) is None


def test_bad_weights_are_called_bad() -> None:
    found = {"error_rate": 0.9, "low": 0.88, "high": 0.92, "random": 0.9, "diagonal": 0.6, "way": "of each word"}
    assert "less well than a baseline" in reading(found)[0]
    assert "no better than a baseline" in reading(found | {"error_rate": 0.6, "low": 0.58, "high": 0.63})[0]
