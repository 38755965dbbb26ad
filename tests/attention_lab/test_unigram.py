from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab import unigram


def segmentations(word: str, probability: dict[str, float]) -> list[tuple[list[str], float]]:
    """All ways to cut a word into pieces, by trying every set of cuts."""
    found = []
    for cuts in product([False, True], repeat=len(word) - 1):
        pieces, start = [], 0
        for i, cut in enumerate([*cuts, True], 1):
            if cut:
                pieces.append(word[start:i])
                start = i
        if all(piece in probability for piece in pieces):
            found.append((pieces, math.prod(probability[piece] for piece in pieces)))
    return found


NAMES = ["a", "b", "c", "ab", "bc", "abc", "ca"]


@settings(max_examples=50, deadline=None)
@given(
    words=st.dictionaries(st.text("abc", min_size=1, max_size=7), st.integers(1, 9), min_size=1, max_size=6),
    weights=st.lists(st.floats(0.01, 1.0), min_size=len(NAMES), max_size=len(NAMES)),
)
def test_expected_uses_are_those_of_all_segmentations(words: dict[str, int], weights: list[float]) -> None:
    weight = np.array(weights)
    probability = dict(zip(NAMES, weight / weight.sum(), strict=True))
    expected = dict.fromkeys(NAMES, 0.0)
    for word, count in words.items():
        found = segmentations(word, probability)
        total = sum(p for _, p in found)
        for pieces, p in found:
            for piece in pieces:
                expected[piece] += count * p / total
    lattice = unigram._lattice(sorted(words.items()), NAMES)
    got = unigram._expect(lattice, weight, np.array([len(name) for name in NAMES]))
    np.testing.assert_allclose(got, [expected[name] for name in NAMES], rtol=1e-9, atol=1e-12)


def test_the_loss_of_a_piece_is_against_the_best_segmentation_without_it() -> None:
    weight = np.array([4.0, 3.0, 2.0, 2.0, 1.0, 5.0, 0.5])
    probability = dict(zip(NAMES, weight / weight.sum(), strict=True))
    loss = unigram._loss(unigram._lattice([(name, 1) for name in NAMES], NAMES), weight)
    for i, name in enumerate(NAMES):
        others = {piece: p for piece, p in probability.items() if piece != name}
        best = max((p for _, p in segmentations(name, others)), default=0.0)
        wanted = math.inf if best == 0 else weight[i] * (math.log(probability[name]) - math.log(best))
        assert loss[i] == pytest.approx(wanted)


def test_pieces_are_at_most_size_and_hold_the_alphabet() -> None:
    words = Counter({" walking": 9, " talking": 7, " walked": 5, " talked": 4, " king": 3, "x": 1})
    alphabet = sorted(set("".join(words)))
    pieces = dict(unigram.train(words, alphabet, size=len(alphabet) + 4, min_frequency=2))
    assert len(pieces) == len(alphabet) + 4
    assert set(alphabet) <= set(pieces)
    assert sum(math.exp(score) for score in pieces.values()) == pytest.approx(1.0, abs=1e-4)
    assert any(piece.endswith("king") and len(piece) > 4 for piece in pieces)


def test_very_long_words_and_unknown_characters_do_no_harm() -> None:
    words = Counter({"ab" * 5000: 3, "zzz": 1, "aZb": 2})
    pieces = dict(unigram.train(words, ["a", "b"], size=12, min_frequency=1))
    assert all(math.isfinite(score) for score in pieces.values())
    assert set("".join(pieces)) == {"a", "b"}
