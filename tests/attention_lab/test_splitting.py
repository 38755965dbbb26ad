"""A row's split is a pure function of the rows, and no text stands in two splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab import params, records, splitting
from attention_lab.errors import InputError

SPLIT = params.load(Path(__file__).parents[2] / "params.yaml").split.model_copy(
    update={"strategy": "hash", "valid": 0.1, "test": 0.2}
)
SENTIMENT = records.SHAPES["sentiment"]
TRANSLATION = records.SHAPES["translation"]


def frame(rows: list[tuple[str, str, str | None]]) -> pd.DataFrame:
    """Rows of (text, label, split)."""
    full = [(f"x.csv:{i}", split, text, label, None) for i, (text, label, split) in enumerate(rows, start=2)]
    return pd.DataFrame(full, columns=records.columns(SENTIMENT), dtype=object)


def many(count: int, split: str | None = None, start: int = 0) -> list[tuple[str, str, str | None]]:
    return [(f"text {i}", str(i % 3), split) for i in range(start, start + count)]


def assign(rows: list[tuple[str, str, str | None]], seed: int = 7, **changes: Any) -> list[str]:
    return splitting.assign(frame(rows), SENTIMENT, SPLIT.model_copy(update=changes), seed).tolist()


def refusal(rows: list[tuple[str, str, str | None]], **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        assign(rows, **changes)
    return str(caught.value)


def test_shares_come_near() -> None:
    found = splitting.sizes(pd.Series(assign(many(20_000))))
    assert found["test"] == pytest.approx(4000, abs=250)
    assert found["valid"] == pytest.approx(2000, abs=200)
    assert sum(found.values()) == 20_000


def test_the_very_rows_are_known() -> None:
    """A change of the hash would move every row of every user: never by accident."""
    assert [splitting.position(text, 42) for text in ("a", "ä", "a b")] == [
        0.9470782499504073,
        0.6245463643648432,
        0.17095379417311263,
    ]
    assert splitting.position("A \n B", 42) == splitting.position("a b", 42)
    assert splitting.position("a b", 43) != splitting.position("a b", 42)


def test_index_and_name() -> None:
    table = frame(many(100)).set_index(pd.Index(range(500, 600)))
    found = splitting.assign(table, SENTIMENT, SPLIT, 7)
    assert found.index.equals(table.index)
    assert found.name == "split"
    assert found.tolist() == assign(many(100))


def test_the_same_source_falls_together_whatever_its_target() -> None:
    rows = [(f"x:{i}", None, f"source {i % 50}", f"target {i}", None, None) for i in range(200)]
    table = pd.DataFrame(rows, columns=records.columns(TRANSLATION), dtype=object)
    found = splitting.assign(table, TRANSLATION, SPLIT, 7)
    assert (found.groupby(table["source"]).nunique() == 1).all()


WORDS = st.lists(st.text(st.sampled_from("abcAB \t"), min_size=1, max_size=4), max_size=30)


@settings(max_examples=50, deadline=None)
@given(words=WORDS, strategy=st.sampled_from(["hash", "stratified"]), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_purity(words: list[str], strategy: str, seed: int, data: st.DataObject) -> None:
    rows = many(60) + [(word, str(len(word) % 3), None) for word in words]
    changes = {"strategy": strategy, "valid": 0.3, "test": 0.3}
    first = assign(rows, seed, **changes)
    order = data.draw(st.permutations(range(len(rows))))
    again = assign([rows[i] for i in order], seed, **changes)
    assert again == [first[i] for i in order], "neither order nor place matters"
    by_text = pd.Series(first).groupby([splitting.key(text) for text, *_ in rows]).nunique()
    assert (by_text == 1).all(), "no text in two splits"
    if strategy == "hash":
        assert assign(rows + many(40, start=1000), seed, **changes)[: len(rows)] == first, "added rows move none"


@pytest.mark.parametrize("split", [None, "train"])
@pytest.mark.parametrize(("valid", "test"), [(0.1, 0.2), (0.05, 0.05), (0.3, 0.3), (0.1, 0.1)])
def test_stratified_shares_are_exact(valid: float, test: float, split: str | None) -> None:
    labels = ["a"] * 997 + ["b"] * 105 + ["c"] * 13
    rows: list[tuple[str, str, str | None]] = [(f"text {i}", label, split) for i, label in enumerate(labels)]
    found = pd.Series(assign(rows, strategy="stratified", valid=valid, test=test))
    for label, count in (("a", 997), ("b", 105), ("c", 13)):
        sizes = splitting.sizes(found[[own == label for own in labels]])
        assert abs(sizes["valid"] - count * valid) <= 0.5 + 1e-9
        assert abs(sizes["test"] - count * test) <= 0.5 + 1e-9


def test_stratified_duplicates_and_conflicts_fall_together() -> None:
    rows: list[tuple[str, str, str | None]] = [(f"text {i % 40}", str(i % 3), None) for i in range(400)]
    found = pd.Series(assign(rows, strategy="stratified"))
    assert (found.groupby([text for text, *_ in rows]).nunique() == 1).all()


def test_given_splits_stay() -> None:
    rows = many(50, "train") + many(5, "valid", 50) + many(5, "test", 60)
    for strategy in ("hash", "stratified", "predefined"):
        assert assign(rows, strategy=strategy) == [split for *_, split in rows]


@pytest.mark.parametrize("strategy", ["hash", "stratified"])
@pytest.mark.parametrize("missing", [("valid",), ("test",), ("valid", "test")])
def test_training_rows_are_divided_into_what_is_missing(strategy: str, missing: tuple[str, ...]) -> None:
    held = [name for name in ("valid", "test") if name not in missing]
    rows = many(200, "train") + [row for name in held for row in many(9, name, 900)]
    found = assign(rows, strategy=strategy)
    assert set(found[:200]) == {"train", *missing}
    assert found[200:] == [split for *_, split in rows[200:]]
    free = assign([(text, label, None) for text, label, _ in rows[:200]], strategy=strategy)
    assert found[:200] == [name if name in missing else "train" for name in free], "a given split moves no other row"


@pytest.mark.parametrize("strategy", ["hash", "stratified"])
def test_rows_without_a_split_are_divided_and_given_ones_stay(strategy: str) -> None:
    rows = many(20, "train") + many(100, None, 100)
    found = assign(rows, strategy=strategy)
    assert found[:20] == ["train"] * 20
    assert set(found[20:]) == {"train", "valid", "test"}


def test_predefined_needs_every_split() -> None:
    message = refusal([*many(5, "train"), ("x", "1", None), *many(5, "test")], strategy="predefined")
    assert message.startswith("x.csv:7: the row has no split (1 of 11 have none)")
    assert message.endswith("or use split.strategy=hash")
    message = refusal(many(5, "train") + many(5, "test"), strategy="predefined")
    assert message == (
        "the valid split is empty: the rows divide into train 5, valid 0, test 5; "
        "give rows for valid, or use split.strategy=hash"
    )


def test_empty_splits_are_told() -> None:
    assert refusal(many(30), valid=0.01, strategy="stratified").startswith(
        "the valid split is empty: the rows divide into train 24, valid 0, test 6; give more rows or a larger split"
    )
    assert refusal([]).startswith("the train split is empty: the rows divide into train 0, valid 0, test 0")
    assert refusal(many(1)).endswith("(data.unit=paragraph makes one of every paragraph of a text file)")
    only_test = refusal(many(5, "test") + many(5, "valid"))
    assert only_test == "the train split is empty: the rows divide into train 0, valid 5, test 5; give rows for train"


def test_stratified_needs_labels() -> None:
    table = pd.DataFrame([["x:1", None, "a", "b", None, None]], columns=records.columns(TRANSLATION), dtype=object)
    with pytest.raises(InputError, match="needs labels, but this task has none; use split"):
        splitting.assign(table, TRANSLATION, SPLIT.model_copy(update={"strategy": "stratified"}), 7)


def test_several_labels_cannot_be_stratified_and_are_divided_by_text() -> None:
    several = records.SHAPES["multi_label"]
    rows = [(f"x:{i}", None, f"text {i}", ["a", "b"][: i % 3], None) for i in range(101)]
    table = pd.DataFrame(rows, columns=records.columns(several), dtype=object)
    with pytest.raises(InputError, match="a row with several labels is not of one class"):
        splitting.assign(table, several, SPLIT.model_copy(update={"strategy": "stratified"}), 7)
    alone = [(text, "1", None) for text in table["text"]]
    assert splitting.assign(table, several, SPLIT, 7).tolist() == assign(alone)
