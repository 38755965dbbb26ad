"""An English–German corpus with gold word alignments, from a synchronous grammar written by hand.

What a model has to learn is what makes the pair hard in earnest: gender and case, the verb in second place and
at the end, separable verbs, participles and infinitives at the end, compounds, "kein", contractions ("im"). Every
English sentence has one German translation here, so a model can be right in all cases.

The alignment links words that translate each other, and function words with what they stand for:
"does" with the German verb, "bought" with both "hat" and "gekauft", "turns on" with "schaltet" and "ein",
"in the" with "im", "not" and "a" with "kein". Valid and test sentences hold pairs of adjective and noun, verb and
object that never occur in training (see `grammar.held_out`), but no new words.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from random import Random

import pandas as pd

from attention_lab.corpora.grammar import Candidate, Derivation, Grammar, Rule, corpus, rule
from attention_lab.corpora.lexicon import (
    ADJECTIVES,
    CASES,
    COMPARATIVES,
    CONTRACTED,
    FREQUENCIES,
    GENDERS,
    GENITIVE,
    MASS,
    MIXED,
    MODALS,
    NOUNS,
    POSSESSIVES,
    PRONOUNS,
    RELATIVE,
    RELATIVES,
    SAYING,
    SUBJECTS,
    TIMES,
    VERBS,
    WEAK,
    article,
    entries,
    linked,
)

MOST = 100_000  # rows; of so many draws more than nine in ten still differ


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
    """How many nouns of a set have each gender; plural counts as one."""
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
    """A preposition with a singular phrase; the plain article melts into it where German has a word for that."""
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


def tag(words: str, label: str = "v") -> str:
    """Words (joined by _) with a label each."""
    return " ".join(f"{word}~{label}" for word in words.split("_") if word)


def verbs(group: str) -> list[tuple[str, list[list[str]]]]:
    """The entries of a group by their key: the group, or group and preposition for verbs that bring their own."""
    return [(f"{group}.{parts[2][0]}" if len(parts) > 2 else group, parts) for parts in entries(VERBS[group][3])]


def verb_rules() -> list[Rule]:
    """V.key.form.person.place: one verb form. English has two pieces, before and after an adverb or a subject;
    German has two, the finite verb and the rest (place v2), or one, the rest and the finite verb (place end).
    Each form also comes as asked ("does … read") and denied ("does not … read", whose "not" waits for its German).
    """
    rules = []
    have = {"1": ("have", "habe", "bin"), "3": ("has", "hat", "ist"), "p": ("have", "haben", "sind")}
    for key, parts in [found for group in VERBS for found in verbs(group)]:
        base, third, past, participle = parts[0]
        name, finite, done, auxiliary = parts[1]
        particle, _, stem = name.rpartition("|")
        head = base.replace("_", " ")
        weight = 1.8 if particle else 1.0  # its forms are more
        if len(parts) > 2:  # the complement has the preposition: waits | for
            base, third, past, participle = (w.partition("_")[0] for w in (base, third, past, participle))
        rules_of: list[tuple[str, str, str, str, str, str, str, str]] = []

        def add(form: str, person: str, plain: str, asked: str, denied: str, finite: str, rest: str, *,
                rules_of: list[tuple[str, str, str, str, str, str, str, str]] = rules_of) -> None:  # fmt: skip
            rules_of.append((form, person, plain, asked, denied, finite, rest, f"{rest} {finite}"))

        for person, plain, form in (("3", third, finite), ("p", base, stem)):
            do = "does" if person == "3" else "do"
            forms = f"| {tag(plain)}", f"{do}~v | {tag(base)}", f"{do}~v not~neg | {tag(base)}"
            rules_of.append(("present", person, *forms, tag(form), tag(particle), tag(particle + form)))
        for person, (has, hat, ist) in have.items():
            has_de = f"{hat if auxiliary == 'haben' else ist}~a"
            if past != "-":
                asked, denied = f"did~a | {tag(base)}", f"did~a not~neg | {tag(base)}"
                add("past", person, f"| {tag(past, 'v~a')}", asked, denied, has_de, tag(done))
            plain, denied = f"{has}~a | {tag(participle)}", f"{has}~a not~neg | {tag(participle)}"
            add("perfect", person, plain, plain, denied, has_de, tag(done))
            infinitive = tag(particle + stem)
            for modal, singular, plural, negatable in MODALS:
                form = plural if person == "p" else "werde" if (modal, person) == ("will", "1") else singular
                plain = f"{modal}~a | {tag(base)}"
                denied = plain.replace(" |", " not~neg |") if negatable else ""
                denied = denied.replace("can~a not~neg", "cannot~a~neg")
                add("future" if modal == "will" else "modal", person, plain, plain, denied, f"{form}~a", infinitive)
            # "wants to read": will … lesen
            want, will = {"1": ("want", "will"), "3": ("wants", "will"), "p": ("want", "wollen")}[person]
            do = "does" if person == "3" else "do"
            plain = f"| {want}~a to~v {tag(base)}"
            asked, denied = f"{do}~a | want~a to~v {tag(base)}", f"{do}~a not~neg | want~a to~v {tag(base)}"
            add("modal", person, plain, asked, denied, f"{will}~a", infinitive)
        for form, person, plain, asked, denied, verb, rest, joined in rules_of:
            for kind, source in ((form, plain), (form + "ask", asked), (form + "not", denied)):
                if source:
                    left = f"V.{key}.{kind}.{person}"
                    rules.append(rule(f"{left}.v2", source, f"{verb} | {rest}", head=head, weight=weight))
                    rules.append(rule(f"{left}.end", source, f"| {joined}", head=head, weight=weight))
    return rules


ORDERS = ("v2", "front", "inv", "end", "question")
FORMS = {"present": 12.0, "past": 4.0, "perfect": 3.5, "modal": 5.0, "future": 2.6}


def complex_rules() -> list[Rule]:
    """VC.key.form.person.polarity.place: the verb with its negation; English in two pieces, German in three:
    finite verb, "nicht", and what closes the sentence.
    """
    rules = []
    keys = dict.fromkeys(key for group in VERBS for key, _ in verbs(group))
    for key, form, person, place in product(keys, FORMS, "13p", ("v2", "end")):
        if (form, person) == ("present", "1"):
            continue
        name = f"VC.{key}.{form}.{person}"
        plain, denied, asked = (f"V.{key}.{form}{kind}.{person}.{place}" for kind in ("", "not", "ask"))
        of_plain = f"<{plain}/1> | <{plain}/2>", f"<{plain}/1> | | <{plain}/2>"
        rules.append(rule(f"{name}.plain.{place}", *of_plain))
        for polarity, english, german in (("never", "never", "nie"), ("already", "already", "schon")):
            text = f"<{plain}/1> {english}~n | <{plain}/2>", f"<{plain}/1> | {german}~n | <{plain}/2>"
            rules.append(rule(f"{name}.{polarity}.{place}", *text))
        text = f"<{denied}/1> | <{denied}/2>", f"<{denied}/1> | nicht~neg | <{denied}/2>"
        rules.append(rule(f"{name}.not.{place}", *text))
        text = f"<{denied}/1> | <{denied}/2>", f"<{denied}/1> | | <{denied}/2>"
        rules.append(rule(f"{name}.kein.{place}", *text))
        if form == "perfect":
            text = f"<{denied}/1> yet~y | <{denied}/2>", f"<{denied}/1> | noch~y nicht~neg | <{denied}/2>"
            rules.append(rule(f"{name}.not.{place}", *text))
        if place == "v2":
            rules.append(rule(f"{name}.question.v2", f"<{asked}/1> | <{asked}/2>", f"<{asked}/1> | | <{asked}/2>"))
    return rules


# How often a kind of polarity or sentence occurs.
POLARITIES = {"not": 3.0, "kein": 1.6, "never": 1.0, "already": 1.2}
POLARITY_FORMS = {"never": ("present", "past", "perfect"), "already": ("perfect",)}
TIMELESS = ("dwell", "like")  # states
OFTEN = {"eat": 1.7, "drink": 2.2, "give": 1.6, "help": 1.7, "think": 1.3, "switch": 1.2}
WITH_PLACE = ("read", "eat", "drink", "trade")


def object_rules() -> list[Rule]:
    """O.group.case.definite: what a verb of the group may have as its object, over its sets of nouns and numbers."""
    rules = []
    for group, (_, sets, _, _) in VERBS.items():
        for case, definite in product(("accusative", "dative"), ("def", "each", "indef", "kein", "this")):
            for kind, number in product(sets, ("sg", "pl")):
                count = genders(kind)
                nouns = sum(count.values()) - count["pl"]
                np = f"NP.{kind}.{number}.{case}.{definite}"
                lacking = (
                    (number == "pl" and (kind in MASS or definite == "each"))
                    or (kind == "kin" and definite != "def")
                    or (kind in MASS and definite == "each")
                )
                if not lacking:
                    left = f"O.{group}.{case}.{definite}"
                    rules.append(rule(left, f"<{np}>", f"<{np}>", weight=nouns * (0.6 if number == "sg" else 0.4)))
                if kind == "part" and definite == "def":
                    np = np.replace("part", "owned")
                    rules.append(rule(left, f"<{np}>", f"<{np}>", weight=nouns * 0.3))
    for case, place in (("accusative", 0), ("dative", 1)):
        for english, german in PRONOUNS.items():
            rules.append(rule(f"P.{case}", english, german[place], weight=0.6 if english == "me" else 1.0))
    return rules


def complement_rules() -> list[Rule]:
    """M.key.polarity: what follows the verb; German in three pieces: pronouns, objects before and after "nicht"."""
    rules = []
    for group, (kind, sets, _, _) in VERBS.items():
        for key, parts in dict(verbs(group)).items():
            people = "person" in sets

            def add(polarity: str, source: str, target: str, weight: float, head: str, *, key: str = key) -> None:
                rules.append(rule(f"M.{key}.{polarity}", source, target, weight=weight, head=head))

            if kind == "none":
                for polarity in ("plain", "not", "never", "already"):
                    add(polarity, "", "", 1.0, "")
            elif kind in ("place", "goal"):
                place = "Place" if kind == "place" else "Goal"
                for polarity in ("plain", "not", "never", "already"):
                    add(polarity, f"<{place}>", f"| | <{place}>", 1.0, "")
            elif kind == "preposition":
                german, english, case = parts[2]
                for polarity in ("plain", "not", "never"):
                    for definite, weight in (("def", 4.0), ("indef", 1.6)):
                        if (polarity, definite) != ("not", "indef"):
                            o = f"O.{group}.{case}.{definite}"
                            add(polarity, f"{english}~p <{o}>", f"| | {german}~p <{o}>", weight, o)
                    p = f"P.{case}"
                    add(polarity, f"{english}~p <{p}>", f"| | {german}~p <{p}>", 0.9, "")
            elif kind in ("accusative", "dative"):
                o = f"O.{group}.{kind}"
                for polarity in ("plain", "not", "never", "already"):
                    add(polarity, f"<{o}.def>", f"| <{o}.def> |", 4.0, f"{o}.def")
                    if people:
                        add(polarity, f"<P.{kind}>", f"<P.{kind}> | |", 1.0, "")
                    if polarity != "not":
                        target = f"| <{o}.indef> |" if polarity == "plain" else f"| | <{o}.indef>"
                        add(polarity, f"<{o}.indef>", target, 3.2, f"{o}.indef")
                if set(sets) - set(MASS) - {"kin"}:
                    add("plain", f"<{o}.each>", f"| <{o}.each> |", 0.4, f"{o}.each")
                add("kein", f"<{o}.kein>", f"| <{o}.kein> |", 1.0, f"{o}.kein")
                if group in WITH_PLACE:
                    for definite, weight in (("def", 0.6), ("indef", 0.5)):
                        text = f"<{o}.{definite}> <Place>", f"| <{o}.{definite}> | <Place>"
                        add("plain", *text, weight, f"{o}.{definite}")
            elif kind == "ditransitive":
                o, d = f"O.{group}.accusative", "O.help.dative.def"
                for polarity in ("plain", "not", "never", "already"):
                    for definite, weight in (("def", 2.0), ("indef", 2.2)):
                        if (polarity, definite) == ("not", "indef"):
                            continue
                        late = definite == "indef" and polarity != "plain"
                        o_ = f"{o}.{definite}"
                        after = f"| <{o_}>" if late else f"<{o_}> |"
                        add(polarity, f"<{d}> <{o_}>", f"| <{d}> {after}", weight, o_)
                        add(polarity, f"<P.dative> <{o_}>", f"<P.dative> | {after}", 0.5 * weight, o_)
                add("kein", f"<{d}> <{o}.kein>", f"| <{d}> <{o}.kein> |", 2.0, f"{o}.kein")
                add("kein", f"<P.dative> <{o}.kein>", f"<P.dative> | <{o}.kein> |", 1.0, f"{o}.kein")
    return rules


def predicate_rules() -> list[Rule]:
    """T.who.form.person.scope.time.place: a clause without its subject; English and German in two pieces each
    (what stands before and after an inverted subject). scope: plain, or other where something is denied or "already".
    """
    rules = []
    times: list[Rule] = []
    for form, text in TIMES.items():
        for english, german in (entry.split(" | ") for entry in text.split("; ")):
            times.append(rule(f"Time.{form}", english, german))
    for english, german in (entry.split(" | ") for entry in FREQUENCIES.split("; ")):
        times.append(rule("Frequency", english, german))
    rules += times
    for group, (kind, _, doers, _) in VERBS.items():
        keys = [key for key, _ in verbs(group)]
        for key in dict.fromkeys(keys):
            for form, person, who in product(FORMS, "13p", dict.fromkeys(doers)):
                if (form, person) == ("present", "1") or (who, person) == ("animal", "1"):
                    continue
                base = OFTEN.get(group, 1.0) * keys.count(key) * doers.count(who) / len(doers)
                name, vc = f"T.{who}.{form}.{person}", f"VC.{key}.{form}.{person}"
                time = {"modal": "future", "perfect": ""}.get(form, form)
                time = "" if group in TIMELESS else time and f"<Time.{time}>"
                polarities = [("plain", 1.0)] + [
                    (polarity, weight)
                    for polarity, weight in POLARITIES.items()
                    if form in POLARITY_FORMS.get(polarity, FORMS)
                    and (polarity != "kein" or kind in ("accusative", "dative", "ditransitive"))
                    and (polarity != "already" or kind not in ("place", "preposition"))
                ]
                for polarity, weight in polarities:
                    scope = "plain" if polarity == "plain" else "other"
                    m = f"M.{key}.{polarity}"

                    def add(
                        when: str, between: str, after: str, german: str, share: float, *,
                        name: str = name, scope: str = scope, polarity: str = polarity, vc: str = vc, m: str = m,
                        weight: float = base * weight,
                    ) -> None:  # fmt: skip
                        v, left = f"{vc}.{polarity}", f"{name}.{scope}.{when}"
                        for place in ("v2", "end"):
                            c = f"{v}.{place}"
                            rest = f"<{m}/1> {german} <{m}/2> <{c}/2> <{m}/3> <{c}/3>"
                            target = f"<{c}/1> | {rest}" if place == "v2" else rest
                            source = f"<{c}/1> | {between} <{c}/2> <{m}> {after}"
                            if place == "end":
                                source = source.replace(" | ", " ")
                            bonds = [(c, m)]
                            rules.append(
                                rule(f"{left}.{place}", source, target, weight=weight * share, bonds=bonds, head=c)
                            )
                        if polarity == "plain" and not between:
                            q = f"{vc}.question.v2"
                            target = f"<{q}/1> | <{m}/1> {german} <{m}/2> <{q}/2> <{m}/3> <{q}/3>"
                            source = f"<{q}/1> | <{q}/2> <{m}> {after}"
                            left = f"{left}.question"
                            rules.append(rule(left, source, target, weight=weight * share, bonds=[(q, m)], head=q))

                    add("bare", "", "", "", 1.0)
                    add("timed", "", "", "", 0.7)
                    if time and polarity in ("plain", "not", "kein"):
                        add("timed", "", time, time, 0.3)
                    if form in ("present", "past") and polarity == "plain" and group not in TIMELESS:
                        add("timed", "<Frequency>", "", "<Frequency>", 0.15)
    return rules


def clause_rules() -> list[Rule]:
    """C.order.form: a clause. order: v2 (subject first), front (time first), inv (finite verb first, after a
    subordinate clause), end (finite verb last), question. English differs in questions only.
    """
    rules = []
    # Subjects, and the number of the verb.
    for name, kinds in (("person", (("person", 15), ("kin", 6))), ("animal", (("animal", 6),))):
        for kind, count in kinds:
            for number, person, share in (("sg", "3", 0.68), ("pl", "p", 0.32)):
                np = f"NP.{kind}.{number}.nominative"
                for definite, weight in (("def", 1.0), ("rel", 0.05), ("indef", 0.4), ("each", 0.07)):
                    if (kind == "kin" and definite != "def") or (definite, number) == ("each", "pl"):
                        continue
                    full = f"<{np}.{definite}>"
                    for scope in ("plain", "other"):
                        if scope == "plain" or definite in ("def", "rel"):
                            left = f"Subject.{name}.{person}.{scope}"
                            rules.append(rule(left, full, full, weight=count * share * weight, head=""))
    for scope in ("plain", "other"):
        for english, german, person in SUBJECTS:
            weight = {"3": 2.2, "p": 2.0, "1": 1.0}[person]
            rules.append(rule(f"Subject.person.{person}.{scope}", english, german, weight=weight, head=""))
        one, two = "NP.person.sg.nominative.def", "NP.kin.sg.nominative.def"
        both = f"<{one}> and~a <{two}>", f"<{one}> und~a <{two}>"
        rules.append(rule(f"Subject.person.p.{scope}", *both, weight=0.6, head=""))
    for order, form, who, person, scope in product(ORDERS, FORMS, ("person", "animal"), "13p", ("plain", "other")):
        if (form, person) == ("present", "1") or (who, person) == ("animal", "1"):
            continue
        if order == "question" and (person == "1" or scope == "other"):
            continue
        weight = {"person": 6.0, "animal": 1.0}[who] * {"3": 1.0, "p": 0.6, "1": 0.2}[person]
        weight *= {"plain": 1.0, "other": 0.3}[scope]
        when = "timed" if order in ("v2", "end") else "bare"
        place = {"end": "end", "question": "question"}.get(order, "v2")
        s, t = f"Subject.{who}.{person}.{scope}", f"T.{who}.{form}.{person}.{scope}.{when}.{place}"
        source, target = f"<{s}> <{t}/1> <{t}/2>", f"<{s}> <{t}/1> <{t}/2>"
        if order == "end":
            source = target = f"<{s}> <{t}>"
        elif order == "question":
            source = target = f"<{t}/1> <{s}> <{t}/2>"
        elif order == "inv":
            target = f"<{t}/1> <{s}> <{t}/2>"
        elif order == "front":
            time = {"modal": "future", "perfect": ""}.get(form, form)
            if not time:
                continue
            source, target = f"<Time.{time}> {source}", f"<Time.{time}> <{t}/1> <{s}> <{t}/2>"
        rules.append(rule(f"C.{order}.{form}", source, target, weight=weight))
    for form, english, german in (("present", "rains", "regnet"), ("past", "rained", "geregnet hat")):
        german = tag(german.replace(" ", "_"), "r")
        rules.append(rule(f"C.end.{form}", f"it~e {english}~r", f"es~e {german}", weight=0.6))
    return rules


def copula_rules() -> list[Rule]:
    """C.order.form as well: "is old", "is not old", "is older than …"."""
    rules = []
    sets = {kind for _, _, kinds in entries(ADJECTIVES) for kind in kinds} - {"inside", "island", "market", "station"}
    things = sets - {"person", "kin", "animal"}
    compared = {kind for _, _, kinds in entries(COMPARATIVES) for kind in kinds}
    for kind, (number, form), order in product(
        sorted(sets), (("sg", "present"), ("sg", "past"), ("pl", "present"), ("pl", "past")), ORDERS
    ):
        if order == "front":
            continue
        english = {"sg": {"present": "is", "past": "was"}, "pl": {"present": "are", "past": "were"}}[number][form]
        german = {"sg": {"present": "ist", "past": "war"}, "pl": {"present": "sind", "past": "waren"}}[number][form]
        a = f"A.{kind}"
        nouns = sum(genders(kind).values()) - genders(kind)["pl"]
        options = [("", "", a, 1.0), ("very~s", "sehr~s", a, 0.3), ("not~s", "nicht~s", a, 0.3)]
        if kind in compared:
            options.append(("", "", f"AC.{kind}", 0.6))
        for (before_en, before_de, adjective, share), definite in product(options, ("def", "indef")):
            if order == "question" and before_en.startswith("not"):
                continue
            # "A new car is expensive", of things in general.
            if definite == "indef" and (kind not in things or (number, form) != ("sg", "present") or before_en):
                continue
            np = f"NP.{kind}.{number}.nominative.{definite}"
            bonds = [(adjective, np)]
            than = als = ""
            if adjective.startswith("AC"):
                other = f"NP.{kind}.sg.nominative.{definite}#2"
                than, als, bonds = f"than~t <{other}>", f"als~t <{other}>", []
            source_a, target_a = f"{before_en} <{adjective}> {than}", f"{before_de} <{adjective}>"
            source = f"<{np}> {english}~c {source_a}"
            target = f"<{np}> {german}~c {target_a} {als}"
            if order == "end":
                target = f"<{np}> {target_a} {german}~c {als}"
            elif order == "inv":
                target = f"{german}~c <{np}> {target_a} {als}"
            elif order == "question":
                source, target = f"{english}~c <{np}> {source_a}", f"{german}~c <{np}> {target_a} {als}"
            weight = share * nouns * 0.03 * (0.68 if number == "sg" else 0.32) * (1.0 if definite == "def" else 0.6)
            rules.append(rule(f"C.{order}.{form}", source, target, weight=weight, bonds=bonds))
    return rules


def relative_rules() -> list[Rule]:
    """RelS, RelA, RelD.set.gender: "who sleeps", "that the woman reads", "whom the man helps"; with short subjects."""
    rules = []
    for kind, relatives in RELATIVES.items():
        which = "who" if kind == "person" else "that"
        for gender, count in genders(kind).items():
            if not count:
                continue
            place, number = GENDERS.index(gender), "p" if gender == "pl" else "3"
            for form, share in FORMS.items():
                if "RelS" in relatives:
                    t = f"T.{kind}.{form}.{number}.plain.bare.end"
                    der = RELATIVE["nominative"].split()[place]
                    text = f"{which}~r <{t}>", f"{der}~r <{t}>"
                    rules.append(rule(f"RelS.{kind}.{gender}", *text, weight=share, head=""))
                for group, (case, objects, _, _) in VERBS.items():
                    relative = {"accusative": "RelA", "dative": "RelD"}.get(case)
                    if relative not in relatives or kind not in objects:
                        continue
                    for doer, often in (("3", 1.0), ("p", 0.5)):
                        s, v = f"Subject.short.{doer}", f"VC.{group}.{form}.{doer}.plain.end"
                        den = RELATIVE[case].split()[place]
                        that = "whom" if kind == "person" else "that"
                        text = f"{that}~r <{s}> <{v}/1> <{v}/2>", f"{den}~r <{s}> <{v}/3>"
                        often_ = share * often * len(verbs(group))
                        rules.append(rule(f"{relative}.{kind}.{gender}", *text, weight=often_, head=v))
    for doer, number in (("3", "sg"), ("p", "pl")):
        for kind, count in (("person", 15), ("kin", 6)):
            np = f"NP.{kind}.{number}.nominative.def"
            rules.append(rule(f"Subject.short.{doer}", f"<{np}>", f"<{np}>", weight=count, head=""))
    for english, german, person in SUBJECTS:
        if person != "1":
            rules.append(rule(f"Subject.short.{person}", english, german, weight=3, head=""))
    return rules


def sentence_rules() -> list[Rule]:
    """S: whole sentences."""
    rules = []

    def add(source: str, target: str, weight: float) -> None:
        end = "" if source.endswith("?") else " ."
        rules.append(rule("S", source + end, target + end, weight=weight))

    total = sum(FORMS.values())
    for form, share in FORMS.items():
        part = share / total
        rules.append(rule("C.end", f"<C.end.{form}>", f"<C.end.{form}>", weight=part))
        add(f"<C.v2.{form}>", f"<C.v2.{form}>", 36 * part)
        if form != "perfect":
            add(f"<C.front.{form}>", f"<C.front.{form}>", 15 * part)
        add(f"<C.question.{form}> ?", f"<C.question.{form}> ?", 5 * part)
        for english, german in (("why", "warum"), ("when", "wann")):
            if (form, english) != ("perfect", "when"):
                text = f"<C.question.{form}> ?"
                add(f"{english}~w {text}", f"{german}~w {text}", 2 * part)
        t = f"T.person.{form}.3.plain.timed.v2"
        add(f"who~w <{t}/1> <{t}/2> ?", f"wer~w <{t}/1> <{t}/2> ?", 2 * part)
        for english, german in (("because", "weil"), ("although", "obwohl"), ("while", "während")):
            if english == "while" and form not in ("present", "past"):
                continue
            add(f"<C.v2.{form}> {english}~b <C.end.{form}>", f"<C.v2.{form}> , {german}~b <C.end.{form}>", 0.9 * part)
        add(f"although~b <C.end.{form}> , <C.inv.{form}>", f"obwohl~b <C.end.{form}> , <C.inv.{form}>", 0.8 * part)
        if form in ("present", "modal", "future"):
            text = f"<C.end.present> , <C.inv.{form}>"
            add(f"if~b {text}", f"wenn~b {text}", 1.3 * part)
            add(f"when~b {text}", f"wenn~b {text}", 0.7 * part)
        if form in ("present", "past"):
            text = f"<C.v2.{form}> , but~b <C.v2.{form}#2>"
            add(text, text.replace("but", "aber"), 1 * part)
            text = f"<C.v2.{form}> and~b <C.v2.{form}#2>"
            add(text, text.replace("and", "und"), 0.8 * part)
    for (base, third), (infinitive, finite) in entries(SAYING):
        for person, english, german in (("3", third, finite), ("p", base, infinitive)):
            s = f"Subject.person.{person}.other"
            clause = "<C.end.future>" if base == "hope" else "<C.end>"
            weight = 0.8 if person == "3" else 0.5
            add(f"<{s}> {english}~s that~t {clause}", f"<{s}> {german}~s , dass~t {clause}", weight)
            if base == "know":
                do = "does" if person == "3" else "do"
                source = f"<{s}> {do}~s not~n {base}~s whether~t <C.end>"
                add(source, f"<{s}> {german}~s nicht~n , ob~t <C.end>", 0.8)
    # The object first: "This book the teacher has already read."
    for group, (kind, sets, _, _) in VERBS.items():
        if kind == "accusative" and set(sets) - {"kin"} - set(MASS):
            o = f"O.{group}.accusative.this"
            for person, form, polarity in (
                ("3", "perfect", "plain"),
                ("p", "perfect", "already"),
                ("3", "past", "plain"),
            ):
                s, v = f"Subject.short.{person}", f"VC.{group}.{form}.{person}.{polarity}.v2"
                source = f"<{o}> <{s}> <{v}/1> <{v}/2> ."
                target = f"<{o}> <{v}/1> <{s}> <{v}/2> <{v}/3> ."
                rules.append(rule("S", source, target, weight=0.1 * len(verbs(group)), bonds=[(v, o)]))
    return rules


@cache
def grammar() -> Grammar:
    return Grammar(
        noun_rules()
        + phrase_rules()
        + verb_rules()
        + complex_rules()
        + object_rules()
        + complement_rules()
        + predicate_rules()
        + clause_rules()
        + copula_rules()
        + relative_rules()
        + sentence_rules()
    )


def english(words: list[str]) -> list[str]:
    """ "a" becomes "an" before a vowel; every other form comes from the grammar."""
    following = [*words[1:], ""]
    return [w + "n" if w in ("a", "A") and n[:1] in "aeiou" and n else w for w, n in zip(words, following, strict=True)]


def candidate(found: Derivation) -> Candidate:
    source, target = english(found.source), found.target
    forms = {f"en {w.strip('.,?')}" for w in source} | {f"de {w.strip('.,?')}" for w in target}
    text = " ".join(source)
    columns = {"source": text, "target": " ".join(target), "alignment": [[i, j] for i, j in found.links]}
    return Candidate(text, frozenset(forms), found.bonds, columns)


def generate(size: int, seed: int) -> pd.DataFrame:
    """`size` sentence pairs with columns row, split, source, target, alignment ([[source word, target word], …])."""
    random = Random(seed)
    rules = grammar()
    rows = corpus(lambda _: candidate(rules.derive("S", random)), size=size, most=MOST, random=random)
    return pd.DataFrame(
        [{"row": f"embedded:{n}", "split": split, **one.columns} for n, (split, one) in enumerate(rows, 1)],
        columns=["row", "split", "source", "target", "alignment"],
    )
