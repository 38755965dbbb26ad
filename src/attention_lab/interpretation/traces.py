"""Complete records of a model's passes over one example: the tokens read, every weight, and the likeliest next tokens.

A model that writes has two passes if its output differs from the reference: one over its own output, and one over the
reference. Its own output is tokenized again from its text, so unknown tokens, which have no text, are missing.

Shapes: N layers, H heads, Lq query tokens, Lk key tokens, S source tokens, T target tokens.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from attention_lab import vocabulary
from attention_lab.attention import Place
from attention_lab.interpretation.weights import stacked, words_of
from attention_lab.records import Shape
from attention_lab.transformer import Classifier, Config, EncoderDecoder, LanguageModel, Model
from attention_lab.transformer.models import Seen, Writer, segments_of
from attention_lab.transformer.pointer import States

LIKELIEST = 5  # tokens shown at each step
Of = Literal["input", "output", "reference", "both"]


@dataclass(frozen=True)
class Text:
    """tokens: as the model reads them (L). words: those of the text. owners: the word of each token (L); None for <s>,
    </s> and marks next to a word."""

    tokens: list[str]
    words: list[str]
    owners: list[int | None]


@dataclass(frozen=True)
class Step:
    """The prediction at one position of a written text.

    said: probability of the actual next token. likeliest: the most probable tokens with their probabilities.
    """

    said: float
    likeliest: list[tuple[str, float]]


@dataclass(frozen=True)
class Trace:
    """The record of one pass over one example.

    of: the target text of the pass: "output", what the model wrote; "reference", what it should have written; "both",
    if they are the same; "input" for a model that only reads. source: what was read; None for a language model. target:
    what was written. weights: (N, H, Lq, Lk) by place; N = 0 if the mechanism has none. In `cross` and `decoder_self`,
    query t reads target token t and predicts t + 1, so Lq = T − 1. steps: T − 1 of them. asked: number of words of the
    source that belong to the question before the text.
    """

    of: Of
    source: Text | None
    target: Text | None
    weights: dict[Place, np.ndarray]
    steps: list[Step] = field(default_factory=list)
    asked: int = 0


@torch.inference_mode()
def traces(
    model: Model,
    encoded: Mapping[Hashable, Any],
    record: Mapping[Hashable, Any],
    prediction: str,
    tokenizer: PreTrainedTokenizerFast,
    shape: Shape,
    device: torch.device | str,
    target_tokenizer: PreTrainedTokenizerFast | None = None,
) -> list[Trace]:
    """The passes over one example, the model's own output before the reference.

    Args:
        encoded: `source` and, if the task writes, `target` (token ids). record: its texts. prediction: the model's.
        target_tokenizer: the target's own tokenizer; None: `tokenizer` is for both.
    """
    model = model.to(device).eval()
    ids = np.asarray(encoded["source"])
    if isinstance(model, EncoderDecoder):
        source = _text(str(record[shape.source]), ids, tokenizer)
        reference = str(record[shape.target])
        given = np.asarray(encoded["target"])
        written = target_tokenizer or tokenizer
        if prediction == reference:
            return [_translated(model, ids, source, "both", reference, given, written, device)]
        own = cut(prediction, written, model.config)
        return [
            _translated(model, ids, source, "output", prediction, own, written, device),
            _translated(model, ids, source, "reference", reference, given, written, device),
        ]
    if isinstance(model, LanguageModel):
        text = str(record[shape.source])
        found = [_continued(model, "reference", text, ids, tokenizer, device)]
        if prediction and prediction != text:
            own = cut(prediction, tokenizer, model.config)
            found.insert(0, _continued(model, "output", prediction, own, tokenizer, device))
        return found
    return [_read(model, ids, record, tokenizer, shape, device)]


def _translated(
    model: EncoderDecoder,
    ids: np.ndarray,
    source: Text,
    of: Of,
    text: str,
    written: np.ndarray,
    tokenizer: PreTrainedTokenizerFast,
    device: torch.device | str,
) -> Trace:
    source_ids, target_ids = _row(ids, device), _row(written, device)
    states, seen = model(source_ids, torch.ones_like(source_ids, dtype=torch.bool), target_ids[:, :-1], weights=True)
    return Trace(
        of,
        source,
        _text(text, written, tokenizer),
        _by_place(model, seen),
        _steps(model, states, target_ids, tokenizer),
    )


def _continued(
    model: LanguageModel,
    of: Of,
    text: str,
    ids: np.ndarray,
    tokenizer: PreTrainedTokenizerFast,
    device: torch.device | str,
) -> Trace:
    tokens = _row(ids, device)
    states, seen = model(tokens[:, :-1], weights=True)
    return Trace(
        of, None, _text(text, ids, tokenizer), _by_place(model, seen), _steps(model, states, tokens, tokenizer)
    )


def _read(
    model: Model,
    ids: np.ndarray,
    record: Mapping[Hashable, Any],
    tokenizer: PreTrainedTokenizerFast,
    shape: Shape,
    device: torch.device | str,
) -> Trace:
    tokens = _row(ids, device)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    text = str(record[shape.source])
    if isinstance(model, Classifier):
        _, seen = model(tokens, mask, weights=True)
        return Trace("input", _text(text, ids, tokenizer), None, _by_place(model, seen))
    # <s> question </s> text </s>
    _, seen = model(tokens, mask, segments=segments_of(tokens, model.config), weights=True)
    behind = int(np.argmax(ids == model.config.end)) + 1
    question = _text(str(record[shape.inputs[0]]), ids[:behind], tokenizer)
    context = _text(text, np.concatenate((ids[:1], ids[behind:])), tokenizer)
    asked = len(question.words)
    owners = [None if owner is None else owner + asked for owner in context.owners[1:]]
    both = Text(
        [*question.tokens, *context.tokens[1:]],
        [*question.words, *context.words],
        [*question.owners, *owners],
    )
    return Trace("input", both, None, _by_place(model, seen), asked=asked)


def _text(text: str, ids: np.ndarray, tokenizer: PreTrainedTokenizerFast) -> Text:
    found = words_of([text], [ids], tokenizer, [text])[0]
    return Text(spelled(ids.tolist(), tokenizer), found.words, found.owners)


def spelled(ids: Sequence[int], tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Tokens in readable form; one without text of its own, such as <s> or part of a character, by its name."""
    backend = vocabulary.backend(tokenizer)
    found = []
    for number in ids:
        text = backend.decode([number], skip_special_tokens=False).strip()
        found.append(text if text and "\N{REPLACEMENT CHARACTER}" not in text else str(backend.id_to_token(number)))
    return found


def cut(text: str, tokenizer: PreTrainedTokenizerFast, config: Config) -> np.ndarray:
    """The tokens of a written text, cut to the number of positions of the model."""
    ids = vocabulary.backend(tokenizer).encode(text).ids
    return np.array(ids if len(ids) <= config.positions else [*ids[: config.positions - 1], config.end])


def _steps(model: Writer, states: States, tokens: Tensor, tokenizer: PreTrainedTokenizerFast) -> list[Step]:
    """states (1, T − 1, W), tokens (1, T)"""
    logs = model.project(states)[0].float().log_softmax(-1)
    said = logs.gather(-1, tokens[0, 1:, None]).squeeze(-1).exp()
    best = logs.topk(min(LIKELIEST, logs.shape[-1]))
    names = [spelled(line, tokenizer) for line in best.indices.tolist()]
    return [
        Step(chance, list(zip(line, chances, strict=True)))
        for chance, line, chances in zip(said.tolist(), names, best.values.exp().tolist(), strict=True)
    ]


def _by_place(model: Model, seen: Seen) -> dict[Place, np.ndarray]:
    return {place: stacked(seen, place)[:, 0] for place in model.config.places}


def _row(ids: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64))[None].to(device)
