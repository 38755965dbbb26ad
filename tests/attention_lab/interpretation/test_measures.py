"""Figures by hand, and what controls must score."""

from __future__ import annotations

import numpy as np
import pytest
from explainable import asked_of, words_hidden
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from attention_lab.interpretation import measures
from attention_lab.interpretation.measures import Alignment, Rationale


def marks(text: str) -> np.ndarray:
    return np.array([letter == "x" for letter in text])


@pytest.mark.parametrize(
    ("truth", "chosen", "words", "phrases"),
    [
        ("xx.x.", "xx.x.", 1.0, 1.0),
        ("xx...", "..xx.", 0.0, 0.0),
        ("xx...", ".xx..", 0.5, 0.0),  # one word of three that are in either
        ("xxx..", ".xxx.", 2 / 3, 1.0),  # two of four
        ("xx.xx", "xx...", 2 / 3, 2 / 3),
        (".....", "x....", 0.0, 0.0),
    ],
)
def test_words_and_phrases(truth: str, chosen: str, words: float, phrases: float) -> None:
    assert measures.token_f1(marks(truth), marks(chosen)) == pytest.approx(words)
    assert measures.iou_f1(marks(truth), marks(chosen)) == pytest.approx(phrases)


def test_links_are_read_in_three_ways() -> None:
    """Two words of the source, 0 and 1, are translated by target word 0; source word 2 by target words 1 and 2."""
    gold = {(0, 0), (1, 0), (2, 1), (2, 2)}
    scores = np.array([[0.9, 0.8, 0.1], [0.1, 0.1, 0.7], [0.1, 0.1, 0.6]])
    measure = Alignment([gold], [set()])
    counts = measure.counts([scores])
    error = {way: measure.figures(numbers)["alignment_error_rate"] for way, numbers in counts.items()}
    assert error == {
        "of each target word": pytest.approx(1 - 6 / 7),
        "of each source word": pytest.approx(1 - 6 / 7),
        "of each word": pytest.approx(0.0),
    }
    possible = Alignment([gold - {(2, 2)}], [{(2, 2)}])
    assert possible.figures(possible.counts([scores])["of each word"])["alignment_error_rate"] == pytest.approx(0.0)


def test_what_all_written_words_take_together_is_ranked() -> None:
    measure = Rationale([{1, 3}])
    scores = np.array([[0.0, 0.3, 0.1, 0.0], [0.2, 0.3, 0.0, 0.6]])
    figures = measure.figures(measure.counts([scores])[""])
    assert figures == {"average_precision": 1.0, "token_f1": 1.0, "iou_f1": 1.0}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=11))
def test_spearman_is_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    ours = measures.spearman(first, second)
    if first.std() == 0.0 or second.std() == 0.0:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(spearmanr(first, second).statistic)


def test_the_same_and_the_reverse_are_alike() -> None:
    scores = np.random.default_rng(0).random((5, 7))
    same, reverse, nothing = measures.alike([scores] * 3, [scores, -scores, np.ones((5, 7))])
    assert same == pytest.approx(1.0)
    assert reverse == pytest.approx(-1.0)
    assert np.isnan(nothing)


def test_what_is_still_to_come_is_not_compared() -> None:
    generator = np.random.default_rng(0)
    first, second = (np.tril(generator.random((11, 11)), -1) for _ in range(2))
    assert measures.alike([first], [second])[0] > 0.4
    assert abs(measures.alike([first], [second], goes_on=True)[0]) < 0.3
    assert measures.alike([first], [first**2], goes_on=True)[0] == pytest.approx(1.0)


def test_faithfulness_by_hand() -> None:
    """Of each written word, the mean over shares of what is lost by hiding its best words, or all others."""
    asked = asked_of("encoder_decoder")
    generator = np.random.default_rng(5)
    scores = [
        generator.random((len(asked.outputs(row).words), len(asked.sources[row].words)))
        for row in range(len(asked.names))
    ]
    found = measures.faithfulness(asked, {"some": scores}, words=99, seed=1)["some"]
    row = 1
    count, n = scores[row].shape
    (whole,) = asked.hiding([words_hidden(asked, row)])
    lost = np.zeros((count, 2))
    for output in range(count):
        order = np.argsort(-scores[row][output]).tolist()
        for share in measures.SHARES:
            top = order[: int(np.ceil(share * n))]
            rest = [word for word in range(n) if word not in top]
            without, alone = asked.hiding([words_hidden(asked, row, *top), words_hidden(asked, row, *rest)])
            before = np.exp(whole[output])
            lost[output] += [(before - np.exp(without[output])) / 5, (before - np.exp(alone[output])) / 5]
    np.testing.assert_allclose(found[row], lost.mean(0), atol=1e-7)


def test_a_text_that_goes_on_hides_only_what_was_before() -> None:
    """Scores of words that are still to come change nothing."""
    asked = asked_of("decoder")
    shapes = [(len(words.words), len(words.words)) for words in asked.sources]
    low = [np.tril(np.random.default_rng(2).random(shape), -1) for shape in shapes]
    ahead = [scores + 9.0 * np.triu(np.ones(scores.shape)) for scores in low]
    found = measures.faithfulness(asked, {"low": low, "ahead": ahead}, words=3, seed=0)
    np.testing.assert_array_equal(found["low"], found["ahead"])


def test_at_most_so_many_words_are_looked_at() -> None:
    asked = asked_of("encoder_decoder")
    assert measures._outputs(asked, 0, 2) == [0, len(asked.outputs(0).words) - 1]
    assert measures._outputs(asked, 0, 99) == list(range(len(asked.outputs(0).words)))


def test_intervals_hold_the_figure_and_one_row_has_none() -> None:
    values = np.random.default_rng(0).random(31)
    found = measures.with_intervals(values, lambda some: {"it": float(some.mean())}, resamples=100, seed=0)
    assert found["it_low"] < found["it"] < found["it_high"]
    single = measures.with_intervals(values[:1], lambda some: {"it": 0.5}, resamples=100, seed=0)
    assert single == {"it": 0.5, "it_low": None, "it_high": None}
