"""A corpus of short reviews with gold rationales, from a one-sided grammar.

The label never follows from the words alone; it follows from what is said about the thing reviewed:

- negation reverses a word directly ("not good", "far from boring"), from a distance ("nobody would call the plot
  boring", "I cannot say that the room was clean"), or not at all ("not only dull but also silly");
- the main clause decides over "although" and "despite", and the clause after "but" decides;
- other people's opinions, expectations, other things, and what a story is about decide nothing.

So a bag of words does badly, and a model must see which words belong together. The words that decide (a polarity word
and its negator) are the rationale; an intensifier ("truly") is not part of it, because the label is the same without
it. Valid and test reviews contain pairs of a polarity word with its negator, intensifier or thing that never occur in
training (see `grammar.held_out`), but no new words.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from random import Random

import pandas as pd

from attention_lab.corpora.grammar import Candidate, Derivation, Grammar, Rule, corpus, records_of, rule, with_an

MOST = 100_000  # rows; in that many draws more than nine in ten still differ

LABELS = ("positive", "negative")
OPPOSITE = {"positive": "negative", "negative": "positive"}

# --- words ----------------------------------------------------------------------------------------------------------
# mild: "not good" is clearly negative and "not bad" clearly positive. strong: never negated by "not", because "not
# wonderful" and "not terrible" are debatable; used alone, or after "far from" and "anything but".

ADJECTIVES = {
    ("mild", "positive"): "good pleasant impressive memorable nice appealing",
    ("mild", "negative"): "bad unpleasant disappointing forgettable poor annoying",
    ("strong", "positive"): "wonderful excellent superb brilliant fantastic perfect",
    ("strong", "negative"): "terrible awful horrible dreadful miserable appalling",
}
TOPICS: dict[str, dict[str, str]] = {
    "film": {
        "things": "film",
        "aspects": "acting plot ending music story",
        "positive": "funny exciting original",
        "negative": "boring predictable silly",
    },
    "book": {
        "things": "book",
        "aspects": "plot style ending story beginning",
        "positive": "funny exciting original",
        "negative": "boring predictable silly",
    },
    "hotel": {
        "things": "hotel",
        "aspects": "room bed bathroom lobby balcony",
        "positive": "clean comfortable elegant",
        "negative": "dirty shabby ugly",
    },
    "phone": {
        "things": "phone",
        "aspects": "screen camera keyboard sound battery",
        "positive": "reliable useful elegant",
        "negative": "useless clumsy ugly",
    },
    "restaurant": {
        "things": "restaurant",
        "aspects": "soup dessert fish salad pasta",
        "positive": "tasty fresh original",
        "negative": "bland stale boring",
    },
}
# Past tense and infinitive: what I did to the thing, and what it did to me. Only verbs before the bar may be negated:
# whether "I did not hate it" is praise is debatable.
VERBS = {
    "positive": "enjoyed/enjoy liked/like | loved/love",
    "negative": "disliked/dislike regretted/regret | hated/hate",
}
EFFECTS = {
    "positive": "impressed/impress pleased/please | delighted/delight",
    "negative": "disappointed/disappoint annoyed/annoy | frustrated/frustrate",
}
NOUNS = {
    "positive": "pleasure success triumph",
    "negative": "disaster disappointment failure",
}
NEGATORS = ("not", "never", "hardly", "not at all", "by no means", "far from", "anything but")
STRONG_NEGATORS = ("far from", "anything but")
INTENSIFIERS = ("very", "really", "quite", "truly", "so", "extremely")
PEOPLE = ("my friend", "my sister", "my brother", "our neighbour", "my colleague", "a critic")
MOODS = "good pleasant nice wonderful perfect fantastic bad unpleasant annoying terrible awful dreadful"  # of a day
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "March", "April", "June", "August", "October")
COUNTS = ("two", "three", "four", "five")

# Sentences that say nothing about quality; some contain a negator that does not apply to any polarity word.
FILLERS = {
    "film": (
        "we saw it on <Day> with <Count> friends",
        "the film lasts about <Count> hours",
        "I had not seen the first part",
        "I watched it at home in <Month>",
    ),
    "book": (
        "I read it in <Count> days",
        "my aunt gave me the book in <Month>",
        "I had never read anything by this author",
        "it has <Count> parts and many pages",
    ),
    "hotel": (
        "we stayed there for <Count> nights in <Month>",
        "we arrived on <Day> in the evening",
        "we did not have breakfast there",
        "the hotel is <Count> streets away from the station",
    ),
    "phone": (
        "I bought it in <Month> for my work",
        "I have used it for <Count> weeks",
        "I had never owned one before",
        "it arrived on <Day> in a small box",
    ),
    "restaurant": (
        "we went there on <Day> with <Count> friends",
        "we ordered <Count> dishes and some water",
        "I had never eaten there before",
        "it opened in <Month> near the station",
    ),
}
# Sentences with a polarity word, of either kind, that decides nothing.
DISTRACTORS = {
    "film": ("it is about a <Any> war", "the film tells of a <Any> summer", "it shows a <Any> king and his family"),
    "book": ("it is about a <Any> journey", "the book tells of a <Any> marriage", "the hero is a <Any> teacher"),
    "hotel": ("we came there after a <Any> flight", "we arrived on a <Any> evening"),
    "phone": ("I ordered it on a <Any> evening", "I bought it after a <Any> year"),
    "restaurant": ("we went there after a <Any> day", "we met there on a <Any> evening"),
}


# --- the grammar ------------------------------------------------------------------------------------------------------


def word_rules() -> list[Rule]:
    rules = [
        rule(left, word.replace("_", " "), head=word)
        for left, choices in (
            ("Negator", NEGATORS),
            ("Negator.strong", STRONG_NEGATORS),
            ("Intensifier", INTENSIFIERS),
            ("Person", PEOPLE),
            ("Day", DAYS),
            ("Month", MONTHS),
            ("Count", COUNTS),
        )
        for word in choices
    ]
    for (strength, polarity), text in ADJECTIVES.items():
        for word in text.split():
            for topic in TOPICS:
                rules.append(rule(f"Adjective.{strength}.{polarity}.{topic}", word, head=word))
            rules.append(rule(f"Adjective.{strength}.{polarity}", word, head=word))
    rules += [rule("Any", word, head=word) for word in MOODS.split()]
    for topic, entry in TOPICS.items():
        for polarity in LABELS:
            for word in entry[polarity].split():
                rules.append(rule(f"Adjective.mild.{polarity}.{topic}", word, head=word))
                rules.append(rule(f"Adjective.own.{polarity}.{topic}", word, head=word))
        for word in entry["things"].split():
            # No head, so no pairs to hold out: with so few things, too large a share of each word would be held out.
            rules.append(rule(f"Thing.{topic}", f"the {word}"))
            rules.append(rule(f"Thing.{topic}", f"this {word}"))
        for word in entry["aspects"].split():
            rules.append(rule(f"Aspect.{topic}", f"the {word}", head=word))
        rules.append(rule(f"About.{topic}", f"<Thing.{topic}>", weight=2))
        rules.append(rule(f"About.{topic}", f"<Aspect.{topic}>", weight=3))
    for name, table in (("Verb", VERBS), ("Effect", EFFECTS)):
        for polarity, text in table.items():
            for deniable, pairs in zip((True, False), text.split(" | "), strict=True):
                for past, infinitive in (pair.split("/") for pair in pairs.split()):
                    rules.append(rule(f"{name}.{polarity}", past, head=past))
                    if deniable:
                        rules.append(rule(f"{name}.{polarity}.never", past, head=past))
                        rules.append(rule(f"{name}.{polarity}.not", infinitive, head=infinitive))
    for polarity, text in NOUNS.items():
        for word in text.split():
            rules.append(rule(f"Noun.{polarity}", word, head=word))
    rules.append(rule("Not", "not", head="not"))
    rules.append(rule("Never", "never", head="never"))
    return rules


def clause_rules() -> list[Rule]:
    """Clause.label.topic.role.about: a clause with that verdict on something. role: main has the rationale's marks,
    side does not. Value.label.topic.role: what follows "was".
    """
    rules = []
    for label, topic, role in product(LABELS, TOPICS, ("main", "side")):
        why = "~why" if role == "main" else ""
        often = 1.0 if role == "main" else 0.5  # how often a negator reverses a word
        other = OPPOSITE[label]
        value = f"Value.{label}.{topic}.{role}"
        mild, strong = f"Adjective.mild.{label}.{topic}", f"Adjective.strong.{label}.{topic}"
        turned, turned_strong = f"Adjective.mild.{other}.{topic}", f"Adjective.strong.{other}.{topic}"

        def add(left: str, text: str, weight: float, head: str, *bonds: tuple[str, str]) -> None:
            rules.append(rule(left, text, weight=weight, head=head, bonds=bonds))

        for adjective, weight in ((mild, 3.6), (strong, 2.0)):
            add(value, f"<{adjective}>{why}", weight, adjective)
            bond = "Intensifier", adjective
            add(value, f"<Intensifier> <{adjective}>{why}", 0.5 * weight, adjective, bond)
        add(value, f"<Negator>{why} <{turned}>{why}", 2.6 * often, turned, ("Negator", turned))
        add(
            value,
            f"<Negator.strong>{why} <{turned_strong}>{why}",
            0.5 * often,
            turned_strong,
            ("Negator.strong", turned_strong),
        )
        for about in (f"About.{topic}", f"Thing.{topic}", f"Aspect.{topic}"):
            clause = f"Clause.{label}.{topic}.{role}.{about.partition('.')[0]}"
            add(clause, f"<{about}> was <{value}>", 5.0, "", (value, about))
            # Negation at a distance, and the same frames without it.
            for frame in (
                "nobody~why would call <N> <A>",
                "I cannot~why say that <N> was <A>",
                "I do not~why think that <N> was <A>",
                "nothing~why about <N> was <A>",
            ):
                text = frame.replace("~why", why).replace("<N>", f"<{about}>").replace("<A>", f"<{turned}>{why}")
                add(clause, text, 0.3 * often, "", (turned, about))
            for frame in (
                "everybody would call <N> <A>",
                "I can say that <N> was <A>",
                "I think that <N> was <A>",
                "everything about <N> was <A>",
            ):
                text = frame.replace("<N>", f"<{about}>").replace("<A>", f"<{mild}>{why}")
                add(clause, text, 0.6, "", (mild, about))
            for name, plain, never, denied in (
                ("Verb", "I <V> <N>", "I <Never> <V> <N>", "I did <Not> <V> <N>"),
                ("Effect", "<N> <V> me", "<N> <Never> <V> me", "<N> did <Not> <V> me"),
            ):
                for frame, verb, negator, weight in (
                    (plain, f"{name}.{label}", "", 1.4),
                    (never, f"{name}.{other}.never", "Never", 0.25 * often),
                    (denied, f"{name}.{other}.not", "Not", 0.5 * often),
                ):
                    text = frame.replace("<V>", f"<{verb}>{why}").replace("<N>", f"<{about}>")
                    text = text.replace(f"<{negator}>", f"<{negator}>{why}")
                    add(clause, text, weight, "", (verb, about))
            noun, not_noun = f"Noun.{label}", f"Noun.{other}"
            add(clause, f"<{about}> was a <{noun}>{why}", 0.8, "", (noun, about))
            add(clause, f"<{about}> was <Not>{why} a <{not_noun}>{why}", 0.4 * often, "", (not_noun, about))
            # "not only" negates nothing.
            first, second = f"Adjective.mild.{label}", f"Adjective.own.{label}.{topic}"
            text = f"<{about}> was not only <{first}>{why} but also <{second}>{why}"
            add(clause, text, 1.2, "", (first, about), (second, about))
    return rules


def review_rules() -> list[Rule]:
    """label → a review: neutral sentences and distractors around the part that decides."""
    rules = []
    for topic in TOPICS:
        for text in FILLERS[topic]:
            rules.append(rule(f"Filler.{topic}", text))
        for text in DISTRACTORS[topic]:
            rules.append(rule(f"Distractor.{topic}", text))
        for polarity in LABELS:
            mild = f"<Adjective.mild.{polarity}.{topic}>"
            strong = f"<Adjective.strong.{polarity}.{topic}>"
            thing, aspect = f"<Thing.{topic}>", f"<Aspect.{topic}>"
            for adjective in (mild, strong):
                for text, nouns in (
                    (f"<Person> found {thing} {adjective}", ()),
                    (f"<Person> told me that {aspect} was {adjective}", (aspect,)),
                    (f"<Person> called {thing} {adjective}", ()),
                    (f"I had expected something {adjective}", ()),
                ):
                    bonds = [(adjective[1:-1], noun[1:-1]) for noun in nouns]
                    rules.append(rule(f"Opinion.{polarity}.{topic}", text, head="", bonds=bonds))
                bare, bonds = f"Bare.{topic}", [(adjective[1:-1], f"Bare.{topic}")]
                rules.append(rule(f"Despite.{polarity}.{topic}", f"despite its {adjective} <{bare}>", bonds=bonds))
                rules.append(rule(f"Unlike.{polarity}.{topic}", f"unlike the {adjective} one before"))
        for word in TOPICS[topic]["aspects"].split():
            rules.append(rule(f"Bare.{topic}", word, head=word))
    for label, topic in product(LABELS, TOPICS):
        other = OPPOSITE[label]
        main, thing = f"<Clause.{label}.{topic}.main.About>", f"<Clause.{label}.{topic}.main.Thing>"
        side = f"<Clause.{other}.{topic}.side.Aspect>"
        filler, distractor = f"<Filler.{topic}>", f"<Distractor.{topic}>"
        core, opinion = f"Core.{label}.{topic}", f"<Opinion.{other}.{topic}>"
        agreement = f"<Opinion.{label}.{topic}>"
        despite, unlike = f"<Despite.{other}.{topic}>", f"<Unlike.{other}.{topic}>"
        for text, weight in (
            (f"{main} .", 22.0),
            (f"{agreement} , and {main} .", 1.5),
            (f"although {side} , {thing} .", 1.5),
            (f"{thing} , although {side} .", 1.5),
            (f"{side} , but {thing} .", 1.5),
            (f"{opinion} , but {main} .", 2.0),
            (f"{main} , although {opinion} .", 1.0),
            (f"{despite} , {thing} .", 0.8),
            (f"{unlike} , {thing} .", 0.8),
            (f"{thing} {despite} .", 0.8),
        ):
            rules.append(rule(core, text, weight=weight))
        core = f"<{core}>"
        for text, weight in (
            (f"{filler} . {core}", 3.0),
            (f"{core} {filler} .", 3.0),
            (f"{distractor} . {core}", 1.0),
            (f"{core} {distractor} .", 1.0),
            (f"{distractor} , and {core}", 0.6),
        ):
            rules.append(rule(label, text, weight=weight))
    return rules


@cache
def grammar() -> Grammar:
    return Grammar(word_rules() + clause_rules() + review_rules())


def candidate(label: str, found: Derivation) -> Candidate:
    words = with_an(found.source)
    forms = [word.strip(".,") for word in words]
    rationale = found.marks["why"]
    deciding = {forms[i] for i in rationale}
    bonds = frozenset(bond for bond in found.bonds if not deciding.isdisjoint(bond))
    columns = {"text": " ".join(words), "label": label, "rationale": rationale}
    return Candidate(" ".join(words), frozenset(forms), bonds, columns, found.bonds - bonds, label)


def generate(size: int, seed: int) -> pd.DataFrame:
    """`size` reviews with columns row, split, text, label (positive, negative), rationale ([word, …])."""
    random = Random(seed)
    rules = grammar()
    rows = corpus(
        lambda label, _: candidate(label, rules.derive(label, random)),
        size=size,
        most=MOST,
        random=random,
        strata=LABELS,
    )
    return records_of(rows)
