"""A model's predictions for rows of a split, their probabilities, and how these change when words are hidden.

A model makes choices, each among V values: the next token at each position, a class, whether a text has each label, or
both ends of an answer. An output is what an attribution explains. In a model that writes, each choice is an output; in
a model that reads, all its choices together are the single output.

Shapes: B rows, S source tokens, T target tokens, C choices, Q outputs, V values, Wq words of the output (1 for a class
or an answer), Wk words of the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attention_lab.batching import Batch, given
from attention_lab.interpretation.weights import LONGEST_ANSWER, Reading, Words, merge
from attention_lab.transformer import EncoderDecoder, LanguageModel, Model, SpanExtractor
from attention_lab.transformer.spans import best_span, ends

AT_ONCE = 4000  # tokens of texts with hidden words; bounds memory without affecting results


def choices(model: Model, batch: Batch) -> list[Tensor]:
    """The log-probabilities (B, V) of the values of each of the C choices; a model that writes is teacher-forced."""
    if isinstance(model, EncoderDecoder | LanguageModel):
        if isinstance(model, LanguageModel):
            states, _ = model(batch.source)
            count = batch.source.shape[1] - 1
        else:
            target = given(batch.target, "a target")
            states, _ = model(batch.source, batch.source_mask, target[:, :-1])
            count = target.shape[1] - 1
        # One choice at a time, so that the gradient of one does not pass through the projection of all.
        return [model.project(states[:, choice]).float().log_softmax(-1) for choice in range(count)]
    if isinstance(model, SpanExtractor):
        return list(ends(model, batch.source, batch.source_mask).unbind(1))
    logits = model(batch.source, batch.source_mask)[0].float()
    if several(model):
        return list(torch.stack((F.logsigmoid(-logits), F.logsigmoid(logits)), -1).unbind(1))
    return [logits.log_softmax(-1)]


def several(model: Model) -> bool:
    """Whether a text can have any number of the model's labels."""
    return model.config.task == "multi_label"


@torch.no_grad()
def predicted(model: Model, batch: Batch) -> Tensor:
    """The model's predictions (B, C); for a model that writes, the given target tokens."""
    if isinstance(model, EncoderDecoder):
        return given(batch.target, "a target")[:, 1:]
    if isinstance(model, LanguageModel):
        return batch.source[:, 1:]
    if isinstance(model, SpanExtractor):
        first, last, _ = best_span(ends(model, batch.source, batch.source_mask), LONGEST_ANSWER)
        return torch.stack((first, last), 1)
    return torch.stack(choices(model, batch), 1).argmax(-1)


def truth(model: Model, batch: Batch) -> Tensor:
    """The correct values (B, C)."""
    if isinstance(model, EncoderDecoder | LanguageModel):
        return predicted(model, batch)
    known = given(batch.span if isinstance(model, SpanExtractor) else batch.label, "its truth")
    return known.long() if known.dim() == 2 else known.long().unsqueeze(1)


def log_probabilities(model: Model, batch: Batch, said: Tensor) -> list[Tensor]:
    """Log-probabilities of the outputs `said` (B, C): Q tensors (B,). Those of a target's padding are meaningless."""
    found = [
        choice.gather(-1, said[:, number : number + 1]).squeeze(-1)
        for number, choice in enumerate(choices(model, batch))
    ]
    return found if isinstance(model, EncoderDecoder | LanguageModel) else [torch.stack(found).sum(0)]


def loss(model: Model, batch: Batch) -> Tensor:
    """−log p of the truth (B,) in nats, averaged over the choices of each row."""
    right = truth(model, batch)
    there = asked_for(model, right).float()
    logs = [choice.gather(-1, right[:, n : n + 1]).squeeze(-1) for n, choice in enumerate(choices(model, batch))]
    return -(torch.stack(logs, 1) * there).sum(1) / there.sum(1)


def asked_for(model: Model, said: Tensor) -> Tensor:
    """Which choices (B, C) are not padding."""
    return said != model.config.pad if isinstance(model, EncoderDecoder | LanguageModel) else said >= 0


@dataclass(frozen=True)
class Asked:
    """A batch of rows on the model's device, and the model's predictions for them (B, C)."""

    model: Model
    batch: Batch
    said: Tensor
    reading: Reading

    @staticmethod
    def of(model: Model, reading: Reading, device: torch.device | str) -> Asked:
        batch = reading.batch.to(device)
        return Asked(model, batch, predicted(model, batch), reading)

    @property
    def names(self) -> list[str]:
        return self.reading.names

    @property
    def sources(self) -> list[Words]:
        return self.reading.sources

    @property
    def writes(self) -> bool:
        return isinstance(self.model, EncoderDecoder | LanguageModel)

    def outputs(self, row: int, *, read: bool = False) -> Words:
        """The words of a row's outputs, and the word that each output belongs to; with `read`, the word that each
        position reads instead of the one it predicts. A class or an answer counts as one word."""
        if not self.writes:
            return Words([""], [0])
        words = self.sources[row] if self.reading.targets is None else self.reading.targets[row]
        return Words(words.words, words.owners[:-1] if read else words.owners[1:])

    def log_probabilities(self) -> list[Tensor]:
        return log_probabilities(self.model, self.batch, self.said)

    def merged(self, row: int, scores: np.ndarray, *, read: bool = False) -> np.ndarray:
        """Scores of outputs × source tokens of a row (≥ Q, ≥ S) → of words × words (Wq, Wk); see `weights.merge`."""
        outputs, source = self.outputs(row, read=read), self.sources[row]
        return merge(
            scores[: len(outputs.owners), : len(source.owners)],
            outputs.owners,
            source.owners,
            query_words=len(outputs.words),
            key_words=len(source.words),
        )

    def can_be_hidden(self, row: int) -> np.ndarray:
        """Which source words have at least one token (Wk,)."""
        owners = {owner for owner in self.sources[row].owners if owner is not None}
        return np.isin(np.arange(len(self.sources[row].words)), list(owners))

    @torch.no_grad()
    def hiding(self, hidden: Sequence[tuple[int, np.ndarray]]) -> list[np.ndarray]:
        """The log-probability of each word of the output (Wq,) for each text with hidden words.

        A hidden word's tokens are read as <unk>, or its counterpart in the tokenizer. A model that writes is still
        given its target.

        Args:
            hidden: pairs of a row of the batch and a mask (Wk,) of the source words to hide.
        """
        found: list[np.ndarray] = []
        step = max(1, AT_ONCE // int(self.reading.lengths.sum(1).max()))
        for start in range(0, len(hidden), step):
            some = hidden[start : start + step]
            rows = torch.tensor([row for row, _ in some], device=self.said.device)
            source = self.batch.source[rows].clone()
            for index, (row, words) in enumerate(some):
                source[index, torch.from_numpy(self._tokens(row, words)).to(source.device)] = self.reading.unknown
            target = None if self.batch.target is None else self.batch.target[rows]
            batch = Batch([], source, self.batch.source_mask[rows], target)
            # A language model must still predict the words that are hidden from it.
            logs = torch.stack(log_probabilities(self.model, batch, self.said[rows]), 1).cpu().numpy()
            found += [self._by_word(row, line) for (row, _), line in zip(some, logs, strict=True)]
        return found

    def _tokens(self, row: int, words: np.ndarray) -> np.ndarray:
        """The positions of the tokens of these words of a row."""
        owners = self.sources[row].owners
        return np.array([t for t, owner in enumerate(owners) if owner is not None and words[owner]], dtype=np.int64)

    def _by_word(self, row: int, logs: np.ndarray) -> np.ndarray:
        """Sum log-probabilities of a row's outputs (≥ Q,) to those of its words (Wq,)."""
        outputs = self.outputs(row)
        found = np.zeros(len(outputs.words))
        for log, owner in zip(logs, outputs.owners, strict=False):
            if owner is not None:
                found[owner] += log
        return found
