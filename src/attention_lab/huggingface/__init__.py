"""Catalogue mechanisms in models of transformers (those that use `AttentionInterface`), and the project's models as
classes of transformers (`models.py`).

    from attention_lab.huggingface import prepare, register

    register()
    model.set_attn_implementation("attention_lab.sparsemax")
    prepare(model)                                  # before you create an optimizer: see `prepare`

The model projects queries, keys and values, shares key heads and makes masks; the mechanism turns these into weights.
So it must be a composition that needs nothing else (`usable`). In places where it is not valid, for example
cross-attention, the model falls back to scaled dot products, with a warning. `output_attentions=True` returns weights,
at the cost of the fast paths.

Scaling: the model passes the factor of its scores, which replaces 1/√D in formulas. In nearly all models it is 1/√D;
T5, OPT and Whisper pass 1, because their initialisation or projection already contains the factor. Formulas without √D
(dot, cosine, additive …) are used as they are.

Masks: True = may attend. In an additive mask, −inf and the lowest float forbid, and any other number is a bias. A query
that may attend to nothing gets 0. A module that is declared causal and gets no mask is treated as causal.

Positions, for mechanisms that depend on them: keys are at 0 … Lk − 1, and the queries are the last of these. So pad on
the right, unless only distances matter. A cache must hold every key so far and no others; any other is refused.
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
LENGTH = 512  # the longest sequence, for mechanisms with a parameter per position; the default of our own layer
# Additional arguments that some models pass to attention, and that no mechanism may silently ignore.
REFUSED = {"softcap": "caps its scores", "s_aux": "has sinks", "sinks": "has sinks", "cache": "pages its cache"}


def register(name: str | None = None, options: dict[str, Any] | None = None) -> list[str]:
    """Register a mechanism, or every usable one, with transformers.

    Args:
        name: the mechanism. None: every usable one, with its default options.
        options: options of that mechanism. They become part of the registered name.

    Returns:
        The names for `set_attn_implementation`: "attention_lab.sparsemax", "attention_lab.topk(k=4)".

    Raises:
        InputError: there is no such mechanism or option (the message lists the valid ones), or it is not usable.
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
    """Create the parameters that the chosen mechanism adds (the vector of `additive`), in a forward pass without
    gradients.

    Otherwise they would be created in the first call, too late for an existing optimizer and for `load_state_dict`.
    Each attention module holds them in its submodule `attention_lab`, under the mechanism's name, on the module's
    device and in its dtype. They are saved with the model, but `from_pretrained` does not know them: load them with
    `load_state_dict` after this call.

    Args:
        inputs: what to call the model with; none: the model's own dummy inputs, which are token ids.

    Returns:
        The trainable parameters of the chosen mechanism, for instance for an optimizer of their own.

    Raises:
        InputError: no mechanism has been chosen; the message lists the usable ones.
    """
    configs = [getattr(part, "config", None) for part in model.modules()]
    names = {str(getattr(config, "_attn_implementation", None)) for config in configs}
    chosen = {_key(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX)}
    if not chosen:
        known = ", ".join(row.name for row in CATALOGUE.values() if usable(row) is None)
        raise InputError(f"call register() and model.set_attn_implementation('{PREFIX}…') first, with one of {known}")
    modes = {part: part.training for part in model.modules()}
    model.eval()  # in training mode some models skip layers
    with torch.no_grad():
        model(**(inputs or {name: tensor.to(model.device) for name, tensor in model.dummy_inputs.items()}))
    for part, training in modes.items():
        part.train(training)  # parents come before their submodules, so each gets its own mode back
    attached = [
        part for name, part in model.named_modules() if isinstance(part, Attached) and name.rpartition(".")[2] in chosen
    ]
    return [parameter for part in attached for parameter in part.parameters() if parameter.requires_grad]


def _key(own: str) -> str:
    """The name of the submodule; "." is not allowed there."""
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
            exists=None if allowed is None else allowed.any(2).any(1),  # a key exists if any query may attend to it
            allowed=allowed,
        )
        weights = bool(kwargs.get("output_attentions")) or _recorded()
        part = _attached(module, own, row, query, place)
        return part(query, key, value, where, bias=bias, scaling=scaling, dropout=dropout, weights=weights)

    return attention


def _recorded() -> bool:
    """Whether the model collects the weights its modules return; some (OPT, SigLIP) do not pass this to attention."""
    collector = getattr(output_capturing, "_active_collector", None)
    kept = None if collector is None else collector.get()
    return any("attentions" in name for name in kept or ())


def _attached(module: nn.Module, own: str, row: Mechanism, query: Tensor, place: Place) -> Attached:
    """The mechanism in this attention module, created on the first call."""
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
        with torch.inference_mode(False):  # otherwise its parameters could never be trained
            attached[key] = Attached(row, sizes).to(query.device, like.dtype).train(module.training)
    return cast(Attached, attached[key])


def _place(module: nn.Module) -> Place:
    """The place of an attention module, as far as it can be told."""
    if "cross" in type(module).__name__.lower() or getattr(module, "is_cross_attention", False):
        return "cross"
    if getattr(module, "is_causal", False):
        return "decoder_self"
    return "cross" if getattr(module, "is_decoder", False) else "encoder_self"


def _allowed(mask: Tensor | None, bias: Tensor | None, keys: int) -> tuple[Tensor | None, Tensor | None]:
    """A model's mask and bias, which broadcast to (B, H, Lq, Lk) → a boolean mask, and a finite bias of the scores."""
    mask = None if mask is None else mask[..., :keys]
    if mask is not None and mask.dtype != torch.bool:
        bias = mask if bias is None else bias + mask
        mask = None
    if bias is None:
        return mask, None
    finite = bias > torch.finfo(bias.dtype).min / 2.0
    return finite if mask is None else finite & mask, bias.masked_fill(~finite, 0.0)


def _mask(own: str, row: Mechanism) -> Callable[..., Tensor | None]:
    """The function that makes masks. Without it transformers makes none, and a decoder attends to later tokens."""

    def mask(**given: Any) -> Tensor | None:
        causal = "allow_is_bidirectional_skip" not in given
        if causal and int(given["q_offset"]) + given["q_length"] != given["kv_length"] and counts_positions(row):
            raise InputError(f"{PREFIX}{own} counts positions: it needs a cache of every key so far, and no others")
        return cast(Tensor | None, eager_mask(**given))

    return mask
