"""Models of others with our blocks: the same weights, the same outputs.

A family is a configuration, a table from our names to theirs (`table.py`), and what of it cannot be said here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attention_lab.errors import InputError
from attention_lab.transformer.families.bart import bart, marian
from attention_lab.transformer.families.bert import bert_classifier, bert_spans
from attention_lab.transformer.families.gpt2 import gpt2
from attention_lab.transformer.families.llama import llama
from attention_lab.transformer.families.pytorch import from_pytorch
from attention_lab.transformer.families.t5 import t5
from attention_lab.transformer.models import Model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FAMILIES: dict[str, Callable[[Any], Model]] = {
    "BartForConditionalGeneration": bart,
    "BertForQuestionAnswering": bert_spans,
    "BertForSequenceClassification": bert_classifier,
    "GPT2LMHeadModel": gpt2,
    "LlamaForCausalLM": llama,
    "MarianMTModel": marian,
    "T5ForConditionalGeneration": t5,
}


def from_huggingface(model: PreTrainedModel) -> Model:
    """A model of transformers as one of ours, with copies of its weights, in their type, ready for inference.

    Its logits are theirs, up to rounding, wherever there is no padding. What is at work in training alone is taken over
    where there is a place for it: the four dropouts are; the dropouts behind T5's final norm and before BERT's class,
    and dropping whole layers, are not. All weights can be trained, Marian's sinusoids too. Of several end tokens the
    first is taken; a model without a padding token has its end token for that.

    Args:
        model: `MarianMTModel`, `BartForConditionalGeneration`, `T5ForConditionalGeneration` (v1.0 and v1.1) → an
            `EncoderDecoder`; `GPT2LMHeadModel`, `LlamaForCausalLM` → a `LanguageModel`;
            `BertForSequenceClassification` → a `Classifier`; `BertForQuestionAnswering` → a `SpanExtractor`.

    Raises:
        InputError: it is none of these, or has something that our blocks have not; the sentence says what.
    """
    for kind in type(model).__mro__:  # by name, so that no modeling code of transformers is imported here
        if kind.__name__ in FAMILIES:
            return FAMILIES[kind.__name__](model)
    raise InputError(f"from_huggingface: there is no {type(model).__name__} here; known are {', '.join(FAMILIES)}")


__all__ = ["FAMILIES", "from_huggingface", "from_pytorch"]
