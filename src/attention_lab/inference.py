"""New text in, predictions out: the trained model with its tokenizer, for commands and servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pandas as pd
import torch

from attention_lab import borrowed, device, encoding, params, vocabulary
from attention_lab.batching import TokenBuckets, examples
from attention_lab.errors import InputError, check_unicode
from attention_lab.evaluation import Trained, joined
from attention_lab.records import SHAPES
from attention_lab.tasks import TASKS

TOKENS_PER_BATCH = 4000


class Search(TypedDict, total=False):
    """How an answer is searched or drawn; what each value means stands in the section evaluate of params.yaml."""

    beams: int
    best: int
    length_penalty: float
    max_tokens: int
    max_ratio: float
    min_tokens: int
    no_repeat_ngram: int
    repetition_penalty: float
    no_answer: float | None
    threshold: float
    temperature: float
    top_k: int | None
    top_p: float
    seed: int


DEFAULTS: Search = {
    "beams": 1,
    "best": 1,
    "length_penalty": 1.0,
    "max_tokens": 128,
    "max_ratio": 2.0,
    "min_tokens": 0,
    "no_repeat_ngram": 0,
    "repetition_penalty": 1.0,
    "no_answer": 0.0,
    "threshold": 0.5,
    "temperature": 1.0,
    "top_k": None,
    "top_p": 1.0,
    "seed": 0,
}


class Predictor(Trained):
    """A trained model that takes raw text; its tokenizer normalises it as the training text was.

    Args:
        directory: what the train stage wrote; or a model directory of transformers, see `borrowed`.

    Raises:
        InputError: a file is missing, or the model is of a kind that is not known here.
    """

    def __init__(self, directory: Path) -> None:
        if not borrowed.is_one(directory):
            super().__init__(directory)
            return
        self.device = device.choose("auto")
        device.prepare(self.device)
        self.model, self.tokenizer, self.target_tokenizer = borrowed.load(directory, self.device)
        self.task = TASKS[self.model.config.task]

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts that it reads, by name: one, or a question and its context."""
        return SHAPES[self.task.name].inputs

    def asked(self, given: str | Mapping[str, str], context: str | None) -> dict[str, str]:
        """The input of a text, or of a question about a context; a dict has a context of its own.

        Raises:
            InputError: there is a context, and the model reads a text alone.
        """
        if context is not None and "context" not in self.fields:
            raise InputError("--context is for models that answer questions; this one only reads a text")
        about = {} if context is None else {"context": context}
        return about | ({self.fields[0]: given} if isinstance(given, str) else dict(given))

    def predict(
        self,
        inputs: Sequence[str | Mapping[str, str]],
        *,
        first: int = 0,
        **search: Unpack[Search],
    ) -> list[dict[str, Any]]:
        """One dict for each input, with `prediction` and how sure the model is of it.

        With `best` above 1 each has as many `candidates`, the best first, or fewer where there are no more; a target is
        searched with at least as many beams. `search` says how; what it leaves out is as in `DEFAULTS`.

        A text longer than the model was trained for is read in windows if the task can, else it is cut, and its dict
        says `truncated: true`. So does that of a longer text that a language model goes on with: it has read the end.

        Args:
            inputs: texts, or dicts with a text under each name of `fields`.
            first: the place of the first of them, where they are some of many; what is drawn for a text depends on its
                own and on the seed.

        Raises:
            InputError: a text is missing or empty, or the task has but one answer and more are asked for.
        """
        if not len(inputs):
            return []
        shape = SHAPES[self.task.name]
        numbered = enumerate(inputs, start=first + 1)
        records = pd.DataFrame([{"row": str(n), **self.texts(given, f"input {n}")} for n, given in numbered])
        options = _options(search)
        sources = self.read([records[name].tolist() for name in self.fields], windows=shape.reads_windows)
        table = encoding.table(records["row"].tolist(), sources)
        data = examples(table, pad=self.model.config.pad)
        # What is drawn for a text depends on its number, and not on how many windows those before it have.
        number_of = [int(name) - 1 for name in table["row"]]
        windows: list[dict[str, Any]] = [{}] * len(data)
        with torch.inference_mode():
            for rows in TokenBuckets(data.lengths, TOKENS_PER_BATCH).epoch(0):
                batch = replace(data[rows], rows=[number_of[row] for row in rows]).to(self.device)
                found = self.task.predict(self.model, batch, self.target_tokenizer, options)
                for row, answer in zip(rows, found, strict=True):
                    windows[row] = answer
        answers = joined(self.task, windows, table["row"], records, options)
        goes_on = self.model.config.architecture == "decoder"
        return [
            {**answer, "truncated": source.cut or (goes_on and len(source.windows) > 1)}
            for answer, source in zip(answers, sources, strict=True)
        ]

    def stream(
        self,
        given: str | Mapping[str, str],
        *,
        number: int = 0,
        **search: Unpack[Search],
    ) -> Iterator[str]:
        """The pieces of one prediction, each as soon as it is written: what `predict` says with one beam, or draws.

        Args:
            given: a text, or a dict with a text under each name of `fields`.
            number: its place among the inputs, from 0; what is drawn for it depends on that and on the seed.

        Raises:
            InputError: a text is missing or empty, or the task does not write.
        """
        texts = self.texts(given, f"input {number + 1}")
        options = _options(search)
        sources = self.read([[text] for text in texts.values()], windows=SHAPES[self.task.name].reads_windows)
        data = examples(encoding.table([str(number)], sources), pad=self.model.config.pad)
        # Of a text longer than can be read at once the end is gone on with, as in `predict`.
        last = len(data) - 1 if vocabulary.behind(self.tokenizer) is not None else 0
        batch = replace(data[[last]], rows=[number]).to(self.device)
        tokens: list[int] = []
        said = ""
        for token in self.task.stream(self.model, batch, options):
            tokens.append(token)
            # A piece may change how the one before it is spelled, so the text is spelled anew each time.
            text = self.target_tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            yield text[len(said) :]
            said = text

    def read(self, texts: Sequence[list[str]], *, windows: bool, written: bool = False) -> list[encoding.Source]:
        """What the model reads of texts: at once as many tokens as it was trained for, in several windows or cut.

        Args:
            texts: one text of each input; or a question of each and a text of each.
            written: they are what the model writes.
        """
        positions = self.model.config.positions
        limits = params.Encode(
            max_source_tokens=positions,
            max_target_tokens=positions,
            overflow="window" if windows else "truncate",
            overlap=max(1, positions // 4),
            max_overflow_share=1.0,
        )
        return encoding.sources(self.target_tokenizer if written else self.tokenizer, texts, limits)

    def texts(self, given: str | Mapping[str, str], where: str) -> dict[str, str]:
        """The texts that an input has, by the names of `fields`.

        Args:
            where: it stands, for people.

        Raises:
            InputError: one is missing or empty, or no text.
        """
        found = {self.fields[0]: given} if isinstance(given, str) else given
        for name in self.fields:
            text = found.get(name) if isinstance(found, Mapping) else None
            what = "text" if len(self.fields) == 1 else name
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"{where}: the {what} is empty or missing; give at least one word")
            check_unicode(text, f"{where}: the {what}")
        return {name: found[name] for name in self.fields}


def _options(search: Search) -> params.Evaluate:
    """How to predict; what is about measuring has no effect."""
    return params.Evaluate(
        **(DEFAULTS | search), split="test", prompt_tokens=None, bootstrap=100, tokens_per_batch=TOKENS_PER_BATCH
    )
