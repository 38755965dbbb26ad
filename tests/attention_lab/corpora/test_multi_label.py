"""The embedded reviews with several labels: each aspect that is said to be bad, and the words that say so."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from test_sentiment import POLARITY, TURNS, bare

from attention_lab.corpora import sentiment
from attention_lab.corpora.grammar import Derivation, held_out
from attention_lab.corpora.multi_label import ASPECTS, candidate, generate
from attention_lab.errors import InputError


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return generate(2000, 7)


def test_columns_size_and_shares(frame: pd.DataFrame) -> None:
    assert list(frame.columns) == ["row", "split", "text", "labels", "rationale"]
    assert frame.row.tolist() == [f"embedded:{n}" for n in range(1, 2001)]
    assert frame.text.is_unique
    count = frame.groupby(["split", frame.labels.map(len)]).size().unstack()
    assert count.sum(axis=1).to_dict() == {"train": 1600, "valid": 200, "test": 200}
    assert (count.max(axis=1) - count.min(axis=1)).max() <= 1  # as many without a label as with one and with two
    assert set(frame.labels.explode().dropna()) == ASPECTS


def test_the_seed_decides() -> None:
    first, again, other = generate(97, 1), generate(97, 1), generate(97, 2)
    pd.testing.assert_frame_equal(first, again)
    assert first.text.tolist() != other.text.tolist()


def test_labels_are_the_aspects_among_the_rationale(frame: pd.DataFrame) -> None:
    for row in frame.itertuples():
        words = bare(row.text)
        assert row.rationale == sorted(set(row.rationale))
        assert row.labels == sorted(words[i] for i in row.rationale if words[i] in ASPECTS)


def test_the_clause_of_each_label_is_negative_by_its_own_words(frame: pd.DataFrame) -> None:
    """The polarity word of the rationale, turned round if it has a negator, finds fault."""
    checked = 0
    for row in frame[frame.labels.map(len) == 1].itertuples():
        words = [bare(row.text)[i] for i in row.rationale]
        (said,) = {POLARITY[word] for word in words if word in POLARITY}
        assert (sentiment.OPPOSITE[said] if TURNS & set(words) else said) == "negative", row.text
        checked += 1
    assert checked > 600


WORDS = ["The", "room", "was", "good,", "but", "I", "hated", "the", "bed."]
MARKS = {"why": [3, 6], "good": [0, 1, 2, 3], "bad": [5, 6, 7, 8]}


def test_a_verdict_by_hand() -> None:
    found = candidate("1", Derivation(WORDS, [], [], MARKS, frozenset({("good", "room"), ("sunny", "day")})))
    assert found is not None
    columns = {"text": "The room was good, but I hated the bed.", "labels": ["bed"], "rationale": [6, 8]}
    assert found.columns == columns
    assert found.bonds == {("good", "room")}  # praise decides too: that there is no label
    assert found.aside == {("sunny", "day")}


def test_an_aspect_is_judged_once() -> None:
    twice = [*WORDS[:-1], "room."]
    assert candidate("1", Derivation(twice, [], [], MARKS, frozenset())) is None


def test_what_test_combines_is_new_but_its_words_are_not(frame: pd.DataFrame) -> None:
    """Seen from the text: in training no adjective directly after "the <aspect> was" is one that test has there."""
    words = {split: {w for text in part.text for w in bare(text)} for split, part in frame.groupby("split")}
    assert words["valid"] | words["test"] <= words["train"]
    pattern = re.compile(r"the (\w+) was (\w+)[.,]?(?: |$)", re.IGNORECASE)
    pairs: dict[str, set[tuple[str, str]]] = {split: set() for split in words}
    for row in frame.itertuples():
        pairs[row.split] |= {(word, noun) for noun, word in pattern.findall(row.text) if word in POLARITY}
    for split in ("valid", "test"):
        reserved = {pair for pair in pairs[split] if held_out(pair) == split}
        assert len(reserved) > 5
        assert not reserved & pairs["train"]


def test_which_words_stand_there_is_not_enough(frame: pd.DataFrame) -> None:
    """Every aspect stands in reviews that find fault with it and in others: its word alone says little."""
    for aspect in ("plot", "room", "battery", "pasta"):
        has = frame[frame.text.map(lambda text, aspect=aspect: aspect in bare(text))]
        assert 0.3 < has.labels.map(lambda labels, aspect=aspect: aspect in labels).mean() < 0.7


def test_too_many_rows_are_the_users_mistake() -> None:
    with pytest.raises(InputError, match=r"data\.size"):
        generate(10**9, 0)
