"""Nouns, adjectives and their phrases in the English–German grammar: gender, case, endings, contractions."""

from __future__ import annotations

from itertools import product

from attention_lab.corpora.grammar import Rule, rule
from attention_lab.corpora.lexicon import (
    ADJECTIVES,
    CASES,
    COMPARATIVES,
    CONTRACTED,
    GENDERS,
    GENITIVE,
    MASS,
    MIXED,
    NOUNS,
    POSSESSIVES,
    RELATIVES,
    WEAK,
    article,
    entries,
    linked,
)


def noun_rules() -> list[Rule]:
    """N.set.gender.case → a noun; A.set.ending → an adjective; AC.set → a comparative."""
    rules = []
    for kind, text in NOUNS.items():
        for (one, many), (word, gender, plural) in entries(text):
            weak = gender == "mn"
            head = one.replace("_", " ")
            for case in CASES:
                form = oblique(word) if weak and case != "nominative" else word
                rules.append(rule(f"N.{kind}.{gender[0]}.{case}", *linked(one, form), head=head))
                if many != "-":
                    form = plural + "n" if case == "dative" and plural[-1] not in "ns" else plural
                    rules.append(rule(f"N.{kind}.pl.{case}", *linked(many, form), head=head))
            if word in GENITIVE:
                rules.append(rule(f"N.owner.{gender[0]}", *linked(one, GENITIVE[word]), head=head))
    for (english,), stems, kinds in entries(ADJECTIVES):
        stem, alone = stems[0], stems[-1]
        for kind in kinds:
            for ending in ("e", "en", "er", "es"):
                rules.append(rule(f"A.{kind}.{ending}", english, stem + ending, head=english))
            rules.append(rule(f"A.{kind}", english, alone, head=english))
    for (english,), (german,), kinds in entries(COMPARATIVES):
        for kind in kinds:
            rules.append(rule(f"AC.{kind}", *linked(english, german), head=english))
    return rules


def oblique(word: str) -> str:
    """Weak masculine nouns outside the nominative: Junge, den Jungen; Bär, den Bären."""
    return word + ("n" if word[-1] in "er" and word != "Bär" else "en")


def genders(kind: str) -> dict[str, int]:
    """How many nouns of a set have each gender; plural counts as a gender."""
    count = dict.fromkeys(GENDERS, 0)
    for (_, many), (_, gender, _) in entries(NOUNS[kind]):
        count[gender[0]] += 1
        count["pl"] += many != "-"
    return count


def phrase_rules() -> list[Rule]:
    """NP.set.number.case.definite: a noun phrase. number: sg, pl; definite: def, indef, kein."""
    rules = []
    adjectives = {kind for _, _, kinds in entries(ADJECTIVES) for kind in kinds}
    for kind, case in product(NOUNS, CASES):
        for gender, count in genders(kind).items():
            if not count:
                continue
            number = "pl" if gender == "pl" else "sg"
            noun = f"N.{kind}.{gender}.{case}"
            place = GENDERS.index(gender)
            for name, ending in (
                ("weak", WEAK[case].split()[place]),
                ("mixed", MIXED[case].split()[place]),
                ("strong", {"dative": "en"}.get(case, "e")),
            ):
                bar = f"{noun}.{name}"
                share = {"weak": 0.22, "mixed": 0.4, "strong": 0.25}[name]  # "mixed" has the most endings to learn
                rules.append(rule(bar, f"<{noun}>", f"<{noun}>", weight=1 - share))
                if kind in adjectives:
                    adjective = f"A.{kind}.{ending}"
                    both = f"<{adjective}> <{noun}>"
                    rules.append(rule(bar, both, both, weight=share, head=noun, bonds=[(adjective, noun)]))
            np = f"NP.{kind}.{number}.{case}"

            def add(
                definite: str,
                english: str,
                german: str,
                ending: str,
                weight: float,
                *,
                np: str = np,
                noun: str = noun,
                count: int = count,
            ) -> None:
                bar = f"<{noun}.{ending}>"
                rules.append(rule(f"{np}.{definite}", f"{english} {bar}", f"{german} {bar}", weight=weight * count))

            owned = kind == "kin"
            if not owned:
                add("def", "the~d", article("der", case, gender) + "~d", "weak", 6.0)
                this = "these" if number == "pl" else "this"
                for definite in ("def", "this"):
                    add(definite, f"{this}~d", article("dies", case, gender) + "~d", "weak", 1.0)
                if number == "sg" and kind not in MASS:
                    add("each", "every~d", article("jed", case, gender) + "~d", "weak", 1.0)
            for english, german in POSSESSIVES.items():
                often = {"kin": 1.0, "person": 0.0}.get(kind, 0.5)
                add("def", f"{english}~d", article(german, case, gender) + "~d", "mixed", often)
            if case == "nominative" and kind in RELATIVES:
                the, bar = article("der", case, gender), f"{noun}.weak"
                for relative in RELATIVES[kind]:
                    rel = f"{relative}.{kind}.{gender}"
                    text = f"the~d <{bar}> <{rel}>", f"{the}~d <{bar}> , <{rel}> ,"
                    rules.append(rule(f"{np}.rel", *text, weight=count, head=bar, bonds=[(rel, bar)]))
            ein, kein = article("ein", case, gender), article("kein", case, gender)
            if kind in MASS:
                add("indef", "", "", "strong", 1.0)
                add("kein", "", f"{kein}~neg", "mixed", 1.0)
            elif number == "sg" and not owned:
                add("indef", "a~d", f"{ein}~d", "mixed", 1.0)
                add("kein", "a~d", f"{kein}~d~neg", "mixed", 1.0)
            elif number == "pl" and not owned:
                add("indef", "", "", "strong", 1.0)
                add("indef", "two~d", "zwei~d", "strong", 0.25)
                add("indef", "many~d", "viele~d" if case != "dative" else "vielen~d", "strong", 0.25)
                add("kein", "", f"{kein}~neg", "mixed", 1.0)
    # "the roof of the house": das Dach des Hauses
    for gender, of in (("m", "des"), ("f", "der"), ("n", "des")):
        if any(g[0] == gender and w in GENITIVE for _, (w, g, _) in entries(NOUNS["inside"])):
            weight = 3.0 if gender == "n" else 2.0
            owner = f"<N.owner.{gender}>"
            rules.append(rule("Owner", f"of~g the~g {owner}", f"{of}~g {owner}", weight=weight))
    for case, number in product(CASES, ("sg", "pl")):
        np = f"NP.part.{number}.{case}.def"
        rules.append(rule(f"NP.owned.{number}.{case}.def", f"<{np}> <Owner>", f"<{np}> <Owner>", head=np))
    # "in the garden": im Garten; "into the garden": in den Garten; "to the church": zur Kirche
    locations = (
        ("inside", "in", "in", 11),
        ("island", "on", "auf", 2),
        ("market", "at", "auf", 1),
        ("station", "at", "an", 1),
    )
    for kind, english, german, count in locations:
        rules.append(rule("Place", f"<At.{kind}>", f"<At.{kind}>", weight=count))
        rules += prepositional(f"At.{kind}", kind, english, german, "dative")
        rules.append(rule("Goal", f"<To.{kind}>", f"<To.{kind}>", weight=count))
        if kind == "inside":
            rules += prepositional(f"To.{kind}", kind, "into", "in", "accusative")
        rules += prepositional(f"To.{kind}", kind, "to", "zu", "dative")
    return rules


def prepositional(left: str, kind: str, english: str, german: str, case: str) -> list[Rule]:
    """A preposition with a singular phrase; it contracts with the definite article where German has a form for that."""
    rules = []
    for gender, count in genders(kind).items():
        if not count or gender == "pl":
            continue
        noun = f"<N.{kind}.{gender}.{case}.weak>"
        der = article("der", case, gender)
        melted = CONTRACTED.get(f"{german} {der}")
        target = f"{melted}~p~d" if melted else f"{german}~p {der}~d"
        rules.append(rule(left, f"{english}~p the~d {noun}", f"{target} {noun}", weight=5 * count))
        dies = article("dies", case, gender)
        rules.append(rule(left, f"{english}~p this~d {noun}", f"{german}~p {dies}~d {noun}", weight=count))
        noun = noun.replace("weak", "mixed")
        ein = article("ein", case, gender)
        rules.append(rule(left, f"{english}~p a~d {noun}", f"{german}~p {ein}~d {noun}", weight=count))
    return rules
