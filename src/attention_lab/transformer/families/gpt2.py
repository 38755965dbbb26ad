"""GPT-2 (Radford et al. 2019, Language Models are Unsupervised Multitask Learners): a decoder with learned
positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from attention_lab.transformer.config import Chosen, Config
from attention_lab.transformer.families.table import Part, Table, activation, below, load, refuse, third, tied, token
from attention_lab.transformer.models import LanguageModel


def _turned(then: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> Callable[[Tensor], Tensor]:
    """Transpose, then cut: their matrices are (in, out), ours (out, in); a bias has one dimension and stays as is."""
    return lambda tensor: then(tensor.t())


BLOCK: Table = {
    "itself.heads.query": Part("attn.c_attn", _turned(third(0))),
    "itself.heads.key": Part("attn.c_attn", _turned(third(1))),
    "itself.heads.value": Part("attn.c_attn", _turned(third(2))),
    "itself.output": Part("attn.c_proj", _turned()),
    "around_itself.norm": "ln_1",
    "feedforward.inner": Part("mlp.c_fc", _turned()),
    "feedforward.outer": Part("mlp.c_proj", _turned()),
    "around_feedforward.norm": "ln_2",
}
GPT2: Table = {
    "embedding.tokens": "transformer.wte",
    "embedding.learned": "transformer.wpe",
    **below("decoder.blocks.*.", "transformer.h.*.", BLOCK),
    "decoder.norm": "transformer.ln_f",
    "output": "lm_head.weight",
}


def gpt2(model: Any) -> LanguageModel:
    """Convert `GPT2LMHeadModel`."""
    theirs = model.config
    refuse(model, theirs.add_cross_attention, "it has cross-attention, but a language model here has none")
    refuse(model, not theirs.scale_attn_weights, "its scores are not scaled")
    refuse(model, theirs.scale_attn_by_inverse_layer_idx, "its scores are scaled differently in each layer")
    config = Config(
        architecture="decoder",
        task="generation",
        vocabulary=theirs.vocab_size,
        labels=(),
        pad=token(model, "pad_token_id", "eos_token_id"),
        start=token(model, "bos_token_id"),
        end=token(model, "eos_token_id"),
        positions=theirs.n_positions,
        layers=0,
        decoder_layers=theirs.n_layer,
        width=theirs.n_embd,
        heads=theirs.n_head,
        feedforward=theirs.n_inner or 4 * theirs.n_embd,
        dropout=theirs.resid_pdrop,
        attention_dropout=theirs.attn_pdrop,
        embedding_dropout=theirs.embd_pdrop,
        norm="pre",
        epsilon=theirs.layer_norm_epsilon,
        activation=activation(model, theirs.activation_function),
        tied=tied(model),
        position="learned",
        mechanisms={"decoder_self": Chosen(name="scaled_dot_product")},
        embedding_scale=1.0,
    )
    return load(lambda: LanguageModel(config), GPT2, model)
