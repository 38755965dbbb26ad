"""Generation: how well a language model foresees text, and how varied what it writes is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from attention_lab.metrics.figures import Figure, interval, rounded


def generation(
    nats: Sequence[float],
    tokens: Sequence[int],
    characters: Sequence[int],
    samples: Sequence[str],
    resamples: int,
    seed: int,
    *,
    entropy: float | None = None,
) -> dict[str, Any]:
    """`loss` in nats per token, `perplexity` = exp(loss), `bits_per_character`, and the variety of samples.

    The headline metric is `character_probability` = 2^−bits_per_character, the geometric mean of the probabilities
    that the model gives to the characters of the texts: more is better, it lies between 0 and 1, and unlike loss and
    perplexity it compares models of different tokenizers, for which a token is more or less text. `score_low` and
    `score_high` are its interval over texts, `loss_low` and `loss_high` that of the loss.

    `distinct_1` and `distinct_2` are the numbers of different words and pairs of words over the number of words, in
    all samples together (Li et al. 2016, arXiv 1510.03055); only as many words of samples compare. They
    are left out if the samples hold no word.

    Args:
        nats: −log p of each text, the end token included.
        tokens: how many tokens each of them has, the end token included; characters: how many characters.
        samples: what the model wrote.
        entropy: that of the source that wrote the texts, in nats per token, where it is known: the least loss that a
            model can have. `excess` = loss / entropy − 1 is what the model is above it.
    """
    sums = np.array([nats, tokens], dtype=np.float64)

    def loss(rows: np.ndarray) -> float:
        total = sums[:, rows].sum(1)
        return float(total[0] / total[1])

    character_probability = probability_of_rows(nats, characters)
    count = sums.shape[1]
    everything = np.arange(count)
    value, probability = loss(everything), character_probability(everything)
    loss_low, loss_high = interval(loss, count, resamples, seed)
    low, high = interval(character_probability, count, resamples, seed)
    known = {} if entropy is None else {"entropy": rounded(entropy), "excess": rounded(value / entropy - 1.0)}
    return {
        "loss": rounded(value),
        "loss_low": loss_low,
        "loss_high": loss_high,
        "perplexity": rounded(math.exp(value)),
        "bits_per_character": rounded(-math.log2(probability)),
        "character_probability": rounded(probability),
        **known,
        **_distinct([sample.split() for sample in samples]),
        "score_low": low,
        "score_high": high,
    }


def probability_of_rows(nats: Sequence[float], characters: Sequence[int]) -> Figure:
    """The probability of a character of some of the texts."""
    sums = np.array([nats, characters], dtype=np.float64)

    def character_probability(rows: np.ndarray) -> float:
        total = sums[:, rows].sum(1)
        return math.exp(-total[0] / total[1])

    return character_probability


def _distinct(samples: list[list[str]]) -> dict[str, float]:
    count = sum(map(len, samples))
    if not count:
        return {}
    alone = {word for sample in samples for word in sample}
    pairs = {pair for sample in samples for pair in pairwise(sample)}
    return {"distinct_1": rounded(len(alone) / count), "distinct_2": rounded(len(pairs) / count)}
