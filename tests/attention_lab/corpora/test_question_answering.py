"""The embedded stories: an independent reader answers every question, from the support alone; shortcuts do not."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import pandas as pd
import pytest

from attention_lab.corpora.grammar import held_out
from attention_lab.corpora.question_answering import VALUES, generate
from attention_lab.errors import InputError

SIZE = 1000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return generate(SIZE, 7)


# --- a reader that knows nothing of how stories are made: sentences in, facts in their order out ------------------

PERSON, OBJECT, PLACE, COLOUR, TIME = (
    f"({'|'.join(sorted(VALUES[kind], key=len, reverse=True))})"
    for kind in ("person", "object", "place", "colour", "time")
)
DOES = re.compile(
    rf"(?P<move>(?:went|walked|ran) to the {PLACE})|(?P<take>(?:took|picked up) the (?:{COLOUR} )?{OBJECT})"
    rf"|(?P<leave>(?:left|put down) the {OBJECT} in the {PLACE})|(?P<give>(?:gave|handed) the {OBJECT} to {PERSON})"
    rf"|(?P<gave>gave {PERSON} the {OBJECT})|(?P<got>got the {OBJECT} from {PERSON})|(?P<colour>is {COLOUR})"
)
SUBJECT = re.compile(rf"{PERSON}|[Tt]he {OBJECT}")
Fact = tuple[str, ...]


def read(text: str) -> list[Fact]:
    """Facts: (went, person, place), (has, person, thing, giver), (left, person, thing, place), (is, thing, colour),
    (time, person, place or thing, time), in the order of the text.
    """
    facts: list[Fact] = []
    for sentence in text.replace(",", "").split("."):
        subject = SUBJECT.search(sentence)
        when = re.search(rf"\b[Aa]t {TIME}\b", sentence)
        if subject is None:
            continue
        who = subject[1] or subject[2]
        for found in DOES.finditer(sentence, subject.end()):
            said = [group for group in found.groups() if group][1:]
            match found.lastgroup:
                case "move":
                    facts.append(("went", who, said[0]))
                case "take":
                    facts += [("is", said[-1], said[0])] if len(said) == 2 else []
                    facts.append(("has", who, said[-1], ""))
                case "leave":
                    facts.append(("left", who, *said))
                case "give":
                    facts.append(("has", said[1], said[0], who))
                case "gave":
                    facts.append(("has", said[0], said[1], who))
                case "got":
                    facts.append(("has", who, said[0], said[1]))
                case "colour":
                    facts.append(("is", who, said[0]))
            if when and facts[-1][0] in ("went", "has"):
                facts.append(("time", *facts[-1][1:3], when[1]))
    return facts


def answer(facts: list[Fact], question: str) -> str:
    """The answer by the facts, "" if they have none."""
    place: dict[str, str] = {}
    owner: dict[str, str] = {}
    spot: dict[str, str] = {}
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    colour = {fact[1]: fact[2] for fact in facts if fact[0] == "is"}
    for kind, *fact in facts:
        if kind == "went":
            place[fact[0]], last[fact[1]] = fact[1], fact[0]
            first.setdefault(fact[1], fact[0])
        elif kind == "has":
            owner[fact[1]] = fact[0]
            spot.pop(fact[1], None)
        elif kind == "left":
            spot[fact[1]] = fact[2]
            owner.pop(fact[1], None)
    has = {person: thing for thing, person in owner.items()}
    people, things, places = ([m[1] for m in re.finditer(rf"\b{kind}\b", question)] for kind in (PERSON, OBJECT, PLACE))
    if question.startswith(("Where", "In which place")):
        return place.get(people[0], "") if people else spot.get(things[0]) or place.get(owner.get(things[0], ""), "")
    if question.startswith("Who has"):
        return owner.get(things[0], "")
    if question.startswith("What does"):
        return has.get(people[0], "")
    if "colour" in question:
        return colour.get(things[0] if things else has.get(people[0], ""), "")
    if question.startswith(("When", "At what time")):
        return next(
            (time for kind, *rest, time in facts if kind == "time" and rest == [people[0], (places + things)[0]]), ""
        )
    if question.startswith(("Who gave", "From whom")):
        return next((fact[3] for fact in facts if fact[:3] == ("has", people[0], things[0]) and fact[3]), "")
    return (first if "first" in question else last).get(places[0], "")


# --- the corpus ---------------------------------------------------------------------------------------------------


def test_columns_size_and_rows(frame: pd.DataFrame) -> None:
    assert list(frame.columns) == ["row", "split", "context", "question", "answer", "start", "support"]
    assert frame.row.tolist() == [f"embedded:{n}" for n in range(1, SIZE + 1)]
    assert frame.context.is_unique
    assert frame.split.value_counts().to_dict() == {"train": 800, "valid": 100, "test": 100}


def test_one_question_in_ten_has_no_answer_in_each_split(frame: pd.DataFrame) -> None:
    none = frame[frame.answer == ""]
    assert none.split.value_counts().to_dict() == {"train": 80, "valid": 10, "test": 10}
    assert (none.start == -1).all()
    assert (none.support.str.len() == 0).all()
    assert {q.split(" ")[0] for q in none.question} == {q.split(" ")[0] for q in frame.question}


def test_the_seed_decides() -> None:
    first, again, other = generate(60, 1), generate(60, 1), generate(60, 2)
    pd.testing.assert_frame_equal(first, again)
    assert first.context.tolist() != other.context.tolist()


@pytest.mark.parametrize("size", [1, 3, 11, 37])
def test_small_sizes_are_exact(size: int) -> None:
    assert len(generate(size, 0)) == size


def test_too_many_rows_are_the_users_mistake() -> None:
    with pytest.raises(InputError, match=r"data\.size"):
        generate(10**9, 0)


def test_stories_have_five_to_nine_sentences_and_few_words(frame: pd.DataFrame) -> None:
    assert frame.context.str.count(r"\.").between(5, 9).all()
    words = {word.strip(".,?").lower() for text in (*frame.context, *frame.question) for word in text.split(" ")}
    assert len(words) <= 120


def test_answers_are_words_of_the_context_at_their_place(frame: pd.DataFrame) -> None:
    for row in frame[frame.answer != ""].itertuples():
        assert row.context[row.start :].startswith(row.answer)
        first = row.context[: row.start].count(" ")
        span = range(first, first + len(row.answer.split(" ")))
        assert set(span) <= set(row.support), "the answer stands in what decides"
        assert " ".join(row.context.split(" ")[i] for i in span).rstrip(".,") == row.answer
        assert row.support == sorted(set(row.support))
    assert {len(text.split(" ")) for text in frame.answer} == {1, 2, 3}


def test_the_reader_answers_from_the_whole_story(frame: pd.DataFrame) -> None:
    for row in frame.itertuples():
        assert answer(read(row.context), row.question) == row.answer, (row.context, row.question)


def test_the_reader_answers_from_the_support_alone(frame: pd.DataFrame) -> None:
    """Each sentence is cut down to its words of the support, with "at" before a time; nothing else is read."""
    for row in frame[frame.answer != ""].itertuples():
        words, kept = row.context.split(" "), set(row.support)
        if re.match("When|At what", row.question):
            kept |= {i - 1 for i in kept if words[i - 1].lower() == "at"}
        text = " ".join(
            "" if i not in kept and not word.endswith(".") else word if i in kept else "."
            for i, word in enumerate(words)
        )
        assert answer(read(text), row.question) == row.answer, (text, row.question)


def test_half_of_the_support_is_not_enough(frame: pd.DataFrame) -> None:
    """Where is a thing that somebody has, what colour has it: neither sentence answers alone."""
    combined = 0
    for row in frame[frame.answer != ""].itertuples():
        sentences = re.findall(r"[^.]+\.", row.context)
        combined += all(answer(read(sentence), row.question) != row.answer for sentence in sentences)
    assert combined > 0.1 * SIZE


def entities(text: str, kind: str) -> list[tuple[int, str]]:
    """Place in the text and text of each person, thing, place, colour or time."""
    return [(found.start(), found[1]) for found in re.finditer(rf"\b{kind}\b", text)]


def kind_of(question: str) -> str:
    if question.startswith(("Where", "In which")):
        return PLACE
    if question.startswith(("When", "At what")):
        return TIME
    return COLOUR if "colour" in question else OBJECT if question.startswith("What does") else PERSON


def overlap(sentence: str, question: str) -> int:
    return len(set(re.findall(r"\w+", sentence.lower())) & set(re.findall(r"\w+", question.lower())))


def shortcuts(frame: pd.DataFrame) -> dict[str, float]:
    """Exact match of two readers that do not understand: the last word of the answer's kind; the one in the sentence
    that shares most words with the question, the last such sentence if there are several.
    """
    right: dict[str, int] = defaultdict(int)
    for row in frame.itertuples():
        kind, asked = kind_of(row.question), {text for _, text in entities(row.question, PERSON)}
        found = [text for _, text in entities(row.context, kind) if text not in asked]
        right["last"] += found[-1:] == [row.answer]
        best = max(reversed(re.findall(r"[^.]+\.", row.context)), key=lambda s: overlap(s, row.question))
        found = [text for _, text in entities(best, kind) if text not in asked]
        right["overlap"] += (found[-1] if found else "") == row.answer
    return {name: count / len(frame) for name, count in right.items()}


def test_shortcuts_do_badly(frame: pd.DataFrame) -> None:
    found = shortcuts(frame)
    assert 0.1 < found["last"] < 0.5
    assert 0.2 < found["overlap"] < 0.65


def test_another_word_of_the_answers_kind_is_always_there(frame: pd.DataFrame) -> None:
    for row in frame.itertuples():
        assert len({text for _, text in entities(row.context, kind_of(row.question))}) > 1, (row.context, row.question)


def pairs(text: str) -> Iterable[tuple[str, str]]:
    for kind, *fact in read(text):
        if kind in ("went", "is", "has"):
            yield fact[0], fact[1]
        elif kind == "left":
            yield fact[1], fact[2]


def test_pairs_of_test_stories_never_occur_in_training(frame: pd.DataFrame) -> None:
    for split in ("train", "valid", "test"):
        for row in frame[frame.split == split].itertuples():
            reserved = {held_out(pair) for pair in pairs(row.context)} - {None}
            assert reserved == (set() if split == "train" else {split}), row.context


def test_test_has_no_new_words(frame: pd.DataFrame) -> None:
    words = {
        split: {w.strip(".,?") for text in (*part.context, *part.question) for w in text.split(" ")}
        for split, part in frame.groupby("split")
    }
    assert words["valid"] | words["test"] <= words["train"]
