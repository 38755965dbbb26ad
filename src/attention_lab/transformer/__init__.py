"""The Transformer (Vaswani et al. 2017, arXiv 1706.03762): blocks, encoder, decoder, and four models made of them."""

from attention_lab.transformer.config import Architecture, Config
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
    "load",
    "save",
]
