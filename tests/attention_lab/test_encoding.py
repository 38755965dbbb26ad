from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab import encoding, vocabulary
from attention_lab.errors import InputError
from attention_lab.params import Encode, Vocab
from attention_lab.records import SHAPES

PAIRS = SHAPES["translation"]
CLASSES = SHAPES["sentiment"]


@pytest.fixture(scope="module")
def tokenizer():
    texts = ["one two three four five six seven", "uno dos tres."]
    return vocabulary.train(texts, Vocab(tokenizer="word", size=64, min_frequency=1, max_unknown_share=0.1), None)


def limits(overflow: str = "truncate", *, source: int = 7, target: int = 5) -> Encode:
    return Encode(
        max_source_tokens=source, max_target_tokens=target, overflow=overflow, overlap=2, max_overflow_share=1.0
    )


def pairs(*texts: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row": [f"x.csv:{i}" for i in range(2, len(texts) + 2)],
            "split": [None] * len(texts),
            "source": [source for source, _ in texts],
            "target": [target for _, target in texts],
            "alignment": [None] * len(texts),
        }
    )


def classes(*rows: tuple[str, str]) -> pd.DataFrame:
    names = [f"x.csv:{i}" for i in range(2, len(rows) + 2)]
    return pd.DataFrame({"row": names, "text": [t for t, _ in rows], "label": [label for _, label in rows]})


def test_texts_become_ids_between_start_and_end(tokenizer) -> None:
    frame = pairs(("one two", "uno dos."), ("three", "tres"))
    encoded, overflowed = encoding.encode(frame, PAIRS, tokenizer, [], limits(target=9))
    assert list(encoded) == ["row", "source", "target", "truncated"]
    assert encoded["row"].tolist() == ["x.csv:2", "x.csv:3"]
    assert tokenizer.convert_ids_to_tokens(encoded["source"][0].tolist()) == ["<s>", " one", " two", "</s>"]
    assert tokenizer.convert_ids_to_tokens(encoded["target"][0].tolist()) == ["<s>", " uno", " dos", ".", "</s>"]
    assert encoded["source"][0].dtype == np.int32
    assert not encoded["truncated"].any()
    assert overflowed.empty


def test_too_long_texts_are_cut_and_still_end(tokenizer) -> None:
    frame = pairs(("one two three four five six", "uno"), ("one two three four five", "uno dos tres."), ("one", "uno"))
    encoded, overflowed = encoding.encode(frame, PAIRS, tokenizer, [], limits())
    assert encoded["truncated"].tolist() == [True, True, False]
    assert [len(ids) for ids in encoded["source"]] == [7, 7, 3]
    assert [len(ids) for ids in encoded["target"]] == [3, 5, 3]
    assert tokenizer.decode(encoded["source"][0], skip_special_tokens=True) == "one two three four five"
    assert encoded["target"][1][-1] == vocabulary.EOS_ID
    assert overflowed.empty


def test_too_long_rows_are_dropped_with_a_reason(tokenizer) -> None:
    frame = pairs(("one", "uno dos tres."), ("one two three four five six", "uno dos tres."), ("one", "uno"))
    encoded, overflowed = encoding.encode(frame, PAIRS, tokenizer, [], limits("drop"))
    assert encoded["row"].tolist() == ["x.csv:4"]
    assert encoded["truncated"].tolist() == [False]
    assert list(overflowed) == [*frame, "reason"]
    assert overflowed["row"].tolist() == ["x.csv:2", "x.csv:3"]
    assert overflowed["reason"].tolist() == [
        "target has 6 tokens, encode.max_target_tokens is 5",
        "source has 8 tokens, encode.max_source_tokens is 7",
    ]


def test_labels_become_their_place_in_the_list(tokenizer) -> None:
    frame = classes(("one", "pos"), ("two", "neg"), ("three", "pos"))
    encoded, _ = encoding.encode(frame, CLASSES, tokenizer, ["neg", "pos"], limits())
    assert list(encoded) == ["row", "source", "label", "truncated"]
    assert encoded["label"].tolist() == [1, 0, 1]


def test_a_label_unknown_in_training_is_named_with_its_row(tokenizer) -> None:
    with pytest.raises(InputError, match=r"x\.csv:3: the label 'mixed' does not occur in the training rows.*neg, pos"):
        encoding.encode(classes(("one", "pos"), ("two", "mixed")), CLASSES, tokenizer, ["neg", "pos"], limits())


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.tuples(st.text(max_size=30), st.text("one two .,", max_size=30)), max_size=5))
def test_ids_stay_within_vocabulary_and_limits_for_any_text(tokenizer, texts: list[tuple[str, str]]) -> None:
    frame = pairs(*texts)
    for overflow in ("truncate", "drop"):
        encoded, overflowed = encoding.encode(frame, PAIRS, tokenizer, [], limits(overflow))
        assert len(encoded) + len(overflowed) == len(frame)
        for column, longest in (("source", 7), ("target", 5)):
            for ids in encoded[column]:
                assert 2 <= len(ids) <= longest
                assert (ids[0], ids[-1]) == (vocabulary.BOS_ID, vocabulary.EOS_ID)
                assert ids.min() >= 0
                assert ids.max() < len(tokenizer)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_files_give_back_what_was_written_and_the_same_bytes(tokenizer, tmp_path: Path, rows: int) -> None:
    frame = pairs(*[("one two", "uno"), ("three", "tres dos"), ("", "é")][:rows])
    encoded, _ = encoding.encode(frame, PAIRS, tokenizer, [], limits())
    for name in ("one.arrow", "two.arrow"):
        encoding.write(encoded, tmp_path / name)
    back = encoding.read(tmp_path / "one.arrow")
    encoding.write(back, tmp_path / "three.arrow")
    assert list(back) == list(encoded)
    for column in encoded:
        assert [np.asarray(v).tolist() for v in back[column]] == [np.asarray(v).tolist() for v in encoded[column]]
    assert len({(tmp_path / f"{name}.arrow").read_bytes() for name in ("one", "two", "three")}) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"one.arrow", "two.arrow", "three.arrow"}


def test_labels_survive_the_file(tokenizer, tmp_path: Path) -> None:
    encoded, _ = encoding.encode(classes(("one", "b"), ("two", "a")), CLASSES, tokenizer, ["a", "b"], limits())
    encoding.write(encoded, tmp_path / "x.arrow")
    assert encoding.read(tmp_path / "x.arrow")["label"].tolist() == [1, 0]


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.arrow: there is no such file; `dvc repro encode`"):
        encoding.read(tmp_path / "train.arrow")
