"""The Transformer (Vaswani et al. 2017, arXiv 1706.03762): blocks, encoder, decoder, and four models built from them,
trained here or with weights converted from transformers or PyTorch."""

from attention_lab.transformer.config import Architecture, Config
from attention_lab.transformer.families import from_huggingface, from_pytorch
from attention_lab.transformer.models import (
    Classifier,
    EncoderDecoder,
    LanguageModel,
    Model,
    SpanExtractor,
    build,
    load,
    save,
)

__all__ = [
    "Architecture",
    "Classifier",
    "Config",
    "EncoderDecoder",
    "LanguageModel",
    "Model",
    "SpanExtractor",
    "build",
    "from_huggingface",
    "from_pytorch",
    "load",
    "save",
]
