"""Subword merging and rollout against plain loops; collected weights against the model row by row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted import PARAMS, WORDS, config, encoded_of, tokenizer_of

from attention_lab import encoding
from attention_lab.interpretation.weights import collect, merge, rollout, words_of
from attention_lab.records import SHAPES
from attention_lab.transformer import EncoderDecoder, build


def rows_of_one(generator: np.random.Generator, *shape: int) -> np.ndarray:
    weights = generator.random(shape)
    return weights / weights.sum(-1, keepdims=True)


@given(
    st.lists(st.sampled_from([None, 0, 1, 2]), min_size=1, max_size=7),
    st.lists(st.sampled_from([None, 0, 1, 2, 3, 4]), min_size=1, max_size=7),
    st.integers(0, 999),
)
def test_merging_is_the_plain_loop(queries: list[int | None], keys: list[int | None], seed: int) -> None:
    weights = rows_of_one(np.random.default_rng(seed), 2, 3, len(queries), len(keys))
    merged = merge(weights, queries, keys, query_words=3, key_words=5)
    assert merged.shape == (2, 3, 3, 5)
    for query in range(3):
        pieces = [t for t, word in enumerate(queries) if word == query]
        for key in range(5):
            sums = [sum(weights[1, 2, t, s] for s, word in enumerate(keys) if word == key) for t in pieces]
            assert merged[1, 2, query, key] == pytest.approx(sum(sums) / len(sums) if sums else 0.0)


def test_what_special_tokens_get_is_missing_and_not_scaled_up() -> None:
    weights = np.array([[0.5, 0.2, 0.3]])
    assert merge(weights, [0], [None, 0, 1], query_words=1, key_words=2) == pytest.approx(np.array([[0.2, 0.3]]))


def test_rollout_is_the_plain_loop_and_keeps_rows_of_one() -> None:
    weights = rows_of_one(np.random.default_rng(3), 3, 2, 5, 5)
    expected = np.eye(5)
    for layer in weights:
        mixed = np.zeros((5, 5))
        for i in range(5):
            for j in range(5):
                mixed[i, j] = 0.5 * (layer[0, i, j] + layer[1, i, j]) / 2 + 0.5 * (i == j)
        expected = mixed @ expected
    assert rollout(weights) == pytest.approx(expected)
    assert rollout(weights).sum(-1) == pytest.approx(np.ones(5))


def test_rollout_goes_from_the_last_layer_to_the_input() -> None:
    """Position 0 reads 1 in the last layer, 1 reads 2 in the first: so 0 sees 2; the other way round it would not."""
    first, last = np.eye(3), np.eye(3)
    first[1], last[0] = [0, 0, 1], [0, 1, 0]
    assert rollout(np.stack([first, last])[:, None])[0, 2] == pytest.approx(0.25)
    assert rollout(np.stack([last, first])[:, None])[0, 2] == 0.0


def test_words_of_pieces_and_cut_texts() -> None:
    tokenizer = tokenizer_of(["ab abc, abd."], kind="character")
    texts = ["ab abc,", "ab abc,"]
    whole = tokenizer(texts[0])["input_ids"]
    cut = [*whole[:4], 3]
    found = words_of(texts, [np.array(whole), np.array(cut)], tokenizer, ["a:1", "a:2"])
    assert found[0].words == found[1].words == ["ab", "abc,"]
    assert found[0].owners == [None, 0, 0, None, 1, 1, 1, None, None]  # the space and the comma are no letters
    assert found[1].owners == [None, 0, 0, None, None]


def test_ids_of_another_text_are_refused() -> None:
    tokenizer = tokenizer_of(["one two"])
    with pytest.raises(ValueError, match="a:1"):
        words_of(["one two"], [np.array(tokenizer("two one")["input_ids"])], tokenizer, ["a:1"])


def test_collected_rows_are_those_of_the_model_alone_without_padding() -> None:
    tokenizer = tokenizer_of([" ".join(WORDS)])
    frame = pd.DataFrame(
        {
            "row": ["x:1", "x:2", "x:3"],
            "split": "test",
            "source": ["red green blue", "red", "blue black"],
            "target": ["green", "pink white grey brown", "black red"],
            "alignment": None,
        }
    )
    encoded = encoded_of(frame, "translation", tokenizer, [])
    torch.manual_seed(1)
    model = build(config(len(tokenizer)))
    assert isinstance(model, EncoderDecoder)
    # records in another order and with a row more: the join is by name
    records = pd.concat([frame[::-1], frame[:1].assign(row="x:4")])
    found = {row.row: row for row in collect(model, encoded, records, tokenizer, SHAPES["translation"], "cpu")}
    assert set(found) == {"x:1", "x:2", "x:3"}
    for number, name in enumerate(encoded["row"]):
        source = torch.from_numpy(encoded["source"][number].astype(np.int64))[None]
        target = torch.from_numpy(encoded["target"][number].astype(np.int64))[None]
        _, seen = model(source, source > 0, target[:, :-1], weights=True)
        row = found[name]
        assert row.cross is not None
        assert row.target is not None
        assert row.source.words == frame["source"][number].split(" ")
        assert row.cross == pytest.approx(torch.stack(seen.cross)[:, 0].detach().numpy(), abs=1e-6)
        assert row.own == pytest.approx(torch.stack(seen.encoder_self)[:, 0].detach().numpy(), abs=1e-6)
        assert row.cross_words("input").shape == (2, 3, len(row.target.words), len(row.source.words))


def test_words_of_a_target_are_those_of_its_own_tokenizer() -> None:
    source, target = tokenizer_of(["red green"]), tokenizer_of(["red green blue, white"], "character")
    frame = pd.DataFrame({"row": ["x:1"], "source": ["green red"], "target": ["blue, white"], "alignment": None})
    encoded, _ = encoding.encode(frame, SHAPES["translation"], source, [], PARAMS.encode, target)
    model = build(config(len(source), target_vocabulary=len(target)))
    (row,) = collect(model, encoded, frame, source, SHAPES["translation"], "cpu", target)
    assert row.target is not None
    assert row.target.words == ["blue,", "white"]
    assert row.target.owners == [
        None,
        0,
        0,
        0,
        0,
        None,
        None,
        1,
        1,
        1,
        1,
        1,
        None,
    ]  # the mark and the space stand alone
    assert row.source.owners == [None, 0, 1, None]
    assert row.cross_words("predicting").shape == (2, 3, 2, 2)


def test_no_rows_give_nothing() -> None:
    tokenizer = tokenizer_of(["a"])
    frame = pd.DataFrame({"row": [], "split": [], "source": [], "target": [], "alignment": []})
    empty = pd.DataFrame({"row": [], "source": [], "target": [], "truncated": []})
    model = build(config(len(tokenizer)))
    assert list(collect(model, empty, frame, tokenizer, SHAPES["translation"], "cpu")) == []
