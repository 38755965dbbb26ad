"""New text in, predictions out: the trained model with its tokenizer, for commands and servers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from attention_lab import params
from attention_lab.batching import Examples, TokenBuckets
from attention_lab.errors import InputError
from attention_lab.evaluation import Trained

TOKENS_PER_BATCH = 4000


class Predictor(Trained):
    """A trained model that takes raw text; the tokenizer normalises it as the training text was."""

    def predict(
        self,
        texts: list[str],
        *,
        beams: int = 1,
        length_penalty: float = 1.0,
        max_tokens: int = 128,
        max_ratio: float = 2.0,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
    ) -> list[dict[str, Any]]:
        """One dict for each text, with `prediction` and how sure the model is of it.

        How a target is searched, or a continuation drawn: see `decoding`, and the section evaluate of params.yaml.
        A text longer than the model was trained for is cut, and its dict says `truncated: true`.

        Raises:
            InputError: a text is empty.
        """
        for number, text in enumerate(texts, start=1):
            if not text.strip():
                raise InputError(f"text {number} is empty; give at least one word")
        config = self.model.config
        encoded = self.tokenizer(texts, add_special_tokens=True)["input_ids"]
        cut = [[*ids[: config.positions - 1], config.end] if len(ids) > config.positions else ids for ids in encoded]
        data = Examples([np.array(ids, dtype=np.int32) for ids in cut], pad=config.pad)
        options = params.Evaluate(
            split="test",
            beams=beams,
            length_penalty=length_penalty,
            max_tokens=max_tokens,
            max_ratio=max_ratio,
            prompt_tokens=None,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            bootstrap=100,
            tokens_per_batch=TOKENS_PER_BATCH,
        )
        answers: list[dict[str, Any]] = [{}] * len(texts)
        with torch.inference_mode():
            for rows in TokenBuckets(data.lengths, TOKENS_PER_BATCH).epoch(0):
                found = self.task.predict(self.model, data[rows].to(self.device), self.tokenizer, options)
                for row, answer in zip(rows, found, strict=True):
                    answers[row] = {**answer, "truncated": len(encoded[row]) > config.positions}
        return answers
