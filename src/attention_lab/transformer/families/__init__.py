"""Models of other libraries rebuilt from our blocks: the same weights, the same outputs.

A family consists of a configuration, a table from our weight names to theirs (`table.py`), and checks that refuse what
our blocks cannot express.
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
    """Convert a model of transformers to one of ours, with copies of its weights in their dtype, in eval mode.

    The logits are the same, up to rounding, wherever there is no padding. What matters only in training is kept where
    our blocks have it: the four kinds of dropout are, but not the dropout after T5's final norm, the one before BERT's
    classifier, or LayerDrop. All weights are trainable, even Marian's sinusoids. If there are several end tokens, the
    first is used; GPT-2 and Llama without a padding token use their end token for padding.

    Args:
        model: `MarianMTModel`, `BartForConditionalGeneration`, `T5ForConditionalGeneration` (v1.0 and v1.1) → an
            `EncoderDecoder`; `GPT2LMHeadModel`, `LlamaForCausalLM` → a `LanguageModel`;
            `BertForSequenceClassification` → a `Classifier`; `BertForQuestionAnswering` → a `SpanExtractor`.

    Raises:
        InputError: it is none of these, or has a feature that our blocks lack; the message says which.
    """
    for kind in type(model).__mro__:  # compared by name, so that no modeling code of transformers is imported here
        if kind.__name__ in FAMILIES:
            return FAMILIES[kind.__name__](model)
    raise InputError(f"from_huggingface: there is no {type(model).__name__} here; known are {', '.join(FAMILIES)}")


__all__ = ["FAMILIES", "from_huggingface", "from_pytorch"]
