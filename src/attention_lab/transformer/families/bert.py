"""BERT (Devlin et al. 2019, arXiv 1810.04805): an encoder of one or two segments, with a head on top."""

from __future__ import annotations

from typing import Any, Literal

from attention_lab.transformer.config import Chosen, Config
from attention_lab.transformer.families.table import Table, activation, below, load, refuse, token
from attention_lab.transformer.models import Classifier, SpanExtractor

BLOCK: Table = {
    "attention.heads.query": "attention.self.query",
    "attention.heads.key": "attention.self.key",
    "attention.heads.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "around_attention.norm": "attention.output.LayerNorm",
    "feedforward.inner": "intermediate.dense",
    "feedforward.outer": "output.dense",
    "around_feedforward.norm": "output.LayerNorm",
}
BERT: Table = {
    "embedding.tokens": "bert.embeddings.word_embeddings",
    "embedding.learned": "bert.embeddings.position_embeddings",
    "embedding.segments": "bert.embeddings.token_type_embeddings",
    "embedding.norm": "bert.embeddings.LayerNorm",
    **below("encoder.blocks.*.", "bert.encoder.layer.*.", BLOCK),
    "pooler": "bert.pooler.dense",
    "classes": "classifier",
    "ends": "qa_outputs",
}


def bert_classifier(model: Any) -> Classifier:
    """Convert `BertForSequenceClassification`."""
    theirs = model.config
    labels = [theirs.id2label[index] for index in range(theirs.num_labels)]
    config = _config(model, "classifier", "sentiment", labels)
    return load(lambda: Classifier(config), BERT, model)


def bert_spans(model: Any) -> SpanExtractor:
    """Convert `BertForQuestionAnswering`."""
    refuse(model, model.config.num_labels != 2, f"it has {model.config.num_labels} scores per position, not two")
    config = _config(model, "spans", "question_answering", [])
    return load(lambda: SpanExtractor(config), BERT, model)


def _config(model: Any, architecture: Literal["classifier", "spans"], task: str, labels: list[str]) -> Config:
    theirs = model.config
    refuse(model, theirs.is_decoder, "it is a decoder, but here it is an encoder")
    pad = token(model, "pad_token_id")
    return Config(
        architecture=architecture,
        task=task,
        vocabulary=theirs.vocab_size,
        labels=tuple(labels),
        pad=pad,
        start=pad,  # unused: the model does not write
        end=pad,
        positions=theirs.max_position_embeddings,
        layers=theirs.num_hidden_layers,
        decoder_layers=0,
        width=theirs.hidden_size,
        heads=theirs.num_attention_heads,
        feedforward=theirs.intermediate_size,
        dropout=theirs.hidden_dropout_prob,
        attention_dropout=theirs.attention_probs_dropout_prob,
        norm="post",
        epsilon=theirs.layer_norm_eps,
        activation=activation(model, theirs.hidden_act),
        position="learned",
        mechanisms={"encoder_self": Chosen(name="scaled_dot_product")},
        embedding_scale=1.0,
        embedding_norm=True,
        segments=theirs.type_vocab_size,
        pooled=architecture == "classifier",
    )
