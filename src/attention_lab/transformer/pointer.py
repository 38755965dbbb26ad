"""The pointer-generator: the next token is one of the vocabulary or one of the source (See, Liu & Manning 2017, Get To
The Point, arXiv 1704.04368, section 2.2).

    P(w) = p_gen · P_vocab(w) + (1 − p_gen) · Σ_{i: wᵢ = w} aᵢ        (equation 9)

Source and target share a vocabulary, so nothing is added to it: what is copied is a token. A word that is <unk> in the
source stays unknown; with subwords or characters it is copied piece by piece.

Shapes: B batch, Ls source positions, Lt target positions, N predictions, H heads, W width, V vocabulary; … is (B, Lt)
or (N,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from attention_lab.errors import InputError
from attention_lab.transformer.config import Config
from attention_lab.transformer.loss import CHUNK
from attention_lab.vocabulary import SPECIALS


@dataclass(frozen=True)
class Pointed:
    """Hidden vectors and what each of them copies. It takes the place of the vectors alone, and can be indexed and
    split as they can.

    hidden: (…, W). generated: (…), the logarithm of the share that the vocabulary has. copied: (…, Ls), the share of
    each source position; all shares sum to 1. tokens: (…, Ls), what stands in the source.
    """

    hidden: Tensor
    generated: Tensor
    copied: Tensor
    tokens: Tensor

    def __getitem__(self, which: Any) -> Pointed:
        return Pointed(*(tensor[which] for tensor in self._tensors()))

    def split(self, size: int) -> list[Pointed]:
        parts = zip(*(tensor.split(size) for tensor in self._tensors()), strict=True)
        return [Pointed(*tensors) for tensors in parts]

    def mixed(self, logits: Tensor) -> Tensor:
        """Equation 9: logits of the vocabulary (…, V) → log P (…, V)

        The sum of the two shares is taken only where something is copied: elsewhere log P stays finite, however
        improbable a token is, as label smoothing needs it.
        """
        vocabulary = logits.to(self.copied.dtype).log_softmax(-1) + self.generated.unsqueeze(-1)
        source = torch.zeros_like(vocabulary).scatter_add(-1, self.tokens, self.copied)
        there = source > torch.finfo(source.dtype).tiny
        both = vocabulary.exp() + source.masked_fill(~there, 1.0)  # no logarithm of 0, nor a gradient of it
        return torch.where(there, both.log(), vocabulary)

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.hidden, self.generated, self.copied, self.tokens


States = Tensor | Pointed  # what the predictions of a model that writes are made from


class Pointer(nn.Module):
    """p_gen, and which source positions are copied.

    p_gen = σ(w·h + b) (equation 8). Of its three summands, the context, the state of the decoder and its input, h holds
    all: residual connections add what was read of the source to what came in.

    aᵢ is the weight of one head, the first of the last layer: to copy with certainty it has to look at one position
    alone, and the other heads stay free to read what is around. The weights of special tokens are not copied but given
    to the vocabulary: a head that rests on <s> or </s> votes for generating, a text ends where the vocabulary says so,
    and <unk> is never taken where a word could be said. So is what a head does not spend.

    Raises:
        InputError: the weights of cross-attention are no probabilities, or a token of the source is none of the target.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.target_vocabulary is not None:
            raise InputError(
                "model.copy: copied tokens are those of the source, but the target has a vocabulary of its own; set "
                "model.copy to false or vocab.shared to true"
            )
        mechanism = config.mechanism("cross")
        if mechanism.weights != "probabilities":
            kind = {"weights": "of any sum", "none": "not there"}.get(mechanism.weights, mechanism.weights)
            raise InputError(
                f"model.copy: copied tokens are drawn by cross-attention weights, but those of {mechanism.name} are "
                f"{kind}; set model.copy to false, or attention.cross to one that `attention-lab mechanisms --place "
                "cross --weights probabilities` lists"
            )
        self.gate = nn.Linear(config.width, 1)
        nn.init.xavier_uniform_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, hidden: Tensor, weights: Tensor, tokens: Tensor) -> Pointed:
        """hidden (B, Lt, W), weights (B, H, Lt, Ls) of cross-attention, tokens (B, Ls) of the source"""
        precise = torch.promote_types(weights.dtype, torch.float32)
        words = (tokens >= len(SPECIALS)).unsqueeze(1)
        looked = weights[:, 0].to(precise) * words
        gate = self.gate(hidden).to(precise)
        generate, copy = torch.sigmoid(gate), torch.sigmoid(-gate)
        left = (1.0 - looked.sum(-1, keepdim=True)).clamp(min=0.0)
        generated = (generate + copy * left).log().squeeze(-1)
        return Pointed(hidden, generated, copy * looked, tokens.unsqueeze(1).expand_as(looked))


def mixed_cross_entropy(
    states: Pointed, truth: Tensor, smoothing: float, project: Callable[[Pointed], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """What `loss.projected_cross_entropy` is for a softmax, for N states and truth (N,); project: → log P (N, V).

    The distributions of a chunk are made again for its gradient, so that never more than those of one are in memory.
    """

    def of_chunk(some: Pointed, labels: Tensor) -> Tensor:
        logs = project(some)
        nll = -logs.gather(-1, labels.unsqueeze(-1)).sum()
        smoothed = (1.0 - smoothing) * nll - smoothing * logs.mean(-1).sum()
        correct = (logs.detach().argmax(-1) == labels).sum()
        return torch.stack((smoothed, nll.detach(), correct.to(nll.dtype)))

    step = max(1, CHUNK // project(states[:0]).shape[-1])
    chunks = zip(states.split(step), truth.split(step), strict=True)
    found = [checkpoint(of_chunk, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
    smoothed, nll, correct = torch.stack(found).sum(0)
    return smoothed, nll.detach(), correct.detach()
