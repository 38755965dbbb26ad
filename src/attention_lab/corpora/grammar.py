"""Probabilistic synchronous grammars: one derivation gives a sentence, its translation and the word alignment.

A synchronous context-free grammar (Aho & Ullman 1969, "Syntax directed translations and the pushdown assembler";
Chiang 2006, "An introduction to synchronous grammars") rewrites a symbol as a pair of strings that contain the same
symbols, in any order:

    VP → ⟨ have read <NP> , habe <NP> gelesen ⟩

Two extensions keep the number of rules small.

- A constituent may have several pieces on either side, separated by `|`, and a rule places each of them:
  `<V/1>` is the first piece of V, `<V/2>` the second. So a German verb bracket is one constituent,
  V → ⟨ calls , ruft | an ⟩ (generalised multitext grammars: Melamed, Satta & Wellington 2004).
- Features such as case, number and gender are part of a symbol's name ("NP.acc.sg"). A rule for all genders is a
  Python loop over the genders, which is what a feature grammar with finitely many values amounts to.

Words are linked by labels: `not~n` on one side and `nicht~n` on the other. A label waits until the lowest constituent
in which both sides have it; there it links all its words and is consumed. A rule that has only words, without labels,
links all of them with each other. In a one-sided grammar labels find no partner, and become marks: for instance the
words that decide a review.

Notation: `word~label`, `<Symbol>`, `<Symbol#2>` (the second of two equal symbols), `<Symbol/2>` (its second piece).
"""

from __future__ import annotations

import itertools
import re
import zlib
from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from attention_lab.errors import InputError

Bond = tuple[str, str]  # two lexical heads that are related, e.g. ("old", "house")

ITEM = re.compile(r"<(?P<symbol>[^>#/]+)(?P<copy>#\d+)?(?:/(?P<piece>\d+))?>|(?P<word>[^\s~<>]+)")
PUNCTUATION = frozenset(",.;:?!")


class Token:
    """One word of one derivation. Compared by identity, since the same word may occur twice in a sentence."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Item(NamedTuple):
    """One place on the right-hand side: a word, or a piece of a child constituent."""

    word: str | None
    child: int
    piece: int
    labels: tuple[str, ...]


Side = tuple[tuple[Item, ...], ...]  # pieces of items


@dataclass(frozen=True)
class Rule:
    """left → ⟨source, target⟩ with a weight; children are the symbols that both sides share.

    head: the lexical head, as a word, or as the number of the child it comes from.
    bonds: pairs of children whose heads are related (such as verb and object), which a corpus may hold out.
    """

    left: str
    children: tuple[str, ...]
    source: Side
    target: Side
    weight: float
    head: str | int | None
    bonds: tuple[tuple[int, int], ...]


@cache
def read_item(text: str) -> tuple[str | None, Item]:
    """Parse an item → the name of its child, or None for a word, and the item (its child not numbered yet)."""
    found = ITEM.match(text)
    labels = tuple(text[found.end() :].split("~")[1:]) if found else ()
    if found is None or (found.end() < len(text) and not labels):
        raise ValueError(f"cannot read {text!r} in a rule: an item is word~label, <Symbol>, <Symbol#2> or <Symbol/2>")
    if found["word"] is not None:
        return None, Item(found["word"], -1, 0, labels)
    return found["symbol"] + (found["copy"] or ""), Item(None, -1, int(found["piece"] or 1) - 1, labels)


def rule(
    left: str,
    source: str,
    target: str = "",
    *,
    weight: float = 1.0,
    head: str | None = None,
    bonds: Iterable[tuple[str, str]] = (),
) -> Rule:
    """Parse a rule in the notation above. `head` and `bonds` name children, as "NP" or "NP#2"; a head that is not the
    name of a child is a word ("" for none). An only child is the head unless `head` is given.
    """
    children: list[str] = []

    def read(side: str) -> Side:
        pieces = []
        for piece in side.split("|"):
            items = []
            for name, item in map(read_item, piece.split()):
                if name is None:
                    items.append(item)
                    continue
                if name not in children:
                    children.append(name)
                items.append(Item(None, children.index(name), item.piece, item.labels))
            pieces.append(tuple(items))
        return tuple(pieces)

    sides = read(source), read(target)
    if not children and not any(item.labels for side in sides for piece in side for item in piece):
        sides = tuple(  # type: ignore[assignment]
            tuple(tuple(Item(i.word, -1, 0, ("=",) if target else ()) for i in piece) for piece in side)
            for side in sides
        )
    return Rule(
        left=left,
        children=tuple(name.partition("#")[0] for name in children),
        source=sides[0],
        target=sides[1],
        weight=weight,
        head=(0 if len(children) == 1 else None)
        if head is None
        else children.index(head)
        if head in children
        else head,
        bonds=tuple((children.index(a), children.index(b)) for a, b in bonds),
    )


Waiting = dict[str, list[Token]]  # labels without a partner so far → their words


@dataclass(slots=True)
class Tree:
    """The derivation of a symbol, before its words are written: rules and lexical heads."""

    rule: Rule
    children: list[Tree]
    head: str | None


@dataclass(slots=True)
class Constituent:
    """The words of a derived symbol, for source and target: pieces of words and waiting labels."""

    sides: tuple[list[list[Token]], list[list[Token]]]
    waiting: tuple[Waiting, Waiting]


@dataclass(frozen=True)
class Derivation:
    """A finished derivation; positions count words from 0, as in `text.split(" ")`.

    source, target: words, with punctuation attached.
    links: pairs (source word, target word), sorted.
    marks: label → source words with that label, which found no partner, sorted.
    bonds: pairs of lexical heads.
    """

    source: list[str]
    target: list[str]
    links: list[tuple[int, int]]
    marks: dict[str, list[int]]
    bonds: frozenset[Bond]


class Grammar:
    """Rules by left-hand side; a rule is chosen with a probability proportional to its weight."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: dict[str, list[Rule]] = {}
        for one in rules:
            if one.weight > 0:
                self.rules.setdefault(one.left, []).append(one)
        self.cumulative = {
            left: list(itertools.accumulate(one.weight for one in choices)) for left, choices in self.rules.items()
        }
        for one in itertools.chain.from_iterable(self.rules.values()):
            for child in one.children:
                if child not in self.rules:
                    raise ValueError(f"the rule for {one.left!r} uses {child!r}, for which there is no rule")

    def choose(self, symbol: str, random: Random) -> Rule:
        if symbol not in self.rules:
            raise ValueError(f"no rule for {symbol!r}; there are rules for {', '.join(sorted(self.rules))}")
        cumulative = self.cumulative[symbol]
        # random() gives the same on every platform and in every Python; the upper bound guards against rounding up.
        return self.rules[symbol][bisect(cumulative, random.random() * cumulative[-1], 0, len(cumulative) - 1)]

    def grow(self, symbol: str, random: Random, bonds: set[Bond]) -> Tree:
        """Rewrite `symbol` until only words are left, and add the bonds met on the way to `bonds`. This is a fifth of
        the work, so a derivation with unwanted bonds can be discarded before its words are written."""
        one = self.choose(symbol, random)
        children = [self.grow(child, random, bonds) for child in one.children]
        for i, j in one.bonds:
            first, second = children[i].head, children[j].head
            if first and second:
                bonds.add((first, second))
        return Tree(one, children, children[one.head].head if isinstance(one.head, int) else one.head)

    def derive(self, symbol: str, random: Random) -> Derivation:
        """Rewrite `symbol` and write its words."""
        bonds: set[Bond] = set()
        return written(self.grow(symbol, random, bonds), bonds)


def written(tree: Tree, bonds: Iterable[Bond]) -> Derivation:
    """The words of a tree, with their links and marks."""
    linked: list[tuple[Token, Token]] = []
    root = constituent(tree, linked)
    source, source_place = spell(root.sides[0])
    target, target_place = spell(root.sides[1])
    links = {(source_place[id(a)], target_place[id(b)]) for a, b in linked}
    marks = {label: sorted({source_place[id(t)] for t in ts}) for label, ts in root.waiting[0].items()}
    return Derivation(source, target, sorted(links), marks, frozenset(bonds))


def constituent(tree: Tree, linked: list[tuple[Token, Token]]) -> Constituent:
    """Both sides of a tree; pairs linked on the way are added to `linked`."""
    children = [constituent(child, linked) for child in tree.children]
    source, from_source = side_of(tree.rule.source, 0, children)
    target, from_target = side_of(tree.rule.target, 1, children)
    if from_source and from_target:
        for label in [label for label in from_source if label in from_target]:
            linked += itertools.product(from_source.pop(label), from_target.pop(label))
    return Constituent((source, target), (from_source, from_target))


def side_of(side: Side, number: int, children: list[Constituent]) -> tuple[list[list[Token]], Waiting]:
    """One side (0 source, 1 target) of a rule whose children are written: its pieces and waiting labels."""
    waiting: Waiting = {}
    for child in children:
        if not waiting:
            waiting = child.waiting[number]  # not copied: a child is written once, and its labels pass to the parent
            continue
        for label, tokens in child.waiting[number].items():
            waiting.setdefault(label, []).extend(tokens)
    pieces = []
    for items in side:
        piece: list[Token] = []
        for word, place, part, labels in items:
            if word is None:
                own = children[place].sides[number]
                tokens = own[part] if part < len(own) else []
            else:
                tokens = [Token(word)]
            for label in labels:
                waiting.setdefault(label, []).extend(tokens)
            piece += tokens
        pieces.append(piece)
    return pieces, waiting


def spell(pieces: list[list[Token]]) -> tuple[list[str], dict[int, int]]:
    """Words with punctuation attached and a capital at the start of each sentence; and id of a token → its word."""
    words: list[str] = []
    place: dict[int, int] = {}
    for token in itertools.chain.from_iterable(pieces):
        if token.text in PUNCTUATION and words:
            words[-1] = words[-1].rstrip(",") + token.text  # a comma gives way to another mark
        else:
            begins = not words or words[-1][-1] in ".?!"
            words.append(token.text[0].upper() + token.text[1:] if begins else token.text)
        place[id(token)] = len(words) - 1
    return words, place


def with_an(words: list[str]) -> list[str]:
    """English words with "a" changed to "an" before a vowel sound."""
    following = [*words[1:], ""]
    return [
        w + "n" if w in ("a", "A") and n[:1] in tuple("aeiou") and not n.startswith("use") else w
        for w, n in zip(words, following, strict=True)
    ]


# --- from derivations to a corpus ------------------------------------------------------------------------------

HELD_OUT_PERCENT = 6  # of the bonds, for valid and test each
KNOWN_WORDS_FROM = 1000  # rows from which on every word of valid and test also occurs in training


@dataclass(frozen=True)
class Candidate:
    """A row before it is assigned to a split.

    words: word forms; those of valid and test must also occur in training.
    bonds: pairs that decide the split; aside: other pairs of the row, none of which may be held out for any split.
    stratum: each split has equal shares of all strata.
    """

    text: str
    words: frozenset[str]
    bonds: frozenset[Bond]
    columns: dict[str, Any] = field(hash=False)
    aside: frozenset[Bond] = frozenset()
    stratum: str = ""


def held_out(bond: Bond) -> str | None:
    """The split that a bond is reserved for, or None: a fixed function of its two words.

    So the pairs that training never sees are the same for every size and seed.
    """
    bucket = zlib.crc32(" ".join(bond).encode()) % 100
    return "test" if bucket < HELD_OUT_PERCENT else "valid" if bucket < 2 * HELD_OUT_PERCENT else None


def split_of(bonds: Iterable[Bond], aside: Iterable[Bond] = ()) -> str | None:
    """train: no held-out bond. valid, test: at least one bond held out for it, and none for the other. Otherwise None;
    also None if a bond of `aside` is held out."""
    if any(map(held_out, aside)):
        return None
    places = {place for place in map(held_out, bonds) if place}
    return "train" if not places else places.pop() if len(places) == 1 else None


Draw = Callable[[str, Callable[[Iterable[Bond]], bool]], Candidate | None]


def corpus(
    draw: Draw, *, size: int, most: int, random: Random, strata: tuple[str, ...] = ("",)
) -> list[tuple[str, Candidate]]:
    """Draw unique rows until train, valid and test have 80, 10 and 10 percent of `size`, in random order.

    draw: called with a stratum and a predicate that tells whether a row with given bonds is still needed; returns a
    candidate, or None to save writing a row that is not. most: number of rows that the grammar is known to give.
    From `KNOWN_WORDS_FROM` rows on, a held-out row with a word that training lacks is replaced by another, so that
    the held-out splits test new combinations, never unknown words.

    Raises:
        InputError: `size` is out of range, or the grammar does not give that many different rows.
    """
    if not 1 <= size <= most:
        raise InputError(f"The embedded corpus can have 1 to {most} rows, not {size}: change data.size.")
    goal: dict[tuple[str, str], int] = {}
    held = size // 10
    for split, share in (("train", size - 2 * held), ("valid", held), ("test", held)):
        for place, stratum in enumerate(strata):
            goal[split, stratum] = share // len(strata) + (place < share % len(strata))
    rows_of: dict[tuple[str, str], list[Candidate]] = {key: [] for key in goal}
    seen: set[str] = set()
    known: set[str] = set()
    bar = tqdm(total=size, desc="generate", unit="row", mininterval=1.0)

    def open_to(bonds: Iterable[Bond]) -> bool:
        split = split_of(bonds)
        return any(len(rows_of[key]) < wanted for key, wanted in goal.items() if key[0] == split)

    def fill(wanted: Callable[[str, Candidate], bool]) -> None:
        tries, limit = 0, 200 * size + 20_000
        while short := [stratum for (split, stratum), n in goal.items() if len(rows_of[split, stratum]) < n]:
            tries += 1
            if tries > limit:
                raise InputError(f"The embedded corpus has no {size} different rows: make data.size smaller.")
            one = draw(short[tries % len(short)], open_to)
            if one is None:
                continue
            split = split_of(one.bonds, one.aside)
            if split is None or one.text in seen or len(rows_of[split, one.stratum]) >= goal[split, one.stratum]:
                continue
            if wanted(split, one):
                seen.add(one.text)
                rows_of[split, one.stratum].append(one)
                bar.update()

    fill(lambda split, one: True)
    if size >= KNOWN_WORDS_FROM:
        known.update(w for (split, _), rows in rows_of.items() if split == "train" for one in rows for w in one.words)
        for (split, _), rows in rows_of.items():
            if split != "train":
                kept = [one for one in rows if one.words <= known]
                bar.update(len(kept) - len(rows))
                rows[:] = kept
        fill(lambda split, one: one.words <= known)
    bar.close()
    chosen = [(split, one) for (split, _), rows in rows_of.items() for one in rows]
    random.shuffle(chosen)
    return chosen


def records_of(rows: Iterable[tuple[str, Candidate]]) -> pd.DataFrame:
    """The rows from `corpus` as a table: columns row, split, and those of the candidates."""
    return pd.DataFrame(
        [{"row": f"embedded:{n}", "split": split, **one.columns} for n, (split, one) in enumerate(rows, 1)]
    )
