"""Formats of well-known data sets."""

from __future__ import annotations

from typing import Any

import pytest

from attention_lab.errors import InputError
from attention_lab.presets import understood
from attention_lab.records import SHAPES

QUESTIONS = SHAPES["question_answering"]


def test_squad_as_published() -> None:
    article = {
        "title": "Normans",
        "paragraphs": [
            {
                "context": "The Normans came from France.",
                "qas": [
                    {
                        "question": "Whence?",
                        "id": "a",
                        "answers": [
                            {"text": "France", "answer_start": 22},
                            {"text": "from France", "answer_start": 17},
                            {"text": "from France", "answer_start": 17},
                        ],
                        "is_impossible": False,
                    },
                    {
                        "question": "When?",
                        "id": "b",
                        "answers": [],
                        "is_impossible": True,
                        "plausible_answers": [{"text": "France", "answer_start": 22}],
                    },
                ],
            }
        ],
    }
    (one, first), (two, second), (three, _) = understood(
        [(1, article), (2, {"context": "c", "question": "q"})], QUESTIONS, "x.json"
    )
    assert (one, two, three) == (1, 2, 3)
    assert first["context"] == second["context"] == "The Normans came from France."
    assert (first["answer"], first["start"], first["references"]) == ("France", 22, ["from France"])
    assert (second["answer"], second["start"]) == ("", -1)


def test_squad_as_on_the_hub_and_lists_of_texts() -> None:
    hub = {"context": "a b", "question": "q", "answers": {"text": ["b", "a b"], "answer_start": [2, 0]}}
    texts = {"context": "a b", "question": "q", "answers": ["b", "a"]}
    nothing = {"context": "a b", "question": "q", "answers": {"text": [], "answer_start": []}}
    found = [record for _, record in understood(list(enumerate([hub, texts, nothing], 1)), QUESTIONS, "x")]
    assert [(row["answer"], row["start"]) for row in found] == [("b", 2), ("b", None), ("", -1)]
    assert found[0]["references"] == ["a b"]
    assert found[1]["references"] == ["a"]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("kitchen", ("kitchen", [])),  # not its letters
        ('["hall", "the hall"]', ("hall", ["the hall"])),
        ('{"text": ["hall"], "answer_start": [3]}', ("hall", [])),
        ({"text": "hall", "answer_start": 3}, ("hall", [])),
        ("[sic]", ("[sic]", [])),
        (3, (3, [])),
        ("", ("", None)),
        (["b", ["c"], ["c"]], ("b", [["c"]])),  # no text: its cell says so
    ],
)
def test_answers_of_a_file_without_lists(answers: Any, expected: tuple[Any, Any]) -> None:
    ((_, found),) = understood([(1, {"context": "c", "question": "q", "answers": answers})], QUESTIONS, "x")
    assert (found["answer"], found.get("references")) == expected


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({}, None),
        ({"answer": None}, None),
        ({"answers": None}, None),
        ({"answers": float("nan")}, None),
        ({"answers": {"text": None}}, None),
        ({"answer": None, "answers": []}, ""),
        ({"answers": {"text": []}}, ""),
        ({"answer": None, "is_impossible": True}, ""),
        ({"is_impossible": "True"}, ""),
        ({"answer": "hall", "is_impossible": "False"}, "hall"),
        ({"answers": ["hall"], "is_impossible": "False"}, "hall"),
    ],
)
def test_no_answer_is_said_and_a_missing_one_is_not_known(said: dict[str, Any], answer: str | None) -> None:
    ((_, found),) = understood([(1, {"context": "c", "question": "q", **said})], QUESTIONS, "x")
    assert found.get("answer") == answer


@pytest.mark.parametrize("paragraph", [{"qas": ["why?"]}, "text", {"qas": 3}, {"qas": {"question": "q"}}])
def test_what_is_no_squad_is_one_sentence(paragraph: Any) -> None:
    with pytest.raises(InputError, match=r"^x\.json:4: a SQuAD paragraph should be like"):
        understood([(4, {"paragraphs": [paragraph]})], QUESTIONS, "x.json")


@pytest.mark.parametrize("supporting", [[2], [-1], "1", ["0"]])
def test_facts_that_are_no_sentence_are_refused(supporting: Any) -> None:
    row = {"story": ["Mary left .", "John slept ."], "question": "Who?", "answer": "John", "supporting": supporting}
    for shape in (QUESTIONS, SHAPES["sentiment"]):
        with pytest.raises(InputError, match=r"^x\.jsonl:3: the story has 2 sentences, but supporting is"):
            understood([(3, row)], shape, "x.jsonl")


def test_babi_with_its_supporting_facts() -> None:
    story = ["Mary went to the hall .", "John took the ball .", "Mary left ."]
    row = {"story": story, "question": "Who has it?", "answer": "John", "supporting": [1]}
    ((_, found),) = understood([(7, row)], QUESTIONS, "x")
    assert found["context"] == "Mary went to the hall . John took the ball . Mary left ."
    assert [found["context"].split(" ")[word] for word in found["support"]] == story[1].split(" ")


@pytest.mark.parametrize(
    ("answer", "supporting", "start"),
    [
        ("hall", [0, 2], 50),  # the last fact that has it, not the first sentence
        ("hall", [0], 17),
        ("John", [2, 1], 23),  # the last fact has another word
        ("all", [2], None),  # a part of a word
        ("no", [2], None),
        ("", [2], None),  # there is none
        ("hall", None, None),
    ],
)
def test_an_answer_of_babi_begins_where_it_follows_from(answer: str, supporting: Any, start: int | None) -> None:
    story = ["Mary went to the hall.", "John took it.", "He is in the hall.", "The hall is red."]
    row = {"story": story, "question": "Where?", "answer": answer, "supporting": supporting}
    ((_, found),) = understood([(7, row)], QUESTIONS, "x")
    assert found.get("start") == start
    if start is not None:
        assert found["context"][start:].startswith(answer)
    ((_, given),) = understood([(7, row | {"start": 3})], QUESTIONS, "x")
    assert given["start"] == 3


@pytest.mark.parametrize(
    ("task", "asked", "told"),
    [("sentiment", "text", "label"), ("translation", "source", "target"), ("summarization", "document", "summary")],
)
def test_babi_for_tasks_that_classify_or_write(task: str, asked: str, told: str) -> None:
    story = ["Mary is in the hall .", "John took the ball ."]
    row = {"story": story, "question": "Is Mary in the park?", "answer": "no", "supporting": [0]}
    ((number, found),) = understood([(5, row)], SHAPES[task], "x")
    assert number == 5
    assert found[asked] == "Mary is in the hall . John took the ball . Is Mary in the park?"
    assert found[told] == "no"
    gold = SHAPES[task].gold
    assert (gold == "alignment") == (gold not in found)
    if gold in found:
        assert [found[asked].split(" ")[word] for word in found[gold]] == story[0].split(" ")


def test_other_records_stay_as_they_are() -> None:
    records = [(3, {"text": "a", "answers": [1]}), (4, {"story": ["a"], "question": "b", "answer": "c", "label": "d"})]
    assert understood(records, SHAPES["sentiment"], "x") == records
