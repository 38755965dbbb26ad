"""Short descriptions for a language model, with the exact probability of every text.

Texts are independent draws from a probabilistic context-free grammar. None is rejected, so the mean of -log_probability
estimates the language's true entropy, and no model can have a lower expected loss. The long-range dependencies are:

- number: the verb agrees with its noun across relative clauses and other nouns between them, and so does the pronoun
  in the next sentence;
- gender: the person named in the first sentence is "he" or "she", "his" or "her" in all others;
- topic: the first sentence decides which nouns, verbs and adjectives may follow;
- brackets and quotation marks are closed.

The split is drawn independently of the text. So valid and test are further draws from the same language: they measure
how well a model has learned the distribution, not how it copes with pairs unseen in training, and a text could in
principle occur in two splits (12,000 rows contain no text twice, see the tests).

A text's probability is the sum over its derivations, computed by the inside algorithm (Baker 1979, "Trainable grammars
for speech recognition"). Words and marks are the tokens of the project's `word` tokenizer; the end of the text follows
from the grammar and is part of the probability.
"""

from __future__ import annotations

import math
import re
from functools import cache
from itertools import product
from random import Random

import pandas as pd

from attention_lab.corpora.grammar import Grammar, Rule, rule
from attention_lab.errors import InputError

MOST = 100_000  # rows; in that many draws, about one text occurs twice

NUMBERS = ("sg", "pl")
NAMES = {
    "f": "Anna Clara Emma Grace Julia Laura Maria Rosa",
    "m": "Ben David Felix Henry Jack Leo Martin Oscar",
}
PRONOUNS = {"f": ("she", "her", "sisters"), "m": ("he", "his", "brothers")}  # subject, possessive, brothers and sisters
# Nouns, places and verbs are written singular/plural; for a verb that is the number of its subject.
TOPICS = {
    "farm": {
        "homes": "lives on a <Look> farm; works on a <Look> farm; has bought a <Look> farm",
        "nouns": "dog/dogs horse/horses cow/cows goat/goats hen/hens",
        "places": "barn/barns field/fields gate/gates stable/stables",
        "does": "sleeps/sleep waits/wait rests/rest eats/eat",
        "done": "feeds/feed brushes/brush watches/watch counts/count",
        "qualities": "hungry tired young noisy brown",
    },
    "harbour": {
        "homes": "lives in a <Look> harbour; works in a <Look> harbour; has come to a <Look> harbour",
        "nouns": "boat/boats ship/ships ferry/ferries canoe/canoes raft/rafts",
        "places": "bridge/bridges lighthouse/lighthouses island/islands rock/rocks",
        "does": "drifts/drift sinks/sink turns/turn floats/float",
        "done": "paints/paint repairs/repair sails/sail steers/steer",
        "qualities": "crowded rusty fast slow white",
    },
    "kitchen": {
        "homes": "works in a <Look> bakery; cooks in a <Look> kitchen; has opened a <Look> bakery",
        "nouns": "cake/cakes pie/pies tart/tarts roll/rolls pizza/pizzas",
        "places": "oven/ovens shelf/shelves basket/baskets plate/plates",
        "does": "cools/cool stands/stand lies/lie steams/steam",
        "done": "bakes/bake tastes/taste sells/sell slices/slice",
        "qualities": "sweet warm fresh salty crisp",
    },
    "garden": {
        "homes": "lives beside a <Look> garden; works in a <Look> garden; has planted a <Look> garden",
        "nouns": "rose/roses tulip/tulips lily/lilies daisy/daisies cactus/cactuses",
        "places": "wall/walls pond/ponds path/paths fence/fences",
        "does": "grows/grow blooms/bloom fades/fade spreads/spread",
        "done": "waters/water plants/plant cuts/cut picks/pick",
        "qualities": "tall wild pink yellow thirsty",
    },
}
WORDS = {
    "Look": "small; large; famous; quiet; modern; lonely",
    "Kind": "small; large; pretty; old; strange",
    "Mood": "cheerful; patient; proud; curious; shy; generous",
    "Near.sg": "behind; near; beside; in front of; next to",
    "Near.pl": "behind; near; beside; in front of; next to; between",
    "When": "every morning; every evening; on Sundays; in summer; in winter; after lunch; before breakfast; at night",
    "Degree": "very; rather; quite; too",
    "Count": "three; four; five; six",
    "Says": "says; thinks; writes; repeats",
    "Person.sg": "neighbour; child; visitor; teacher",
    "Person.pl": "neighbours; children; visitors; teachers",
    "Likes": "like; love; miss; need",
    "It.sg": "it",
    "It.pl": "they",
    "Them.sg": "it",
    "Them.pl": "them",
    "Be.sg": "is; looks; seems",
    "Be.pl": "are; look; seem",
    "One.sg": "one; a single; another",
    "One.pl": "two; several; many",
}


# --- the grammar --------------------------------------------------------------------------------------------------


def word_rules() -> list[Rule]:
    rules = [rule(left, word) for left, text in WORDS.items() for word in text.split("; ")]
    for gender, names in NAMES.items():
        rules += [rule(f"Name.{gender}", name) for name in names.split()]
    for topic, entry in TOPICS.items():
        rules += [rule(f"Home.{topic}", text) for text in entry["homes"].split("; ")]
        rules += [rule(f"Quality.{topic}", word) for word in entry["qualities"].split()]
        for left, name in (("Noun", "nouns"), ("Place", "places"), ("Does", "does"), ("Done", "done")):
            for pair in entry[name].split():
                rules += [rule(f"{left}.{topic}.{n}", word) for n, word in zip(NUMBERS, pair.split("/"), strict=True)]
        rules += [rule(f"Where.{topic}", f"<Near.{n}> the <Place.{topic}.{n}>") for n in NUMBERS]
    return rules


def phrase_rules() -> list[Rule]:
    """Subject.topic.number.gender and Predicate.topic.number, which agree in number."""
    rules = []
    for topic, number in product(TOPICS, NUMBERS):
        predicate, bare, noun = (f"{name}.{topic}.{number}" for name in ("Predicate", "Bare", "Noun"))
        rules.append(rule(bare, f"<{noun}>", weight=2))
        rules.append(rule(bare, f"<Kind> <{noun}>"))
        rules.append(rule(predicate, f"<Does.{topic}.{number}> <Where.{topic}>", weight=2))
        rules.append(rule(predicate, f"<Does.{topic}.{number}> <When>"))
        rules.append(rule(predicate, f"<Be.{number}> <Degree> <Quality.{topic}>", weight=2))
        for gender, (he, _, _) in PRONOUNS.items():
            subject, after = f"Subject.{topic}.{number}.{gender}", f"After.{topic}.{number}.{gender}"
            rules.append(rule(subject, f"the <{bare}>"))
            rules.append(rule(subject, f"the <{bare}> <{after}>", weight=4))
            rules.append(rule(after, f"<Where.{topic}>", weight=2))
            rules.append(rule(after, f"that <Does.{topic}.{number}> <Where.{topic}>"))
            rules.append(rule(after, f"that {he} <Done.{topic}.sg> <When>", weight=2))
            rules.append(rule(after, f"( which <Be.{number}> <Quality.{topic}> )"))
            for other in NUMBERS:
                rules.append(rule(after, f"that the <Person.{other}> <Where.{topic}> <Done.{topic}.{other}>"))
    return rules


def sentence_rules() -> list[Rule]:
    """Open introduces a person and a place; One is a single sentence, Two a pair that shares the number of a noun."""
    rules = []
    for topic, (gender, (he, his, siblings)) in product(TOPICS, PRONOUNS.items()):
        key = f"{topic}.{gender}"
        name, home = f"<Name.{gender}>", f"<Home.{topic}>"
        rules.append(rule(f"Open.{key}", f"{name} {home} .", weight=2))
        rules.append(rule(f"Open.{key}", f"{name} , who is <Mood> , {home} ."))
        rules.append(rule(f"Open.{key}", f"{name} ( the youngest of <Count> {siblings} ) {home} ."))
        rules.append(rule(f"Open.{key}", f"{name} is <Mood> and {home} ."))
        for number in NUMBERS:
            subject, predicate = f"<Subject.{topic}.{number}.{gender}>", f"<Predicate.{topic}.{number}>"
            thing, done = f"<Bare.{topic}.{number}>", f"<Done.{topic}.sg>"
            one, two = f"One.{key}", f"Two.{key}"
            rules.append(rule(one, f"{subject} {predicate} .", weight=3))
            rules.append(rule(one, f"<When> {he} {done} {his} {thing} ."))
            rules.append(rule(one, f"{he} {done} <One.{number}> {thing} <When> ."))
            rules.append(rule(one, f"{he} <Says> : “ We <Likes> the {thing} <Where.{topic}> ” ."))
            rules.append(
                rule(two, f"{subject} {predicate} . <It.{number}> {predicate.replace('>', '#2>')} .", weight=3)
            )
            rules.append(rule(two, f"{he} {done} {his} {thing} <When> . <It.{number}> {predicate} ."))
            rules.append(
                rule(two, f"{he} {done} <One.{number}> {thing} . {he} <Says> : “ I <Likes> <Them.{number}> ” .")
            )
        text, opening = f"Text.{key}", f"<Open.{key}>"
        rules.append(rule("Text", f"<{text}>"))
        for following, weight in (
            (f"<One.{key}>", 1),
            (f"<One.{key}> <One.{key}#2>", 2),
            (f"<Two.{key}>", 2),
            (f"<One.{key}> <Two.{key}>", 2),
            (f"<Two.{key}> <One.{key}>", 2),
            (f"<One.{key}> <One.{key}#2> <One.{key}#3>", 1),
        ):
            rules.append(rule(text, f"{opening} {following}", weight=weight))
    return rules


# --- texts and their probability ----------------------------------------------------------------------------------

OPENING, CLOSING = "(“", ")”.,:"
PARTS = re.compile(rf"[{OPENING}{CLOSING}]|[^\s{OPENING}{CLOSING}]+")


def join(words: list[str]) -> str:
    """Join words and marks in the only way they are written: marks attach to what they enclose or end."""
    return re.sub(rf"([{OPENING}]) | ([{CLOSING}])", r"\1\2", " ".join(words))


class Language:
    """The distribution of a grammar's texts; the grammar must be one-sided and without left recursion."""

    def __init__(self, rules: list[Rule], start: str) -> None:
        self.grammar = Grammar(rules)
        self.start = start
        # Symbol → its right-hand sides, each as its probability and items: (word, "") or (None, child symbol).
        self.expansions: dict[str, list[tuple[float, list[tuple[str | None, str]]]]] = {}
        for left, choices in self.grammar.rules.items():
            total = sum(one.weight for one in choices)
            self.expansions[left] = [
                (
                    one.weight / total,
                    [(i.word, "") if i.word is not None else (None, one.children[i.child]) for i in one.source[0]],
                )
                for one in choices
            ]

    def draw(self, random: Random) -> str:
        return join(self.grammar.derive(self.start, random).source)

    def entropy(self) -> float:
        """The expected -log probability (nats) of a derivation; also that of a text if each has one derivation."""

        @cache
        def of(symbol: str) -> float:
            return sum(
                probability * (sum(of(child) for word, child in items if word is None) - math.log(probability))
                for probability, items in self.expansions[symbol]
            )

        return of(self.start)

    def log_probability(self, text: str) -> float:
        """The log (nats) of the probability that `draw` returns this text; -inf if it never does."""
        parts = PARTS.findall(text)
        inside: dict[tuple[str, int], dict[int, float]] = {}

        def said(word: str, place: int) -> bool:
            if place == len(parts):
                return False
            begins = place == 0 or parts[place - 1] in ".?!"
            return parts[place] == (word[0].upper() + word[1:] if begins else word)

        def ends(symbol: str, begin: int) -> dict[int, float]:
            """Each place where a symbol that begins here can end → the total probability of its derivations there."""
            if (symbol, begin) not in inside:
                found: dict[int, float] = {}
                for probability, items in self.expansions[symbol]:
                    reached = {begin: probability}
                    for word, child in items:
                        further: dict[int, float] = {}
                        for place, so_far in reached.items():
                            if word is not None:
                                if said(word, place):
                                    further[place + 1] = further.get(place + 1, 0.0) + so_far
                            else:
                                for end, own in ends(child, place).items():
                                    further[end] = further.get(end, 0.0) + so_far * own
                        reached = further
                        if not reached:
                            break
                    for end, own in reached.items():
                        found[end] = found.get(end, 0.0) + own
                inside[symbol, begin] = found
            return inside[symbol, begin]

        total = ends(self.start, 0).get(len(parts), 0.0)
        return math.log(total) if total > 0 and text == join(parts) else -math.inf


@cache
def language() -> Language:
    return Language(word_rules() + phrase_rules() + sentence_rules(), "Text")


def log_probability(text: str) -> float:
    """The exact log (nats) of the probability of a whole text, including its end; -inf if it is not in the language."""
    return language().log_probability(text)


def entropy() -> float:
    """The exact entropy of a text (nats), to which the mean of -log_probability tends. Each text has one derivation."""
    return language().entropy()


def generate(size: int, seed: int) -> pd.DataFrame:
    """`size` independent draws: columns row, split (drawn independently), text, true_nats (−log p of the text)."""
    if not 1 <= size <= MOST:
        raise InputError(f"The embedded corpus can have 1 to {MOST} rows, not {size}: change data.size.")
    random = Random(seed)
    texts = [language().draw(random) for _ in range(size)]
    held = size // 10
    splits = ["train"] * (size - 2 * held) + ["valid"] * held + ["test"] * held
    random.shuffle(splits)
    return pd.DataFrame(
        {
            "row": [f"embedded:{n}" for n in range(1, size + 1)],
            "split": splits,
            "text": texts,
            "true_nats": [-log_probability(text) for text in texts],
        }
    )
