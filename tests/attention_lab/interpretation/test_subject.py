"""Which rows of a split are looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import PARAMS, tokenizer_of

from attention_lab import encoding
from attention_lab.interpretation.subject import Subject, openings
from attention_lab.interpretation.weights import words_of
from attention_lab.records import SHAPES


def subject(task: str, pairs: int) -> Subject:
    options = PARAMS.interpret.model_copy(update={"explained_pairs": pairs})
    nothing: Any = None
    return Subject(nothing, {}, {}, nothing, SHAPES[task], options, 1, "cpu")


@pytest.mark.parametrize(
    ("task", "pairs", "wanted"),
    [
        ("translation", 21, ["b"]),  # 3 · 7
        ("translation", 46, ["b", "c"]),  # … and 5 · 5
        ("translation", 45, ["b"]),
        ("translation", 95, ["a", "b", "c"]),
        ("generation", 34, ["b", "c"]),  # each token looks at those before it: 3² + 5²
        ("sentiment", 18, ["a", "b", "c"]),  # one output: 3 + 5 + 10
        ("sentiment", 8, ["b", "c"]),
    ],
)
def test_the_shortest_are_explained_that_together_have_no_more_pairs(task: str, pairs: int, wanted: list[str]) -> None:
    sizes = {"a": (10, 4), "b": (3, 7), "c": (5, 5)}
    rows = pd.DataFrame(
        [{"row": name, "source": np.arange(s), "target": np.arange(t)} for name, (s, t) in sizes.items()],
        index=[4, 9, 2],
    )
    assert subject(task, pairs).affordable(rows)["row"].tolist() == wanted


@pytest.mark.parametrize("kind", ["word", "character", "bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("limit", [6, 9, 17])
def test_of_windows_the_words_of_the_first_are_kept_whole(kind: str, limit: int) -> None:
    """Tokens and words still belong together: what is kept is the beginning of the text's tokens."""
    texts = [
        "red green blue black white brown grey pink " * 3 + "red",
        "pink",
        "redgreenblueblackwhitebrowngreypink " * 2,
    ]
    tokenizer, shape = tokenizer_of([*texts, "reds green"], kind), SHAPES["generation"]
    frame = pd.DataFrame({"row": list("abc"), "text": [text.strip() for text in texts]})
    options = PARAMS.encode.model_copy(update={"overflow": "window", "max_source_tokens": limit, "overlap": 2})
    encoded = encoding.encode(frame, shape, tokenizer, [], options)[0]
    assert encoded["row"].duplicated().any()
    kept, records = openings(encoded, frame, tokenizer, shape)
    assert kept["row"].tolist() == records["row"].tolist() == ["a", "b", "c"]
    assert "shared" not in kept
    words = words_of(records["text"].tolist(), kept["source"].tolist(), tokenizer, list("abc"))
    longer = encoded["row"][encoded["shared"] > 0].tolist()
    for number, row in enumerate("abc"):
        whole, text = frame["text"][number], records["text"][number]
        assert 0 < len(text) <= len(whole)
        assert whole.startswith(text)
        assert len(kept["source"][number]) <= limit
        if row in longer:
            assert words[number].owners[-1] == len(text.split(" ")) - 1  # its last token is one of its last word
    assert whole_words(frame["text"][0], records["text"][0])
    assert frame.loc[1].equals(records.loc[1])  # a text that fits stays as it is


def whole_words(text: str, opening: str) -> bool:
    return text.split(" ")[: len(opening.split(" "))] == opening.split(" ")


def test_texts_without_windows_and_answers_in_windows_stay_as_they_are() -> None:
    encoded = pd.DataFrame({"row": ["a", "a"], "source": [[2, 5], [2, 6]], "shared": [0, 1]})
    frame = pd.DataFrame({"row": ["a"], "text": ["red"]})
    tokenizer = tokenizer_of(["red"])
    for given, shape in ((encoded, "question_answering"), (encoded.drop(columns="shared"), "generation")):
        same = openings(given, frame, tokenizer, SHAPES[shape])
        assert same[0] is given
        assert same[1] is frame
