"""A corpus of short reviews labelled with the aspects they criticise: the plot, the room, the battery …

A review says of up to three aspects of one thing that they are good or bad, with the clauses of `sentiment`, including
their negations, near and far, and other people's opinions, which decide nothing. Each aspect said to be bad is a label,
so a review has none, one or two. Knowing which words occur is not enough: a model must see which verdict belongs to
which aspect, and whether it is negated.

The rationale consists of the aspects that are labels and the words that decide their verdict. Valid and test reviews
combine a verdict with an aspect, or a negator with a verdict, that never occur together in training (see
`grammar.held_out`).
"""

from __future__ import annotations

from functools import cache
from random import Random

import pandas as pd

from attention_lab.corpora.grammar import Candidate, Derivation, Grammar, Rule, corpus, records_of, rule, with_an
from attention_lab.corpora.sentiment import TOPICS, clause_rules, review_rules, word_rules

MOST = 100_000  # rows; in that many draws more than nine in ten still differ

FAULTS = ("0", "1", "2")  # number of labels of a review; equally frequent
ASPECTS = frozenset(word for topic in TOPICS.values() for word in topic["aspects"].split())


def verdict_rules() -> list[Rule]:
    """number of faults → a review; the mark bad is on clauses that criticise, the mark good on those that praise."""
    rules = []
    for topic in TOPICS:
        bad = f"<Clause.negative.{topic}.main.Aspect>~bad"
        worse = f"<Clause.negative.{topic}.main.Aspect#2>~bad"
        good = f"<Clause.positive.{topic}.main.Aspect>~good"
        better = f"<Clause.positive.{topic}.main.Aspect#2>~good"
        praise, blame = f"<Opinion.positive.{topic}>", f"<Opinion.negative.{topic}>"
        for faults, text, weight in (
            ("0", f"{good} .", 2.0),
            ("0", f"{good} , and {better} .", 2.0),
            ("0", f"{good} . {better} .", 1.0),
            ("0", f"{blame} , but {good} .", 1.0),
            ("0", f"although {blame} , {good} .", 1.0),
            ("1", f"{bad} .", 1.0),
            ("1", f"{good} , but {bad} .", 2.0),
            ("1", f"{bad} , but {good} .", 2.0),
            ("1", f"although {good} , {bad} .", 1.0),
            ("1", f"{bad} , although {good} .", 1.0),
            ("1", f"{praise} , but {bad} .", 1.0),
            ("2", f"{bad} , and {worse} .", 2.0),
            ("2", f"{bad} . {worse} .", 1.0),
            ("2", f"{praise} , but {bad} , and {worse} .", 1.0),
            ("2", f"{good} , but {bad} , and {worse} .", 1.0),
            ("2", f"although {good} , {bad} , and {worse} .", 1.0),
        ):
            rules.append(rule(f"Verdicts.{faults}.{topic}", text, weight=weight))
        for faults in FAULTS:
            verdicts, filler, distractor = f"<Verdicts.{faults}.{topic}>", f"<Filler.{topic}>", f"<Distractor.{topic}>"
            for text, weight in (
                (f"{filler} . {verdicts}", 3.0),
                (f"{verdicts} {filler} .", 3.0),
                (f"{distractor} . {verdicts}", 1.0),
                (f"{verdicts} {distractor} .", 1.0),
            ):
                rules.append(rule(faults, text, weight=weight))
    return rules


@cache
def grammar() -> Grammar:
    return Grammar(word_rules() + clause_rules() + review_rules() + verdict_rules())


def candidate(faults: str, found: Derivation) -> Candidate | None:
    """A review; None if it mentions one aspect twice."""
    words = with_an(found.source)
    forms = [word.strip(".,") for word in words]
    bad = set(found.marks.get("bad", []))
    named = [i for i in sorted(bad.union(found.marks.get("good", []))) if forms[i] in ASPECTS]
    if len({forms[i] for i in named}) < len(named):
        return None
    blamed = [i for i in named if i in bad]
    deciding = {forms[i] for i in found.marks["why"]}
    bonds = frozenset(bond for bond in found.bonds if not deciding.isdisjoint(bond))
    columns = {
        "text": " ".join(words),
        "labels": sorted(forms[i] for i in blamed),
        "rationale": sorted({*blamed, *bad.intersection(found.marks["why"])}),
    }
    return Candidate(" ".join(words), frozenset(forms), bonds, columns, found.bonds - bonds, faults)


def generate(size: int, seed: int) -> pd.DataFrame:
    """`size` reviews with columns row, split, text, labels (aspects said to be bad), rationale ([word, …])."""
    random = Random(seed)
    rules = grammar()

    def draw(faults: str, _: object) -> Candidate:
        while (found := candidate(faults, rules.derive(faults, random))) is None:
            pass
        return found

    rows = corpus(draw, size=size, most=MOST, random=random, strata=FAULTS)
    return records_of(rows)
