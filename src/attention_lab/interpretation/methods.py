"""Attribution methods: how important is each word of the source for each word of the output?

To add one, add a function to the file of its kind and a line to `METHODS`.

Some methods have several variants, for example one per layer, or two rows for a word: that of the position that
predicts it and that of the position that reads it. Variants have names, and one of them is chosen on valid rows.

Shapes: B rows, S source tokens, Q outputs, Lq positions, Wq words of the output, Wk words of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from attention_lab.attention import Place
from attention_lab.interpretation import gradients, shares
from attention_lab.interpretation.asked import Asked, asked_for
from attention_lab.interpretation.findings import Placed
from attention_lab.interpretation.shares import Mixed
from attention_lab.interpretation.weights import Words, merge
from attention_lab.transformer import Config, SpanExtractor

# Variant → scores (Wq, Wk) of each row.
Found = dict[str, list[np.ndarray]]


class Look:
    """A batch to explain, with results that several methods share, computed once."""

    def __init__(self, asked: Asked, steps: int) -> None:
        self.asked, self.steps = asked, steps

    @cached_property
    def layers(self) -> dict[Place, list[Mixed]]:
        return shares.taken_apart(self.asked)

    @cached_property
    def zeroed(self) -> dict[Place, list[Tensor]]:
        return shares.value_zeroing(self.asked)

    @cached_property
    def integrated(self) -> tuple[Tensor, Tensor]:
        """Scores and what they should sum to; computed again with four times the steps if these are too few."""
        scores, whole = gradients.integrated_gradients(self.asked, self.steps)
        there = asked_for(self.asked.model, self.asked.said)[:, : whole.shape[1]]
        if ((scores.sum(-1) - whole) * there).abs().sum() <= gradients.GAP * (whole * there).abs().sum():
            return scores, whole
        return gradients.integrated_gradients(self.asked, 4 * self.steps)

    @property
    def place(self) -> Place:
        return looked_at(self.asked.model.config)


@dataclass(frozen=True)
class Method:
    """An attribution method.

    what: a description. paper: its source. signed: a negative score counts against the output. needs: what the
    mechanism must have: "weights", "shares" (weights that sum to 1) or "" for nothing. everywhere: whether all places
    of the model must have it, not just the one that attends to the source.
    """

    function: Callable[[Look], Found]
    what: str
    paper: str
    signed: bool = False
    needs: str = ""
    everywhere: bool = False


def looked_at(config: Config) -> Place:
    """The place in which the model attends to its source."""
    return "cross" if "cross" in config.places else config.places[0]


def why_not(method: Method, config: Config) -> str:
    """The reason why a method is not defined for a model; "" if it is."""
    for place in config.places if method.everywhere else (looked_at(config),):
        mechanism = config.mechanism(place)
        if method.needs and mechanism.weights == "none":
            return f"{mechanism.name} has no attention weights"
        if method.needs == "shares" and mechanism.weights != "probabilities":
            return f"the weights of {mechanism.name} do not sum to 1, so they cannot be followed as shares"
    return ""


def attribute(look: Look, names: Sequence[str] | None = None) -> dict[str, Found]:
    """Scores by method and variant, for the methods that are defined for the model.

    Args:
        names: names in `METHODS`; None: all.
    """
    config = look.asked.model.config
    chosen = METHODS if names is None else {name: METHODS[name] for name in names}
    return {name: method.function(look) for name, method in chosen.items() if not why_not(method, config)}


# ------------------------------------------------------------------------------------------- of layers


def placed(look: Look) -> list[list[Placed]]:
    """For each row, what individual layers of every place do: mean weights of the heads, norms of the mixed vectors,
    and value zeroing. The first two are missing if the mechanism of a place has no weights.

    A target word's row is that of the position that predicts it in cross-attention, and of the one that reads it in the
    decoder's self-attention.
    """
    found: list[list[Placed]] = [[] for _ in look.asked.names]
    for place, zeroed in look.zeroed.items():
        mixes = look.layers.get(place, [])
        tables = {
            "weights": [mixed.weights.mean(1) for mixed in mixes],
            "norm": [mixed.lengths for mixed in mixes],
            "value_zeroing": zeroed,
        }
        for row, listed in enumerate(found):
            queries, keys = _sides(look.asked, place, row)
            sizes = {"query_words": len(queries.words), "key_words": len(keys.words)}
            for method, layers in tables.items():
                for number, layer in enumerate(layers, 1):
                    scores = layer[row, : len(queries.owners), : len(keys.owners)].float().cpu().numpy()
                    merged = merge(scores, queries.owners, keys.owners, **sizes)
                    listed.append(Placed(place, number, method, keys.words, queries.words, merged))
    return found


def _sides(asked: Asked, place: Place, row: int) -> tuple[Words, Words]:
    """Queries and keys, as words with the word of each token."""
    if place == "cross":
        return asked.outputs(row), asked.sources[row]
    words = asked.sources[row] if place == "encoder_self" else asked.outputs(row, read=True)
    return words, words


# ------------------------------------------------------------------------------------------- of positions


def _by_position(look: Look, variants: Mapping[str, Tensor]) -> Found:
    """Scores of positions for source tokens (B, Lq, S) → of outputs for words, by variant. A class is read from all
    positions or the first, an answer from its first and last; the question's positions are another variant, since they
    may be more informative."""
    asked, found = look.asked, Found()
    for name, tensor in variants.items():
        for reader in ("predicting", "reading") if asked.writes else _readers(asked):
            rows = []
            for row, matrix in enumerate(tensor.float().cpu().numpy()):
                if not asked.writes:
                    matrix = matrix[_positions(asked, row, reader)].mean(0, keepdims=True)
                rows.append(asked.merged(row, matrix, read=reader == "reading"))
            found[", ".join(part for part in (name, reader) if part)] = rows
    return found


def _readers(asked: Asked) -> list[str]:
    return ["answer", "question"] if isinstance(asked.model, SpanExtractor) else [""]


def _positions(asked: Asked, row: int, reader: str) -> list[int]:
    if reader == "question":
        return list(range(1, max(2, asked.reading.asked[row])))
    if reader == "answer":
        return asked.said[row].tolist()
    return asked.model.config.read_from(int(asked.batch.source_mask[row].sum()))


def _weights(look: Look) -> Found:
    variants: dict[str, Tensor] = {}
    for number, layer in _from_the_top(look.layers[look.place]):
        variants[f"layer {number}"] = layer.weights.mean(1)
        for head, weights in enumerate(layer.weights.unbind(1), 1):
            variants[f"layer {number}, head {head}"] = weights
    return _by_position(look, variants)


def _norm(look: Look) -> Found:
    layers = _from_the_top(look.layers[look.place])
    return _by_position(look, {f"layer {number}": layer.lengths for number, layer in layers})


def _from_the_top(layers: Sequence[Mixed]) -> list[tuple[int, Mixed]]:
    """Layers from top to bottom, with their numbers from 1 at the bottom; the first variant of a method is used if none
    can be chosen."""
    return list(enumerate(layers, 1))[::-1]


def _followed(share: shares.Share) -> Callable[[Look], Found]:
    return lambda look: _by_position(look, {"": shares.flow(look.layers, share).source})


def _value_zeroing(look: Look) -> Found:
    """Value zeroing of each layer, and multiplied through the layers below it."""
    below = [] if look.place != "cross" else look.zeroed["encoder_self"]
    through: Tensor | None = None
    for layer in below:
        through = layer if through is None else layer @ through
    variants: dict[str, Tensor] = {}
    for number, layer in enumerate(look.zeroed[look.place], 1):
        if look.place == "cross" and through is not None:
            variants = {f"layer {number}": layer, f"layer {number} and encoder": layer @ through, **variants}
        else:
            through = layer if through is None else layer @ through
            product = {f"layers 1 to {number}": through} if number > 1 else {}  # of one layer it is the layer itself
            variants = {**product, f"layer {number}": layer, **variants}
    return _by_position(look, variants)


# ------------------------------------------------------------------------------------------- of outputs


def _by_output(look: Look, tensor: Tensor) -> Found:
    """Scores (B, Q, S) of outputs for source tokens → of words for words"""
    scores = tensor.detach().float().cpu().numpy()
    return {"": [look.asked.merged(row, matrix) for row, matrix in enumerate(scores)]}


def _sizes(found: Found) -> Found:
    """Two variants: signed scores, and their absolute values."""
    (scores,) = found.values()
    return {"signed": scores, "size": [np.abs(score) for score in scores]}


def _occlusion(look: Look) -> Found:
    """log p with all words − log p without one."""
    asked = look.asked
    hidden: list[tuple[int, np.ndarray]] = []
    for row, words in enumerate(asked.sources):
        each = np.eye(len(words.words), dtype=bool)
        hidden += [(row, np.zeros(len(words.words), dtype=bool)), *((row, each[w]) for w in range(len(each)))]
    logs = iter(asked.hiding(hidden))
    rows = []
    for words in asked.sources:
        whole = next(logs)
        rows.append(np.stack([whole - next(logs) for _ in words.words], axis=1))
    return _sizes({"": rows})


# By name, in the order of a table.
METHODS: dict[str, Method] = {
    "weights": Method(
        _weights,
        "the attention weights of one layer: those of one head, or the mean of all",
        "Bahdanau et al. 2014, arXiv 1409.0473",
        needs="weights",
    ),
    "norm": Method(
        _norm,
        "the lengths of the weighted vectors that one layer sums up",
        "Kobayashi et al. 2020, arXiv 2004.10102",
        needs="weights",
    ),
    "rollout": Method(
        _followed(shares.by_weights),
        "weights multiplied through all layers, half of each layer being the residual connection",
        "Abnar & Zuidema 2020, arXiv 2005.00928",
        needs="shares",
        everywhere=True,
    ),
    "norm_rollout": Method(
        _followed(shares.by_norm),
        "lengths of the weighted vectors, multiplied through all layers",
        "Kobayashi et al. 2021, arXiv 2109.07152",
        needs="weights",
        everywhere=True,
    ),
    "alti": Method(
        _followed(shares.by_distance),
        "how close each word's contribution alone comes to the output of a layer, multiplied through all layers",
        "Ferrando et al. 2022, arXiv 2203.04212; ALTI+, arXiv 2205.11631",
        needs="weights",
        everywhere=True,
    ),
    "value_zeroing": Method(
        _value_zeroing,
        "how far a layer's output vectors turn when a word's value in it is set to 0",
        "Mohebbi et al. 2023, arXiv 2301.12971",
    ),
    "gradient_x_attention": Method(
        lambda look: _by_output(look, gradients.gradient_x_attention(look.asked, look.place)),
        "weights times the log-probability's gradient with respect to them, where positive, over all layers and heads",
        "Barkan et al. 2021, arXiv 2204.11073",
        needs="weights",
    ),
    "gradient_x_input": Method(
        lambda look: _sizes(_by_output(look, gradients.gradient_x_input(look.asked))),
        "the log-probability's gradient with respect to a word's vector, times that vector",
        "Shrikumar et al. 2016, arXiv 1605.01713",
        signed=True,
    ),
    "integrated_gradients": Method(
        lambda look: _sizes(_by_output(look, look.integrated[0])),
        "gradient × input, accumulated on the way from unknown words to the real ones",
        "Sundararajan et al. 2017, arXiv 1703.01365",
        signed=True,
    ),
    "occlusion": Method(
        _occlusion,
        "how much the log-probability drops when that word alone is hidden",
        "Zeiler & Fergus 2014, arXiv 1311.2901; Li et al. 2016, arXiv 1612.08220",
        signed=True,
    ),
}
