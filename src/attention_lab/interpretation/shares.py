"""Attributions from what attention passes on: weights, the vectors that they mix, and both followed through the layers.

An attention layer computes the vector of a position from those of others, and a residual connection adds the position's
previous vector. The contribution of position j to position i is a vector Tᵢ(xⱼ); its size relative to all contributions
is a share. In self-attention the previous vector is included in Tᵢ(xᵢ), which it may make longer or shorter; in
cross-attention it is a separate part, because the keys come from another text. Multiplying the shares of one layer by
those of the layer below gives shares of that layer's inputs, and so on down to the tokens. Feed-forward layers work on
each position separately and mix nothing.

Shapes: B rows, S source tokens, T target positions, Lq queries, Lk keys, H heads, D width of a head, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attention_lab.attention import MultiHeadAttention, Place
from attention_lab.attention.contract import Call
from attention_lab.interpretation.asked import Asked
from attention_lab.interpretation.hooks import Called, attention_layers, recorded, stacks, without_value
from attention_lab.transformer.blocks import DecoderBlock, EncoderBlock, Residual


@dataclass(frozen=True)
class Mixed:
    """The output of one attention layer, with its residual connection and norm, decomposed by inputs.

    weights: (B, H, Lq, Lk). lengths: ‖Σₕ αᵢⱼ f(xⱼ)‖₂ (B, Lq, Lk), of the attention output alone, before any norm after
    it. parts: Tᵢ(xⱼ) (B, Lq, Lk, W). own: the contribution of the residual connection in cross-attention (B, Lq, W);
    None in self-attention, where the parts include it. output: (B, Lq, W), the sum of all these apart from biases.
    """

    weights: Tensor
    lengths: Tensor
    parts: Tensor
    own: Tensor | None
    output: Tensor


@dataclass(frozen=True)
class Flow:
    """Where the content of each position comes from.

    source: shares of the source tokens, (B, T, S), or (B, S, S) in a model that reads. prefix: shares of the target
    tokens (B, T, T), if there is a target. Rows of both together sum to 1 if those of each layer do."""

    source: Tensor
    prefix: Tensor | None = None


# For one layer: shares of the keys (B, Lq, Lk), and the share of the residual connection that is from no key (B, Lq).
Share = Callable[[Mixed], tuple[Tensor, Tensor]]


def mixed(layer: MultiHeadAttention, around: Residual, calls: Mapping[nn.Module, Called]) -> Mixed:
    """Decompose a recorded call of a layer and of the residual connection around it (Kobayashi et al. 2020, arXiv
    2004.10102, equation 3; with residual connection and norm: 2021, arXiv 2109.07152, section 3).

    Norms and gates after the sum are linearised at this call: with their statistics fixed they are linear.
    """
    called, residual = calls[layer], calls[around]
    call, value = call_of(layer, called)
    summed, weights = layer.core(call, value, weights=True)
    factor = torch.nan_to_num(layer.core.operation.output(summed, call) / summed)  # the operation's factor per feature
    each = weights.unsqueeze(-1).to(value.dtype) * value.unsqueeze(2) * factor.unsqueeze(3)  # (B, H, Lq, Lk, D)
    parts = each.permute(0, 2, 3, 1, 4).flatten(3)
    if isinstance(layer.output, nn.Linear):
        parts = parts @ layer.output.weight.T
    given, own, lengths = called.output[0], residual.args[0], parts.norm(dim=-1)
    if around.post:
        through = _linear(around.norm, own + given)
        parts, own = through(parts), through(own)
    else:
        parts = _linear(around.after, given)(parts)
    if layer.place == "cross":
        return Mixed(weights, lengths, parts, own, residual.output)
    there = torch.eye(parts.shape[1], dtype=parts.dtype, device=parts.device)[..., None] * own.unsqueeze(2)
    return Mixed(weights, lengths, parts + there, None, residual.output)


def call_of(layer: MultiHeadAttention, called: Called) -> tuple[Call, Tensor]:
    """The `Call` that a layer's mechanism was given in a recorded call, and the values (B, H, Lk, D)."""
    memory = called.args[1] if len(called.args) > 1 else None
    return layer.call(called.args[0], memory, called.kwargs.get("mask"), same=called.kwargs.get("same"))


def _linear(norm: nn.Module, total: Tensor) -> Callable[[Tensor], Tensor]:
    """The norm of `total` (B, Lq, W) as a linear map of its summands (B, Lq, …, W), without the norm's bias."""
    if isinstance(norm, nn.Identity):
        return lambda part: part
    if not isinstance(norm, nn.LayerNorm | nn.RMSNorm):
        raise TypeError(f"what a {type(norm).__name__} does to its summands is not known")
    centred, gain = isinstance(norm, nn.LayerNorm), norm.weight
    about = total - total.mean(-1, keepdim=True) if centred else total
    scale = (about.square().mean(-1) + (norm.eps or torch.finfo(total.dtype).eps)).rsqrt()

    def through(part: Tensor) -> Tensor:
        about = part - part.mean(-1, keepdim=True) if centred else part
        return about * scale.reshape(*scale.shape, *[1] * (part.dim() - 2)) * gain

    return through


def by_weights(layer: Mixed) -> tuple[Tensor, Tensor]:
    """½ for the mean of the heads, ½ for the residual (Abnar & Zuidema 2020, arXiv 2005.00928, section 3)."""
    weights = layer.weights.float().mean(1) / 2.0
    return _with_own(layer, weights, torch.full_like(weights[..., 0], 0.5))


def by_norm(layer: Mixed) -> tuple[Tensor, Tensor]:
    """‖Tᵢ(xⱼ)‖₂ (Kobayashi et al. 2021, arXiv 2109.07152, section 3)."""
    return _shares(layer, lambda parts: parts.norm(dim=-1))


def by_distance(layer: Mixed) -> tuple[Tensor, Tensor]:
    """max(0, ‖yᵢ‖₁ − ‖yᵢ − Tᵢ(xⱼ)‖₁): how close to the output a part alone comes (Ferrando et al. 2022, ALTI, arXiv
    2203.04212: contributions by the distance between transformed vectors and the block's output)."""
    output = layer.output.unsqueeze(2)
    return _shares(layer, lambda parts: (output.abs().sum(-1) - (output - parts).abs().sum(-1)).relu())


def _shares(layer: Mixed, size: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Sizes of all parts as shares of their sum; where all are 0, the residual connection has the whole share."""
    keys = size(layer.parts)
    own = torch.zeros_like(keys[..., 0]) if layer.own is None else size(layer.own.unsqueeze(2)).squeeze(2)
    total = keys.sum(-1) + own
    nothing = total <= 0.0
    total = total.masked_fill(nothing, 1.0)
    return _with_own(layer, keys / total.unsqueeze(-1), torch.where(nothing, 1.0, own / total))


def _with_own(layer: Mixed, keys: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Add the residual connection's share to the diagonal in self-attention, where it is from the position itself."""
    return (keys, own) if layer.own is not None else (keys + torch.diag_embed(own), torch.zeros_like(own))


@torch.no_grad()
def taken_apart(asked: Asked) -> dict[Place, list[Mixed]]:
    """Run the model once and decompose the output of its attention layers, from bottom to top in each place; places
    whose mechanism has no weights are left out."""
    around = _residuals(asked)
    with recorded([*around, *around.values()]) as calls:
        asked.log_probabilities()
    config, layers = asked.model.config, attention_layers(asked.model)
    return {
        place: [mixed(layer, around[layer], calls) for layer in layers[place]]
        for place in layers
        if config.mechanism(place).weights != "none"
    }


def flow(layers: Mapping[Place, list[Mixed]], share: Share) -> Flow:
    """Follow shares from the top of the model to its tokens (rollout: Abnar & Zuidema 2020; in an encoder-decoder:
    Ferrando et al. 2022, ALTI+, arXiv 2205.11631).

        encoder   R ← C·R
        decoder   (source, prefix) ← C·(source, prefix), then source ← C_cross·R + own·source, prefix ← own·prefix
    """
    encoder: Tensor | None = None
    for layer in layers.get("encoder_self", []):
        matrix, _ = share(layer)
        encoder = matrix if encoder is None else matrix @ encoder
    if "decoder_self" not in layers:
        if encoder is None:
            raise ValueError("a model has an encoder or a decoder")
        return Flow(encoder)
    prefix: Tensor | None = None
    source: Tensor | None = None
    for number, layer in enumerate(layers["decoder_self"]):
        matrix, _ = share(layer)
        prefix = matrix if prefix is None else matrix @ prefix
        source = None if source is None else matrix @ source
        if "cross" in layers and encoder is not None:
            keys, own = share(layers["cross"][number])
            read = keys @ encoder
            source = read if source is None else read + own.unsqueeze(-1) * source
            prefix = own.unsqueeze(-1) * prefix
    if prefix is None:
        raise ValueError("a decoder has a layer")
    return Flow(prefix) if source is None else Flow(source, prefix)


@torch.no_grad()
def value_zeroing(asked: Asked) -> dict[Place, list[Tensor]]:
    """How much each position's output vector of a block changes when the value of one key is set to 0 in all heads:
    cosine distances, as shares of their sum over keys (Mohebbi et al. 2023, arXiv 2301.12971, section 3) → (B, Lq, Lk)
    for each layer"""
    blocks = [
        block for stack in stacks(asked.model).values() for block in stack.blocks
        if isinstance(block, EncoderBlock | DecoderBlock)
    ]  # fmt: skip
    inside = [layer for layers in attention_layers(asked.model).values() for layer in layers]
    with recorded([*blocks, *inside]) as calls:
        asked.log_probabilities()
    found: dict[Place, list[Tensor]] = {place: [] for place in asked.model.config.places}
    for block in blocks:
        called = calls[block]
        whole = called.output[0]
        for layer in (module for module in block.modules() if isinstance(module, MultiHeadAttention)):
            at = calls[layer]
            keys = at.args[1] if len(at.args) > 1 and at.args[1] is not None else at.args[0]
            turned = []
            for key in range(keys.shape[1]):
                with without_value(layer, key):
                    changed = block(*called.args, **called.kwargs)[0]
                turned.append(1.0 - torch.cosine_similarity(changed.double(), whole.double(), dim=-1))
            distance = torch.stack(turned, -1).clamp(min=0.0)
            total = distance.sum(-1, keepdim=True)
            found[layer.place].append((distance / total.masked_fill(total == 0.0, 1.0)).float())
    return found


def _residuals(asked: Asked) -> dict[MultiHeadAttention, Residual]:
    """The residual connection around each attention layer."""
    found: dict[MultiHeadAttention, Residual] = {}
    for stack in stacks(asked.model).values():
        for block in stack.blocks:
            if isinstance(block, EncoderBlock):
                found[block.attention] = block.around_attention
            elif isinstance(block, DecoderBlock):
                found[block.itself] = block.around_itself
                if block.cross is not None and block.around_cross is not None:
                    found[block.cross] = block.around_cross
    return found
