"""Text in, text out, with an encoder-decoder: what translation and summarization share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from attention_lab import params
from attention_lab.batching import Batch, given
from attention_lab.decoding import Draw, TargetState, beam_search, longest_targets, stream
from attention_lab.tasks.task import Loss, Task, of_kind, rules, unigram_nll
from attention_lab.transformer import EncoderDecoder
from attention_lab.vocabulary import PAD_ID


class SequenceToSequence(Task):
    """A task whose model reads a source and writes a target, token by token."""

    architecture: Literal["encoder_decoder"] = "encoder_decoder"

    def loss(self, model: nn.Module, batch: Batch, smoothing: float) -> Loss:
        """Cross-entropy of each next token (Vaswani et al. 2017, section 5.4: label smoothing).

        Only positions with a next token are projected to the vocabulary: leaving out padding before the most expensive
        layer saves work.
        """
        model = of_kind(model, EncoderDecoder)
        target = given(batch.target, "a target")
        said, _ = model(batch.source, batch.source_mask, target[:, :-1])
        truth = target[:, 1:]
        wanted = truth != model.config.pad
        states = said[wanted]
        return Loss(*model.cross_entropy(states, truth[wanted], smoothing), states, model.project)

    def predict(
        self, model: nn.Module, batch: Batch, tokenizer: PreTrainedTokenizerFast, options: params.Evaluate
    ) -> list[dict[str, Any]]:
        """The n best of a beam search, with at least n beams. Of answers with the same text but different tokens, only
        the best is kept."""
        model = of_kind(model, EncoderDecoder)
        found = beam_search(
            model,
            batch.source,
            batch.source_mask,
            beams=max(options.beams, options.best),
            length_penalty=options.length_penalty,
            max_tokens=options.max_tokens,
            max_ratio=options.max_ratio,
            n_best=options.best,
            rules=rules(model.config, options),
        )
        answers = []
        for several in found:
            spelled = tokenizer.batch_decode(
                [one.tokens for one in several], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            by_text: dict[str, float] = {}
            for text, one in zip(spelled, several, strict=True):
                by_text.setdefault(text, one.log_probability)
            candidates = [{"prediction": text, "log_probability": score} for text, score in by_text.items()]
            more = {"candidates": candidates} if options.best > 1 else {}
            answers.append({**candidates[0], **more})
        return answers

    def stream(self, model: nn.Module, batch: Batch, options: params.Evaluate) -> Iterator[int]:
        model = of_kind(model, EncoderDecoder)
        return stream(
            TargetState(model, batch.source, batch.source_mask),
            torch.tensor([model.config.start], device=batch.source.device),
            rules(model.config, options),
            Draw(temperature=0.0),
            max_tokens=int(longest_targets(batch.source_mask, options.max_tokens, options.max_ratio)),
            seed=0,
        )

    def trivial_nll(self, train: Iterable[Batch], valid: Iterable[Batch]) -> float:
        return unigram_nll(train, valid, lambda batch: given(batch.target, "a target")[:, 1:], ignore=PAD_ID)
