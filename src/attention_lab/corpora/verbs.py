"""Verbs in the English–German grammar: their forms in each position of a sentence, negation, and their objects."""

from __future__ import annotations

from itertools import product

from attention_lab.corpora.grammar import Rule, rule
from attention_lab.corpora.lexicon import MASS, MODALS, PRONOUNS, VERBS, entries
from attention_lab.corpora.phrases import genders


def tag(words: str, label: str = "v") -> str:
    """Give each of the words (joined by _) the label."""
    return " ".join(f"{word}~{label}" for word in words.split("_") if word)


def verbs(group: str) -> list[tuple[str, list[list[str]]]]:
    """The entries of a group with their keys: the group, or group and preposition for verbs that govern one."""
    return [(f"{group}.{parts[2][0]}" if len(parts) > 2 else group, parts) for parts in entries(VERBS[group][3])]


def verb_rules() -> list[Rule]:
    """V.key.form.person.place: one verb form. English has two pieces, before and after an adverb or a subject. German
    has two pieces, which are the finite verb and the rest for place v2, and an empty one and both in reverse order for
    place end. Each form also has a question ("does … read") and a negated variant ("does not … read", whose "not" waits
    for its German counterpart).
    """
    rules = []
    have = {"1": ("have", "habe", "bin"), "3": ("has", "hat", "ist"), "p": ("have", "haben", "sind")}
    for key, parts in [found for group in VERBS for found in verbs(group)]:
        base, third, past, participle = parts[0]
        name, finite, done, auxiliary = parts[1]
        particle, _, stem = name.rpartition("|")
        head = base.replace("_", " ")
        weight = 1.8 if particle else 1.0  # separable verbs have more forms
        if len(parts) > 2:  # the preposition goes to the complement: waits | for
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
    """VC.key.form.person.polarity.place: the verb with its negation. English has two pieces, German three: the finite
    verb, "nicht", and what closes the clause.
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
    """O.group.case.definite: the possible objects of a group's verbs, over its sets of nouns and numbers."""
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
    """M.key.polarity: what follows the verb. German has three pieces: pronouns, objects before "nicht" and after it."""
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
