"""An English–German corpus with gold word alignments, from a handwritten synchronous grammar.

A model has to learn what really makes this language pair hard: gender and case, the verb in second position or at the
end, separable verbs, participles and infinitives at the end, compounds, "kein", contractions ("im"). Every English
sentence has exactly one German translation here, so a model can get all of them right.

The alignment links words that translate each other, and function words with what they express: "does" with the German
verb, "bought" with both "hat" and "gekauft", "turns on" with "schaltet" and "ein", "in the" with "im", "not" and "a"
with "kein". Valid and test sentences contain pairs of adjective and noun, or of verb and object, that never occur in
training (see `grammar.held_out`), but no new words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import product
from random import Random

import pandas as pd

from attention_lab.corpora.grammar import (
    Bond,
    Candidate,
    Derivation,
    Grammar,
    Rule,
    corpus,
    records_of,
    rule,
    with_an,
    written,
)
from attention_lab.corpora.lexicon import (
    ADJECTIVES,
    COMPARATIVES,
    FREQUENCIES,
    GENDERS,
    MASS,
    RELATIVE,
    RELATIVES,
    SAYING,
    SUBJECTS,
    TIMES,
    VERBS,
    entries,
)
from attention_lab.corpora.phrases import genders, noun_rules, phrase_rules
from attention_lab.corpora.verbs import (
    FORMS,
    OFTEN,
    ORDERS,
    POLARITIES,
    POLARITY_FORMS,
    TIMELESS,
    complement_rules,
    complex_rules,
    object_rules,
    tag,
    verb_rules,
    verbs,
)

MOST = 100_000  # rows; in that many draws more than nine in ten still differ


def predicate_rules() -> list[Rule]:
    """T.who.form.person.scope.time.place: a clause without its subject. In place v2, English and German have two pieces
    each, before and after an inverted subject. scope: plain, or other with negation, "never" or "already".
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
            # "A new car is expensive": about things in general.
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
    # Object first: "This book the teacher has already read."
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


def candidate(found: Derivation) -> Candidate:
    source, target = with_an(found.source), found.target
    forms = {f"en {w.strip('.,?')}" for w in source} | {f"de {w.strip('.,?')}" for w in target}
    text = " ".join(source)
    columns = {"source": text, "target": " ".join(target), "alignment": [[i, j] for i, j in found.links]}
    return Candidate(text, frozenset(forms), found.bonds, columns)


def generate(size: int, seed: int) -> pd.DataFrame:
    """`size` sentence pairs with columns row, split, source, target, alignment ([[source word, target word], …])."""
    random = Random(seed)
    rules = grammar()

    def draw(_: str, may_be_taken: Callable[[Iterable[Bond]], bool]) -> Candidate | None:
        bonds: set[Bond] = set()
        tree = rules.grow("S", random, bonds)
        return candidate(written(tree, bonds)) if may_be_taken(bonds) else None

    rows = corpus(draw, size=size, most=MOST, random=random)
    return records_of(rows)
