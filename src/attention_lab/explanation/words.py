"""Which words a prediction for one text depends on, by methods of attribution.

The prediction itself is what is explained: of a model that writes, what it has written, by its text, which the
tokenizer cuts anew; of a language model its text with the continuation. Of a text that is too long to be read at once
the first words are read; of one with an answer, the window that has it.

Shapes: Wq words of the output (1 for a class or an answer), Wk words of the text; a language model's are the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from attention_lab import encoding, vocabulary
from attention_lab.explanation.maps import places_of, window_of
from attention_lab.inference import Predictor, Search
from attention_lab.interpretation import explained
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.findings import Attribution
from attention_lab.interpretation.methods import METHODS, looked_at, why_not
from attention_lab.interpretation.subject import LOGITS_AT_ONCE
from attention_lab.interpretation.weights import readings
from attention_lab.records import SHAPES, spelled
from attention_lab.transformer import LanguageModel, SpanExtractor

STEPS = 32  # of integrated gradients
WRITTEN, CONTINUED = 128, 20  # tokens at most: of an answer, and of what a language model adds


@dataclass(frozen=True)
class Answer:
    """One text, what the model says of it, and that as something to be explained.

    texts: what was read, by name. notes: what a reader has to know of that. answer: see `Predictor.predict`. asked: a
    batch of this one. row, record: encoded and as texts, as `interpretation.traces` takes them.
    """

    texts: dict[str, str]
    notes: list[str]
    answer: Mapping[str, Any]
    asked: Asked
    row: dict[Hashable, Any]
    record: dict[Hashable, Any]

    @property
    def prediction(self) -> str:
        return spelled(self.answer["prediction"])

    @property
    def goes_on(self) -> bool:
        """The output begins with the text itself, as a language model's does."""
        return isinstance(self.asked.model, LanguageModel)

    @property
    def words(self) -> list[str]:
        return self.asked.sources[0].words

    @property
    def outputs(self) -> list[str]:
        """What each row of scores is of."""
        return self.asked.outputs(0).words if self.asked.writes else [self.prediction or "(nothing)"]


@dataclass(frozen=True)
class Scored(Attribution):
    """variant: of the method, as `methods.attribute` names it; "" where it has but one."""

    variant: str = ""


def answers(predictor: Predictor, given: Sequence[Mapping[str, str]], max_tokens: int | None = None) -> list[Answer]:
    """What the model says of texts, always the most probable.

    Args:
        given: a text under each name of `predictor.fields`.
        max_tokens: of what is written; None: `WRITTEN`, of a language model `CONTINUED`.

    Raises:
        InputError: a text is missing or empty.
    """
    continues = isinstance(predictor.model, LanguageModel)
    search: Search = {"temperature": 0.0, "max_tokens": max_tokens or (CONTINUED if continues else WRITTEN)}
    found = []
    for number, texts in enumerate(given, start=1):
        single = {name: " ".join(str(texts.get(name, "")).split()) for name in predictor.fields}
        read = single if isinstance(predictor.model, SpanExtractor) else _read_at_once(predictor, single)
        notes = [] if read == single else [_left_out(single[predictor.fields[0]], read[predictor.fields[0]])]
        (answer,) = predictor.predict([read], **search)
        found.append(_asked(predictor, f"text {number}", read, answer, notes))
    return found


def _asked(
    predictor: Predictor, name: str, texts: dict[str, str], answer: Mapping[str, Any], notes: list[str]
) -> Answer:
    model, shape = predictor.model, SHAPES[predictor.task.name]
    prediction = spelled(answer["prediction"])
    record: dict[str, Any] = {"row": name, **texts}
    more = {}
    if isinstance(model, SpanExtractor):
        record, source, told = _about_answer(predictor, record, answer)
        notes = [*notes, *told]
    else:
        if shape.target is not None:
            record[shape.target] = prediction
            more["target"] = [predictor.read([[prediction]], windows=False, written=True)[0].windows[0].ids]
        elif isinstance(model, LanguageModel):
            record[shape.source] = prediction
        source = predictor.read([[record[shape.source]]], windows=False)[0]
    encoded = encoding.table([record["row"]], [source], more)
    (reading,) = readings(
        model.config, encoded, pd.DataFrame([record]), predictor.tokenizer, shape, predictor.target_tokenizer
    )
    asked = Asked.of(model, reading, predictor.device)
    if isinstance(model, SpanExtractor):
        asked = replace(asked, said=torch.tensor([source.windows[0].span], device=asked.said.device))
    whole: dict[Hashable, Any] = dict(record.items())
    return Answer(texts, notes, answer, asked, encoded.iloc[0].to_dict(), whole)


def explain(answer: Answer, methods: Sequence[str], variants: Mapping[str, str]) -> list[Scored]:
    """What each method, of `METHODS`, says of the text; where it is not defined for the model, why.

    Args:
        variants: of methods that look in several places, which to take; without it, the first.
    """
    asked = answer.asked
    config = asked.model.config
    # A path of texts has the logits of each step.
    steps = LOGITS_AT_ONCE // (config.written * sum(asked.reading.lengths[0].tolist()))
    looked = explained.explain([asked], max(4, min(STEPS, steps)), list(methods))
    found = []
    for name in methods:
        method = METHODS[name]
        if reason := why_not(method, config):
            found.append(Scored(name, None, reason=reason))
            continue
        of_method = looked.scores[name]
        variant = variants[name] if variants.get(name) in of_method else next(iter(of_method))
        scores = of_method[variant][0]
        if answer.goes_on:
            scores = np.tril(scores, -1)  # what a word gives itself is no reason for it
        found.append(Scored(name, scores, method.signed and variant != "size", variant=variant))
    return found


def chosen(metrics: Mapping[str, Any], predictor: Predictor) -> tuple[str, dict[str, str]]:
    """The method to read, and the variant of each, as the interpret stage has chosen them for such a model: the content
    of metrics/interpret.json, or nothing where it is of another task or mechanism."""
    config = predictor.model.config
    if (metrics.get("task"), metrics.get("mechanism")) != (config.task, config.mechanisms[looked_at(config)].name):
        return "weights", {}
    # Behind the variant may stand how its scores were read as links.
    found = {name: row.get("variant", "").split(";")[0] for name, row in metrics.get("methods", {}).items()}
    return metrics.get("best_method") or "weights", found


def _read_at_once(predictor: Predictor, texts: dict[str, str]) -> dict[str, str]:
    """The first words of a text, as many as the model has positions for."""
    (name,) = predictor.fields
    text = texts[name]
    found = vocabulary.backend(predictor.tokenizer).encode(text)
    special = sum(found.special_tokens_mask)
    ends = [end for (_, end), mark in zip(found.offsets, found.special_tokens_mask, strict=True) if not mark]
    room = predictor.model.config.positions - special
    if len(ends) <= room:
        return texts
    cut = ends[room - 1]
    kept = text[:cut] if text[cut : cut + 1] == " " else text[:cut].rpartition(" ")[0]
    return {name: kept.rstrip() or text[:cut]}


def _left_out(text: str, read: str) -> str:
    words, of = len(read.split(" ")), len(text.split(" "))
    return f"The text is too long for the model, which has read only the first {words} of its {of} words."


def _about_answer(
    predictor: Predictor, record: dict[str, Any], answer: Mapping[str, Any]
) -> tuple[dict[str, Any], encoding.Source, list[str]]:
    """The question with that piece of its text that is read with the answer, and where the answer stands in it."""
    (question, context), notes = predictor.fields, []
    text, begins = record[context], answer["begins"]
    if len(predictor.read([[record[question]], [text]], windows=True)[0].windows) > 1:
        places = [place for place in places_of(window_of(predictor, record, answer)) if place[1] > place[0]]
        first = _word_from(text, places[0][0])
        # A word that is cut in two stays where it has the answer.
        first = places[0][0] if 0 <= begins < first else first
        piece = text[first : places[-1][1]]
        first += len(piece) - len(piece.lstrip())
        begins = begins - first if begins >= 0 else begins
        record = {**record, context: piece.strip()}
        which = "the window with the answer" if begins >= 0 else "the first window, as no window has an answer"
        read, of = len(record[context].split(" ")), len(text.split(" "))
        notes.append(f"The text is too long to be read at once. The explanation covers {which}: {read} of {of} words.")
    (source,) = predictor.read([[record[question]], [record[context]]], windows=False)
    return record, encoding.spanned(source, begins, begins + len(answer["prediction"])), notes


def _word_from(text: str, place: int) -> int:
    """Where the first word begins that is not cut at that place."""
    if place == 0 or " " in text[place - 1 : place + 1]:
        return place
    return text.find(" ", place) + 1 or place
