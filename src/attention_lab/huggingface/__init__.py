"""Mechanisms of the catalogue in the models of transformers (those that call attention by `AttentionInterface`), and
the project's models in its classes (`models.py`).

    from attention_lab.huggingface import prepare, register

    register()
    model.set_attn_implementation("attention_lab.sparsemax")
    prepare(model)                                  # before an optimizer is made: see there

The model projects queries, keys and values, shares key heads and masks; the mechanism makes weights of that. So it has
to be a composition that needs nothing else (`usable`). Where it is not valid, in cross-attention say, the model keeps
its scaled dot products, with a warning. Weights come back for `output_attentions=True`, and cost the fast paths.

Scaling: the model hands over the factor of its scores, and it stands where a formula has 1/√D. In nearly all models it
is 1/√D. T5, OPT and Whisper hand over 1, because their initialisation or their projection holds the factor already.
Formulas without √D (dot, cosine, additive …) are taken as they are.

Masks: True = may attend; of numbers that are added, −inf and the lowest float forbid and others are a bias. A query
that may attend to nothing gets 0. A module that says it is causal, and is given no mask, is causal.

Positions, in mechanisms that have any: keys are 0 … Lk − 1 and queries the last of them. So pad at the right, unless
distances alone count. Caches that do not hold every key so far, and no others, are refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask
from transformers.utils import output_capturing

from attention_lab.attention import CATALOGUE, Mechanism, Place, mechanism
from attention_lab.attention.contract import Sizes, Where, here
from attention_lab.errors import InputError
from attention_lab.huggingface.attached import Attached
from attention_lab.huggingface.configuration import LabConfig
from attention_lab.huggingface.models import (
    LabForCausalLM,
    LabForQuestionAnswering,
    LabForSeq2SeqLM,
    LabForSequenceClassification,
)
from attention_lab.huggingface.trial import counts_positions, refused, usable
from attention_lab.transformer.config import FALLBACK

__all__ = [
    "Attached",
    "LabConfig",
    "LabForCausalLM",
    "LabForQuestionAnswering",
    "LabForSeq2SeqLM",
    "LabForSequenceClassification",
    "prepare",
    "refused",
    "register",
    "usable",
]

PREFIX = "attention_lab."
LENGTH = 512  # the longest sequence, for mechanisms with a parameter per position, as in our own layer
# What some models hand over to attention beside a mask, and no mechanism may leave out in silence.
REFUSED = {"softcap": "caps its scores", "s_aux": "has sinks", "sinks": "has sinks", "cache": "pages its cache"}


def register(name: str | None = None, options: dict[str, Any] | None = None) -> list[str]:
    """Make a mechanism, or every usable one, known to transformers.

    Args:
        name: of the mechanism; None: every one that is usable, with its default options.
        options: of that mechanism. They become part of the name that is registered.

    Returns:
        The names for `set_attn_implementation`: "attention_lab.sparsemax", "attention_lab.topk(k=4)".

    Raises:
        InputError: there is no such mechanism (the message lists those there are) or option, or it is not usable.
    """
    if name is None:
        rows = {row.name: row for row in CATALOGUE.values() if usable(row) is None}
    else:
        row = mechanism(name, options)
        why = usable(row)
        if why is not None:
            raise InputError(f"{name} cannot be used in a model of transformers: {why}")
        chosen = ",".join(f"{option}={value}" for option, value in (options or {}).items())
        rows = {f"{name}({chosen})" if chosen else name: row}
    for own, row in rows.items():
        AttentionInterface.register(PREFIX + own, _attention(own, row))
        AttentionMaskInterface.register(PREFIX + own, _mask(own, row))
    return [PREFIX + own for own in rows]


def prepare(model: PreTrainedModel, **inputs: Any) -> list[nn.Parameter]:
    """Make the parameters that the chosen mechanism brings (the vector of `additive`), in a pass without gradients.

    They would else be made in the first call, too late for an optimizer, which has its list of parameters, and for
    `load_state_dict`. They are in each attention module, in `attention_lab` by the mechanism's name, on the module's
    device and in its dtype. They are saved with the model; `from_pretrained` does not know them, so load them by
    `load_state_dict` after this.

    Args:
        inputs: what the model is called with; none: the model's own dummy inputs, which are token ids.

    Returns:
        Those of the chosen mechanism that are learned, for an optimizer that shall have them alone, perhaps.

    Raises:
        InputError: no mechanism has been chosen; the message lists those there are.
    """
    configs = [getattr(part, "config", None) for part in model.modules()]
    names = {str(getattr(config, "_attn_implementation", None)) for config in configs}
    chosen = {_key(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX)}
    if not chosen:
        known = ", ".join(row.name for row in CATALOGUE.values() if usable(row) is None)
        raise InputError(f"call register() and model.set_attn_implementation('{PREFIX}…') first, with one of {known}")
    modes = {part: part.training for part in model.modules()}
    model.eval()  # in training some models leave out layers
    with torch.no_grad():
        model(**(inputs or {name: tensor.to(model.device) for name, tensor in model.dummy_inputs.items()}))
    for part, training in modes.items():
        part.train(training)  # parents come before their parts, so each gets back its own
    attached = [
        part for name, part in model.named_modules() if isinstance(part, Attached) and name.rpartition(".")[2] in chosen
    ]
    return [parameter for part in attached for parameter in part.parameters() if parameter.requires_grad]


def _key(own: str) -> str:
    """The name of a submodule."""
    return own.replace(".", "_")


def _attention(own: str, row: Mechanism) -> Callable[..., tuple[Tensor, Tensor | None]]:
    """The function that a model of transformers calls."""

    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        is_causal: bool | None = None,
        position_bias: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        for name, what in REFUSED.items():
            if kwargs.get(name) is not None:
                raise InputError(f"{PREFIX}{own}: this model {what} ({name}), which no mechanism here takes over")
        queries, keys, place = query.shape[-2], key.shape[-2], _place(module)
        allowed, bias = _allowed(attention_mask, position_bias, keys)
        causal = bool(getattr(module, "is_causal", False) if is_causal is None else is_causal)
        where = Where(
            queries=here(queries, query.device, max(0, keys - queries)),
            keys=here(keys, query.device),
            causal=causal and attention_mask is None,
            exists=None if allowed is None else allowed.any(2).any(1),  # a key is there if any query may see it
            allowed=allowed,
        )
        weights = bool(kwargs.get("output_attentions")) or _recorded()
        part = _attached(module, own, row, query, place)
        return part(query, key, value, where, bias=bias, scaling=scaling, dropout=dropout, weights=weights)

    return attention


def _recorded() -> bool:
    """Does the model keep the weights that its modules return? Some (OPT, SigLIP) do not tell their attention."""
    collector = getattr(output_capturing, "_active_collector", None)
    kept = None if collector is None else collector.get()
    return any("attentions" in name for name in kept or ())


def _attached(module: nn.Module, own: str, row: Mechanism, query: Tensor, place: Place) -> Attached:
    """The mechanism in this attention module; made in the first call."""
    if not hasattr(module, "attention_lab"):
        module.attention_lab = nn.ModuleDict()
    attached, key = cast(nn.ModuleDict, module.attention_lab), _key(own)
    if key not in attached:
        why = refused(row, place)
        if why is not None:
            name = place.replace("_", " ")
            warnings.warn(f"{own} is not for {name}-attention: {why}; {FALLBACK} is there", stacklevel=2)
            row = CATALOGUE[FALLBACK]
        heads, head = query.shape[1], query.shape[3]
        sizes = Sizes(heads=heads, head=head, width=heads * head, length=LENGTH, place=place)
        like = next((parameter for parameter in module.parameters() if parameter.is_floating_point()), query)
        with torch.inference_mode(False):  # or it could never be trained
            attached[key] = Attached(row, sizes).to(query.device, like.dtype).train(module.training)
    return cast(Attached, attached[key])


def _place(module: nn.Module) -> Place:
    """What an attention module is for, as far as it says so."""
    if "cross" in type(module).__name__.lower() or getattr(module, "is_cross_attention", False):
        return "cross"
    if getattr(module, "is_causal", False):
        return "decoder_self"
    return "cross" if getattr(module, "is_decoder", False) else "encoder_self"


def _allowed(mask: Tensor | None, bias: Tensor | None, keys: int) -> tuple[Tensor | None, Tensor | None]:
    """A model's mask and bias, which broadcast to (B, H, Lq, Lk) → who may attend to whom, and what scores gain."""
    mask = None if mask is None else mask[..., :keys]
    if mask is not None and mask.dtype != torch.bool:
        bias = mask if bias is None else bias + mask
        mask = None
    if bias is None:
        return mask, None
    finite = bias > torch.finfo(bias.dtype).min / 2.0
    return finite if mask is None else finite & mask, bias.masked_fill(~finite, 0.0)


def _mask(own: str, row: Mechanism) -> Callable[..., Tensor | None]:
    """The function that makes masks. Without one there are none, and a decoder sees what comes."""

    def mask(**given: Any) -> Tensor | None:
        causal = "allow_is_bidirectional_skip" not in given
        if causal and int(given["q_offset"]) + given["q_length"] != given["kv_length"] and counts_positions(row):
            raise InputError(f"{PREFIX}{own} counts positions: it needs a cache of every key so far, and no others")
        return cast(Tensor | None, eager_mask(**given))

    return mask
