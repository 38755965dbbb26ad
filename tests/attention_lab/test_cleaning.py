"""Nothing is lost, every reason is right, and what is normalised stays as it is."""

from __future__ import annotations

import itertools
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab import cleaning, params, records
from attention_lab.errors import InputError

ROOT = Path(__file__).parents[2]
SENTIMENT = records.SHAPES["sentiment"]
TRANSLATION = records.SHAPES["translation"]
SEVERAL = records.SHAPES["multi_label"]
CLEAN = params.load(ROOT / "params.yaml").clean.model_copy(
    update={
        "unicode": "NFC",
        "lowercase": False,
        "remove_punctuation": False,
        "collapse_whitespace": True,
        "min_characters": 1,
        "max_characters": 5000,
        "duplicates": True,
        "near_duplicates": None,
        "conflicting_labels": True,
        "overlap": "drop",
    }
)
FORMS = [
    {"unicode": u, "lowercase": low, "remove_punctuation": p, "collapse_whitespace": w}
    for u, low, p, w in itertools.product([None, "NFC", "NFKC"], *[[False, True]] * 3)
]


def normal(text: str, **changes: Any) -> str:
    return str(cleaning.normaliser(CLEAN.model_copy(update=changes)).normalize_str(text))


def sentiment(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows of (text, label[, split[, rationale]])."""
    full = [(f"x.csv:{i}", *_filled(row)) for i, row in enumerate(rows, start=2)]
    return pd.DataFrame(full, columns=records.columns(SENTIMENT), dtype=object)


def _filled(row: tuple[Any, ...]) -> tuple[Any, ...]:
    text, label, split, rationale = (*row, None, None)[:4]
    return split, text, label, rationale


def translation(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows of (source, target[, split])."""
    full = [(f"x.csv:{i}", (*row, None)[2], *row[:2], None, None) for i, row in enumerate(rows, start=2)]
    return pd.DataFrame(full, columns=records.columns(TRANSLATION), dtype=object)


def reasons(raw: pd.DataFrame, shape: records.Shape = SENTIMENT, **changes: Any) -> list[str | None]:
    """The reason of every raw row, None for those kept."""
    kept, rejected = cleaning.clean(raw, shape, CLEAN.model_copy(update=changes))
    found = dict(zip(rejected["row"], rejected["reason"], strict=True)) | dict.fromkeys(kept["row"])
    return [found[row] for row in raw["row"]]


# ------------------------------------------------------------------------------------------------ normaliser


def test_normaliser_steps() -> None:
    assert normal("  a\u00a0\n b\u2028c\u0085 ") == "a b c"
    assert normal(" a  b ", collapse_whitespace=False) == " a  b "
    assert normal("Ａ\ufb01 e\u0301") == "Ａ\ufb01 é"
    assert normal("Ａ\ufb01 e\u0301", unicode="NFKC") == "Afi é"
    assert normal("e\u0301", unicode=None) == "e\u0301"
    assert normal("ÄΑΣ", lowercase=True) == "äασ"


def test_removed_punctuation_leaves_words() -> None:
    text = "Don’t say well-known, it's «3.14» (``really'')!"
    assert normal(text, remove_punctuation=True) == "Dont say well known its 3 14 really"


@pytest.mark.parametrize("form", FORMS[1::2], ids=str)  # with white space collapsed, the longest chain
def test_normaliser_is_idempotent_on_every_character(form: dict[str, Any]) -> None:
    letters = [
        chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) not in ("Cs", "Cn", "Co", "Lo", "So")
    ]
    chunks = ["".join(letters[i : i + 100]) for i in range(0, len(letters), 100)]
    chunks += [" ".join(chunk) for chunk in chunks]
    normaliser = cleaning.normaliser(CLEAN.model_copy(update=form))
    once = [normaliser.normalize_str(chunk) for chunk in chunks]
    assert [normaliser.normalize_str(text) for text in once] == once


ODD = st.text(
    st.one_of(
        st.sampled_from(
            "aAHİıſßŉΣςẖ'’-._`´¨\u0301\u0308\u0331\u0338\u0345 \t\n\r\x1c\x85\xa0\xad\u200b\u2028\u3000\ufeff"
        ),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(text=ODD, form=st.sampled_from(FORMS))
def test_normaliser_is_idempotent(text: str, form: dict[str, Any]) -> None:
    once = normal(text, **form)
    assert normal(once, **form) == once


# ------------------------------------------------------------------------------------------------ one row


def test_reasons_of_single_rows() -> None:
    raw = sentiment(
        ("", "1"), (" \u200b\x00\n", "1"), ("ab", "1"), ("abcdefg", "1"), ("abc", None), ("abd", " "), ("abc", "1")
    )  # fmt: skip
    found = reasons(raw, min_characters=3, max_characters=6)
    assert found == ["empty", "empty", "too_short", "too_long", "no_label", "no_label", None]


def test_each_text_is_looked_at() -> None:
    raw = translation(("", "a"), ("a", ""), ("a", "b" * 9), ("a", "b"))
    assert reasons(raw, TRANSLATION, max_characters=8) == ["empty", "empty", "too_long", None]


def test_lengths_count_what_is_left() -> None:
    assert reasons(sentiment(("  a  ", "1"), ("b...", "0")), max_characters=1, remove_punctuation=True) == [None, None]
    assert reasons(sentiment(("...", "1")), remove_punctuation=True) == ["empty"]


def test_kept_are_normalised_and_rejected_as_they_were() -> None:
    kept, rejected = cleaning.clean(sentiment((" A  b", " 1 "), ("A b ", "1")), SENTIMENT, CLEAN)
    assert kept.drop(columns="row").to_numpy().tolist() == [[None, "A b", "1", None]]
    assert rejected.to_numpy().tolist() == [["x.csv:3", None, "A b ", "1", None, "duplicate"]]


def test_possible_links_go_with_the_sure_ones() -> None:
    rows = {"row": ["a", "b"], "split": None, "source": ["a b", "a  c"], "target": ["x", "y"], "references": None}
    raw = pd.DataFrame({**rows, "alignment": [[[0, 0]], [[0, 0]]], "possible": [[[1, 0]], [[2, 0]]]}).astype(object)
    kept, _ = cleaning.clean(raw, TRANSLATION, CLEAN.model_copy(update={"collapse_whitespace": True}))
    assert kept["alignment"].tolist() == [[[0, 0]], None]
    assert kept["possible"].tolist() == [[[1, 0]], None]


def test_gold_is_kept_only_while_its_words_are() -> None:
    raw = sentiment(
        ("Good film", "1", None, [0]),
        ("good  thing", "1", None, [0]),
        (" good one", "1", None, [1]),
        ("so-so  film", "0", None, [0]),
        ("bad , film", "0", None, [0]),
        ("bad !", "0", None, None),
    )
    kept, _ = cleaning.clean(raw, SENTIMENT, CLEAN.model_copy(update={"lowercase": True}))
    assert kept["rationale"].tolist() == [[0], None, None, None, [0], None]
    assert cleaning.without_gold(raw, kept, SENTIMENT) == 3
    kept, _ = cleaning.clean(raw, SENTIMENT, CLEAN.model_copy(update={"remove_punctuation": True}))
    # "so-so  film" and "so so film" have three words each, but not the same ones.
    assert kept["rationale"].tolist() == [[0], None, None, None, None, None]


# ------------------------------------------------------------------------------------------------ rows together


def test_the_first_duplicate_is_kept() -> None:
    raw = sentiment(("a b", "1"), ("c", "0"), ("a  b", "1"), ("A b", "1"))
    assert reasons(raw) == [None, None, "duplicate", None]
    assert reasons(raw, lowercase=True) == [None, None, "duplicate", "duplicate"]
    assert reasons(raw, duplicates=False) == [None] * 4


def test_the_same_source_may_have_two_targets() -> None:
    assert reasons(translation(("a", "b"), ("a", "c"), ("a", "b")), TRANSLATION) == [None, None, "duplicate"]


def test_conflicting_labels_go_all() -> None:
    raw = sentiment(("a", "1"), ("b", "1"), ("a ", "0"), ("a", "1"), ("a", None))
    assert reasons(raw) == ["conflicting_label", None, "conflicting_label", "conflicting_label", "no_label"]
    assert reasons(raw, conflicting_labels=False) == [None, None, None, "duplicate", "no_label"]


def several(*rows: tuple[str, list[str] | None]) -> pd.DataFrame:
    full = [(f"x.csv:{i}", None, text, labels, [0]) for i, (text, labels) in enumerate(rows, start=2)]
    return pd.DataFrame(full, columns=records.columns(SEVERAL), dtype=object)


def test_several_labels_are_a_set(tmp_path: Path) -> None:
    raw = several(("a", [" y", "x", "y "]), ("b", []), ("c", [" "]), ("d", None))
    kept, rejected = cleaning.clean(raw, SEVERAL, CLEAN)
    assert kept["labels"].tolist() == [("x", "y"), (), ()]
    assert rejected["reason"].tolist() == ["no_label"]  # nobody has said, which is not to have none
    records.write(kept, tmp_path / "kept.parquet")
    assert records.read(tmp_path / "kept.parquet")["labels"].tolist() == [["x", "y"], [], []]


def test_the_same_text_with_two_sets_of_labels_is_a_conflict() -> None:
    raw = several(("a", ["x", "y"]), ("a", ["y", " x"]), ("b", ["x"]), ("b", ["x", "y"]), ("c", []), ("c", ["x"]))
    assert reasons(raw, SEVERAL) == [None, "duplicate", *["conflicting_label"] * 4]
    assert reasons(raw, SEVERAL, conflicting_labels=False) == [None, "duplicate", None, None, None, None]


def test_overlap_is_dropped_from_the_lower_split() -> None:
    raw = sentiment(("a", "1", "train"), ("a", "1", "valid"), ("a ", "1", "test"), ("b", "0", "train"), ("a", "1"))
    assert reasons(raw) == ["overlap", "overlap", None, None, "overlap"]
    pairs = translation(("a", "b", "train"), ("a", "c", "valid"), ("d", "b", "valid"))
    assert reasons(pairs, TRANSLATION) == ["overlap", None, None], "the source text decides"
    cased = sentiment(("A  good film", "1", "train"), ("a Good film", "1", "test"))
    assert reasons(cased, collapse_whitespace=False) == ["overlap", None], "as the splits that are drawn here have it"


def test_overlap_is_an_error_by_default() -> None:
    raw = translation(("b", "b", "train"), ("a", "b", "train"), ("c", "b", "valid"), ("a ", "c", "test"))
    with pytest.raises(InputError) as caught:
        reasons(raw, TRANSLATION, overlap="error")
    message = str(caught.value)
    assert message.startswith("x.csv:5 = x.csv:3: 1 source text of one given split also occurs in 1 row of another")
    assert "clean.overlap=drop removes" in message
    assert reasons(raw[:3], TRANSLATION, overlap="error") == [None] * 3
    inside = translation(("a", "b", "train"), ("a", "c", "train"))
    assert reasons(inside, TRANSLATION, overlap="error") == [None, None], "one split is no overlap"


def test_near_duplicates() -> None:
    long = "the quick brown fox jumps over the lazy dog and runs away from the angry farmer"
    raw = sentiment(
        (long, "1"), (long + " !", "1"), ("something else altogether", "0"), (long.upper(), "1"), ("a", "1")
    )
    assert reasons(raw) == [None] * 5
    assert reasons(raw, near_duplicates=0.9) == [None, "near_duplicate", None, None, None]
    assert reasons(raw, near_duplicates=1.0) == [None] * 5
    given_test = sentiment((long, "1", "train"), (long + " !", "1", "test"))
    assert reasons(given_test, near_duplicates=0.9) == ["near_duplicate", None], "test goes before training"


def test_counts() -> None:
    kept, rejected = cleaning.clean(sentiment(("a", "1"), ("a", "1"), ("", "0"), ("b", "0")), SENTIMENT, CLEAN)
    found = cleaning.counts(kept, rejected)
    assert list(found) == ["kept", "rejected", *cleaning.REASONS]
    assert {name: n for name, n in found.items() if n} == {"kept": 2, "rejected": 2, "empty": 1, "duplicate": 1}


def test_no_rows() -> None:
    kept, rejected = cleaning.clean(sentiment(), SENTIMENT, CLEAN.model_copy(update={"near_duplicates": 0.9}))
    assert len(kept) == len(rejected) == 0
    assert list(rejected.columns) == [*records.columns(SENTIMENT), "reason"]


FEW = st.sampled_from(
    ["", " ", "a", "A", "a ", "b.", "b", "a  b", "a-b", "\u200b", "long text with words", "é", "e\u0301"]
)
ROW = st.tuples(
    FEW,
    st.sampled_from(["0", "1", None]),
    st.sampled_from([None, "train", "valid", "test"]),
    st.sampled_from([None, [0]]),
)
FILTERS = {
    "min_characters": st.integers(1, 3),
    "max_characters": st.integers(3, 20),
    "duplicates": st.booleans(),
    "conflicting_labels": st.booleans(),
    "near_duplicates": st.sampled_from([None, 0.5, 1.0]),
}


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, max_size=12), form=st.sampled_from(FORMS), filters=st.fixed_dictionaries(FILTERS))
def test_kept_and_rejected_are_the_raw_rows(rows: list[Any], form: dict[str, Any], filters: dict[str, Any]) -> None:
    raw = sentiment(*rows)
    before = raw.copy(deep=True)
    changed = CLEAN.model_copy(update=form | filters)
    kept, rejected = cleaning.clean(raw, SENTIMENT, changed)
    pd.testing.assert_frame_equal(raw, before)  # pure

    both = pd.concat([raw[raw["row"].isin(kept["row"])], rejected.drop(columns="reason")]).sort_index(kind="stable")
    pd.testing.assert_frame_equal(
        both.sort_values("row", ignore_index=True), raw.sort_values("row", ignore_index=True), check_dtype=False
    )
    assert kept["row"].tolist() == [row for row in raw["row"] if row in set(kept["row"])], "order stays"
    assert set(rejected["reason"]) <= set(cleaning.REASONS)
    assert kept["text"].map(len).between(changed.min_characters, changed.max_characters).all()
    assert kept["label"].notna().all()
    assert (kept.groupby("text")["split"].nunique(dropna=False) <= 1).all(), "no text in two splits"
    if changed.conflicting_labels:
        assert (kept.groupby("text")["label"].nunique() <= 1).all()
    if changed.duplicates:
        assert not kept.duplicated(["text", "label"]).any()

    again, nothing = cleaning.clean(kept, SENTIMENT, changed)
    assert nothing.empty, "what is clean stays"
    pd.testing.assert_frame_equal(again, kept)


QUESTIONS = records.SHAPES["question_answering"]


def question(context: str, answer: str | None, start: int = -1, references: list[str] | None = None) -> pd.DataFrame:
    row = {"row": "x.json:1", "split": None, "context": context, "question": "What?", "answer": answer, "start": start}
    return pd.DataFrame([{**row, "references": references, "support": None}])[records.columns(QUESTIONS)].astype(object)


@pytest.mark.parametrize(
    ("start", "place"),
    [
        (0, 0),
        (8, 8),
        (23, 23),
        (9, 8),  # a wrong place: the nearest …
        (2, 8),  # … that is a word of its own
        (-1, 8),  # none given: the first that is a word of its own
    ],
)
def test_an_answer_is_found_where_it_should_be(start: int, place: int) -> None:
    kept, _ = cleaning.clean(question("catnip, cat and then a cat.", "cat", start), QUESTIONS, CLEAN)
    assert kept["start"].tolist() == [place]


def test_an_answer_moves_with_the_text_that_is_normalised() -> None:
    raw = question("  A\u0308  cat,   a CAT. ", "CAT", 17, references=["a  CAT", "cat"])
    kept, _ = cleaning.clean(raw, QUESTIONS, CLEAN.model_copy(update={"lowercase": True}))
    assert kept["context"][0] == "ä cat, a cat."
    assert kept["answer"][0] == "cat"
    assert kept["start"].tolist() == [9]
    assert kept["references"][0] == ["a cat", "cat"]


def test_an_answer_that_does_not_occur_is_a_reason_and_no_answer_is_none() -> None:
    assert reasons(question("A cat.", "dog", 2), QUESTIONS) == ["answer_not_in_text"]
    assert reasons(question("A cat.", None), QUESTIONS) == ["no_answer"], "nobody has said, which is not to have none"
    kept, _ = cleaning.clean(question("A cat.", " "), QUESTIONS, CLEAN)
    assert (kept["answer"][0], kept["start"][0]) == ("", -1)
