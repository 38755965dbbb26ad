"""Text generation: predicting each token from those before it, with a decoder-only model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from attention_lab import metrics, params
from attention_lab.batching import Batch
from attention_lab.decoding import Draw, TextState, by_length, sample, stream
from attention_lab.tasks.ngram import CharacterNGram
from attention_lab.tasks.task import Loss, Task, of_kind, one_answer, rules, unigram_nll
from attention_lab.transformer import LanguageModel
from attention_lab.vocabulary import PAD_ID, behind


class Generation(Task):
    """A causal language model, scored with the geometric mean probability of a character: unlike that of a token, it is
    comparable between models with different tokenizers."""

    name = "generation"
    architecture: Literal["decoder"] = "decoder"
    score = "character_probability"

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss:
        """Cross-entropy of each next token; positions without one are left out before the projection.

        If the batch has a target, that is the text to predict, and the source is the text to read.
        """
        model = of_kind(model, LanguageModel)
        hidden, _ = model(batch.source[:, :-1])
        truth = (batch.source if batch.target is None else batch.target)[:, 1:]
        wanted = _new(batch)
        states = hidden[wanted]
        return Loss(*model.cross_entropy(states, truth[wanted], smoothing), states, model.project)

    @torch.inference_mode()
    def predict(
        self, model: nn.Module, batch: Batch, tokenizer: PreTrainedTokenizerFast, options: params.Evaluate
    ) -> list[dict[str, Any]]:
        """The surprisal of each text, as `nats` in total over `tokens`, and a `prediction`: the prompt, which is its
        first `options.prompt_tokens` tokens or all of it, and the model's continuation.

        Of a text in windows, only one is continued: the first one, or, if the prompt is all of the text, the last one,
        recognised by its end token. The others have an empty prediction.

        What is drawn for a row depends on `options.seed` and on the row's number in its split.
        """
        one_answer(options, "a language model draws a text at random")
        model = of_kind(model, LanguageModel)
        hidden, _ = model(batch.source[:, :-1])
        truth = batch.source[:, 1:]
        logs = model.project(hidden).float().log_softmax(-1).gather(-1, truth.unsqueeze(-1)).squeeze(-1)
        there = _new(batch)
        nats, tokens = -(logs * there).sum(-1), there.sum(-1)
        texts = [ids[kept].tolist() for ids, kept in zip(batch.source, batch.source_mask, strict=True)]
        opening, shared = list(range(len(texts))), [0] * len(texts)
        if batch.shared is not None:
            whole, shared = options.prompt_tokens is None and behind(tokenizer) is not None, batch.shared.tolist()
            opening = [row for row in opening if (texts[row][-1] == model.config.end if whole else shared[row] == 0)]
        prompts = [_prompt(texts[row], model, options, longer=shared[row] > 0) for row in opening]
        written: list[list[int]] = [[] for _ in prompts]
        for rows, same in by_length(prompts):
            found = sample(
                TextState(model),
                same.to(batch.source.device),
                rules(model.config, options),
                _draw(options),
                max_tokens=options.max_tokens,
                seeds=[(options.seed, batch.rows[opening[row]]) for row in rows],
            )
            for row, answer in zip(rows, found, strict=True):
                written[row] = prompts[row] + answer.tokens
        # One by one: transformers decodes an empty batch to one empty text.
        spelled = [
            tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False) for tokens in written
        ]
        answers = dict(zip(opening, spelled, strict=True))
        return [
            {"prediction": answers.get(row, ""), "nats": surprise, "tokens": count}
            for row, (surprise, count) in enumerate(zip(nats.tolist(), tokens.tolist(), strict=True))
        ]

    def stream(self, model: nn.Module, batch: Batch, options: params.Evaluate) -> Iterator[int]:
        """Yield the prompt, then the tokens drawn after it with the seed that `predict` uses."""
        model = of_kind(model, LanguageModel)
        longer = batch.shared is not None and bool(batch.shared[0] > 0)
        prompt = _prompt(batch.source[0][batch.source_mask[0]].tolist(), model, options, longer=longer)
        yield from prompt
        yield from stream(
            TextState(model),
            torch.tensor(prompt, device=batch.source.device),
            rules(model.config, options),
            _draw(options),
            max_tokens=options.max_tokens,
            seed=(options.seed, batch.rows[0]),
        )

    def join(self, windows: list[dict[str, Any]], record: dict[str, Any], options: params.Evaluate) -> dict[str, Any]:
        """Each token is predicted in one window, so nats and tokens add up."""
        total = {name: sum(window[name] for window in windows) for name in ("nats", "tokens")}
        return {"prediction": next((w["prediction"] for w in windows if w["prediction"]), ""), **total}

    def measure(self, predictions: pd.DataFrame, options: params.Evaluate, seed: int) -> dict[str, Any]:
        read = predictions["text"].map(len) == predictions["characters"]
        truth = predictions["true_nats"].where(read)  # known only for texts that were read to their end
        tokens = predictions["tokens"].tolist()
        return metrics.generation(
            predictions["nats"].tolist(),
            tokens,
            predictions["characters"].tolist(),
            predictions["prediction"].tolist(),
            options.bootstrap,
            seed,
            entropy=None if truth.isna().any() else float(truth.sum()) / sum(tokens),
        )

    def headline(self, predictions: pd.DataFrame) -> metrics.Figure:
        lengths = predictions["text"].map(len)  # for older results, which lack the column `characters`
        characters = predictions.get("characters", lengths).fillna(lengths)
        return metrics.probability_of_rows(predictions["nats"].tolist(), characters.tolist())

    def baselines(
        self, train: pd.DataFrame, test: pd.DataFrame, options: params.Evaluate, seed: int
    ) -> dict[str, dict[str, Any]]:
        """Trivial: the frequency of each character. Classical: each character given the four before it."""
        found = {
            "baseline": ("the frequency of each character", CharacterNGram(train["text"].tolist(), 1)),
            "classical": ("a 5-gram of characters, interpolated", CharacterNGram(train["text"].tolist(), 5)),
        }
        texts = [text[:read] for text, read in zip(test["text"], test["characters"], strict=True)]
        characters = sum(map(len, texts))
        result: dict[str, dict[str, Any]] = {}
        for name, (what, model) in found.items():
            nats = sum(map(model.nats, texts)) / characters
            result[name] = {
                "what": what,
                "bits_per_character": metrics.rounded(nats / math.log(2.0)),
                "character_probability": metrics.rounded(math.exp(-nats)),
            }
        return result

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        return unigram_nll(train, valid, lambda batch: batch.source[:, 1:], ignore=PAD_ID)


def _prompt(text: list[int], model: LanguageModel, options: params.Evaluate, *, longer: bool) -> list[int]:
    """The part of a text to continue. If it is the last window of a longer text, that is at most half of the model's
    positions, to leave room for the continuation."""
    text = text[-(model.config.positions // 2) :] if longer else text
    prompt = text[: options.prompt_tokens or len(text)]
    return prompt[:-1] if prompt[-1] == model.config.end else prompt


def _draw(options: params.Evaluate) -> Draw:
    return Draw(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p)


def _new(batch: Batch) -> torch.Tensor:
    """Which tokens from the second on (B, L − 1) are to be predicted: neither padding, nor tokens of the previous
    window."""
    there = batch.source_mask[:, 1:]
    if batch.shared is None:
        return there
    places = torch.arange(1, there.shape[1] + 1, device=there.device)
    return there & (places >= batch.shared.unsqueeze(1))
