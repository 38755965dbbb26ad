from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from attention_lab import vocabulary
from attention_lab.errors import InputError
from attention_lab.params import Vocab
from attention_lab.records import SHAPES

# Characters that fall into every branch of the pre-tokenizer, and the marks that other tokenizers reserve.
LETTERS = "abeé漢ß\u0301"
MARKS = ".,('#<>/_▁€"
SPACE = " \t\n"
KINDS = list(vocabulary.KINDS)


def vocab(kind: str, *, size: int = 400, min_frequency: int = 1) -> Vocab:
    return Vocab(tokenizer=kind, shared=True, size=size, min_frequency=min_frequency, max_unknown_share=0.05)


def corpus(rows: int = 300, seed: int = 7) -> list[str]:
    """Words of syllables with a skewed frequency, marks with and without a space before them."""
    source = random.Random(seed)
    syllables = ["ka", "lo", "mi", "tu", "ren", "son", "der", "ing", "ß", "é"]
    words = ["".join(source.choices(syllables, k=source.randint(1, 4))) for _ in range(120)]
    weights = [1 / (i + 1) for i in range(len(words))]
    return [
        " ".join(source.choices(words, weights, k=source.randint(2, 9))) + source.choice([".", " !", " (x)", "'s"])
        for _ in range(rows)
    ]


TEXTS = corpus()
ALL_CHARACTERS = [
    *TEXTS,
    *(f"{one}{two}" for one in LETTERS + MARKS + SPACE for two in LETTERS + MARKS + SPACE),
]


@pytest.fixture(scope="module", params=KINDS)
def complete(request: pytest.FixtureRequest):
    """A tokenizer that knows every character of the alphabet above (`word`: every word of TEXTS)."""
    return vocabulary.train(ALL_CHARACTERS, vocab(request.param, size=1200), None)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def back(tokenizer, text: str) -> str:
    return tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=LETTERS + MARKS + SPACE, max_size=40))
def test_any_text_of_known_tokens_comes_back_exactly(complete, text: str) -> None:
    ids = complete(text)["input_ids"]
    assert ids[0] == vocabulary.BOS_ID
    assert ids[-1] == vocabulary.EOS_ID
    assert all(0 <= number < len(complete) for number in ids)
    assert set(ids[1:-1]).isdisjoint({vocabulary.PAD_ID, vocabulary.BOS_ID, vocabulary.EOS_ID, vocabulary.MASK_ID})
    if vocabulary.UNK_ID not in ids:
        assert back(complete, text) == text


def test_characters_known_to_a_subword_tokenizer_are_never_unknown() -> None:
    text = "".join(LETTERS + MARKS) * 2
    for name in ("character", "bpe", "wordpiece", "unigram"):
        tokenizer = vocabulary.train(ALL_CHARACTERS, vocab(name, size=1200), None)
        assert vocabulary.unknown_share(tokenizer, [text, *TEXTS]) == 0.0, name
        assert [back(tokenizer, t) for t in [text, *TEXTS[:50]]] == [text, *TEXTS[:50]], name


def test_words_and_marks_are_tokens_of_their_own_with_the_space_before_them() -> None:
    text = "Hi, (you) and don't !"
    tokenizer = vocabulary.train([text], vocab("word"), None)
    assert tokenizer.tokenize(text) == [" Hi", ",", " (", "you", ")", " and", " don", "'", "t", " !"]


def test_special_tokens_have_fixed_ids_and_are_no_part_of_a_users_text(complete) -> None:
    assert tuple(complete.convert_ids_to_tokens(range(5))) == vocabulary.SPECIALS
    assert complete.pad_token_id == 0
    assert complete.unk_token_id == 1
    assert complete.bos_token_id == 2
    assert complete.eos_token_id == 3
    assert complete.mask_token_id == 4
    ids = complete("a <s> b</s><pad> <mask>")["input_ids"]
    assert set(ids[1:-1]).isdisjoint({0, 2, 3, 4})


def test_the_same_texts_give_the_same_bytes_in_any_order_of_runs(kind: str, tmp_path: Path) -> None:
    normaliser = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    for name in ("one", "two", "three"):
        vocabulary.save(vocabulary.train(TEXTS, vocab(kind, size=150), normaliser), tmp_path / name)
    vocabulary.save(vocabulary.load(tmp_path / "one"), tmp_path / "again")
    for file in vocabulary.FILES:
        first = (tmp_path / "one" / file).read_bytes()
        assert all((tmp_path / name / file).read_bytes() == first for name in ("two", "three", "again"))
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(vocabulary.FILES)


def test_a_saved_tokenizer_loads_as_any_hugging_face_tokenizer(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = vocabulary.train(TEXTS, vocab(kind), normalizers.Lowercase())
    vocabulary.save(tokenizer, tmp_path)
    text = "KALO mi <s> (x)."
    expected = tokenizer(text)["input_ids"]
    for loaded in (vocabulary.load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert loaded(text)["input_ids"] == expected
        assert loaded.decode(expected) == tokenizer.decode(expected)
        assert len(loaded) == len(tokenizer)


def test_a_prompt_has_no_end_where_transformers_reads_it(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = vocabulary.train(TEXTS, vocab(kind, size=150), None)
    vocabulary.save(tokenizer, tmp_path / "texts")
    vocabulary.save(vocabulary.for_prompts(tokenizer), tmp_path / "prompts")
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path / "prompts"), vocabulary.load(tmp_path / "prompts")
    whole = tokenizer("kalo mi")["input_ids"]
    assert theirs("kalo mi")["input_ids"] == whole[:-1]
    longer, shorter = theirs(["kalo mi", "kalo"], padding=True)["input_ids"]
    alone = theirs("kalo")["input_ids"]
    assert shorter == [vocabulary.PAD_ID] * (len(longer) - len(alone)) + alone
    assert ours("kalo mi")["input_ids"] == whole
    spelled = tokenizer.decode(whole[1:-1])
    assert ours.decode(whole[1:-1]) == spelled
    assert theirs.decode(whole[1:-1]) == ("" if kind == "character" else " ") + spelled
    vocabulary.save(ours, tmp_path / "again")
    for file in vocabulary.FILES:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "texts" / file).read_bytes()


def test_a_target_has_a_tokenizer_of_its_own_or_shares_one(tmp_path: Path) -> None:
    source, target = (vocabulary.train([text], vocab("word"), None) for text in ("the cat", "die kleine Katze"))
    vocabulary.save(source, tmp_path, target)
    vocabulary.save(target, tmp_path / "alone")
    for file in vocabulary.FILES:
        assert (tmp_path / "target" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    own = vocabulary.load_target(tmp_path)
    assert own is not None
    assert [len(vocabulary.load(tmp_path)), len(own)] == [5 + 2, 5 + 3]
    (tmp_path / "target" / "tokenizer.json").rename(tmp_path / "moved.json")
    with pytest.raises(InputError, match=r"target/tokenizer\.json: there is no such file"):
        vocabulary.load_target(tmp_path)
    (tmp_path / "moved.json").rename(tmp_path / "target" / "tokenizer.json")
    vocabulary.save(source, tmp_path)
    assert not (tmp_path / "target").exists()
    assert vocabulary.load_target(tmp_path) is None


def test_which_columns_have_a_vocabulary_together() -> None:
    assert SHAPES["summarization"].vocabularies(shared=False) == {"source": ("document",), "target": ("summary",)}
    for name, shape in SHAPES.items():
        assert shape.vocabularies(shared=True) == {"": shape.texts}
        assert (len(shape.vocabularies(shared=False)) == 2) == (name in ("translation", "summarization"))


def test_frequency_and_size_bound_the_vocabulary(kind: str) -> None:
    tokenizer = vocabulary.train(TEXTS, vocab(kind, size=100), None)
    assert len(tokenizer) <= 100
    texts = ["aaa aaa bbb bbb", "aaa bbb aaa z"]
    tokens = vocabulary.train(texts, vocab(kind, min_frequency=2), None).get_vocab()
    assert not any("z" in token for token in tokens)
    assert any("a" in token for token in tokens if token not in vocabulary.SPECIALS)


def test_the_word_vocabulary_keeps_the_most_frequent_ties_by_name() -> None:
    tokens = vocabulary.train(["b b c a d d d"] * 10, vocab("word", size=32), None).get_vocab()
    assert sorted(tokens, key=tokens.__getitem__)[5:] == [" d", " b", " a", " c"]


@pytest.mark.parametrize("name", ["bpe", "wordpiece", "unigram"])
def test_a_size_below_the_alphabet_is_refused_with_what_is_needed(name: str) -> None:
    texts = ["".join(chr(0x4E00 + i) for i in range(60))]
    with pytest.raises(InputError, match=r"vocab\.size 32 is too small.* need \d+ entries.* raise vocab\.size"):
        vocabulary.train(texts, vocab(name, size=32), None)


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_text_is_refused(kind: str, texts: list[str]) -> None:
    with pytest.raises(InputError, match="no training text"):
        vocabulary.train(texts, vocab(kind), None)


def test_a_frequency_that_nothing_reaches_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match=r"lower vocab\.min_frequency"):
        vocabulary.train(["ab"], vocab(kind, min_frequency=9), None)


@pytest.mark.parametrize("name", vocabulary.FILES)
def test_a_damaged_tokenizer_is_named_with_the_remedy(name: str, tmp_path: Path) -> None:
    vocabulary.save(vocabulary.train(["a b"], vocab("word", min_frequency=1), None), tmp_path)
    (tmp_path / name).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"holds a tokenizer that cannot be read \(.*\); copy all of its files"):
        vocabulary.load(tmp_path)


def test_a_missing_tokenizer_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tokenizer\.json: there is no such file; `dvc repro vocab`"):
        vocabulary.load(tmp_path)


@pytest.mark.parametrize("text", ["kalo (mi) x", "kalo  mi.", "don't x", "mi", "a\nb c", ""])
def test_words_of_tokens_are_counted_as_split_does(complete, text: str) -> None:
    encoding = complete(text, return_offsets_mapping=True)
    numbers = vocabulary.words(encoding["offset_mapping"], text)
    assert numbers[0] is None
    assert numbers[-1] is None
    assert None not in numbers[1:-1]
    # Each token's own characters, the space aside, stand in the word it is said to belong to.
    for number, (start, end) in zip(numbers[1:-1], encoding["offset_mapping"][1:-1], strict=True):
        assert text[start:end].strip(" ") in text.split(" ")[number]
    assert {n for n in numbers if n is not None} >= {i for i, word in enumerate(text.split(" ")) if word}


def test_padding_belongs_to_no_word(complete) -> None:
    batch = complete(["mi", "mi mi mi"], padding=True, return_offsets_mapping=True)
    numbers = vocabulary.words(batch["offset_mapping"][0], "mi")
    assert [n for n, i in zip(numbers, batch["input_ids"][0], strict=True) if i == vocabulary.PAD_ID] == [None] * (
        batch["input_ids"][0].count(vocabulary.PAD_ID)
    )


def test_the_share_of_unknown_tokens_counts_no_special_tokens() -> None:
    tokenizer = vocabulary.train(["a b"], vocab("word"), None)
    assert vocabulary.unknown_share(tokenizer, ["a b", "a x"]) == 0.25
    assert vocabulary.unknown_share(tokenizer, []) == 0.0
    assert vocabulary.unknown_words(tokenizer, ["a x x", "y b"], 2) == ["x", "y"]
    assert tokenizer.decode(tokenizer("a x b")["input_ids"]) == "<s> a <unk> b</s>"


def test_labels_are_a_sorted_set_and_numbers_sort_as_numbers() -> None:
    assert vocabulary.labels(["pos", "neg", "pos"]) == ["neg", "pos"]
    assert vocabulary.labels(["10", "2", "-1"]) == ["-1", "2", "10"]
