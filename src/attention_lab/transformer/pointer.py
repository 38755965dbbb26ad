"""The pointer-generator: the next token is generated from the vocabulary or copied from the source (See, Liu & Manning
2017, Get To The Point, arXiv 1704.04368, section 2.2).

    P(w) = p_gen · P_vocab(w) + (1 − p_gen) · Σ_{i: wᵢ = w} aᵢ        (equation 9)

Source and target share a vocabulary, so it need not be extended: what is copied is a token. A word that is <unk> in the
source stays unknown; with subwords or characters, unknown words are copied piece by piece.

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
    """Hidden vectors together with what each of them copies; can be indexed and split like the vectors alone.

    hidden: (…, W). generated: (…), the logarithm of the vocabulary's share. copied: (…, Ls), the share of each source
    position; all shares sum to 1. tokens: (…, Ls), the tokens of the source.
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

        The two shares are added only for tokens that are copied. For all others log P is computed directly and stays
        finite, however improbable the token, as label smoothing requires.
        """
        vocabulary = logits.to(self.copied.dtype).log_softmax(-1) + self.generated.unsqueeze(-1)
        source = torch.zeros_like(vocabulary).scatter_add(-1, self.tokens, self.copied)
        there = source > torch.finfo(source.dtype).tiny
        both = vocabulary.exp() + source.masked_fill(~there, 1.0)  # avoids log 0 and its gradient
        return torch.where(there, both.log(), vocabulary)

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.hidden, self.generated, self.copied, self.tokens


States = Tensor | Pointed  # what a model that writes computes its predictions from


class Pointer(nn.Module):
    """Computes p_gen and which source positions are copied.

    p_gen = σ(w·h + b) (equation 8). The equation sums terms of the context, the decoder's state and its input; here h
    contains all three, since residual connections add what was read from the source to the input.

    aᵢ is the weight of one head, the first of the last layer: to copy with certainty it must attend to a single
    position, which leaves the other heads free to read the context. The weights of special tokens go to the vocabulary
    instead of being copied, so a head that rests on <s> or </s> votes for generating, only the vocabulary can end a
    text, and <unk> is never copied. Any weight that the head does not spend also goes to the vocabulary.

    Raises:
        InputError: the weights of cross-attention are not probabilities, or the target has its own vocabulary.
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
    """The counterpart of `loss.projected_cross_entropy` for N pointed states and truth (N,); project: → log P (N, V).

    The distributions of a chunk are recomputed for its gradient, so only those of one chunk are ever in memory.
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
