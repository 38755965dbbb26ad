"""The grammar engine, on toy grammars small enough to know the answer by hand."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from attention_lab.corpora.grammar import Candidate, Grammar, corpus, held_out, rule, split_of
from attention_lab.errors import InputError

# Subject and verb swap, the verb comes in two pieces, and "not" meets "kein" from another constituent.
TOY = Grammar(
    [
        rule("S", "<NP> does~v not~neg <V> <O> .", "gestern <V/1> <NP> <O> <V/2> ."),
        rule("NP", "the~d <N>", "die~d <N>"),
        rule("N", "cat", "Katze", head="cat"),
        rule("V", "call", "ruft | an", head="call"),
        rule("O", "a~d dog~n", "keinen~d~neg Hund~n"),
    ]
)


def test_links_follow_the_derivation() -> None:
    found = TOY.derive("S", Random(1))
    assert found.source == ["The", "cat", "does", "not", "call", "a", "dog."]
    assert found.target == ["Gestern", "ruft", "die", "Katze", "keinen", "Hund", "an."]
    # the-die, cat-Katze, not-keinen, call-ruft, call-an, a-keinen, dog-Hund; "does" has no partner here.
    assert found.links == [(0, 2), (1, 3), (3, 4), (4, 1), (4, 6), (5, 4), (6, 5)]
    assert found.marks == {"v": [2]}


def test_a_label_links_in_the_lowest_constituent_that_has_both_sides() -> None:
    toy = Grammar(
        [
            rule("S", "<A> and <A#2>", "<A#2> und <A>"),
            rule("A", "a~x", "ah~x", weight=1),
            rule("A", "b~x", "be~x", weight=1),
        ]
    )
    for seed in range(20):
        found = toy.derive("S", Random(seed))
        assert found.links == [(0, 2), (2, 0)], "each A links within itself, not with the other"


def test_two_equal_symbols_are_expanded_apart() -> None:
    toy = Grammar([rule("S", "<A> <A#2>", "<A#2> <A>"), rule("A", "a", "a"), rule("A", "b", "b")])
    seen = set()
    for seed in range(60):
        found = toy.derive("S", Random(seed))
        assert [w.lower() for w in found.source] == [w.lower() for w in reversed(found.target)]
        seen.add(tuple(found.source))
    assert len(seen) == 4


def test_one_side_gives_marks() -> None:
    toy = Grammar([rule("S", "it was not~why <A>~why , they say"), rule("A", "very good", head="good")])
    found = toy.derive("S", Random(0))
    assert found.source == ["It", "was", "not", "very", "good,", "they", "say"]
    assert found.marks == {"why": [2, 3, 4]}
    assert (found.target, found.links) == ([], [])


def test_weights_are_respected() -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 5.0}
    toy = Grammar([rule("S", word, weight=weight) for word, weight in weights.items()])
    random = Random(11)
    count = Counter(toy.derive("S", random).source[0].lower() for _ in range(4000))
    expected = [4000 * weight / 8 for weight in weights.values()]
    assert chisquare([count[word] for word in weights], expected).pvalue > 0.001


def test_a_rule_of_weight_zero_is_never_used() -> None:
    toy = Grammar([rule("S", "a", weight=0.0), rule("S", "b")])
    assert {toy.derive("S", Random(seed)).source[0] for seed in range(50)} == {"B"}


def test_bonds_are_pairs_of_heads() -> None:
    toy = Grammar(
        [
            rule("VP", "<V> <NP>", bonds=[("V", "NP")]),
            rule("NP", "the <A> <N>", head="N", bonds=[("A", "N")]),
            rule("A", "old", head="old"),
            rule("N", "houses", head="house"),
            rule("V", "sees", head="see"),
        ]
    )
    assert toy.derive("VP", Random(0)).bonds == {("see", "house"), ("old", "house")}


def test_an_unknown_symbol_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"no rule for 'X'; there are rules for .*NP"):
        TOY.derive("X", Random(0))
    with pytest.raises(ValueError, match="'S' uses 'NP', for which there is no rule"):
        Grammar([rule("S", "<NP>")])


@pytest.mark.parametrize("text", ["<NP", "<NP>x", "a>b"])
def test_a_rule_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        rule("S", text)


def test_a_comma_gives_way_to_a_full_stop() -> None:
    toy = Grammar([rule("S", "this , that , . then , ?")])
    assert toy.derive("S", Random(0)).source == ["This,", "that.", "Then?"]


# --- corpus: splits and pairs held out -------------------------------------------------------------------------

LETTERS = [f"w{n}" for n in range(40)]


def pair(random: Random, stratum: str = "") -> Candidate:
    a, b, c = (random.choice(LETTERS) for _ in range(3))
    text = f"{stratum} {a} {b} {c}"
    return Candidate(text, frozenset((a, b, c)), frozenset({(a, b), (b, c)}), {"text": text}, stratum=stratum)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 300), seed=st.integers(0, 10_000))
def test_corpus_has_the_size_the_shares_and_no_duplicates(size: int, seed: int) -> None:
    random = Random(seed)
    rows = corpus(lambda *_: pair(random), size=size, most=1000, random=random)
    assert len(rows) == len({one.text for _, one in rows}) == size
    count = Counter(split for split, _ in rows)
    assert count["valid"] == count["test"] == size // 10
    for split, one in rows:
        places = {held_out(bond) for bond in one.bonds} - {None}
        assert places == (set() if split == "train" else {split})


def test_strata_have_equal_shares() -> None:
    random = Random(3)
    rows = corpus(lambda s, _: pair(random, s), size=200, most=1000, random=random, strata=("yes", "no"))
    count = Counter((split, one.stratum) for split, one in rows)
    assert count["train", "yes"] == count["train", "no"] == 80
    assert count["test", "yes"] == count["test", "no"] == 10


def test_a_pair_held_out_belongs_to_no_other_split() -> None:
    bonds = {
        place: next((a, b) for a in LETTERS for b in LETTERS if held_out((a, b)) == place)
        for place in ("valid", "test")
    }
    assert split_of(bonds.values()) is None
    assert split_of([bonds["test"]]) == "test"
    assert split_of([]) == "train"
    assert split_of([], aside=[bonds["test"]]) is None


@pytest.mark.parametrize("size", [0, -1, 1001])
def test_a_size_out_of_range_is_the_users_mistake(size: int) -> None:
    with pytest.raises(InputError, match=r"data\.size"):
        corpus(lambda *_: pair(Random(0)), size=size, most=1000, random=Random(0))


def test_a_grammar_without_enough_sentences_is_the_users_mistake() -> None:
    one = Candidate("only", frozenset({"only"}), frozenset(), {})
    with pytest.raises(InputError, match=r"data\.size"):
        corpus(lambda *_: one, size=5, most=1000, random=Random(0))
