"""What well-known data sets call their columns, and how they nest them, so that they can be read as they are.

    task                 data sets whose files are understood
    translation          WMT and OPUS on the Hub; data.columns says which way: {source: translation.en, …}; gold
                         alignments with sure and possible links
    summarization        CNN/DailyMail (article, highlights), XSum (document, summary), SAMSum (dialogue, summary)
    question_answering   SQuAD 1.1 and 2.0, nested as published or flat as on the Hub; bAbI (story, question, answer)
    any other            bAbI: the text is the story with the question behind it, the target or the label is the answer
    generation           plain text, see data.unit; TinyStories and others with one text column
    sentiment            SST and GLUE (sentence, label), IMDB (text or review, label or sentiment)
    multi_label          GoEmotions (text, labels) and others with a list of labels, tags or topics

What a user names in data.columns goes before all this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from attention_lab.errors import InputError
from attention_lab.readers import Records
from attention_lab.records import Shape

# Our column: what others call it, the first that is there.
ALIASES: dict[str, tuple[str, ...]] = {
    "source": ("src",),
    "target": ("tgt",),
    "document": ("article", "dialogue"),
    "summary": ("highlights",),
    "context": ("passage", "paragraph"),
    "text": ("sentence", "review", "content"),
    "label": ("sentiment",),
    "labels": ("label", "tags", "topics"),
    "alignment": ("sure",),
}


def understood(records: Records, shape: Shape, name: str) -> Records:
    """Records with the columns of this shape where a known format has them nested; the others as they are.

    name: where they are from, for messages.

    Raises:
        InputError: a format is known by its columns, and they hold something else.
    """
    if shape.answer is None:
        return [(number, _asked(record, shape, f"{name}:{number}")) for number, record in records]
    flat = [(number, record) for number, outer in records for record in _unnested(outer, f"{name}:{number}")]
    if len(flat) != len(records):  # several to an element: counted anew
        flat = [(number, record) for number, (_, record) in enumerate(flat, start=1)]
    return [(number, _answered(_told(record, f"{name}:{number}"))) for number, record in flat]


def _unnested(outer: dict[str, Any], row: str) -> Iterator[dict[str, Any]]:
    """SQuAD's articles → paragraphs → questions."""
    if not isinstance(outer.get("paragraphs"), list):
        yield outer
        return
    for paragraph in outer["paragraphs"]:
        questions = paragraph.get("qas") or [] if isinstance(paragraph, dict) else None
        if not isinstance(questions, list) or not all(isinstance(asked, dict) for asked in questions):
            raise InputError(
                f'{row}: a SQuAD paragraph should be like {{"context": …, "qas": [{{"question": …}}]}}, '
                f"not {json.dumps(paragraph, ensure_ascii=False, default=str)[:60]}; fix it"
            )
        for asked in questions:
            yield {"context": paragraph.get("context"), **asked}


def _told(record: dict[str, Any], row: str) -> dict[str, Any]:
    """bAbI: a list of sentences, and which of them the answer follows from (from 0); the last that has it is where it
    begins."""
    story = record.get("story")
    if "context" in record or not isinstance(story, list):
        return record
    sentences, facts = list(map(str, story)), record.get("supporting") or []
    if not isinstance(facts, list) or not all(isinstance(fact, int) and 0 <= fact < len(story) for fact in facts):
        raise InputError(
            f"{row}: the story has {len(story)} sentences, but supporting is {json.dumps(facts, default=str)[:60]}; "
            "list the numbers of sentences, counted from 0"
        )
    words = [0, *accumulate(len(sentence.split(" ")) for sentence in sentences)]
    support = [word for fact in facts for word in range(words[fact], words[fact + 1])]
    told = {**record, "context": " ".join(sentences), "support": support or None}
    answer = str(record.get("answer") or "")
    for fact in sorted(facts, reverse=True):
        if answer and (found := re.search(rf"\b{re.escape(answer)}\b", sentences[fact])):
            return {"start": sum(len(sentence) + 1 for sentence in sentences[:fact]) + found.start(), **told}
    return told


def _asked(record: dict[str, Any], shape: Shape, row: str) -> dict[str, Any]:
    """bAbI for tasks that do not look for a piece of the text: some of its answers, such as yes, are in no story."""
    told = _told(record, row)
    answer = shape.truth
    if told is record or answer is None or answer in record:
        return record
    support = {shape.gold: told["support"]} if len(shape.gold_texts) == 1 else {}
    return {
        **record,
        shape.source: f"{told['context']} {record.get('question')}",
        answer: record.get("answer"),
        **support,
    }


def _answered(record: dict[str, Any]) -> dict[str, Any]:
    """SQuAD's lists of answers: the first is the truth, the others are as good; "" where it is said that there is none.
    Where nothing is said the record stays as it is."""
    if record.get("answer") is not None:
        return record
    if str(record.get("is_impossible")).lower() in ("true", "1"):  # a table may have it as text
        return {**record, "answer": "", "start": -1}
    answers = record.get("answers")
    if isinstance(answers, str) and answers[:1] in ("[", "{"):  # a file without lists
        try:
            answers = json.loads(answers)
        except ValueError:
            answers = [answers]
    said = answers.get("text") if isinstance(answers, dict) else answers
    if said is None or said != said:  # NaN, of a table
        return record
    if isinstance(answers, dict):  # as on the Hub: a list of texts and a list of places
        texts, starts = (_listed(answers.get(name)) for name in ("text", "answer_start"))
        pairs = list(zip(texts, starts or [None] * len(texts), strict=False))
    else:
        answers = _listed(answers)
        pairs = [
            (one.get("text"), one.get("answer_start", one.get("start"))) if isinstance(one, dict) else (one, None)
            for one in answers
        ]
    if not pairs:
        return {**record, "answer": "", "start": -1}
    (answer, start), *others = pairs
    references = [text for text, _ in others]
    once = [text for number, text in enumerate(references) if text not in references[:number]]
    return {**record, "answer": answer, "start": start, "references": once}


def _listed(value: Any) -> list[Any]:
    """A single one is a list of one, "" of none."""
    return value if isinstance(value, list) else [] if value is None or value == "" else [value]
