"""A corpus of short reports with summaries, and the words of each report that its summary states.

There are four topics, each with a rule for what matters:

- match: who decided the match, and for which team; the other team, and the town, are in the first sentence. Having
  played well, or almost having decided the match, is not enough;
- market: the largest number that was sold; visitors are counted too, and some goods are carried home again;
- journey: who went (not who stayed), to which town and how in the end, whatever the plan was;
- damage: what was called the worst.

The summary paraphrases: active becomes passive, names are joined, two sentences become one. Most of what is salient
can be anywhere after the first sentence, so neither that nor any other single sentence is a good summary. Valid and
test summaries state pairs (person and team, thing and town, …) that no training report mentions (see
`grammar.held_out`), but no new words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pandas as pd

from attention_lab.corpora.grammar import Bond, Candidate, corpus, records_of
from attention_lab.corpora.templates import fill

MOST = 100_000  # rows; in that many draws more than nine in ten still differ

PEOPLE = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Julia", "Leo")
# Enough that nobody can memorise who has beaten whom, and that no held-out pair matters much.
TEAMS = (
    *("Lions", "Bears", "Eagles", "Sharks", "Wolves", "Tigers", "Foxes", "Hawks", "Bulls", "Ravens"),
    *("Otters", "Badgers", "Falcons", "Panthers", "Dragons", "Stags", "Herons", "Owls", "Beavers", "Rams"),
)
TOWNS = ("Oslo", "Rome", "Paris", "Lyon", "Vienna", "Prague", "Lisbon", "Athens", "Dublin", "Madrid")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBERS = ("ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")  # in ascending order
GOODS = ("apples", "pears", "plums", "melons", "carrots", "onions", "potatoes", "cabbages")
VEHICLES = ("train", "bus", "boat", "car", "plane", "coach")
FORCES = ("a storm", "a flood", "a fire", "lightning", "hail", "heavy snow")
THINGS = ("bridge", "school", "church", "tower", "station", "library", "hospital", "museum")

PHASES = ("in the first half", "before the break", "after the break", "in the second half")

LENGTHS = (5, 8)  # minimum and maximum number of sentences per report


@dataclass(frozen=True)
class Sentence:
    """A template and the values of its roles.

    salient: roles, or words of the template, that the summary states. pairs: pairs of values that may be held out.
    """

    template: str
    values: dict[str, str]
    salient: tuple[str, ...] = ()
    pairs: tuple[Bond, ...] = ()


@dataclass(frozen=True)
class Report:
    """first: the opening sentence. body: sentences in a fixed order. anywhere: sentences in any order after the first.

    fillers: sentences to fill up the length. summary: its text. bonds: pairs that the summary states.
    """

    first: Sentence
    body: list[Sentence]
    anywhere: list[Sentence]
    fillers: list[Sentence]
    summary: str
    bonds: frozenset[Bond]


def match(random: Random) -> Report:
    winner, loser = random.sample(TEAMS, 2)
    town, day = random.choice(TOWNS), random.choice(DAYS)
    hero, failing, *supporting = random.sample(PEOPLE, 5)
    home, guest = random.sample(("winner", "loser"), 2)
    first = random.choice(
        (
            f"in <town> the <{home}> played against the <{guest}> on <day>.",
            f"on <day> the <{home}> met the <{guest}> in <town>.",
            f"the match between the <{home}> and the <{guest}> in <town> was on <day>.",
        )
    )
    decisive = random.choice(
        (
            "in the end <hero> decided the match for the <winner>.",
            "<hero> decided everything for the <winner> in the last minute.",
            "the goal of <hero> decided the match for the <winner>.",
        )
    )
    others = []
    for person, template in (
        (failing, "<person> almost decided the match for the <team>."),
        *(
            (
                person,
                random.choice(
                    ("<person> hit the post for the <team> <when>.", "<when> <person> was strong for the <team>.")
                ),
            )
            for person in supporting
        ),
    ):
        values = {"person": person, "team": random.choice((winner, loser)), "when": random.choice(PHASES)}
        others.append(Sentence(template, values, pairs=((person, values["team"]),)))
    return Report(
        first=Sentence(first, {"winner": winner, "loser": loser, "town": town, "day": day}, ("loser", "town")),
        body=[],
        anywhere=[
            Sentence(decisive, {"hero": hero, "winner": winner}, ("hero", "decided", "winner"), ((hero, winner),)),
            *others[:3],
        ],
        fillers=[
            others[3],
            Sentence("the stadium was full.", {}),
            Sentence("it rained for a long time.", {}),
            Sentence("many people had come from <town>.", {"town": random.choice(TOWNS)}),
        ],
        summary=f"The {winner} beat the {loser} in {town}. {hero} made the difference.",
        bonds=frozenset({(hero, winner), (winner, loser)}),
    )


def market(random: Random) -> Report:
    town, day = random.choice(TOWNS), random.choice(DAYS)
    sellers, goods = random.sample(PEOPLE, 4), random.sample(GOODS, 4)
    figures = random.sample(range(len(NUMBERS)), 4)
    best = figures.index(max(figures[:3]))
    sales = [
        Sentence(
            random.choice(("<person> sold <number> <goods>.", "<person> found buyers for <number> <goods>.")),
            {"person": person, "number": NUMBERS[figure], "goods": ware},
            ("person", "number", "goods") if place == best else (),
            ((person, ware),),
        )
        for place, (person, figure, ware) in enumerate(zip(sellers[:3], figures, goods, strict=False))
    ]
    first = random.choice(("on <day> there was a market in <town>.", "<day> was market day in <town>."))
    unsold = Sentence(
        "<person> took <number> <goods> home again.",
        {"person": sellers[3], "number": NUMBERS[figures[3]], "goods": goods[3]},
        pairs=((sellers[3], goods[3]),),
    )
    return Report(
        first=Sentence(first, {"town": town, "day": day}, ("town",)),
        body=[],
        anywhere=[*sales, unsold],
        fillers=[
            Sentence("about <number> visitors came.", {"number": random.choice(NUMBERS)}),
            Sentence("a band from <town> played.", {"town": random.choice(TOWNS)}),
            Sentence("the weather was fine.", {}),
        ],
        summary=f"At the market in {town}, {sellers[best]} did best with {NUMBERS[figures[best]]} {goods[best]}.",
        bonds=frozenset({(sellers[best], goods[best])}),
    )


def journey(random: Random) -> Report:
    start, planned, changed, *others = random.sample(TOWNS, 5)
    leader, companion, absent = random.sample(PEOPLE, 3)
    before, after = random.sample(VEHICLES, 2)
    turns, breaks = random.random() < 0.5, random.random() < 0.5
    goal, vehicle = changed if turns else planned, after if breaks else before
    plan = random.choice(
        ("the plan was to go to <goal> by <vehicle>.", "<leader> wanted to see <goal> and go by <vehicle>.")
    )
    stated = (() if turns else ("goal",)) + (() if breaks else ("vehicle",))
    body = [
        Sentence(
            plan, {"leader": leader, "goal": planned, "vehicle": before}, stated, ((leader, planned), (planned, before))
        )
    ]
    later = []
    if turns:
        turn = random.choice(("on the way the goal was changed to <goal>.", "but then <goal> seemed more attractive."))
        later.append(Sentence(turn, {"goal": changed}, ("goal",), ((leader, changed),)))
    if breaks:
        failure = random.choice(
            (
                "the <old> broke down, so a <vehicle> was taken.",
                "the <old> was late, so the journey went on by <vehicle>.",
            )
        )
        later.append(Sentence(failure, {"old": before, "vehicle": after}, ("vehicle",)))
    random.shuffle(later)
    first = random.choice(("<leader> left <start> on <day>.", "on <day> <leader> set out from <start>."))
    joins = random.choice(("<companion> came along.", "<companion> joined the journey."))
    stays = random.choice(("<absent> stayed at home.", "<absent> had no time for the journey."))
    return Report(
        first=Sentence(first, {"leader": leader, "start": start, "day": random.choice(DAYS)}, ("leader",)),
        body=[*body, *later],
        anywhere=[
            Sentence(joins, {"companion": companion}, ("companion",)),
            Sentence(stays, {"absent": absent}),
            Sentence("the night was spent in <town>.", {"town": others[0]}),
        ],
        fillers=[
            Sentence("a friend from <town> sent a letter.", {"town": others[1]}),
            Sentence("the weather was fine.", {}),
            Sentence("everybody was in good spirits.", {}),
        ],
        summary=f"{leader} and {companion} reached {goal}. A {vehicle} took them there.",
        bonds=frozenset({(leader, goal), (goal, vehicle)}),
    )


def damage(random: Random) -> Report:
    towns, days, things = random.sample(TOWNS, 4), random.sample(DAYS, 4), random.sample(THINGS, 4)
    forces = random.sample(FORCES, 4)
    events = []
    for place, (force, thing, town, day) in enumerate(zip(forces, things, towns, days, strict=True)):
        if place == 0:
            template = random.choice(
                (
                    "worst of all, <force> damaged the <thing> in <town> on <day>.",
                    "most of all, people talked of <force> that damaged the <thing> in <town> on <day>.",
                )
            )
        else:
            template = random.choice(
                ("on <day> <force> damaged the <thing> in <town>.", "<force> hit the <thing> in <town> on <day>.")
            )
        values = {"force": force, "thing": thing, "town": town, "day": day}
        pairs = ((force, thing), (thing, town))
        events.append(Sentence(template, values, tuple(values) if place == 0 else (), pairs))
    force, thing, town, day = forces[0], things[0], towns[0], days[0]
    return Report(
        first=Sentence(random.choice(("it was a hard week.", "the papers had much to report.")), {}),
        body=[],
        anywhere=events[:3],
        fillers=[
            events[3],
            Sentence("nobody was hurt in <town>.", {"town": towns[1]}),
            Sentence("the people of <town> helped at once.", {"town": random.choice(TOWNS)}),
            Sentence("experts had not expected it.", {}),
        ],
        summary=f"On {day} the {thing} in {town} was ruined by {force}.",
        bonds=frozenset({(force, thing), (thing, town)}),
    )


TOPICS: dict[str, Callable[[Random], Report]] = {
    "match": match,
    "market": market,
    "journey": journey,
    "damage": damage,
}


def candidate(topic: str, random: Random) -> Candidate:
    """A report on this topic, with its sentences in an order without contradictions."""
    report = TOPICS[topic](random)
    least = 1 + len(report.body) + len(report.anywhere)
    length = random.randint(max(LENGTHS[0], least), min(LENGTHS[1], least + len(report.fillers)))
    free = [*report.anywhere, *random.sample(report.fillers, length - least)]
    # The positions of `body` among those after the first sentence.
    places = sorted(random.sample(range(length - 1), len(report.body)))
    random.shuffle(free)
    ordered = dict(zip(places, report.body, strict=True))
    rest = iter(free)
    told = [report.first, *(ordered[n] if n in ordered else next(rest) for n in range(length - 1))]
    words: list[str] = []
    salient: list[int] = []
    pairs: set[Bond] = set()
    for sentence in told:
        said, spans = fill(sentence.template, sentence.values, begin=len(words))
        for role in sentence.salient:
            salient += spans.get(role) or [len(words) + said.index(role)]
        words += [said[0][0].upper() + said[0][1:], *said[1:]]
        pairs.update(sentence.pairs)
    document = " ".join(words)
    forms = frozenset(word.strip(".,") for word in (*words, *report.summary.split()))
    columns = {"document": document, "summary": report.summary, "salient": sorted(salient)}
    return Candidate(document, forms, report.bonds, columns, frozenset(pairs - report.bonds), topic)


def generate(size: int, seed: int) -> pd.DataFrame:
    """`size` reports with columns row, split, document, summary, salient ([word of the document, …])."""
    random = Random(seed)
    rows = corpus(lambda topic, _: candidate(topic, random), size=size, most=MOST, random=random, strata=tuple(TOPICS))
    return records_of(rows)
