from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab import encoding, vocabulary
from attention_lab.batching import examples
from attention_lab.errors import InputError
from attention_lab.params import Encode, Vocab
from attention_lab.records import SHAPES

PAIRS = SHAPES["translation"]
CLASSES = SHAPES["sentiment"]
QUESTIONS = SHAPES["question_answering"]
SEVERAL = SHAPES["multi_label"]


@pytest.fixture(scope="module")
def tokenizer():
    texts = ["one two three four five six seven", "uno dos tres."]
    return vocabulary.train(
        texts, Vocab(tokenizer="word", shared=True, size=64, min_frequency=1, max_unknown_share=0.1), None
    )


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


def test_a_target_is_cut_by_its_own_tokenizer(tokenizer) -> None:
    options = Vocab(tokenizer="character", shared=False, size=64, min_frequency=1, max_unknown_share=0.1)
    of_target = vocabulary.train(["uno dos"], options, None)
    frame = pairs(("one two", "uno"), ("three", "dos uno"))
    encoded, _ = encoding.encode(frame, PAIRS, tokenizer, [], limits(), of_target)
    assert [ids.tolist() for ids in encoded["source"]] == tokenizer(frame["source"].tolist())["input_ids"]
    assert encoded["truncated"].tolist() == [False, True]
    said = [of_target.convert_ids_to_tokens(ids.tolist()) for ids in encoded["target"]]
    assert said == [["<s>", *"uno", "</s>"], ["<s>", *"dos", "</s>"]]


def test_several_labels_become_their_places_and_survive_the_file(tokenizer, tmp_path: Path) -> None:
    frame = classes(("one", "x"), ("two", "x"), ("three", "x")).drop(columns="label")
    frame["labels"] = [["pos", "long", "neg"], [], ["neg"]]
    names = ["neg", "long", "pos"]
    encoded, _ = encoding.encode(frame, SEVERAL, tokenizer, names, limits())
    encoding.write(encoded, tmp_path / "x.arrow")
    back = encoding.read(tmp_path / "x.arrow")
    assert list(back) == ["row", "source", "labels", "truncated"]
    assert [numbers.tolist() for numbers in back["labels"]] == [[0, 1, 2], [], [0]]
    data = examples(back, vocabulary.PAD_ID, len(names))
    assert data[[2, 1, 0]].label.tolist() == [[True, False, False], [False] * 3, [True] * 3]
    assert data.predictions([0, 2]) == 2 * 3
    with pytest.raises(InputError, match=r"x\.csv:2: the label 'long' does not occur in the training rows"):
        encoding.encode(frame, SEVERAL, tokenizer, ["neg", "pos"], limits())


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.arrow: there is no such file; `dvc repro encode`"):
        encoding.read(tmp_path / "train.arrow")


def questions(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    columns = ["context", "question", "answer", "start"]
    return pd.DataFrame([[f"x.csv:{i}", *row] for i, row in enumerate(rows, 2)], columns=["row", *columns])


LONG = "one two three four five six seven"


@pytest.mark.parametrize("answer", ["one", "four five", "three four five", "seven"])
def test_a_long_text_is_read_in_windows_behind_its_question(tokenizer, answer: str) -> None:
    frame = questions((LONG, "uno dos", answer, LONG.index(answer)))
    table, overflowed = encoding.encode(frame, QUESTIONS, tokenizer, [], limits("window", source=9))
    assert overflowed.empty
    assert not table["truncated"].any()
    assert table["row"].unique().tolist() == ["x.csv:2"]
    read = [tokenizer.convert_ids_to_tokens(ids.tolist()) for ids in table["source"]]
    # Five fit behind the question; two of them are read again.
    assert all(tokens[:4] == ["<s>", " uno", " dos", "</s>"] and tokens[-1] == "</s>" for tokens in read)
    middle = [" ".join(token.strip() for token in tokens[4:-1]) for tokens in read]
    assert middle == ["one two three four", "three four five six", "five six seven"]
    assert table["shared"].tolist() == [0, 2, 2]
    for tokens, text, span, places in zip(read, middle, table["span"], table["places"], strict=True):
        if answer in text:
            said = "".join(tokens[span[0] : span[1] + 1]).strip()
            assert said == answer == LONG[places[2 * span[0]] : places[2 * span[1] + 1]].strip()
        else:
            assert span.tolist() == [0, 0]


def test_an_answer_that_is_cut_off_is_not_there(tokenizer) -> None:
    frame = questions((LONG, "uno", "six", LONG.index("six")), (LONG, "uno", "", -1), ("one", "uno", "one", 0))
    table, overflowed = encoding.encode(frame, QUESTIONS, tokenizer, [], limits("truncate", source=7))
    assert table["truncated"].tolist() == [True, True, False]
    assert [span.tolist() for span in table["span"]] == [[0, 0], [0, 0], [3, 3]]
    assert overflowed.empty
    kept, overflowed = encoding.encode(frame, QUESTIONS, tokenizer, [], limits("drop", source=7))
    assert kept["row"].tolist() == ["x.csv:4"]
    assert overflowed["reason"][0] == "question and context have 11 tokens, encode.max_source_tokens is 7"


def test_an_answer_that_no_window_has_whole_is_lost_and_not_none(tokenizer) -> None:
    asked = [(LONG, "uno dos", answer, LONG.index(answer)) for answer in ("two three four five", "four five")]
    frame = questions(*asked, (LONG, "uno dos", "", -1))
    for overlap, lost in ((2, True), (4, False)):
        params = limits("window", source=11 if overlap == 4 else 9).model_copy(update={"overlap": overlap})
        table, _ = encoding.encode(frame, QUESTIONS, tokenizer, [], params)
        assert table.groupby("row")["truncated"].all().tolist() == [lost, False, False]
        assert table.groupby("row")["truncated"].any().tolist() == [lost, False, False]


def test_each_token_of_a_text_is_new_in_one_window(tokenizer) -> None:
    frame = pd.DataFrame({"row": ["x:1", "x:2"], "text": [LONG, "one two"]})
    shape = SHAPES["generation"]
    table, _ = encoding.encode(frame, shape, tokenizer, [], limits("window", source=5))
    whole = tokenizer(LONG)["input_ids"]
    first = table[table["row"] == "x:1"]
    assert all(len(ids) <= 5 for ids in first["source"])
    new = [number for ids, shared in zip(first["source"], first["shared"], strict=True) for number in ids[shared:]]
    assert new == whole
    for ids, before, shared in zip(first["source"][1:], first["source"], first["shared"][1:], strict=False):
        assert shared >= 1  # there is always a token to predict the next from
        assert ids[:shared].tolist() == before[-shared:].tolist()
    assert table[table["row"] == "x:2"]["source"].iloc[0].tolist() == tokenizer("one two")["input_ids"]


def test_windows_are_refused_where_a_text_is_read_as_one(tokenizer) -> None:
    for shape, frame in ((PAIRS, pairs(("one", "uno"))), (CLASSES, classes(("one", "1")))):
        with pytest.raises(InputError, match="question_answering and generation"):
            encoding.encode(frame, shape, tokenizer, ["1"], limits("window"))


def test_windows_survive_the_disk(tokenizer, tmp_path: Path) -> None:
    frame = questions((LONG, "uno dos", "four five", LONG.index("four")), ("one", "uno", "", -1))
    table, _ = encoding.encode(frame, QUESTIONS, tokenizer, [], limits("window", source=9))
    encoding.write(table, tmp_path / "x.arrow")
    back = encoding.read(tmp_path / "x.arrow")
    assert list(back) == ["row", "source", "span", "places", "shared", "truncated"]
    for name in ("source", "span", "places"):
        assert [ids.tolist() for ids in back[name]] == [ids.tolist() for ids in table[name]]
    assert back["shared"].tolist() == table["shared"].tolist()


def test_a_call_that_pads_and_cuts_leaves_nothing_behind(tokenizer, tmp_path: Path) -> None:
    frame = pairs(("one two", "uno dos."), ("three", "tres"), ("one two three four", "uno"))
    before, _ = encoding.encode(frame, PAIRS, tokenizer, [], limits(target=9))
    vocabulary.save(tokenizer, tmp_path / "before")
    tokenizer(["one two three", "one"], padding=True, truncation=True, max_length=4)
    after, _ = encoding.encode(frame, PAIRS, tokenizer, [], limits(target=9))
    assert [ids.tolist() for ids in after["source"]] == [ids.tolist() for ids in before["source"]]
    tokenizer(["one two three", "one"], padding=True, truncation=True, max_length=4)
    vocabulary.save(tokenizer, tmp_path / "after")
    name = "tokenizer.json"
    assert (tmp_path / "after" / name).read_bytes() == (tmp_path / "before" / name).read_bytes()
