"""Attention weights of whole splits, without padding, and between words instead of tokens.

Shapes: N layers, H heads, Lq query tokens, Lk key tokens, Wq query words, Wk key words, S source tokens, T target
tokens. Words are those of `text.split(" ")`; tokens of marks next to a word do not count as part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from attention_lab import vocabulary
from attention_lab.attention import Place
from attention_lab.batching import Batch, TokenBuckets, examples, given
from attention_lab.records import Shape
from attention_lab.transformer import Classifier, Config, EncoderDecoder, LanguageModel, Model, SpanExtractor
from attention_lab.transformer.models import Seen, segments_of
from attention_lab.transformer.spans import best_span, ends

LONGEST_ANSWER = 64  # tokens
TOKENS_PER_BATCH = 4000  # bounds memory without affecting results


@dataclass(frozen=True)
class Words:
    """A text's words and, for each token, the number of its word; None for <s>, </s> and marks, see `words_of`."""

    words: list[str]
    owners: list[int | None]


@dataclass(frozen=True)
class Row:
    """One example and what the model attended to.

    own: (N, H, S, S), the self-attention of an encoder or of a language model. cross: (N, H, T − 1, S); its query t is
    the position that reads target token t and predicts target token t + 1. Both have N = 0 if the mechanism has no
    weights. readers: for a model that only reads, the positions whose attention may explain the prediction, by kind.
    """

    row: str
    source: Words
    target: Words | None
    own: np.ndarray
    cross: np.ndarray | None
    readers: dict[str, list[int]] = field(default_factory=dict)

    def cross_words(self, where: str) -> np.ndarray:
        """Cross-attention between words, (N, H, Wt, Ws).

        where: "predicting" takes the rows of the positions that predict a target word's pieces, "input" those of the
        positions that read them.

        Raises:
            ValueError: the row has no target or no cross-attention.
        """
        if self.cross is None or self.target is None:
            raise ValueError(f"{self.row}: there is no cross-attention without a target")
        owners = {"predicting": self.target.owners[1:], "input": self.target.owners[:-1]}[where]
        return merge(
            self.cross, owners, self.source.owners, query_words=len(self.target.words), key_words=len(self.source.words)
        )

    def own_words(self) -> np.ndarray:
        """Self-attention between words, (N, H, Ws, Ws)."""
        words = len(self.source.words)
        return merge(self.own, self.source.owners, self.source.owners, query_words=words, key_words=words)

    def given_by(self, positions: list[int], weights: np.ndarray) -> np.ndarray:
        """The mean weight that some positions give each source word: weights (…, S, S) → (…, Ws)."""
        one, words = [0] * len(positions), len(self.source.words)
        merged = merge(weights[..., positions, :], one, self.source.owners, query_words=1, key_words=words)
        return merged[..., 0, :]


@dataclass(frozen=True)
class Reading:
    """A batch of encoded rows with their words.

    sources, targets: words of each row; targets is None if the task writes none. asked: for each row, the position of
    the </s> that ends the question before the text, 0 if there is none. lengths: (B, 2), numbers of source and target
    tokens. unknown: the token that replaces a hidden word of a source.
    """

    names: list[str]
    batch: Batch
    sources: list[Words]
    targets: list[Words] | None
    asked: list[int]
    lengths: np.ndarray
    unknown: int = vocabulary.UNK_ID


def readings(
    config: Config,
    encoded: pd.DataFrame,
    records: pd.DataFrame,
    tokenizer: PreTrainedTokenizerFast,
    shape: Shape,
    target_tokenizer: PreTrainedTokenizerFast | None = None,
    *,
    tokens: int = TOKENS_PER_BATCH,
) -> Iterator[Reading]:
    """Encoded rows in batches of at most `tokens` tokens, longest rows first.

    Args:
        encoded: rows with `row`, `source` and, if the task produces text, `target` (token ids).
        records: the texts of these rows, joined on `row`; other rows are ignored.
        target_tokenizer: the target's own tokenizer; None: `tokenizer` is for both.

    Raises:
        ValueError: the tokenizer does not encode a row's text to its ids.
    """
    if encoded.empty:
        return
    data = examples(encoded, config.pad, len(config.labels))
    names = encoded["row"].tolist()
    texts = records.set_index("row").loc[names]
    ids = encoded["source"].tolist()
    # The tokens of a question before the text do not belong to words of the text.
    asked = [int(np.argmax(row == config.end)) if shape.answer is not None else 0 for row in ids]
    alone = [np.concatenate((row[:1], row[length + 1 :])) for row, length in zip(ids, asked, strict=True)]
    sources = [
        Words(words.words, [*[None] * length, *words.owners])
        for words, length in zip(words_of(texts[shape.source].tolist(), alone, tokenizer, names), asked, strict=True)
    ]
    targets: list[Words] | None = None
    if shape.target is not None:
        written = target_tokenizer or tokenizer
        targets = words_of(texts[shape.target].tolist(), encoded["target"].tolist(), written, names)
    for rows in TokenBuckets(data.lengths, tokens).epoch(0):
        yield Reading(
            names=[names[number] for number in rows],
            batch=data[rows],
            sources=[sources[number] for number in rows],
            targets=None if targets is None else [targets[number] for number in rows],
            asked=[asked[number] for number in rows],
            lengths=data.lengths[rows],
            unknown=vocabulary.unknown(tokenizer),
        )


def readers_of(model: Model, reading: Reading, row: int, answer: Sequence[int]) -> dict[str, list[int]]:
    """For a model that only reads, the positions whose attention may explain the prediction, by kind.

    Args:
        answer: first and last position of the predicted answer, if the model extracts one.
    """
    if isinstance(model, Classifier):
        return {"attention": model.config.read_from(int(reading.lengths[row][0]))}
    if isinstance(model, SpanExtractor):
        first, last = answer
        return {
            "attention of the answer": list(range(first, last + 1)),
            "attention of the question": list(range(1, reading.asked[row])),
        }
    return {}


@torch.inference_mode()
def collect(
    model: Model,
    encoded: pd.DataFrame,
    records: pd.DataFrame,
    tokenizer: PreTrainedTokenizerFast,
    shape: Shape,
    device: torch.device | str,
    target_tokenizer: PreTrainedTokenizerFast | None = None,
) -> Iterator[Row]:
    """Run the model over encoded rows and yield what it attended to, longest rows first.

    The encoder-decoder is teacher-forced: it reads `target[:-1]`, the reference, whatever it would have written itself.
    For the arguments and errors see `readings`.
    """
    model = model.to(device).eval()
    for reading in readings(model.config, encoded, records, tokenizer, shape, target_tokenizer):
        batch = reading.batch.to(device)
        answers: list[list[int]] = [[] for _ in reading.names]
        if isinstance(model, EncoderDecoder):
            _, seen = model(batch.source, batch.source_mask, given(batch.target, "a target")[:, :-1], weights=True)
        elif isinstance(model, Classifier):
            _, seen = model(batch.source, batch.source_mask, weights=True)
        elif isinstance(model, LanguageModel):
            _, seen = model(batch.source, weights=True)
        elif isinstance(model, SpanExtractor):
            segments = segments_of(batch.source, model.config)
            _, seen = model(batch.source, batch.source_mask, segments=segments, weights=True)
            first, last, _ = best_span(ends(model, batch.source, batch.source_mask), LONGEST_ANSWER)
            answers = torch.stack((first, last), 1).tolist()
        else:
            raise TypeError(f"attention of a {type(model).__name__} cannot be collected")
        itself: Place = "decoder_self" if isinstance(model, LanguageModel) else "encoder_self"
        own, cross = (stacked(seen, place, len(reading.names)) for place in (itself, "cross"))
        for index, name in enumerate(reading.names):
            s, t = (int(length) for length in reading.lengths[index])
            yield Row(
                row=name,
                source=reading.sources[index],
                target=None if reading.targets is None else reading.targets[index],
                own=own[:, index, :, :s, :s],
                cross=cross[:, index, :, : t - 1, :s] if reading.targets is not None else None,
                readers=readers_of(model, reading, index, answers[index]),
            )


def words_of(
    texts: Sequence[str],
    ids: Sequence[np.ndarray],
    tokenizer: PreTrainedTokenizerFast,
    names: Sequence[str],
) -> list[Words]:
    """The words of each text, and the word that each of its tokens belongs to. Words cut off by encoding have none.

    A mark that is a token of its own next to a word ("sleeps", ".") belongs to no word, similar to alignment corpora,
    where marks are separate words. Models rest on marks as they do on <s> and </s>, and what they attend to in order to
    write a full stop says nothing about the word before it.

    Raises:
        ValueError: the tokenizer does not encode a text to its ids.
    """
    found = []
    for text, wanted, name, encoding in zip(
        texts, ids, names, vocabulary.backend(tokenizer).encode_batch(list(texts)), strict=True
    ):
        length, given = len(wanted), wanted.tolist()
        places = encoding.offsets[:length]
        if encoding.ids[:length] != given:
            # A text that was cut ends with </s> in place of the token that was there.
            places[-1:] = [(0, 0)]
            if encoding.ids[: length - 1] != given[:-1]:
                raise ValueError(f"{name}: the encoded ids are not what the tokenizer makes of the text; encode again")
        found.append(Words(text.split(" "), owners_of(places, text)))
    return found


def owners_of(places: Sequence[tuple[int, int]], text: str) -> list[int | None]:
    """The word of each token, given the tokens' places in the text; see `words_of`."""
    words = text.split(" ")
    return [
        None if owner is not None and _has_letters(words[owner]) and not _has_letters(text[start:end]) else owner
        for owner, (start, end) in zip(vocabulary.words(places, text), places, strict=True)
    ]


def _has_letters(text: str) -> bool:
    return any(character.isalnum() for character in text)


def merge(
    weights: np.ndarray,
    queries: Sequence[int | None],
    keys: Sequence[int | None],
    *,
    query_words: int,
    key_words: int,
) -> np.ndarray:
    """Weights between tokens (…, Lq, Lk) → between words (…, Wq, Wk).

    A word receives the sum of what its pieces receive, and gives the mean of what its pieces give (Clark et al. 2019,
    arXiv 1906.04341, section 4.1). Tokens without a word (None) are dropped: the weight they receive is missing from a
    row's sum, which is not renormalised. A word without tokens has zeros.

    Args:
        queries: the word of each query token, Lq of them; keys: of each key token, Lk.
    """
    giving = np.zeros((query_words, len(queries)))
    receiving = np.zeros((len(keys), key_words))
    for token, word in enumerate(queries):
        if word is not None:
            giving[word, token] = 1.0
    for token, word in enumerate(keys):
        if word is not None:
            receiving[token, word] = 1.0
    giving /= np.maximum(giving.sum(-1, keepdims=True), 1.0)
    return np.asarray(giving @ weights.astype(np.float64) @ receiving)


def rollout(weights: np.ndarray) -> np.ndarray:
    """Attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928, section 3, equation 1): how much of each input
    token flows into each output position, if every layer passes on half attention and half residual.

        A'ₗ = ½ meanₕ(Aₗₕ) + ½ I,    R = A'_N · … · A'₁

    Args:
        weights: (N, H, L, L) self-attention; if rows sum to 1, so do those of the result.

    Returns:
        (L, L)
    """
    flow = np.eye(weights.shape[-1])
    for layer in weights.astype(np.float64):
        flow = (0.5 * layer.mean(0) + 0.5 * np.eye(layer.shape[-1])) @ flow
    return flow


def stacked(seen: Seen, place: Place, rows: int = 1) -> np.ndarray:
    """Weights of a place as a NumPy array (N, B, H, Lq, Lk) in float32; N = 0 if the mechanism has none."""
    layers: list[Tensor] = getattr(seen, place)
    if not layers:
        return np.zeros((0, rows, 0, 0, 0), dtype=np.float32)
    return torch.stack([layer.float() for layer in layers]).cpu().numpy()
