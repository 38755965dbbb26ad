"""BPE dropout: the text stays the same, its pieces do not, and no generator but ours has a say."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from attention_lab import encoding, vocabulary
from attention_lab.batching import Examples
from attention_lab.errors import InputError
from attention_lab.params import load
from attention_lab.segmentation import Merges, Resegmented

PARAMS = load(Path(__file__).parents[2] / "params.yaml")
TEXTS = [
    f"{who} {what} {whom}, {how}."
    for who in ("the singer", "a singing bird", "the ringing bell")
    for what in ("brings", "is bringing", "wrings")
    for whom in ("the stringent king", "a king's string", "some springs")
    for how in ("lingering", "in spring")
]


def tokenizer(kind: str = "bpe") -> PreTrainedTokenizerFast:
    chosen = PARAMS.vocab.model_copy(update={"tokenizer": kind, "size": 89, "min_frequency": 1})
    return vocabulary.train(TEXTS, chosen, None)


def encoded(texts: list[str]) -> list[np.ndarray]:
    return [np.array(e.ids, dtype=np.int32) for e in tokenizer().backend_tokenizer.encode_batch_fast(texts)]


def resegmented(share: float, seed: int = 5, **limits: int) -> Resegmented:
    examples = Examples(encoded(TEXTS), encoded(TEXTS[::-1]), pad=0)
    return Resegmented(examples, tokenizer(), share, PARAMS.encode.model_copy(update=limits), seed)


def same(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_with_nothing_left_out_the_pieces_are_those_of_the_tokenizer() -> None:
    examples = resegmented(0.0)
    assert all(words is not None for side in examples.sides for words in side.words)
    assert same(examples.of_epoch(3).source, encoded(TEXTS))
    assert same(examples.of_epoch(3).target, encoded(TEXTS[::-1]))


def test_the_text_stays_the_same_and_becomes_longer_in_pieces() -> None:
    examples, decode = resegmented(0.2), tokenizer().backend_tokenizer.decode
    found = examples.of_epoch(0)
    assert [decode(row.tolist()) for row in found.source] == TEXTS
    assert found.target is not None
    assert [decode(row.tolist()) for row in found.target] == TEXTS[::-1]
    assert found.lengths.sum() > 1.1 * examples.lengths.sum()
    assert all(row[0] == vocabulary.BOS_ID and row[-1] == vocabulary.EOS_ID for row in found.source)
    assert found.predictions([2, 5]) == int(found.lengths[[2, 5], 1].sum()) - 2


def test_each_side_is_cut_by_its_own_merges() -> None:
    chosen = PARAMS.vocab.model_copy(update={"tokenizer": "bpe", "size": 97, "min_frequency": 1})
    written = [text.upper() for text in TEXTS]
    of_target = vocabulary.train(written, chosen, None)
    rows = [np.array(ids, dtype=np.int32) for ids in of_target(written)["input_ids"]]
    examples = Resegmented(Examples(encoded(TEXTS), rows, pad=0), tokenizer(), 0.2, PARAMS.encode, 5, of_target)
    found = examples.of_epoch(0)
    assert found.target is not None
    assert [tokenizer().backend_tokenizer.decode(row.tolist()) for row in found.source] == TEXTS
    assert [of_target.backend_tokenizer.decode(row.tolist()) for row in found.target] == written
    assert (found.lengths.sum(0) > 1.1 * examples.lengths.sum(0)).all()


def test_what_is_drawn_is_a_function_of_seed_and_epoch() -> None:
    examples = resegmented(0.2)
    first = examples.of_epoch(0)
    second = examples.of_epoch(1)
    assert not same(first.source, second.source)
    assert same(resegmented(0.2).of_epoch(1).source, second.source)
    assert same(examples.of_epoch(0).target, first.target)
    assert not same(resegmented(0.2, seed=6).of_epoch(0).source, first.source)


def test_merges_are_left_out_with_the_probability_that_is_asked_for() -> None:
    """ab, then abc: the first with 1 − p, the second with 1 − p more; bc, of lower rank, where ab was left out."""
    number = {name: i for i, name in enumerate(["a", "b", "c", "ab", "bc", "abc"])}
    model = models.BPE(number, [("a", "b"), ("b", "c"), ("ab", "c")])
    merges = Merges(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model)))
    lots, times, p = random.Random(1), 20_000, 0.3
    names = {i: name for name, i in number.items()}
    counts = Counter(
        " ".join(names[token] for token in merges.apply(merges.characters("abc"), p, lots)) for _ in range(times)
    )
    expected = {"abc": (1 - p) ** 2, "ab c": (1 - p) * p, "a bc": p * (1 - p), "a b c": p * p}
    assert counts.keys() == expected.keys()
    for pieces, share in expected.items():
        assert abs(counts[pieces] - share * times) < 4.0 * (times * share * (1.0 - share)) ** 0.5


def test_texts_that_cannot_be_read_back_stay_as_they_are() -> None:
    unknown, cut = encoded(["the singer brings Q.", TEXTS[0]])
    cut = np.append(cut[:4], cut[-1])  # in the middle of a word, whose pieces would be others
    assert vocabulary.UNK_ID in unknown
    examples = Resegmented(Examples([unknown, cut], pad=0), tokenizer(), 0.5, PARAMS.encode, 5)
    for epoch in range(5):
        assert same(examples.of_epoch(epoch).source[:1], [unknown])
    assert examples.sides[0].words[0] is None


def test_no_text_becomes_longer_than_allowed() -> None:
    limit = max(map(len, encoded(TEXTS)))
    free, bound = resegmented(0.3).of_epoch(0), resegmented(0.3, max_source_tokens=limit).of_epoch(0)
    expected = [new if len(new) <= limit else old for new, old in zip(free.source, encoded(TEXTS), strict=True)]
    assert same(bound.source, expected)
    assert not same(bound.source, free.source)
    assert same(bound.target, free.target)


@pytest.mark.parametrize("kind", ["word", "character", "wordpiece", "unigram"])
def test_another_tokenizer_is_refused_with_a_sentence(kind: str) -> None:
    with pytest.raises(InputError, match=r"train\.subword_dropout .* set vocab\.tokenizer to bpe"):
        Merges(tokenizer(kind))


@pytest.mark.parametrize("known", [{"span": np.array([[1, 2]])}, {"shared": np.array([0])}])
def test_what_is_known_by_the_number_of_a_token_is_refused_with_a_sentence(known: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"train\.subword_dropout cannot .* located by their tokens; set it to 0"):
        Resegmented(Examples(encoded(TEXTS[:1]), pad=0, **known), tokenizer(), 0.1, PARAMS.encode, 5)


def test_rows_of_the_encode_stage_are_understood(tmp_path: Path) -> None:
    import pandas as pd

    from attention_lab.batching import examples
    from attention_lab.records import SHAPES

    frame = pd.DataFrame({"row": [str(i) for i in range(len(TEXTS))], "text": TEXTS})
    table, _ = encoding.encode(frame, SHAPES["generation"], tokenizer(), [], PARAMS.encode)
    encoding.write(table, tmp_path / "train.arrow")
    rows = Resegmented(examples(encoding.read(tmp_path / "train.arrow"), 0), tokenizer(), 0.2, PARAMS.encode, 5)
    decode = tokenizer().backend_tokenizer.decode
    assert [decode(row.tolist()) for row in rows.of_epoch(0).source] == TEXTS
    assert not same(rows.of_epoch(0).source, rows.source)
