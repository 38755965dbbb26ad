"""Pre-training of an encoder as a masked language model: it predicts hidden tokens of the source texts.

Devlin et al. 2019, BERT, arXiv 1810.04805, section 3.1, task 1: 15 % of the tokens are hidden; most of these become
<mask>, some another token, and some stay as they are. The original token is to be predicted. No labels are needed.
Which tokens are hidden is drawn anew in every epoch (Liu et al. 2019, RoBERTa, arXiv 1907.11692, section 4.1).

The same prediction can also serve as a second task in every training step: see `guessing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attention_lab.batching import Batch, Examples, given
from attention_lab.errors import InputError
from attention_lab.params import Train
from attention_lab.tasks import Loss, Trainable
from attention_lab.tasks.task import of_kind, unigram_nll
from attention_lab.transformer import LanguageModel, Model
from attention_lab.transformer.loss import projected_cross_entropy
from attention_lab.vocabulary import MASK_ID, PAD_ID, SPECIALS

HIDDEN = 0.15  # share of the tokens
MASKED, ANOTHER = 0.8, 0.1  # shares of the hidden tokens; the rest stay as they are


class Masked(Examples):
    """Texts with hidden tokens, and as targets the original tokens, with padding wherever nothing is to be predicted.

    At least one token of each text is hidden; special tokens are hidden only if there are no others. The draw is a
    function of (seed, epoch) and the texts.

    Args:
        examples: their sources are the texts. vocabulary: size of the vocabulary.
    """

    def __init__(self, examples: Examples, vocabulary: int, seed: int, epoch: int = 0) -> None:
        self.examples, self.vocabulary, self.seed = examples, vocabulary, seed
        texts = examples.of_epoch(epoch).source
        rng = np.random.default_rng((seed, epoch, len(texts)))
        source, target = hide(texts, examples.pad, vocabulary, rng)
        super().__init__(source, target, pad=examples.pad)
        self.asked = np.array([np.count_nonzero(row != self.pad) for row in target])
        self.lengths[:, 1] = 0  # the targets are not a text that the model reads or writes

    def predictions(self, rows: list[int]) -> int:
        return int(self.asked[rows].sum())

    def of_epoch(self, number: int) -> Masked:
        return Masked(self.examples, self.vocabulary, self.seed, number)


def hide(
    texts: Sequence[NDArray[np.int32]], pad: int, vocabulary: int, rng: np.random.Generator
) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]]:
    """Return each text with hidden tokens, and for each the original tokens where hidden, `pad` elsewhere."""
    lengths = np.array([len(text) for text in texts])
    ends = np.cumsum(lengths)
    tokens = np.concatenate(texts)
    lots = rng.random(len(tokens)) + (tokens < len(SPECIALS))
    lowest = np.minimum.reduceat(lots, ends - lengths)
    hidden = (lots < HIDDEN) | (lots == np.repeat(lowest, lengths))
    fate = rng.random(len(tokens))
    others = rng.integers(len(SPECIALS), vocabulary, len(tokens), dtype=np.int32)
    shown = np.where(fate < MASKED, np.int32(MASK_ID), np.where(fate < MASKED + ANOTHER, others, tokens))
    source, target = np.where(hidden, shown, tokens), np.where(hidden, tokens, np.int32(pad))
    return np.split(source, ends[:-1]), np.split(target, ends[:-1])


class MaskedReader(nn.Module):
    """The embedding and encoder of a model, shared rather than copied, with the embedding as output weights.

    Args:
        asked_by: the parameter that requires it, for error messages.

    Raises:
        InputError: the model has no encoder.
    """

    def __init__(self, model: Model, asked_by: str = "train.pretrain") -> None:
        super().__init__()
        if isinstance(model, LanguageModel):
            raise InputError(
                f"{asked_by}: a language model has no encoder, and already learns from its texts alone; set "
                f"{asked_by} to 0"
            )
        self.embedding = model.embedding
        self.encoder = model.encoder

    def forward(self, source: Tensor, source_mask: Tensor) -> Tensor:
        """source (B, Ls), source_mask (B, Ls) → hidden (B, Ls, W)"""
        hidden, _ = self.encoder(self.embedding(source), source_mask)
        return hidden

    def project(self, hidden: Tensor) -> Tensor:
        """hidden (…, W) → logits (…, V)"""
        return nn.functional.linear(hidden, self.embedding.tokens.weight)


class MaskedWords(Trainable):
    """The task of pre-training: cross-entropy of the hidden tokens."""

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss:
        model = of_kind(model, MaskedReader)
        truth = given(batch.target, "a target")
        asked = truth != PAD_ID
        states = model(batch.source, batch.source_mask)[asked]
        weight = model.embedding.tokens.weight
        return Loss(*projected_cross_entropy(states, weight, truth[asked], smoothing), states, model.project)

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        return unigram_nll(train, valid, lambda batch: given(batch.target, "a target"), ignore=PAD_ID)


def guessing(reader: MaskedReader, batch: Batch) -> Tensor:
    """Mean nats per hidden token of a batch; 0 if none is hidden. Hidden tokens are drawn from PyTorch's generator;
    special tokens are never hidden.

    A second task for the same encoder that needs no labels helps if labels are few (Rei 2017, Semi-supervised multitask
    learning for sequence labeling, arXiv 1704.07156; there the next and the previous word are predicted).
    """
    tokens, where = batch.source, batch.source.device
    hidden = (torch.rand(tokens.shape, device=where) < HIDDEN) & (tokens >= len(SPECIALS))
    fate = torch.rand(tokens.shape, device=where)
    others = torch.randint_like(tokens, len(SPECIALS), len(reader.embedding.tokens.weight))
    shown = torch.where(fate < MASKED, MASK_ID, torch.where(fate < MASKED + ANOTHER, others, tokens))
    states = reader(torch.where(hidden, shown, tokens), batch.source_mask)[hidden]
    loss, _, _ = projected_cross_entropy(states, reader.embedding.tokens.weight, tokens[hidden], 0.0)
    return loss / hidden.sum().clamp(min=1)


def prepared(
    model: Model, data: dict[str, Examples], options: Train, seed: int
) -> tuple[MaskedReader, MaskedWords, dict[str, Examples], Train]:
    """Model, task, data and options of the pre-training for the training of `model` with `data` and `options`.

    It has the same options, except those meant for the main training alone. So it has a learning rate schedule of its
    own, and it trains embedding and encoder in place.

    Raises:
        InputError: the model has no encoder.
    """
    reader = MaskedReader(model)
    masked: dict[str, Examples] = {
        name: Masked(examples, model.config.vocabulary, seed) for name, examples in data.items()
    }
    own = {"epochs": options.pretrain, "max_steps": None, "patience": None, "metric": "loss", "label_smoothing": 0.0}
    off = dict.fromkeys(("average", "word_dropout", "r_drop", "multi_task"), 0.0)
    return reader, MaskedWords(), masked, options.model_copy(update=own | off)
