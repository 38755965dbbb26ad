"""What a model, or each of two beside each other, says of the same texts, and which words that depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attention_lab.errors import InputError
from attention_lab.explanation import words
from attention_lab.explanation.words import Answer, Scored
from attention_lab.inference import Predictor
from attention_lab.interpretation.methods import METHODS


@dataclass(frozen=True)
class Told:
    """folder: where the model lies. method: which is read first. answers: to each text, with what methods say of it."""

    folder: Path
    predictor: Predictor
    method: str
    answers: Sequence[tuple[Answer, Sequence[Scored]]]

    @property
    def mechanism(self) -> str:
        return self.predictor.model.config.mechanism_name

    def by_its_method(self) -> Told:
        """The same, without the other methods."""
        return replace(
            self, answers=[(one, [row for row in found if row.method == self.method]) for one, found in self.answers]
        )


def tell(
    folders: Sequence[Path],
    texts: Sequence[str | Mapping[str, str]],
    *,
    measured: Mapping[str, Any],
    context: str | None = None,
    method: str | None = None,
    every: bool = False,
    max_tokens: int | None = None,
) -> list[Told]:
    """What each model says, and by which words; all are read by the same method.

    Args:
        folders: of models; all have to read as many texts at once.
        texts: what each model is given, one at a time, or a dict of what it reads.
        measured: the content of metrics/interpret.json, or nothing.
        context: of a question, which the texts are then.
        method: of `METHODS`; None: the best that was measured for the first model. every: all of them beside it.
        max_tokens: see `words.answers`.

    Raises:
        InputError: a text is empty, there is a context and no question, or the models read something else each.
    """
    predictors = [Predictor(folder) for folder in folders]
    for folder, predictor in zip(folders, predictors, strict=True):
        if len(predictor.fields) != len(predictors[0].fields):
            raise InputError(
                f"{folders[0]} reads a {_and(predictors[0])} and {folder} a {_and(predictor)}; give --beside a model "
                "that reads the same"
            )
    method = method or words.chosen(measured, predictors[0])[0]
    found = []
    for folder, predictor in zip(folders, predictors, strict=True):
        answers = words.answers(predictor, [predictor.asked(text, context) for text in texts], max_tokens)
        _, variants = words.chosen(measured, predictor)
        asked = list(METHODS) if every else [method]
        found.append(Told(folder, predictor, method, [(one, words.explain(one, asked, variants)) for one in answers]))
    return found


def _and(predictor: Predictor) -> str:
    return " and a ".join(predictor.fields) if len(predictor.fields) > 1 else "text"
