"""Text in, text out, with the encoder-decoder: what translation and summarization share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from attention_lab import params
from attention_lab.batching import Batch
from attention_lab.decoding import beam_search
from attention_lab.tasks.task import Loss, Task, unigram_nll
from attention_lab.transformer import EncoderDecoder
from attention_lab.vocabulary import PAD_ID


class SequenceToSequence(Task):
    """A task whose model reads a source and writes a target, token by token."""

    architecture: Literal["encoder_decoder"] = "encoder_decoder"

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss:
        """Cross-entropy of each next token (Vaswani et al. 2017, section 5.4: label smoothing).

        Only positions with a next token are projected to the vocabulary: with padding left out before the projection
        the dearest layer does no idle work.
        """
        model = _encoder_decoder(model)
        target = _target(batch)
        said, _ = model(batch.source, batch.source_mask, target[:, :-1])
        truth = target[:, 1:]
        wanted = truth != model.config.pad
        states = said[wanted]
        return Loss(*model.cross_entropy(states, truth[wanted], smoothing), states, model.project)

    def predict(
        self, model: nn.Module, batch: Batch, tokenizer: PreTrainedTokenizerFast, options: params.Evaluate
    ) -> list[dict[str, Any]]:
        tokens, scores = beam_search(
            _encoder_decoder(model),
            batch.source,
            batch.source_mask,
            beams=options.beams,
            length_penalty=options.length_penalty,
            max_tokens=options.max_tokens,
            max_ratio=options.max_ratio,
        )
        texts = tokenizer.batch_decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [{"prediction": text, "log_probability": score} for text, score in zip(texts, scores, strict=True)]

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        return unigram_nll((_target(b)[:, 1:] for b in train), (_target(b)[:, 1:] for b in valid), ignore=PAD_ID)


def _target(batch: Batch) -> torch.Tensor:
    if batch.target is None:
        raise TypeError("a batch of sequence to sequence needs a target")
    return batch.target


def _encoder_decoder(model: nn.Module) -> EncoderDecoder:
    if not isinstance(model, EncoderDecoder):
        raise TypeError(f"sequence to sequence needs an encoder-decoder, not {type(model).__name__}")
    return model
