"""Text generation: the next token from those before it, with a decoder alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from attention_lab import metrics, params
from attention_lab.batching import Batch
from attention_lab.decoding import Draw, Rules, TextState, by_length, sample
from attention_lab.tasks.ngram import CharacterNGram
from attention_lab.tasks.task import Loss, unigram_nll
from attention_lab.transformer import LanguageModel
from attention_lab.vocabulary import PAD_ID


class Generation:
    """A causal language model. It is scored with the probability of a character, the geometric mean: unlike that of a
    token it compares models with different tokenizers."""

    name = "generation"
    architecture: Literal["decoder"] = "decoder"
    score = "character_probability"

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss:
        """Cross-entropy of each next token; positions without one are left out before the projection.

        Where the batch has a target, it is the text as it has to be said, and the source the text as it is read.
        """
        model = _language_model(model)
        hidden, _ = model(batch.source[:, :-1])
        truth = (batch.source if batch.target is None else batch.target)[:, 1:]
        wanted = truth != model.config.pad
        states = hidden[wanted]
        return Loss(*model.cross_entropy(states, truth[wanted], smoothing), states, model.project)

    @torch.inference_mode()
    def predict(
        self, model: nn.Module, batch: Batch, tokenizer: PreTrainedTokenizerFast, options: params.Evaluate
    ) -> list[dict[str, Any]]:
        """How surprising each text is, `nats` over `tokens`, and a `prediction`: how the model would go on after its
        first `options.prompt_tokens` tokens, or after all of it.

        The number of a row in its split is the seed of what is drawn for it.
        """
        model = _language_model(model)
        hidden, _ = model(batch.source[:, :-1])
        truth = batch.source[:, 1:]
        logs = model.project(hidden).float().log_softmax(-1).gather(-1, truth.unsqueeze(-1)).squeeze(-1)
        there = truth != model.config.pad
        nats, tokens = -(logs * there).sum(-1), there.sum(-1)
        texts = [ids[kept].tolist() for ids, kept in zip(batch.source, batch.source_mask, strict=True)]
        prompts = [text[: options.prompt_tokens or len(text)] for text in texts]
        prompts = [prompt[:-1] if prompt[-1] == model.config.end else prompt for prompt in prompts]
        draw = Draw(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p)
        written: list[list[int]] = [[] for _ in prompts]
        for rows, same in by_length(prompts):
            found = sample(
                TextState(model),
                same.to(batch.source.device),
                Rules.of(model.config),
                draw,
                max_tokens=options.max_tokens,
                seeds=[batch.rows[row] for row in rows],
            )
            for row, answer in zip(rows, found, strict=True):
                written[row] = prompts[row] + answer.tokens
        spelled = tokenizer.batch_decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [
            {"prediction": text, "nats": surprise, "tokens": count}
            for text, surprise, count in zip(spelled, nats.tolist(), tokens.tolist(), strict=True)
        ]

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        truth = predictions["true_nats"]
        tokens = predictions["tokens"].tolist()
        return metrics.generation(
            predictions["nats"].tolist(),
            tokens,
            [len(text) for text in predictions["text"]],
            predictions["prediction"].tolist(),
            options.bootstrap,
            seed,
            entropy=None if truth.isna().any() else float(truth.sum()) / sum(tokens),
        )

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Trivial: how often each character occurs. Classical: characters given the four before them."""
        found = {
            "baseline": ("the frequency of each character", CharacterNGram(train["text"].tolist(), 1)),
            "classical": ("a 5-gram of characters, interpolated", CharacterNGram(train["text"].tolist(), 5)),
        }
        characters = int(test["text"].map(len).sum())
        result: dict[str, dict[str, Any]] = {}
        for name, (what, model) in found.items():
            nats = sum(map(model.nats, test["text"])) / characters
            result[name] = {
                "what": what,
                "bits_per_character": metrics.rounded(nats / math.log(2.0)),
                "character_probability": metrics.rounded(math.exp(-nats)),
            }
        return result

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        return unigram_nll((b.source[:, 1:] for b in train), (b.source[:, 1:] for b in valid), ignore=PAD_ID)


def _language_model(model: nn.Module) -> LanguageModel:
    if not isinstance(model, LanguageModel):
        raise TypeError(f"generation needs a language model, not {type(model).__name__}")
    return model
