"""The embedded reviews: labels that follow from the rules, rationales that say why."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from random import Random

import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from attention_lab.corpora import sentiment
from attention_lab.corpora.grammar import held_out
from attention_lab.corpora.sentiment import ADJECTIVES, EFFECTS, NOUNS, TOPICS, VERBS, generate
from attention_lab.errors import InputError

POLARITY = {
    word: label
    for label in sentiment.LABELS
    for text in (
        *(words for (_, polarity), words in ADJECTIVES.items() if polarity == label),
        *(topic[label] for topic in TOPICS.values()),
        VERBS[label].replace("/", " ").replace("|", " "),
        EFFECTS[label].replace("/", " ").replace("|", " "),
        NOUNS[label],
    )
    for word in text.split()
}
TURNS = {"not", "never", "hardly", "far", "anything", "by", "nobody", "cannot", "nothing"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return generate(4000, 7)


def bare(text: str) -> list[str]:
    return [word.strip(".,").lower() for word in text.split(" ")]


def test_columns_size_and_rows(frame: pd.DataFrame) -> None:
    assert list(frame.columns) == ["row", "split", "text", "label", "rationale"]
    assert len(frame) == 4000
    assert frame.row.tolist() == [f"embedded:{n}" for n in range(1, 4001)]
    assert frame.text.is_unique


def test_shares_and_balance(frame: pd.DataFrame) -> None:
    count = frame.groupby(["split", "label"]).size()
    assert count["train", "positive"] == count["train", "negative"] == 1600
    assert set(count[["valid", "test"]]) == {200}


def test_the_seed_decides() -> None:
    first, again, other = generate(200, 1), generate(200, 1), generate(200, 2)
    pd.testing.assert_frame_equal(first, again)
    assert first.text.tolist() != other.text.tolist()


@pytest.mark.parametrize("size", [1, 3, 10, 37])
def test_small_sizes_are_exact(size: int) -> None:
    assert len(generate(size, 0)) == size


def test_lengths(frame: pd.DataFrame) -> None:
    lengths = frame.text.str.split(" ").str.len()
    assert lengths.between(8, 30).all()


def test_rationales_are_in_range_and_hold_a_polarity_word(frame: pd.DataFrame) -> None:
    for row in frame.itertuples():
        words = bare(row.text)
        assert row.rationale == sorted(set(row.rationale))
        assert row.rationale[0] >= 0
        assert row.rationale[-1] < len(words)
        assert any(words[i] in POLARITY for i in row.rationale)


def test_the_rationale_alone_gives_the_label(frame: pd.DataFrame) -> None:
    """Polarity words of the rationale, turned round once if it has a negator: that is the whole rule, and a word that
    has no part in it is not in the rationale."""
    for row in frame.itertuples():
        words = [bare(row.text)[i] for i in row.rationale]
        assert not set(words) & set(sentiment.INTENSIFIERS), row.text
        said = {POLARITY[word] for word in words if word in POLARITY}
        assert len(said) == 1, row.text
        label = said.pop()
        assert row.label == (sentiment.OPPOSITE[label] if TURNS & set(words) else label), row.text


def test_what_although_introduces_decides_nothing(frame: pd.DataFrame) -> None:
    checked = 0
    for row in frame.itertuples():
        words = row.text.split(" ")
        for start in (i for i, word in enumerate(words) if word.lower() == "although"):
            # "Although it …, it …" ends at the comma, "it …, although it … ." at the full stop.
            first = start == 0 or words[start - 1].endswith(".") or words[start - 1] == "and"
            end = next(i for i in range(start, len(words)) if words[i].endswith("," if first else "."))
            assert not set(range(start, end + 1)) & set(row.rationale), row.text
            checked += 1
    assert checked > 200


@pytest.mark.parametrize(
    ("text", "why", "label"),
    [
        ("the soup was good", "good", "positive"),
        ("the soup was truly good", "good", "positive"),
        ("the soup was not good", "not good", "negative"),
        ("the soup was far from bland", "far from bland", "positive"),
        ("nobody would call the plot boring", "nobody boring", "positive"),
        ("I cannot say that the room was clean", "cannot clean", "negative"),
        ("the bed was not only bad but also dirty", "bad dirty", "negative"),
        ("I never disliked the camera", "never disliked", "positive"),
        ("the staff was a failure", None, None),
    ],
)
def test_golden_clauses(text: str, why: str | None, label: str | None) -> None:
    """The grammar derives these clauses, with this rationale, for this label and for no other."""
    topics = [topic for topic, entry in TOPICS.items() if any(f"the {a}" in text for a in entry["aspects"].split())]
    found = set()
    for topic in topics:
        for said in sentiment.LABELS:
            found |= {(reason, said) for reason in clauses(said, topic).get(text.lower(), ())}
    assert found == ({(why, label)} if why else set())


@cache
def clauses(label: str, topic: str) -> dict[str, set[str]]:
    """Clauses that the grammar derives, each with its rationales."""
    rules, random, found = sentiment.grammar(), Random(0), defaultdict(set)
    for _ in range(6000):
        one = rules.derive(f"Clause.{label}.{topic}.main.Aspect", random)
        found[" ".join(one.source).lower()].add(" ".join(one.source[i] for i in one.marks["why"]).lower())
    return found


def test_pairs_of_test_reviews_never_occur_in_training(frame: pd.DataFrame) -> None:
    """Seen from the text: in training no adjective directly after "the <aspect> was" is one that test has there."""
    pattern = re.compile(r"the (\w+) was (\w+)[.,]?(?: |$)", re.IGNORECASE)
    pairs: dict[str, set[tuple[str, str]]] = {split: set() for split in ("train", "valid", "test")}
    aspects = {word for topic in TOPICS.values() for word in topic["aspects"].split()}
    for row in frame.itertuples():
        for noun, word in pattern.findall(row.text):
            if noun in aspects and word in POLARITY:
                pairs[row.split].add((word, noun))
    for split in ("valid", "test"):
        reserved = {pair for pair in pairs[split] if held_out(pair) == split}
        assert len(reserved) > 5
        assert not reserved & pairs["train"]
    assert all(held_out(pair) is None for pair in pairs["train"])


def test_test_has_no_new_words(frame: pd.DataFrame) -> None:
    words = {split: {w for text in part.text for w in bare(text)} for split, part in frame.groupby("split")}
    assert words["valid"] <= words["train"]
    assert words["test"] <= words["train"]


def test_a_bag_of_words_does_badly(frame: pd.DataFrame) -> None:
    train, test = frame[frame.split == "train"], frame[frame.split == "test"]
    vectors = TfidfVectorizer(ngram_range=(1, 2)).fit(train.text)
    model = LogisticRegression(max_iter=1000).fit(vectors.transform(train.text), train.label)
    assert 0.6 < model.score(vectors.transform(test.text), test.label) < 0.85


def test_too_many_rows_are_the_users_mistake() -> None:
    with pytest.raises(InputError, match=r"data\.size"):
        generate(10**9, 0)
