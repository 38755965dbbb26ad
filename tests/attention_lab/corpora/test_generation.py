"""The embedded descriptions: their probabilities are exact, by enumeration, by derivation and by Monte Carlo."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random

import pandas as pd
import pytest

from attention_lab import params, vocabulary
from attention_lab.cleaning import normaliser
from attention_lab.corpora import generation
from attention_lab.corpora.generation import NAMES, PRONOUNS, Language, entropy, generate, join, language
from attention_lab.corpora.generation import log_probability as log_p
from attention_lab.corpora.grammar import Grammar, Rule, Token, rule, spell
from attention_lab.errors import InputError

SIZE = 3000
PARAMS = params.load(Path(__file__).parents[3] / "params.yaml")


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return generate(SIZE, 7)


def derivations(grammar: Grammar, symbol: str) -> Iterator[tuple[float, list[str]]]:
    """Every derivation: its probability and its words."""
    total = sum(one.weight for one in grammar.rules[symbol])
    for one in grammar.rules[symbol]:
        parts = [
            [(1.0, [item.word])] if item.word is not None else list(derivations(grammar, one.children[item.child]))
            for item in one.source[0]
        ]
        for chosen in product(*parts):
            yield one.weight / total * math.prod(p for p, _ in chosen), [word for _, words in chosen for word in words]


def enumerated(rules: list[Rule], start: str) -> dict[str, float]:
    """Text → probability, by going through all derivations."""
    found: dict[str, float] = defaultdict(float)
    for probability, words in derivations(Grammar(rules), start):
        found[write(words)] += probability
    return found


def write(words: list[str]) -> str:
    return join(spell([[Token(word) for word in words]])[0])


AMBIGUOUS = [
    rule("S", "<A> <B> .", weight=2),
    rule("S", "<B> , <A> ."),
    rule("A", "a", weight=3),
    rule("A", "a b"),
    rule("A", "“ <B> ”"),
    rule("B", "b b", weight=2),
    rule("B", "b"),
    rule("B", "b : <C>", weight=0.5),
    rule("C", "c . d", weight=5),
    rule("C", "c"),
]


@pytest.mark.parametrize(
    ("rules", "start"),
    [
        (AMBIGUOUS, "S"),
        (generation.word_rules() + generation.sentence_rules() + generation.phrase_rules(), "Open.farm.f"),
        (generation.word_rules() + generation.sentence_rules() + generation.phrase_rules(), "Predicate.garden.pl"),
    ],
)
def test_probabilities_are_those_of_full_enumeration(rules: list[Rule], start: str) -> None:
    expected, found = enumerated(rules, start), Language(rules, start)
    assert sum(expected.values()) == pytest.approx(1, abs=1e-12)
    for text, probability in expected.items():
        assert found.log_probability(text) == pytest.approx(math.log(probability), abs=1e-12), text


def test_a_text_with_two_derivations_has_the_sum_of_both() -> None:
    # S is "A B ." with 2/3; "a" "b b" has 3/5 · 4/7 and "a b" "b" has 1/5 · 2/7.
    assert Language(AMBIGUOUS, "S").log_probability("A b b.") == pytest.approx(math.log(2 / 3 * (12 / 35 + 2 / 35)))


def test_a_drawn_text_has_the_probability_of_its_only_derivation() -> None:
    """Derived here once more, rule by rule: were there a second derivation, the text would be more probable."""
    grammar, random = language().grammar, Random(3)

    def derive(symbol: str) -> tuple[float, list[str]]:
        one = grammar.choose(symbol, random)
        logarithm, words = math.log(one.weight / sum(other.weight for other in grammar.rules[symbol])), []
        for item in one.source[0]:
            if item.word is not None:
                words.append(item.word)
            else:
                part, said = derive(one.children[item.child])
                logarithm, words = logarithm + part, words + said
        return logarithm, words

    for _ in range(300):
        logarithm, words = derive("Text")
        text = write(words)
        assert log_p(text) == pytest.approx(logarithm, abs=1e-9), text


def test_the_mean_over_draws_is_the_entropy(frame: pd.DataFrame) -> None:
    error = frame.true_nats.std() / math.sqrt(SIZE)
    assert abs(frame.true_nats.mean() - entropy()) < 4 * error
    assert error < 0.01 * entropy()


def test_texts_come_as_often_as_they_should(frame: pd.DataFrame) -> None:
    """Monte Carlo for the whole: how often a name opens, and how often a text has so many sentences."""
    names = [name for text in NAMES.values() for name in text.split()]
    count = Counter(text.split(" ")[0].rstrip(",") for text in frame.text)
    for name in names:
        share = 1 / len(names)
        assert abs(count[name] - SIZE * share) < 4 * math.sqrt(SIZE * share * (1 - share))
    sentences = frame.text.str.count(r"\.")
    assert set(sentences) == {2, 3, 4}
    for number, share in ((2, 0.1), (3, 0.4), (4, 0.5)):
        assert abs((sentences == number).sum() - SIZE * share) < 4 * math.sqrt(SIZE * share * (1 - share))


TEXTS = (
    "Oscar (the youngest of five brothers) works in a quiet garden. Every morning he plants his small tulip. "
    "He says: “We love the rose next to the wall”.",
    "Oscar is proud and works in a lonely garden. He waters one tulip. He says: “I love it”. "
    "The tulip that the visitors near the paths water looks too pink.",
    "Oscar works in a quiet bakery. The cake that stands behind the plates cools near the ovens.",
    "Oscar works in a quiet garden. The tulip behind the fences grows beside the walls. It fades in winter.",
)


@pytest.mark.parametrize(
    "change",
    [
        ("He waters", "She waters"),  # gender
        ("his small", "her small"),
        ("that stands", "that stand"),  # number over a relative clause
        ("looks", "look"),
        ("It fades", "They fade"),  # number over a sentence
        ("tulip", "goat"),  # topic
        ("bakery", "farm"),
        ("brothers)", "brothers"),  # brackets and quotation marks
        ("next to the wall”", "next to the wall"),
        (" Every", " every"),  # spelling
        (" Every", "  Every"),
        ("winter.", "winter"),  # the end
        ("winter.", "winter. It fades in winter."),
        ("Oscar", "Otto"),  # an unknown word
    ],
)
def test_what_is_no_text_has_no_probability(change: tuple[str, str]) -> None:
    touched = [text for text in TEXTS if change[0] in text]
    assert touched
    for text in touched:
        assert log_p(text) > -math.inf, text
        assert log_p(text.replace(*change)) == -math.inf, change


def test_columns_size_and_splits(frame: pd.DataFrame) -> None:
    assert list(frame.columns) == ["row", "split", "text", "true_nats"]
    assert frame.row.tolist() == [f"embedded:{n}" for n in range(1, SIZE + 1)]
    assert frame.split.value_counts().to_dict() == {"train": 2400, "valid": 300, "test": 300}


def test_the_split_knows_nothing_of_the_text(frame: pd.DataFrame) -> None:
    """The mean log probability of each split is that of all, within four standard errors."""
    for _, part in frame.groupby("split"):
        error = frame.true_nats.std() / math.sqrt(len(part))
        assert abs(part.true_nats.mean() - frame.true_nats.mean()) < 4 * error


def test_the_seed_decides() -> None:
    first, again, other = generate(50, 1), generate(50, 1), generate(50, 2)
    pd.testing.assert_frame_equal(first, again)
    assert first.text.tolist() != other.text.tolist()


@pytest.mark.parametrize("size", [0, -3, 10**9])
def test_a_size_out_of_range_is_the_users_mistake(size: int) -> None:
    with pytest.raises(InputError, match=r"data\.size"):
        generate(size, 0)


def test_duplicates_are_so_rare_that_none_is_lost(frame: pd.DataFrame) -> None:
    """The expected number of equal pairs is n (n - 1) / 2 times the sum of squared probabilities, E[p]."""
    assert frame.text.is_unique
    collision = (-frame.true_nats).map(math.exp).mean()
    assert 12_000 * 11_999 / 2 * collision < 0.02


def test_cleaning_and_the_word_tokenizer_change_nothing(frame: pd.DataFrame) -> None:
    """So a model's loss in tokens and the true probability are about the same strings, one to one."""
    normal = normaliser(PARAMS.clean)
    vocab = PARAMS.vocab.model_copy(update={"tokenizer": "word", "min_frequency": 1})
    tokenizer = vocabulary.train(frame.text, vocab, normal)
    assert tokenizer.backend_tokenizer.get_vocab_size() <= 300 + len(vocabulary.SPECIALS)
    for text in frame.text[:500]:
        assert normal.normalize_str(text) == text
        ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        assert vocabulary.UNK_ID not in ids
        assert tokenizer.decode(ids) == text
        assert len(ids) == len(generation.PARTS.findall(text))


def test_the_pronoun_is_that_of_the_name(frame: pd.DataFrame) -> None:
    seen = 0
    for text in frame.text:
        gender = next(g for g, names in NAMES.items() if text.split(" ")[0].rstrip(",") in names.split())
        words = {word.lower() for word in generation.PARTS.findall(text)}
        other = PRONOUNS["f" if gender == "m" else "m"]
        assert words.isdisjoint(other)
        seen += not words.isdisjoint(PRONOUNS[gender])
    assert seen > 0.7 * SIZE
