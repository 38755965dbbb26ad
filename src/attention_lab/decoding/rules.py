"""Which tokens may come next, and which of them is drawn: functions of the logits and the text so far.

Shapes: N texts, L tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attention_lab.transformer import Config


@dataclass(frozen=True)
class Rules:
    """Which tokens a text may contain.

    end: the token that ends a text. never: tokens that are never generated, such as padding.
    min_tokens: number of tokens that must be written after the prompt before the text may end.
    no_repeat_ngram: no sequence of this many tokens may occur twice, counting the prompt (Paulus et al. 2017, arXiv
    1705.04304, section 2.5); 0: no restriction. It never forbids the end token.
    repetition_penalty: logits of tokens in the text so far, including the prompt, are divided by it if positive and
    multiplied by it otherwise, as in transformers (after Keskar et al. 2019, arXiv 1909.05858, section 4.1, who divide
    all of them); 1: no penalty.
    """

    end: int
    never: tuple[int, ...] = ()
    min_tokens: int = 0
    no_repeat_ngram: int = 0
    repetition_penalty: float = 1.0

    @classmethod
    def of(cls, config: Config) -> Rules:
        """Rules for a model of that configuration: a text ends with its end token, and contains neither padding nor the
        start token (unless one of them is the end token, as in some models)."""
        return cls(config.end, tuple({config.pad, config.start} - {config.end}))

    def log_probabilities(self, logits: Tensor, said: Tensor, written: int) -> Tensor:
        """logits (N, V), said (N, L), of which the last `written` follow the prompt → log-probabilities (N, V) in nats,
        −∞ for forbidden tokens. They are not renormalised: allowed tokens keep the log-probability that the model gives
        them. If everything is forbidden, the text may end."""
        logits = logits.float()
        if self.repetition_penalty != 1.0:
            before = logits.gather(1, said)
            penalised = torch.where(before < 0, before * self.repetition_penalty, before / self.repetition_penalty)
            logits = logits.scatter(1, said, penalised)
        logs = logits.log_softmax(-1)
        of_end = logs[:, self.end].clone()
        logs[:, list(self.never)] = -torch.inf
        if self.no_repeat_ngram:
            logs = logs.masked_fill(_repeating(said, self.no_repeat_ngram, logs.shape[1]), -torch.inf)
        if self.no_repeat_ngram or self.min_tokens:
            logs[:, self.end] = -torch.inf
            may_end = logs.isneginf().all(1) | (written >= self.min_tokens)
            logs[:, self.end] = of_end.masked_fill(~may_end, -torch.inf)
        return logs


def _repeating(said: Tensor, size: int, vocabulary: int) -> Tensor:
    """Which tokens would repeat an n-gram of that size that the text already contains, (N, V)."""
    found = torch.zeros(len(said), vocabulary, dtype=torch.int64, device=said.device)
    if said.shape[1] < size:
        return found.bool()
    windows = said.unfold(1, size, 1)
    begun = (windows[:, :, :-1] == said[:, None, said.shape[1] - size + 1 :]).all(-1)
    return found.scatter_add(1, windows[:, :, -1], begun.long()).bool()


@dataclass(frozen=True)
class Draw:
    """How a token is drawn from the allowed ones.

    temperature: divides the logits; 0: always the most probable token.
    top_k: draw from the k most probable tokens (Fan et al. 2018, arXiv 1805.04833); None: from all.
    top_p: draw from the smallest set of tokens whose total probability reaches p (Holtzman et al. 2019, arXiv
    1904.09751, section 3.1), after temperature and top_k; 1: from all.

    Raises:
        ValueError: a value is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature < 0.0 or (self.top_k is not None and self.top_k < 1) or not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"{self}: temperature must be 0 or more, top_k 1 or more, top_p above 0 and at most 1")

    def probabilities(self, logs: Tensor) -> Tensor:
        """Log-probabilities or logits (N, V) → the distribution to draw from (N, V), in double precision."""
        if self.temperature == 0.0:
            return torch.zeros(logs.shape, dtype=torch.float64).scatter(1, logs.argmax(1, keepdim=True), 1.0)
        ranked, tokens = (logs.double() / self.temperature).sort(dim=1, descending=True, stable=True)
        if self.top_k is not None:
            ranked[:, self.top_k :] = -torch.inf
        shares = ranked.softmax(1)
        if self.top_p < 1.0:
            # A token stays if those before it do not reach p: so does the one that reaches it, and always the first.
            shares = shares.masked_fill(shares.cumsum(1) - shares >= self.top_p, 0.0)
            shares /= shares.sum(1, keepdim=True)
        return torch.zeros_like(shares).scatter(1, tokens, shares)

    def token(self, logs: Tensor, uniform: Tensor) -> Tensor:
        """Log-probabilities (N, V) and one number in [0, 1) per row (N,) → tokens (N,), by inverting the cumulative
        distribution, so that each draw depends on its own row only."""
        cumulative = self.probabilities(logs).cumsum(1)
        # right=True finds the first strictly greater entry, so a token without probability is never drawn.
        return torch.searchsorted(cumulative, uniform.unsqueeze(1) * cumulative[:, -1:], right=True).squeeze(1)
