"""A corpus of short stories with questions, extractive answers, and the words that are needed to answer.

People move between places, take things, hand them on and leave them behind; things have a colour, and some events
have a time. A story is simulated event by event, so it never contradicts itself, and the answer follows from the
events, not from the wording:

- the latest event counts: the person who has the ball is the one who got it last, and nobody once it was left
  somewhere;
- two facts combine: the ball is where the person who has it is; the colour of what Anna has is that of the thing;
- one question in ten has no answer in the story, though everything it names occurs there;
- the story always contains another word of the answer's kind.

Some pairs in deciding facts (person and place, person and thing, thing and place, thing and colour) are held out for
valid and test (see `grammar.held_out`), and never occur in training stories; there are no new words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from random import Random

import pandas as pd

from attention_lab.corpora.grammar import Bond, Candidate, corpus, held_out, records_of, split_of
from attention_lab.corpora.templates import fill

MOST = 100_000  # rows; in that many draws more than nine in ten still differ

VALUES = {
    "person": ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry"),
    "object": ("ball", "book", "cup", "hat", "key", "lamp", "coat", "alarm clock", "water bottle", "tennis racket"),
    "place": (
        *("kitchen", "garden", "office", "cellar", "library", "park", "museum"),
        *("living room", "post office", "dining room"),
    ),
    "colour": ("red", "blue", "green", "yellow", "black", "white", "brown", "grey"),
    "time": tuple(
        f"{half}{hour}" for hour in ("six", "seven", "eight", "nine", "ten", "eleven") for half in ("", "half past ")
    ),
}
# What may happen, and how it is told, with the subject before the bar. In every event but "colour", `person` is the
# one who moved, who has the thing afterwards, or who left it.
PHRASES = {
    "move": ("<person> | went to the <place>", "<person> | walked to the <place>", "<person> | ran to the <place>"),
    "take": ("<person> | took the <object>", "<person> | picked up the <object>"),
    "take coloured": ("<person> | took the <colour> <object>", "<person> | picked up the <colour> <object>"),
    "give": (
        "<giver> | gave the <object> to <person>",
        "<giver> | handed the <object> to <person>",
        "<giver> | gave <person> the <object>",
        "<person> | got the <object> from <giver>",
    ),
    "leave": ("<person> | left the <object> in the <place>", "<person> | put down the <object> in the <place>"),
    "colour": ("the <object> | is <colour>",),
}
FOLLOWS = {"take": "move", "leave": "move", "move": "take"}  # the event that may follow in the same sentence
WEIGHTS = {"move": 8, "take": 8, "give": 4, "leave": 3, "colour": 5}
PAIRS = {
    "move": ("person", "place"),
    "take": ("person", "object"),
    "give": ("person", "object"),
    "leave": ("object", "place"),
    "colour": ("object", "colour"),
}
OPENERS = ("then", "later", "after that", "a little later")

QUESTIONS = {
    "place": ("Where is <person>?", "Where is <person> now?", "In which place is <person>?"),
    "object place": ("Where is the <object>?", "Where is the <object> now?", "In which place is the <object>?"),
    "holder": ("Who has the <object>?", "Who has the <object> now?"),
    "carried": ("What does <person> have?", "What does <person> have now?"),
    "colour": ("What colour is the <object>?", "Which colour does the <object> have?"),
    "carried colour": (
        "What colour is the thing that <person> has?",
        "What is the colour of the thing that <person> has?",
    ),
    "move time": ("When did <person> go to the <place>?", "At what time did <person> go to the <place>?"),
    "giver": ("Who gave the <object> to <person>?", "From whom did <person> get the <object>?"),
    "gain time": ("When did <person> get the <object>?", "At what time did <person> get the <object>?"),
    "first visitor": ("Who was the first to go to the <place>?", "Who went to the <place> first?"),
    "last visitor": ("Who was the last to go to the <place>?", "Who went to the <place> last?"),
}
NONE = "none"  # the stratum of the questions without an answer
JOINED = {"move time": "time", "gain time": "time", "first visitor": "visitor", "last visitor": "visitor"}
STRATA = (*dict.fromkeys(JOINED.get(kind, kind) for kind in QUESTIONS), NONE)  # a tenth of the rows each
HELD_SHARE = 0.25  # share of stories drawn for valid and test, which take a fifth of all rows
SENTENCES = (5, 9)  # minimum and maximum per story


@dataclass(frozen=True)
class Event:
    """One event of a story. Words are given by their positions in `text.split(" ")`.

    values: role → who or what. spans: role → its words. words: those of the subject and the predicate.
    """

    kind: str
    values: dict[str, str]
    spans: dict[str, range]
    words: tuple[int, ...]

    @cached_property
    def pairs(self) -> set[Bond]:
        return pairs_of(self.kind, self.values)


def pairs_of(kind: str, values: dict[str, str]) -> set[Bond]:
    return {
        (values[one], values[other])
        for one, other in (PAIRS[kind], ("object", "colour"))
        if one in values and other in values
    }


class Story:
    """A simulated story.

    moves: person → the latest move. fates: thing → the latest event in which it changed hands or was left.
    gains: person → the event that gave them what they still have (never two things). colours: thing → the event that
    tells its colour.
    """

    def __init__(self, random: Random, *, held: bool) -> None:
        """held: try to include one pair held out for valid or test; otherwise include none."""
        self.random = random
        self.words: list[str] = []
        self.events: list[Event] = []
        self.moves: dict[str, Event] = {}
        self.fates: dict[str, Event] = {}
        self.gains: dict[str, Event] = {}
        self.colours: dict[str, Event] = {}
        self.people, self.objects = random.sample(VALUES["person"], 3), random.sample(VALUES["object"], 3)
        self.places = random.sample(VALUES["place"], 4)
        self.palette = dict(zip(self.objects, random.sample(VALUES["colour"], 3), strict=True))
        self.clock = random.randrange(4)
        # At most one pair of a story is held out: two would seldom belong to the same split.
        pairs = [*product(self.people, self.places + self.objects), *product(self.objects, self.places)]
        self.barred = {pair for pair in [*pairs, *self.palette.items()] if held_out(pair)}
        self.wanted = random.choice(sorted(self.barred)) if held and self.barred else None
        self.barred.discard(self.wanted or ("", ""))
        for number in range(random.randint(*SENTENCES)):
            self.tell_sentence(first=number == 0)

    # What may happen next.

    def possible(self, kind: str, **given: str) -> list[dict[str, str]]:
        """The events of this kind with the given values that may happen; half of the time only those with the wanted
        pair, if there are any."""
        choices = [values for values in self.consistent(kind) if given.items() <= values.items()]
        choices = [values for values in choices if self.barred.isdisjoint(pairs_of(kind, values))]
        if self.wanted is None or self.random.random() < 0.5:
            return choices
        return [values for values in choices if self.wanted in pairs_of(kind, values)] or choices

    def consistent(self, kind: str) -> list[dict[str, str]]:
        """The events of this kind that contradict nothing and do not imply a place that was not mentioned."""
        places = {person: event.values["place"] for person, event in self.moves.items()}
        holding = [(person, event.values["object"]) for person, event in self.gains.items()]
        free = [person for person in self.people if person not in self.gains]
        if kind == "colour":
            return [
                {"object": thing, "colour": self.palette[thing]} for thing in self.objects if thing not in self.colours
            ]
        if kind == "move":
            return [
                {"person": person, "place": place}
                for person in self.people
                for place in self.places
                if place != places.get(person)
            ]
        if kind == "give":
            return [
                {"giver": giver, "object": thing, "person": person}
                for giver, thing in holding
                for person in free
                if places.get(giver) == places.get(person)
            ]
        if kind == "leave":
            return [{"person": p, "object": thing, "place": places[p]} for p, thing in holding if p in places]
        return [
            {"person": person, "object": thing}
            for person in free
            for thing in self.objects
            if (fate := self.fates.get(thing)) is None
            or (fate.kind == "leave" and fate.values["place"] == places.get(person))
        ]

    def happens(self, event: Event) -> None:
        values = event.values
        self.events.append(event)
        if event.kind == "move":
            self.moves[values["person"]] = event
        elif event.kind != "colour":
            self.fates[values["object"]] = event
            self.gains.pop(values.get("giver", values["person"]), None)
            if event.kind != "leave":
                self.gains[values["person"]] = event
        if "colour" in values:
            self.colours[values["object"]] = event

    def matching(self, kinds: tuple[str, ...], **values: str) -> tuple[Event, ...]:
        return tuple(e for e in self.events if e.kind in kinds and values.items() <= e.values.items())

    # How it is told.

    def tell_sentence(self, *, first: bool) -> None:
        begin, chance = len(self.words), self.random.random()
        choices: list[dict[str, str]] = []
        while not choices:
            kind = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            choices = self.possible(kind)
        values = self.random.choice(choices)
        opener = closer = ""
        if kind != "colour" and chance < 0.3 and self.clock < len(VALUES["time"]):
            values["time"] = VALUES["time"][self.clock]
            self.clock += self.random.randint(1, 2)
            opener, closer = self.random.choice((("at <time>,", ""), ("", "at <time>")))
        elif kind != "colour" and chance < 0.5 and not first:
            opener = self.random.choice(OPENERS)
        subject = self.tell(kind, values, opener=opener, closer=closer)
        goes_on = kind in FOLLOWS and not opener and not closer and self.random.random() < 0.4
        if goes_on and (further := self.possible(FOLLOWS[kind], person=values["person"])):
            self.words.append("and")
            self.tell(FOLLOWS[kind], self.random.choice(further), subject=subject)
        self.words[begin] = self.words[begin][0].upper() + self.words[begin][1:]
        self.words[-1] += "."

    def tell(
        self, kind: str, values: dict[str, str], *, opener: str = "", closer: str = "", subject: range | None = None
    ) -> range:
        """Tell an event. `subject`: the words of this sentence that already name it. Returns the subject's words."""
        phrases = PHRASES[kind]
        if kind == "take" and self.random.random() < 0.25:
            thing = values["object"]
            if thing not in self.colours and (thing, self.palette[thing]) not in self.barred:
                values["colour"], phrases = self.palette[thing], PHRASES["take coloured"]
        head, phrase = self.random.choice(phrases).split(" | ")
        _, spans = self.write(opener, values)
        if subject is None:
            subject, found = self.write(head, values)
        else:
            found = {"person": subject}
        said, more = self.write(phrase, values)
        spans |= found | more | self.write(closer, values)[1]
        self.happens(Event(kind, values, spans, (*subject, *said)))
        return subject

    def write(self, template: str, values: dict[str, str]) -> tuple[range, dict[str, range]]:
        """Append the words of a template. Returns their range, and that of each role."""
        begin = len(self.words)
        words, spans = fill(template, values, begin=begin)
        self.words += words
        return range(begin, len(self.words)), spans


@dataclass(frozen=True)
class Question:
    """A question about a story. support: the events needed to answer it, the last of which has the answer as `role`;
    empty if the story does not contain the answer.
    """

    kind: str
    values: dict[str, str]
    role: str
    support: tuple[Event, ...]

    @property
    def stratum(self) -> str:
        return JOINED.get(self.kind, self.kind) if self.support else NONE


def known(*events: Event | None) -> tuple[Event, ...]:
    """All of the events, or none of them if one is missing."""
    return tuple(event for event in events if event) if all(events) else ()


def dated(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return tuple(event for event in events if "time" in event.values)


def questions(story: Story) -> Iterator[Question]:
    """Every question about the people, things and places of a story that has exactly one answer or none."""
    words = {value for event in story.events for value in event.values.values()}
    said = {role: [value for value in values if value in words] for role, values in VALUES.items()}
    for person in said["person"]:
        asked = {"person": person}
        gain = story.gains.get(person)
        yield Question("place", asked, "place", known(story.moves.get(person)))
        yield Question("carried", asked, "object", known(gain))
        colour = story.colours.get(gain.values["object"]) if gain else None
        yield Question("carried colour", asked, "colour", known(gain, colour))
        for place in said["place"]:
            moves = story.matching(("move",), person=person, place=place)
            if len(moves) < 2:
                yield Question("move time", {**asked, "place": place}, "time", dated(moves))
        for thing in said["object"]:
            about = {**asked, "object": thing}
            gives, gains = story.matching(("give",), **about), story.matching(("take", "give"), **about)
            if len(gives) < 2:
                yield Question("giver", about, "giver", gives)
            if len(gains) < 2:
                yield Question("gain time", about, "time", dated(gains))
    for thing in said["object"]:
        asked = {"object": thing}
        fate = story.fates.get(thing)
        left = fate is not None and fate.kind == "leave"
        yield Question("colour", asked, "colour", known(story.colours.get(thing)))
        yield Question("holder", asked, "person", () if left else known(fate))
        arrival = story.moves.get(fate.values["person"]) if fate else None
        yield Question("object place", asked, "place", known(fate) if left else known(fate, arrival))
    for place in said["place"]:
        visits = story.matching(("move",), place=place)
        if len({event.values["person"] for event in visits}) > 1:
            yield Question("first visitor", {"place": place}, "person", visits[:1])
            yield Question("last visitor", {"place": place}, "person", visits[-1:])


def fair(story: Story, question: Question) -> bool:
    """Whether the story has another word of the answer's kind, so that the kind alone does not give it away."""
    kind = {"giver": "person"}.get(question.role, question.role)
    said = {value for event in story.events for value in event.values.values()}
    return len(said.intersection(VALUES[kind])) > 1


def deciding(story: Story, question: Question) -> tuple[frozenset[Bond], frozenset[Bond]]:
    """The pairs that decide the split, and all others of the story. If there is no answer, every pair decides."""
    pairs = {pair for event in story.events for pair in event.pairs}
    bonds = {pair for event in question.support for pair in event.pairs} or pairs
    return frozenset(bonds), frozenset(pairs - bonds)


def candidate(stratum: str, random: Random) -> Candidate:
    """A story with a question of this stratum that fits into some split."""
    held = random.random() < HELD_SHARE
    fitting: list[Question] = []
    while not fitting:
        story = Story(random, held=held)
        if held and not any(story.wanted in event.pairs for event in story.events):
            continue
        for question in questions(story):
            if (
                question.stratum == stratum
                and fair(story, question)
                and (split_of(*deciding(story, question)) not in (None, "train")) == held
            ):
                fitting.append(question)
    # Draw the kind first: far more questions are possible about times than about colours.
    kind = random.choice(sorted({question.kind for question in fitting}))
    question = random.choice([question for question in fitting if question.kind == kind])
    text = " ".join(fill(random.choice(QUESTIONS[kind]), question.values)[0])
    support = sorted({word for event in question.support for word in event.words})
    answer, start = "", -1
    if question.support:
        span = question.support[-1].spans[question.role]
        support = sorted({*support, *span})
        answer = " ".join(story.words[span.start : span.stop]).rstrip(".,")
        start = len(" ".join(["", *story.words[: span.start]]))
    context = " ".join(story.words)
    bonds, aside = deciding(story, question)
    columns = {"context": context, "question": text, "answer": answer, "start": start, "support": support}
    forms = frozenset(word.strip(".,?") for word in (*story.words, *text.split()))
    return Candidate(f"{context} {text}", forms, bonds, columns, aside, stratum)


def generate(size: int, seed: int) -> pd.DataFrame:
    """`size` questions, each about a story of its own: columns row, split, context, question, answer, start (its first
    character in the context; -1 without an answer), support ([word, …]; empty without an answer).
    """
    random = Random(seed)
    rows = corpus(lambda stratum, _: candidate(stratum, random), size=size, most=MOST, random=random, strata=STRATA)
    return records_of(rows)
