"""Generation: how well a language model predicts text, and how varied its samples are."""

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
    that the model gives to the characters of the texts. It lies between 0 and 1, higher is better, and unlike loss and
    perplexity it is comparable between models with different tokenizers, whose tokens cover more or less text.
    `score_low` and `score_high` are its interval over texts, `loss_low` and `loss_high` that of the loss.

    `distinct_1` and `distinct_2` are the numbers of different words and word pairs over the number of words in all
    samples together (Li et al. 2016, arXiv 1510.03055); they are comparable only between samples with the same number
    of words. They are left out if the samples contain no words.

    Args:
        nats: −log p of each text, including the end token.
        tokens: number of tokens of each text, including the end token; characters: number of characters.
        samples: the texts that the model wrote.
        entropy: entropy of the source of the texts, in nats per token, if known: the lowest expected loss of any model.
            `excess` = loss / entropy − 1 is the relative excess over it.
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
    """The mean character probability as a function of row numbers."""
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
