"""Translation: a source sentence in, a target sentence out, with the encoder-decoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from attention_lab import metrics, params
from attention_lab.batching import Batch
from attention_lab.decoding import beam_search
from attention_lab.tasks.task import Loss, unigram_nll
from attention_lab.transformer import EncoderDecoder
from attention_lab.vocabulary import PAD_ID


class Translation:
    """Sequence to sequence; scored with BLEU."""

    name = "translation"
    architecture: Literal["encoder_decoder"] = "encoder_decoder"
    score = "bleu"

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss:
        """Cross-entropy of each next token (Vaswani et al. 2017, section 5.4: label smoothing).

        Only positions with a next token are projected to the vocabulary: with padding left out before the projection
        the dearest layer does no idle work.
        """
        model = _sequence_to_sequence(model)
        target = _target(batch)
        hidden, _ = model(batch.source, batch.source_mask, target[:, :-1])
        truth = target[:, 1:]
        wanted = truth != model.config.pad
        return Loss(*model.cross_entropy(hidden[wanted], truth[wanted], smoothing))

    def predict(
        self, model: nn.Module, batch: Batch, tokenizer: PreTrainedTokenizerFast, options: params.Evaluate
    ) -> list[dict[str, Any]]:
        tokens, scores = beam_search(
            _sequence_to_sequence(model),
            batch.source,
            batch.source_mask,
            beams=options.beams,
            length_penalty=options.length_penalty,
            max_tokens=options.max_tokens,
            max_ratio=options.max_ratio,
        )
        texts = tokenizer.batch_decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [{"prediction": text, "log_probability": score} for text, score in zip(texts, scores, strict=True)]

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        answers, truth = predictions["prediction"].tolist(), predictions["target"].tolist()
        return metrics.translation(answers, truth, options.bootstrap, seed)

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Trivial: the source, untranslated."""
        copied = metrics.translation(test["source"].tolist(), test["target"].tolist(), options.bootstrap, seed)
        return {
            "baseline": {
                "what": "the source, untranslated",
                **{k: copied[k] for k in ("bleu", "chrf", "exact_match")},
            }
        }

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        return unigram_nll((_target(b)[:, 1:] for b in train), (_target(b)[:, 1:] for b in valid), ignore=PAD_ID)


def _target(batch: Batch) -> torch.Tensor:
    if batch.target is None:
        raise TypeError("a translation batch needs a target")
    return batch.target


def _sequence_to_sequence(model: nn.Module) -> EncoderDecoder:
    if not isinstance(model, EncoderDecoder):
        raise TypeError(f"translation needs an encoder-decoder, not {type(model).__name__}")
    return model
